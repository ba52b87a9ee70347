/** Traces of durable runs. */
import { expect, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Metric, Schema, Stream } from "effect"
import * as Agent from "troupe/Agent"
import * as AgentTool from "troupe/AgentTool"
import * as Approvals from "troupe/Approvals"
import * as Chain from "troupe/Chain"
import * as Durable from "troupe/Durable"
import * as Eval from "troupe/Eval"
import * as Runner from "troupe/Runner"
import * as Sqlite from "troupe/Sqlite"
import * as Step from "troupe/Step"
import * as TestModel from "troupe/TestModel"
import * as TraceStore from "troupe/TraceStore"
import { engine, eventually } from "../../support/durable.ts"

const pay = AgentTool.fromFunction("pay", { description: "Pays", needsApproval: true, execute: () => "paid" })
const after = Runner.make("after", {
  run: (text: string) => Effect.map(Effect.orDie(Step.signal("go", Schema.String)), (go) => `${text} ${go}`)
})
const model = TestModel.layer([TestModel.toolCall("pay", {}), { text: ["one ", "two"] }])
const runs = Durable.make(Chain.make("order", [Agent.make("clerk", { tools: [pay] }), after]), {
  name: "orders",
  version: "1",
  key: String
})
const waitsFor = (kind: string) =>
  eventually(
    Effect.map(
      Effect.all([Durable.status(runs, "a"), Durable.pending(runs, "a")]),
      ([status, waits]) => status === "suspended" && waits[0]?.kind === kind
    )
  )

it.live.each([
  ["memory", TraceStore.layerMemory],
  ["SQLite", TraceStore.layerSql.pipe(Layer.provide(Sqlite.layer({ filename: ":memory:" })))]
] as const)("a run that sleeps and goes on is one trace, of what happened, in %s", ([, store]) =>
  Effect.gen(function* () {
    const recorded = Effect.gen(function* () {
      const fiber = yield* Effect.forkChild(runs.run("a"))
      yield* waitsFor("approval")
      const [waiting] = yield* Durable.pending(runs, "a")
      yield* Durable.decide(runs, "a", waiting!.id, Approvals.approve)
      yield* waitsFor("signal")
      yield* Durable.signal(runs, "a", "go", "gone")
      expect(yield* Fiber.join(fiber)).toBe("one two gone")
      return yield* Stream.runCollect(Durable.events(runs, "a"))
    })
    const happened = yield* recorded.pipe(
      Effect.provide(Layer.provideMerge(engine(":memory:"), TraceStore.record), { local: true })
    )
    const traced = (yield* TraceStore.runs()).find(({ steps }) => steps > 0)!
    expect(traced).toMatchObject({ status: "completed", steps: 2, events: happened.length })
    expect(yield* Stream.runCollect(TraceStore.events(traced.runId))).toEqual(happened)
  }).pipe(Effect.provide(Layer.merge(store, model)))
)

it.live("a run that is asked for twice is one trace, and is sampled once", () =>
  Effect.gen(function* () {
    const sampled: Array<string> = []
    const sampling = Eval.sampling({
      fraction: 1,
      scorers: [() => true],
      onScored: ({ runner }) => Effect.sync(() => sampled.push(runner))
    })
    const reports = Durable.make(Agent.make("clerk", {}), { name: "reports", version: "1", key: String })
    yield* Effect.andThen(reports.run("a"), reports.run("a")).pipe(
      Effect.provide(Layer.provideMerge(engine(":memory:"), Layer.merge(TraceStore.record, sampling)), { local: true })
    )
    expect(sampled).toEqual(["reports"])
    expect((yield* TraceStore.runs()).map(({ steps }) => steps)).toEqual([1])
  }).pipe(Effect.provide([TraceStore.layerMemory, TestModel.layer(["done"])]))
)

it.live("metrics count what happened in a run that goes on once", () =>
  Effect.gen(function* () {
    const find = AgentTool.fromFunction("find", { description: "Finds", execute: () => "found" })
    const helper = Agent.make("helper", { description: "Helps", tools: [find] })
    const clerk = Agent.make("clerk", { tools: [AgentTool.fromRunner(helper), pay] })
    const orders = Durable.make(Chain.make("order", [clerk, after]), { name: "orders", version: "1", key: String })
    const fiber = yield* Effect.forkChild(orders.run("a"))
    yield* waitsFor("approval")
    const [waiting] = yield* Durable.pending(orders, "a")
    yield* Durable.decide(orders, "a", waiting!.id, Approvals.approve)
    yield* waitsFor("signal")
    yield* Durable.signal(orders, "a", "go", "gone")
    expect(yield* Fiber.join(fiber)).toBe("done gone")
    const counts = (yield* Metric.snapshot).flatMap(({ attributes, id, state }) => {
      const of = attributes?.["gen_ai.agent.name"] ?? attributes?.["gen_ai.tool.name"]
      return of === undefined || !("sum" in state) ? [] : [`${id.replace("gen_ai.", "")} ${of} ${state.count}`]
    })
    expect(counts.toSorted()).toEqual(
      [
        ...["find", "helper", "pay"].map((tool) => `execute_tool.duration ${tool} 1`),
        ...["clerk", "helper", "orders"].map((agent) => `invoke_agent.duration ${agent} 1`),
        ...["inference_calls", "tool_calls"].flatMap((what) =>
          ["clerk", "helper"].map((agent) => `invoke_agent.${what} ${agent} 1`)
        )
      ].toSorted()
    )
  }).pipe(
    Effect.provide([
      engine(":memory:"),
      TestModel.layer([
        TestModel.toolCall("helper", { input: "find it" }),
        TestModel.toolCall("find", {}),
        "found",
        TestModel.toolCall("pay", {}),
        "done"
      ])
    ]),
    Effect.provideService(Metric.MetricRegistry, new Map())
  )
)

it.live.each([
  ["memory", TraceStore.layerMemory],
  ["SQLite", TraceStore.layerSql.pipe(Layer.provide(Sqlite.layer({ filename: ":memory:" })))]
] as const)("a run under a key of which an earlier run was removed has a trace of its own, in %s", ([, store]) =>
  Effect.gen(function* () {
    const reports = Durable.make(Agent.make("clerk", {}), { name: "reports", version: "1", key: String })
    const twice = Effect.gen(function* () {
      yield* reports.run("a")
      yield* eventually(Effect.map(Durable.prune(0), (removed) => removed === 1))
      expect(yield* reports.run("a")).toBe("second")
      return yield* Stream.runCollect(Durable.events(reports, "a"))
    })
    const happened = yield* twice.pipe(
      Effect.provide(Layer.provideMerge(engine(":memory:"), TraceStore.record), { local: true })
    )
    const [traced, earlier, ...others] = (yield* TraceStore.runs()).filter(({ steps }) => steps > 0)
    expect(others).toEqual([])
    expect(traced).toMatchObject({ status: "completed", steps: 1, events: happened.length })
    expect(yield* Stream.runCollect(TraceStore.events(traced!.runId))).toEqual(happened)
    // That of the earlier one stays as it was.
    expect(earlier).toMatchObject({ status: "completed", steps: 1, events: happened.length })
  }).pipe(Effect.provide(Layer.merge(store, TestModel.layer(["first", "second"]))))
)
