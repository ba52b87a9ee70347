/** Rules by tool and arguments, approvals that are remembered, and dangerous tools after text of others was read. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, type Layer, Schema } from "effect"
import {
  Agent,
  AgentTool,
  Approvals,
  Chain,
  CodeMode,
  RunError,
  Runner,
  Session,
  SessionStore,
  TestModel,
  ToolSearch,
  ToolSource
} from "troupe"
import { Engine } from "../support/codeEngine.ts"

const made: Array<string> = []
const tool = (name: string, hints: AgentTool.Hints) =>
  AgentTool.fromFunction(name, {
    description: `Does ${name}`,
    parameters: Schema.Struct({
      command: Schema.optionalKey(Schema.String),
      args: Schema.optionalKey(Schema.Array(Schema.String))
    }),
    hints,
    execute: ({ args = [], command = "" }) => {
      made.push([name, command, ...args].filter((word) => word !== "").join(" "))
      return "done"
    }
  })
const run = tool("run", { destructive: true, openWorld: false })
const fetch = tool("fetch", { readOnly: true, openWorld: true })
const look = tool("look", { readOnly: true, openWorld: false })
const post = tool("post", { destructive: false, openWorld: true })
const agent = Agent.make("agent", { tools: [run, fetch, look, post] })

type Params = { readonly command?: string; readonly args?: ReadonlyArray<string> }
const call = (name: string, params: Params = {}) => TestModel.toolCall(name, params)
/** The calls that were made, and those that were asked about. */
const trial = (turns: ReadonlyArray<TestModel.Turn>, layer: (asked: Array<string>) => Layer.Layer<never>) =>
  Effect.gen(function* () {
    made.length = 0
    const asked: Array<string> = []
    yield* agent.run("go").pipe(Effect.provide([layer(asked), TestModel.layer([...turns, TestModel.text("end")])]))
    return { made: [...made], asked }
  })
const approving = (asked: Array<string>) => (request: Approvals.Request) => {
  const { args = [], command } = request.params as Params
  asked.push([request.tool, command, ...args].filter((word) => word !== undefined).join(" "))
  return Effect.succeed(Approvals.approve)
}

describe("rules", () => {
  const rules: ReadonlyArray<Approvals.ToolRule> = [
    { rule: "allow", tool: "run" },
    { rule: "ask", tool: "run", where: { command: "git", args: ["commit", "**"] } },
    { rule: "deny", tool: "r*", where: { command: "git", args: ["push", "**"] } },
    { rule: "deny", where: (params) => JSON.stringify(params).includes("secret") }
  ]

  it.effect("deny comes before ask, and ask before allow, in any order of the list", () =>
    Effect.gen(function* () {
      const seen = yield* trial(
        [
          call("run", { command: "git", args: ["status"] }),
          call("run", { command: "git", args: ["commit", "-m", "x"] }),
          call("run", { command: "git", args: ["push"] }),
          call("run", { command: "git", args: ["push origin"] }),
          call("look", { command: "secret" }),
          call("look")
        ],
        (asked) => Approvals.layerRules(rules, { destructive: "deny", readOnly: "ask" }, approving(asked))
      )
      assert.deepStrictEqual(seen, {
        made: ["run git status", "run git commit -m x", "run git push origin", "look"],
        asked: ["run git commit -m x", "look"]
      })
    })
  )

  it("a rule that is misspelt is refused", () => {
    for (const rule of [{ rule: "block" }, { rule: "deny", tools: "x" }, "deny"]) {
      assert.throws(() => Approvals.layerRules([rule as never]), RunError.InvalidDefinition)
    }
  })

  it.effect("a pattern of many stars takes no long time", () =>
    Effect.gen(function* () {
      const { made } = yield* trial([call("run", { command: "a".repeat(50_000) })], () =>
        Approvals.layerRules([{ rule: "deny", where: { command: `${"*a".repeat(200)}b` } }])
      )
      assert.strictEqual(made.length, 1)
    })
  )
})

describe("what was approved", () => {
  const turns = [call("run", { command: "one" }), call("run", { command: "one" }), call("run", { command: "two" })]
  for (const [remember, asked] of [
    ["call", ["run one", "run two"]],
    ["tool", ["run one"]],
    [undefined, ["run one", "run one", "run two"]]
  ] as const) {
    it.effect(`is remembered by ${remember ?? "nothing"}`, () =>
      Effect.gen(function* () {
        const seen = yield* trial(turns, (asked) =>
          Approvals.layerRules([], { destructive: "ask", remember }, approving(asked))
        )
        assert.deepStrictEqual(seen.asked, [...asked])
      })
    )
  }

  it.effect("is remembered for its session, and for no other", () =>
    Effect.gen(function* () {
      const asked: Array<string> = []
      const rules = Approvals.layerRules([], { destructive: "ask", remember: "call" }, approving(asked))
      const turn = [call("run", { command: "one" }), TestModel.text("end")]
      yield* Effect.gen(function* () {
        yield* Session.of(agent, "a").run("go")
        yield* Session.of(agent, "a").run("go on")
        assert.strictEqual(asked.length, 1)
        yield* Session.of(agent, "b").run("go")
        assert.strictEqual(asked.length, 2)
      }).pipe(Effect.provide([rules, SessionStore.layerMemory, TestModel.layer([...turn, ...turn, ...turn])]))
    })
  )
})

describe("after text of others", () => {
  it.effect("dangerous tools ask, and others do not", () =>
    Effect.gen(function* () {
      const seen = yield* trial(
        [
          call("run", { command: "before" }),
          call("fetch"),
          call("run", { command: "after" }),
          call("fetch"),
          call("look"),
          call("post")
        ],
        (asked) => Approvals.layerPolicy({ afterUntrusted: "ask" }, approving(asked))
      )
      assert.deepStrictEqual(seen.asked, ["run after", "post"])
      assert.strictEqual(seen.made.length, 6)
    })
  )

  it.effect("calls of the step that reads it were asked for before it was read", () =>
    Effect.gen(function* () {
      const step = TestModel.toolCalls({ name: "fetch", params: {} }, { name: "run", params: {} })
      const seen = yield* trial([step], (asked) => Approvals.layerPolicy({ afterUntrusted: "deny" }, approving(asked)))
      assert.deepStrictEqual(seen.made.sort(), ["fetch", "run"])
    })
  )

  it.effect("a tool that is trusted is not text of others, and a rule that names the call in full allows it", () =>
    Effect.gen(function* () {
      const policy = { afterUntrusted: "deny", trusted: { tools: ["fetch"] } } as const
      const trusting = yield* trial([call("fetch"), call("run")], () => Approvals.layerPolicy(policy))
      assert.deepStrictEqual(trusting.made, ["fetch", "run"])
      const rules = [
        { rule: "allow", tool: "run", where: { command: "test" } },
        { rule: "allow", tool: "run" }
      ] as const
      const ruled = yield* trial(
        [call("fetch"), call("run", { command: "test" }), call("run", { command: "rm" })],
        () => Approvals.layerRules(rules, { afterUntrusted: "deny" })
      )
      assert.deepStrictEqual(ruled.made, ["fetch", "run test"])
    })
  )

  it.effect("a program asks after it has received it, and so does the agent after the program", () =>
    Effect.gen(function* () {
      made.length = 0
      const asked: Array<string> = []
      const program = `
        await tools.run({ command: "before" })
        await tools.fetch()
        await tools.run({ command: "inside" })
        return "what was fetched"`
      const coder = Agent.make("coder", {
        use: [CodeMode.feature([run, fetch], { destructive: "allow", direct: ["run"] })]
      })
      yield* coder
        .run("go")
        .pipe(
          Effect.provide([
            Approvals.layerPolicy({ afterUntrusted: "ask" }, approving(asked)),
            TestModel.layer([
              call("run", { command: "first" }),
              TestModel.toolCall("run_program", { program }),
              call("run", { command: "after" }),
              TestModel.text("end")
            ]),
            Engine
          ])
        )
      assert.deepStrictEqual(asked, ["run inside", "run after"])
      assert.deepStrictEqual(made, ["run first", "run before", "fetch", "run inside", "run after"])
    })
  )

  it.effect("a program that goes on knows what it had received before", () =>
    Effect.gen(function* () {
      made.length = 0
      const coder = Agent.make("coder", { use: [CodeMode.feature([run, fetch], { destructive: "allow" })] })
      const program = `await tools.fetch(); await tools.run({ command: "one" }); await tools.run({ command: "two" })`
      const model = TestModel.layer(({ prompt }) =>
        prompt.content.at(-1)!.role === "tool" ? "end" : TestModel.toolCall("run_program", { program })
      )
      const layers = [Approvals.layerPolicy({ afterUntrusted: "ask" }), model, Engine] as const
      const waitingIn = (error: unknown) =>
        error instanceof RunError.RunSuspended ? error : assert.fail(String(error))
      const first = waitingIn(yield* Effect.flip(coder.run("go").pipe(Effect.provide([...layers]))))
      const answered = Runner.answer(first.transcript, { [first.waitingFor[0].id]: Approvals.approve })
      const second = waitingIn(yield* Effect.flip(coder.run(answered).pipe(Effect.provide([...layers]))))
      assert.deepInclude(second.waitingFor[0], { tool: "run", params: { command: "two" } })
      assert.deepStrictEqual(made, ["fetch", "run one"])
    })
  )

  it.effect("an agent that is a tool gives text of others if one of its tools does, however deep", () =>
    Effect.gen(function* () {
      const named = (name: string, tools: ReadonlyArray<typeof fetch>) =>
        Agent.make(name, { description: name, tools }).pipe(Runner.provide(TestModel.layer(["what I know"])))
      const reads = named("reads", [fetch])
      const looks = named("looks", [look])
      const both = Chain.make("both", [looks, reads], { description: "both" })
      const nested = Agent.make("nested", { description: "nested", tools: [AgentTool.fromRunner(both)] }).pipe(
        Runner.provide(TestModel.layer(["what I know"]))
      )
      const searching = Agent.make("searching", {
        description: "searching",
        tools: [ToolSearch.make([fetch])]
      }).pipe(Runner.provide(TestModel.layer(["what I know"])))
      const asks = (runner: Runner.Runner<string, string, unknown, never>, policy: Approvals.Policy = {}) =>
        Effect.gen(function* () {
          made.length = 0
          const asked: Array<string> = []
          const boss = Agent.make("boss", { tools: [AgentTool.fromRunner(runner), run] })
          const turns = [TestModel.toolCall(runner.name, { input: "x" }), call("run"), TestModel.text("end")]
          const rules = Approvals.layerPolicy({ afterUntrusted: "ask", ...policy }, approving(asked))
          yield* boss.run("go").pipe(Effect.provide([rules, TestModel.layer(turns)]))
          assert.deepStrictEqual(made, ["run"])
          return asked.length > 0
        })
      assert.deepStrictEqual(
        [yield* asks(looks), yield* asks(reads), yield* asks(both), yield* asks(nested), yield* asks(searching)],
        [false, true, true, true, true]
      )
      const desk = ToolSource.make("desk", () => Effect.succeed([look]))
      const sourced = Agent.make("sourced", { description: "sourced", tools: [desk] }).pipe(
        Runner.provide(TestModel.layer(["what I know"]))
      )
      assert.isTrue(yield* asks(sourced))
      assert.isFalse(yield* asks(sourced, { trusted: { tools: ["desk"] } }))
      assert.isFalse(yield* asks(reads, { trusted: { tools: ["reads"] } }))
      assert.isFalse(yield* asks(nested, { trusted: { tools: ["fetch"] } }))
    })
  )
})
