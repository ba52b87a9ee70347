/** Policies: which tools they are about, and what they cannot be talked out of. */
import { assert, describe, it as onAsync } from "@effect/vitest"
import { Server } from "@modelcontextprotocol/sdk/server/index.js"
import { CallToolRequestSchema, ListToolsRequestSchema } from "@modelcontextprotocol/sdk/types.js"
import { Effect, Layer, Schema } from "effect"
import {
  Agent,
  AgentTool,
  Approvals,
  Handoffs,
  HttpTools,
  Mcp,
  Orchestrator,
  type RunError,
  Runner,
  TestModel
} from "troupe"
import { it } from "../../support/edges.ts"
import { till } from "../../support/till.ts"

const billing = Agent.make("billing", { description: "Money" })
const transfer = TestModel.toolCall("transfer_to_billing", { reason: "r", message: "m" })
const task = TestModel.toolCall("billing", { input: "x" })
const spawn = TestModel.toolCall("spawn", { name: "x", instructions: "x", task: "x" })
const desk = (options: Handoffs.ToOptions = {}) =>
  Handoffs.make(
    "desk",
    { triage: Agent.make("triage", { tools: [Handoffs.to("billing", options)] }), billing },
    { start: "triage" }
  )

type Case = readonly [name: string, runner: Runner.Runner<string, string, never, never>, first: TestModel.Turn]
/** Every way in which one agent gives work to another; the types of their errors and services do not matter here. */
const delegating = (options: Pick<Handoffs.ToOptions, "hints" | "needsApproval">): ReadonlyArray<Case> => {
  const boss = Agent.make("boss", { tools: [AgentTool.fromRunner(billing, { name: "billing", ...options })] })
  const lead = Orchestrator.make("lead", { billing }, { workerOptions: { billing: options } })
  const erased = (runner: Runner.Any) => runner as Case[1]
  return [
    ["a handoff", erased(desk(options)), transfer],
    ["an agent as a tool", erased(boss), task],
    ["a worker", erased(lead), task],
    ["a spawned agent", erased(Orchestrator.make("lead", {}, { spawn: options })), spawn]
  ]
}

const outcome = (runner: Case[1], first: TestModel.Turn, approver: Layer.Layer<never>) =>
  runner
    .run("x")
    .pipe(Effect.provide(approver), Effect.provide(TestModel.layer([first, "done", "done"], { unused: "ignore" })))

describe("a policy against destructive tools", () => {
  for (const [name, runner, first] of delegating({})) {
    it.effect(`lets ${name} pass, whose own tools are decided on by themselves`, () =>
      Effect.gen(function* () {
        const denies = Approvals.layerPolicy({ destructive: "deny", openWorld: "deny" })
        assert.strictEqual(yield* outcome(runner, first, denies), "done")
      })
    )
  }

  for (const [name, runner, first] of delegating({ hints: { destructive: true } })) {
    it.effect(`counts for ${name} that says it is destructive`, () =>
      Effect.gen(function* () {
        const asked: Array<Approvals.Request> = []
        const asks = Approvals.layerPolicy({ destructive: "ask" }, (request) => {
          asked.push(request)
          return Effect.succeed(Approvals.approve)
        })
        assert.strictEqual(yield* outcome(runner, first, asks), "done")
        assert.strictEqual(asked.length, 1)
        assert.isTrue(asked[0]!.hints.destructive)
      })
    )
  }

  it.effect("reaches the tools of an agent that is a tool", () =>
    Effect.gen(function* () {
      let dropped = 0
      const drop = AgentTool.fromFunction("drop", { description: "Drops", execute: () => ++dropped })
      const worker = Agent.make("billing", { description: "Money", tools: [drop] })
      const boss = Agent.make("boss", { tools: [AgentTool.fromRunner(worker)] })
      yield* boss
        .run("x")
        .pipe(
          Effect.provide(Approvals.layerPolicy({ destructive: "deny" })),
          Effect.provide(TestModel.layer([task, TestModel.toolCall("drop", {}), "inner", "outer"]))
        )
      assert.strictEqual(dropped, 0)
    })
  )
})

describe("a runner that is a tool", () => {
  for (const [name, runner, first] of delegating({ needsApproval: true })) {
    it.effect(`can need approval: ${name}`, () =>
      Effect.gen(function* () {
        let asked = 0
        const approver = Approvals.layer(() => Effect.sync(() => (asked++, Approvals.approve)))
        assert.strictEqual(yield* outcome(runner, first, approver), "done")
        assert.strictEqual(asked, 1)
      })
    )
  }
})

describe("a rule for open-world tools", () => {
  it.effect("is asked before data leaves, also by a tool that only reads", () =>
    Effect.gen(function* () {
      const names: Array<string> = []
      const asks = Approvals.layerPolicy({ openWorld: "ask" }, ({ tool }) => {
        names.push(tool)
        return Effect.succeed(Approvals.deny("no"))
      })
      const local = AgentTool.fromFunction("look", {
        description: "Looks",
        hints: { readOnly: true, openWorld: false },
        execute: () => "seen"
      })
      const agent = Agent.make("agent", { toolkit: HttpTools.toolkit, tools: [local] })
      const calls = {
        toolCalls: [
          { name: "fetch_url", params: { url: "http://example.com/?secret=1" } },
          { name: "look", params: {} }
        ]
      }
      yield* agent
        .run("go")
        .pipe(
          Effect.provide(asks),
          Effect.provide(HttpTools.toolkit.toLayer({ fetch_url: () => Effect.die("fetched") })),
          Effect.provide(TestModel.layer([calls, "done"]))
        )
      assert.deepStrictEqual(names, ["fetch_url"])
    })
  )

  it.effect("can deny, and says which rule it was", () =>
    Effect.gen(function* () {
      const reach = AgentTool.fromFunction("reach", {
        description: "Reaches",
        hints: { readOnly: true },
        execute: () => "reached"
      })
      const agent = Agent.make("agent", { tools: [reach] })
      const { transcript } = yield* agent
        .result("go")
        .pipe(
          Effect.provide(Approvals.layerPolicy({ openWorld: "deny" })),
          Effect.provide(TestModel.layer([TestModel.toolCall("reach", {}), "done"]))
        )
      assert.include(JSON.stringify(transcript.content), "the policy forbids open-world tools")
    })
  )
})

describe("a floor", () => {
  const script = TestModel.layer([TestModel.toolCall("pay", { amount: 5 }), "done"], { unused: "ignore" })
  const lenient = Approvals.layerPolicy({ declared: "allow" })

  it.effect("is not lowered by an approver or a floor further in, which Layers otherwise replace", () =>
    Effect.gen(function* () {
      const denies = Approvals.floor({ destructive: "deny" })
      const allows = Approvals.floor({ destructive: "allow" })
      for (const [inner, outer, expected] of [
        [lenient, Approvals.layerPolicy({ destructive: "deny" }), [5]],
        [lenient, denies, []],
        [Approvals.layer(() => Effect.succeed(Approvals.approve)), denies, []],
        [Layer.mergeAll(lenient, allows), denies, []],
        [Layer.mergeAll(lenient, denies), allows, []],
        [Layer.mergeAll(denies, lenient), Layer.mergeAll(allows, denies), []]
      ] as const) {
        const { clerk, paid } = till()
        yield* Runner.provide(clerk, inner).run("go").pipe(Effect.provide(outer), Effect.provide(script))
        assert.deepStrictEqual(paid, [...expected])
      }
    })
  )

  it.effect("counts for an agent that is a service, built before", () =>
    Effect.gen(function* () {
      const { clerk, paid } = till()
      class Clerk extends Agent.Service<Clerk>()("app/Clerk", { tools: [AgentTool.fromRunner(clerk)] }) {}
      const program = Clerk.run("go").pipe(
        Effect.provide(Approvals.floor({ declared: "deny" })),
        Effect.provide(Clerk.layer.pipe(Layer.provide(lenient)))
      )
      yield* program.pipe(
        Effect.provide(
          TestModel.layer(
            [TestModel.toolCall("clerk", { input: "x" }), TestModel.toolCall("pay", { amount: 5 }), "inner", "outer"],
            { unused: "ignore" }
          )
        )
      )
      assert.deepStrictEqual(paid, [])
    })
  )

  it.effect("that asks is asked after the approver, and shown what the approver changed", () =>
    Effect.gen(function* () {
      const { clerk, paid } = till()
      const seen: Array<unknown> = []
      const floor = Approvals.floor({ destructive: "ask" }, ({ params }) =>
        Effect.sync(() => (seen.push(params), Approvals.approve))
      )
      const approver = Approvals.layer(() => Effect.succeed(Approvals.approveWith({ amount: 3 })))
      yield* clerk.run("go").pipe(Effect.provide(Layer.mergeAll(approver, floor)), Effect.provide(script))
      assert.deepStrictEqual([seen, paid], [[{ amount: 3 }], [3]])
    })
  )

  it.effect("that has no one to ask suspends the run, which then goes on with the decision", () =>
    Effect.gen(function* () {
      const { clerk, paid } = till()
      const floor = Approvals.floor({ destructive: "ask" })
      const both = Layer.mergeAll(lenient, floor)
      yield* Effect.gen(function* () {
        const error = yield* Effect.flip(clerk.run("go").pipe(Effect.provide(both)))
        assert.strictEqual(error._tag, "RunSuspended")
        const { transcript, waitingFor } = error as RunError.RunSuspended
        const answered = Runner.answer(transcript, { [waitingFor[0].id]: Approvals.approve })
        yield* clerk.run(answered).pipe(Effect.provide(both))
      }).pipe(Effect.provide(script))
      assert.deepStrictEqual(paid, [5])
    })
  )
})

describe("a request", () => {
  const server = (name: string) => () => {
    const made = new Server({ name, version: "1" }, { capabilities: { tools: {} } })
    made.setRequestHandler(ListToolsRequestSchema, () => ({
      tools: [{ name, inputSchema: { type: "object" as const } }]
    }))
    made.setRequestHandler(CallToolRequestSchema, () => ({ content: [] }))
    return made
  }

  onAsync.live("names the MCP server whose tool is called, and none for the program's own tools", () =>
    Effect.gen(function* () {
      const asked: Array<readonly [string, string | undefined]> = []
      const approver = Approvals.layerPolicy({ destructive: "ask" }, (request) => {
        asked.push([request.tool, request.server])
        assert.isTrue(Schema.is(Approvals.Request)(request))
        return Effect.succeed(Approvals.approve)
      })
      const own = AgentTool.fromFunction("own", { description: "Ours", execute: () => "ok" })
      const calls = { toolCalls: ["send", "own"].map((name) => ({ name, params: {} })) }
      yield* Agent.make("agent", { tools: [Mcp.tools(), own] })
        .run("go")
        .pipe(
          Effect.provide(approver),
          Effect.provide(Mcp.layer({ servers: { bank: { server: server("send") } } })),
          Effect.provide(TestModel.layer([calls, "done"]))
        )
      assert.deepStrictEqual(asked, [
        ["send", "bank"],
        ["own", undefined]
      ])
    })
  )
})
