/** Readers of events: text for people, and what may leave a server. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import { AiError } from "effect/ai"
import { Agent, AgentTool, Approvals, Chain, Gather, Prices, Router, RunEvent, Runner, TestModel } from "troupe"

const secret = "s3cr3t"
const look = AgentTool.fromFunction("look", {
  description: "Looks",
  parameters: Schema.Struct({ at: Schema.String }),
  needsApproval: true,
  execute: ({ at }) => `${secret} result at ${at}`
})
const clerk = Agent.make("clerk", { instructions: `${secret} instructions`, tools: [look], retry: "none" })
const calling: TestModel.Turn = {
  reasoning: `${secret} thought`,
  text: "One moment.",
  ...TestModel.toolCall("look", { at: `${secret} place` })
}
const yes = Approvals.layer(() => Effect.succeed(Approvals.approve))
const rendered = <E, R>(events: Stream.Stream<RunEvent.RunEvent, E, R>) =>
  Effect.map(Stream.runCollect(RunEvent.render(events)), (pieces) => pieces.join(""))
const clientEvents = <I, A, E, R>(runner: Runner.Runner<I, A, E, R>, input: I) => {
  const events: Array<RunEvent.Client> = []
  const keep = Runner.onEvent(runner, (event) =>
    Effect.sync(() => {
      const one = RunEvent.toClient(event)
      if (one !== undefined) events.push(one)
    })
  )
  return Effect.map(Effect.exit(keep.run(input)), () => events)
}

describe("events as text for people", () => {
  it.effect("are lines for what happens, and the answer between them", () =>
    Effect.gen(function* () {
      const text = yield* rendered(clerk.stream("go"))
      assert.match(
        text,
        /^One moment\.\nclerk: calls look\nclerk: asks whether to call look\nIt is there\.\nclerk: done in \d\.\d s, 30 tokens\n$/
      )
    }).pipe(Effect.provide(yes), Effect.provide(TestModel.layer([calling, { text: ["It is ", "there."] }])))
  )

  it.effect("show the output of a workflow, and take out control characters", () =>
    Effect.gen(function* () {
      const chain = Chain.make("chain", [Agent.make("writer", {})])
      const text = yield* rendered(chain.stream("go"))
      assert.match(text, /^writer: started\nwriter: done in .*\nred\nchain: done in .*\n$/)
    }).pipe(Effect.provide(TestModel.layer([{ text: ["\u001b[3", "1mred"] }])))
  )

  it.effect("begin a new attempt on a line of its own", () =>
    Effect.gen(function* () {
      const patient = Runner.withRetry(clerk, { times: 1 })
      const text = yield* rendered(patient.stream("go"))
      assert.match(text, /^half\nclerk: tries again \(.*\)\nwhole\nclerk: done in/)
    }).pipe(
      Effect.provide(
        TestModel.layer([{ text: "half", chunk: 2, after: 2, fail: new AiError.QuotaExhaustedError({}) }, "whole"])
      )
    )
  )
})

describe("the text of a stream", () => {
  const say = (name: string) => Agent.make(name, {})
  const pipeline = Chain.make("pipeline", [say("researcher"), Chain.make("desk", [say("writer")]), say("writer")])
  const textOf = (options?: Parameters<typeof RunEvent.text>[1]) =>
    RunEvent.text(pipeline.stream("go"), options).pipe(
      Stream.mkString,
      Effect.provide(TestModel.layer(["facts ", "draft ", "text"]))
    )

  it.effect("is that of the root, of a member by its name, or of the run with a path", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* textOf(), "")
      assert.strictEqual(yield* textOf({ of: "researcher" }), "facts ")
      assert.strictEqual(yield* textOf({ of: "writer" }), "draft text")
      assert.strictEqual(yield* textOf({ of: ["pipeline", "writer"] }), "text")
      assert.strictEqual(yield* textOf({ of: "pipeline" }), "")
    })
  )
})

describe("what may leave a server", () => {
  it.effect("is text, names and states of tool calls, usage, and the end", () =>
    Effect.gen(function* () {
      const events = yield* clientEvents(clerk, "go")
      assert.deepStrictEqual(
        events.map((event) => (event._tag === "Tool" ? event.state : event._tag)),
        ["Started", "Text", "called", "waiting", "approved", "completed", "Used", "Text", "Used", "Completed"]
      )
      const encode = Schema.encodeSync(Schema.fromJsonString(RunEvent.Client))
      const lines = events.map((event) => encode(event))
      assert.notInclude(lines.join("\n"), secret)
      assert.deepStrictEqual(
        lines.map((line) => Schema.decodeSync(Schema.fromJsonString(RunEvent.Client))(line)._tag),
        events.map(({ _tag }) => _tag)
      )
      const last = events.at(-1)!
      assert.deepStrictEqual(
        last._tag === "Completed" ? [last.output, last.steps, last.usage.outputTokens.total] : last,
        ["Done.", 2, 10]
      )
    }).pipe(Effect.provide(yes), Effect.provide(TestModel.layer([calling, "Done."])))
  )

  it.effect("is more where a server says so: arguments, results, reasoning, nested runs, messages", () =>
    Effect.gen(function* () {
      const desk = Router.make("desk", { clerk })
      const seen = yield* Stream.runCollect(
        Stream.map(
          desk.stream("go"),
          RunEvent.toClientWith({ expose: ["arguments", "results", "reasoning", "nested", "errors"] })
        )
      ).pipe(Effect.catch(() => Effect.succeed([])))
      const events = seen.flatMap((event) => (event === undefined ? [] : [event]))
      const encode = Schema.encodeSync(Schema.fromJsonString(RunEvent.Client))
      const decode = Schema.decodeSync(Schema.fromJsonString(RunEvent.Client))
      assert.deepStrictEqual(
        events.map((event) => decode(encode(event))._tag),
        events.map(({ _tag }) => _tag)
      )
      const of = (tag: RunEvent.Client["_tag"]) => events.filter(({ _tag }) => _tag === tag)
      const [thought] = of("Reasoning")
      assert.deepStrictEqual(thought?._tag === "Reasoning" && [thought.delta, thought.path], [
        `${secret} thought`,
        ["desk", "clerk"]
      ])
      const tools = of("Tool").map((event) => (event._tag === "Tool" ? [event.params, event.result] : []))
      assert.deepStrictEqual(tools[0], [{ at: `${secret} place` }, undefined])
      assert.deepStrictEqual(tools.at(-1), [undefined, `${secret} result at ${secret} place`])
      assert.deepStrictEqual(
        of("Started").map(({ path }) => path?.length ?? 1),
        [1, 2, 2]
      )
    }).pipe(
      Effect.provide(yes),
      Effect.provide(TestModel.layer([TestModel.json({ route: "clerk" }), calling, "Done."]))
    )
  )

  it.effect("tells runs of one path apart by their ids, where nested runs are exposed", () =>
    Effect.gen(function* () {
      const crew = Gather.map("crew", Agent.make("worker", {}))
      const seen = yield* Stream.runCollect(
        Stream.map(crew.stream(["a", "b"]), RunEvent.toClientWith({ expose: ["nested"] }))
      )
      const events = seen.flatMap((event) => (event === undefined ? [] : [event]))
      const started = events.flatMap((event) => (event._tag === "Started" ? [event] : []))
      const [root, ...workers] = started
      assert.isUndefined(root?.parentId)
      assert.deepStrictEqual(
        workers.map(({ parentId, path }) => [parentId, path]),
        [1, 2].map(() => [root?.runId, ["crew", "worker"]])
      )
      const ids = workers.map(({ runId }) => runId)
      assert.strictEqual(new Set(ids).size, 2)
      const texts = events.filter(({ _tag }) => _tag === "Text")
      assert.deepStrictEqual(new Set(texts.map(({ runId }) => runId)), new Set(ids))
    }).pipe(Effect.provide(TestModel.layer(() => "Done.")))
  )

  it.effect("has the cost of each step where the price of the model is known", () =>
    Effect.gen(function* () {
      const agent = Agent.make("agent", {})
      const costs = () =>
        Effect.map(clientEvents(agent, "go"), (events) =>
          events.flatMap((event) => (event._tag === "Used" ? [event.cost] : []))
        )
      assert.deepStrictEqual(yield* costs(), [undefined])
      const prices = Prices.layer({ "troupe-test:test": { input: 0, output: 200_000 } })
      // Five tokens of output, at 200,000 dollars for a million of them.
      assert.deepStrictEqual(yield* Effect.provide(costs(), prices), [1])
    }).pipe(Effect.provide(TestModel.layer(() => "Done.")))
  )

  describe("at the end of a run", () => {
    // Five tokens of output in each answer, at 200,000 dollars for a million of them.
    const prices = Prices.layer({ "troupe-test:test": { input: 0, output: 200_000 } })
    const usage = { inputTokens: { total: 1 }, outputTokens: { total: 5 } }
    const calls = (...names: ReadonlyArray<string>) => ({
      usage,
      toolCalls: names.map((name, index) => ({
        id: `c${index}`,
        name,
        params: name === "inner" ? { input: "help" } : {}
      }))
    })
    const model = TestModel.layer(({ prompt, tools }) =>
      prompt.content.some(({ role }) => role === "tool") || tools.length === 0
        ? { text: "Done.", usage }
        : calls(...tools)
    )
    const tool = (name: string, execute: () => Effect.Effect<string, string>, needsApproval = false) =>
      AgentTool.fromFunction(name, { description: "Does it", needsApproval, execute })
    const inner = Agent.make("inner", { description: "Helps" })
    const pay = tool("pay", () => Effect.succeed("paid"), true)
    const endOf = <E>(runner: Runner.Runner<string, unknown, E, never>, input = "go") =>
      Effect.map(clientEvents(runner, input), (events) => events.at(-1)!)
    const costIn = (event: RunEvent.Client) => ("cost" in event ? event.cost : undefined)

    it.effect("has the cost of a step whose tools wait, and of the runs in it", () =>
      Effect.gen(function* () {
        const clerk = Agent.make("clerk", { tools: [AgentTool.fromRunner(inner), pay] })
        const end = yield* endOf(Runner.provide(clerk, model))
        assert.deepStrictEqual([end._tag, costIn(end)], ["Suspended", 2])
      }).pipe(Effect.provide(prices))
    )

    it.effect("has the cost of a step that is interrupted in its tools", () =>
      Effect.gen(function* () {
        const late = Agent.make("clerk", { tools: [tool("wait", () => Effect.never)] })
        const fiber = yield* Effect.forkChild(endOf(Runner.withTimeout(Runner.provide(late, model), "1 second")))
        yield* TestClock.adjust("2 seconds")
        const timedOut = yield* Fiber.join(fiber)
        assert.deepStrictEqual([timedOut._tag, costIn(timedOut)], ["Failed", 1])
      }).pipe(Effect.provide(prices))
    )

    it.effect("is without a cost where the price of a part is not known, in a tree of runs too", () =>
      Effect.gen(function* () {
        const free = Prices.layer({ "troupe-test:test": { input: 0, output: 0 } })
        const both = Chain.make("both", [Runner.provide(inner, free), inner])
        const end = yield* endOf(Runner.provide(both, model))
        assert.deepStrictEqual([end._tag, costIn(end)], ["Completed", undefined])
        const known = yield* Effect.provide(endOf(Runner.provide(both, model)), prices)
        assert.deepStrictEqual(costIn(known), 1)
      })
    )
  })

  it.effect("leaves out nested runs and the model's words on a choice", () =>
    Effect.gen(function* () {
      const desk = Router.make("desk", { clerk })
      const events = yield* clientEvents(desk, "go")
      assert.deepStrictEqual(
        events.map(({ _tag }) => _tag),
        ["Started", "Routed", "Completed"]
      )
    }).pipe(Effect.provide(TestModel.layer([TestModel.json({ route: "clerk" }), "Done."])))
  )

  it.effect("says what kind of failure it was, and nothing for operators", () =>
    Effect.gen(function* () {
      const events = yield* clientEvents(clerk, "go")
      const last = events.at(-1)!
      assert.strictEqual(last._tag === "Failed" ? last.error : last, "ModelError")
      assert.notInclude(JSON.stringify(events), secret)
      const odd = yield* clientEvents(Runner.make("odd", { run: () => Effect.fail(secret) }), undefined)
      const failed = odd.at(-1)!
      assert.strictEqual(failed._tag === "Failed" ? failed.error : failed, "Error")
      assert.notInclude(JSON.stringify(odd), secret)
    }).pipe(
      Effect.provide(TestModel.layer([{ fail: new AiError.InvalidRequestError({ description: `${secret} advice` }) }]))
    )
  )

  it.effect("says which text is void", () =>
    Effect.gen(function* () {
      const events = yield* Stream.runCollect(
        Stream.map(Runner.withRetry(clerk, { times: 1 }).stream("go"), RunEvent.toClient)
      )
      const tags = events.flatMap((event) => (event === undefined ? [] : [event._tag]))
      assert.deepStrictEqual(tags, ["Started", "Text", "Discarded", "Text", "Used", "Completed"])
      const discarded = events.find((event) => event?._tag === "Discarded")
      const first = events.find((event) => event?._tag === "Text")
      assert.isTrue(discarded?._tag === "Discarded" && first !== undefined && discarded.discardFrom <= first.seq)
    }).pipe(
      Effect.provide(TestModel.layer([{ text: "half", after: 1, fail: new AiError.QuotaExhaustedError({}) }, "whole"]))
    )
  )
})
