import { assert, describe, it } from "@effect/vitest"
import { Cause, Context, Effect, Exit, Fiber, Layer, Ref, Schedule, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import { AiError, Tool, Toolkit } from "effect/ai"
import { Agent, AgentTool, Chain, Parallel, Router, RunEvent, Runner, SyncEdge, TestModel } from "troupe"
import { checkGrammar, collect, effective } from "./support/grammar.ts"

const double = Runner.make("double", { description: "Doubles", run: (n: number) => Effect.succeed(n * 2) })

describe("a function made into a runner", () => {
  it.effect("runs, emits, and returns its result", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* double.run(21), 42)
      const { events } = yield* collect(double, 21)
      assert.deepStrictEqual(
        events.map((event) => event._tag),
        ["RunStarted", "RunCompleted"]
      )
      const result = yield* double.result(21)
      assert.deepStrictEqual([result.output, result.steps, result.transcript.content.length], [42, 0, 0])
    })
  )

  it.effect("has the runs inside of it as its own: paths, bill, transcripts in the order they began", () =>
    Effect.gen(function* () {
      const writer = Agent.make("writer", {})
      const pair = Runner.make("pair", {
        run: (topic: string) => Effect.all([writer.run(`${topic} 1`), Runner.named(writer, "second").run(`${topic} 2`)])
      })
      const { events, exit } = yield* collect(pair, "go")
      assert.isTrue(Exit.isSuccess(exit))
      assert.deepStrictEqual(
        events.filter((event) => event._tag === "RunStarted").map((event) => event.path.join(" > ")),
        ["pair", "pair > writer", "pair > second"]
      )
      const result = yield* pair.result("go")
      assert.deepStrictEqual([result.steps, result.usage.outputTokens.total], [2, 10])
      assert.deepStrictEqual(
        result.transcript.content.map((message) => message.role),
        ["user", "assistant", "user", "assistant"]
      )
    }).pipe(Effect.provide(TestModel.layer(() => "text")))
  )

  it.effect("encodes its output by a schema, and passes it on without one", () =>
    Effect.gen(function* () {
      const outputOf = <A>(runner: Runner.Runner<void, A, never, never>) =>
        Effect.map(collect(runner, undefined), ({ events }) => {
          const last = events.at(-1)
          return last?._tag === "RunCompleted" ? last.output : last
        })
      const at = new Date("2026-01-02")
      assert.strictEqual(
        yield* outputOf(Runner.make("a", { output: Schema.Date, run: () => Effect.succeed(at) })),
        at.toISOString()
      )
      const cyclic: Record<string, unknown> = {
        big: 1n,
        at,
        none: undefined,
        map: new Map([["k", new Set([1])]]),
        bytes: new Uint8Array([1])
      }
      cyclic["self"] = cyclic
      assert.deepStrictEqual(yield* outputOf(Runner.make("b", { run: () => Effect.succeed(cyclic) })), {
        big: "1",
        at: at.toISOString(),
        map: [["k", [1]]],
        bytes: "AQ==",
        self: "[circular]"
      })
    })
  )

  it.effect("ends with its failure, also one that cannot be written as text", () =>
    Effect.gen(function* () {
      const failure: unknown = Object.create(null)
      const { exit } = yield* collect(Runner.make("a", { run: () => Effect.fail(failure) }), undefined)
      assert.isTrue(Exit.isFailure(exit) && Cause.squash(exit.cause) === failure)
    })
  )
})

describe("combinators", () => {
  it.effect("change input and output, and stay one run", () =>
    Effect.gen(function* () {
      const runner = double.pipe(
        Runner.map((n) => n + 1),
        Runner.mapEffect((n) => Effect.succeed(`${n}`)),
        Runner.mapInput((text: string) => text.length),
        Runner.named("changed"),
        Runner.described("Counts")
      )
      assert.deepStrictEqual([runner.name, runner.description, yield* runner.run("four")], ["changed", "Counts", "9"])
      const { events } = yield* collect(runner, "four")
      assert.strictEqual(events.length, 2)
    })
  )

  it.effect("provide services for the runner alone, and release them with each run", () =>
    Effect.gen(function* () {
      class Tone extends Context.Service<Tone, string>()("test/Tone") {}
      const log: Array<string> = []
      const ToneLive = Layer.effect(
        Tone,
        Effect.acquireRelease(
          Effect.sync(() => (log.push("acquire"), "kind")),
          () => Effect.sync(() => log.push("release"))
        )
      )
      const runner = Runner.make("tone", { run: (_input: void) => Effect.map(Tone, (tone) => tone) }).pipe(
        Runner.provide(ToneLive)
      )
      assert.strictEqual(yield* runner.run(), "kind")
      yield* runner.run()
      assert.deepStrictEqual(log, ["acquire", "release", "acquire", "release"])
    })
  )

  it.effect("retry with the whole of a conversation that can be read once", () =>
    Effect.gen(function* () {
      function* conversation() {
        yield { role: "user", content: "one" } as const
        yield { role: "user", content: "two" } as const
      }
      const flaky = Runner.withRetry(Agent.make("flaky", { retry: "none" }), { times: 1 })
      assert.strictEqual(yield* flaky.run(conversation()), "done")
      const [, again] = yield* (yield* TestModel.TestModel).calls
      assert.deepStrictEqual(
        again!.prompt.content.map((message) => message.role),
        ["user", "user"]
      )
    }).pipe(Effect.provide(TestModel.layer([{ fail: new AiError.RateLimitError({}) }, "done"])))
  )

  it.effect("retry a whole run by a schedule, and say what is void", () =>
    Effect.gen(function* () {
      const tries = yield* Ref.make(0)
      const writer = Agent.make("writer", { retry: "none" })
      const flaky = Runner.make("flaky", {
        run: (input: string) =>
          Effect.gen(function* () {
            const text = yield* writer.run(input)
            return (yield* Ref.updateAndGet(tries, (n) => n + 1)) < 3 ? yield* Effect.fail("not yet") : text
          })
      }).pipe(Runner.withRetry({ schedule: Schedule.spaced("1 minute"), while: (error) => error === "not yet" }))
      const fiber = yield* Effect.forkChild(collect(flaky, "go"))
      yield* TestClock.adjust("5 minutes")
      const { events, exit } = yield* Fiber.join(fiber)
      assert.isTrue(Exit.isSuccess(exit))
      assert.deepStrictEqual(
        events.flatMap((event) => (event._tag === "RunRetried" ? [event.attempt] : [])),
        [2, 3]
      )
      const kept = effective(events).filter((event) => event.path.length === 1)
      assert.deepStrictEqual(
        kept.map((event) => event._tag),
        ["RunStarted", "RunCompleted"]
      )
      const last = events.at(-1)
      // What failed attempts spent stays on the bill.
      assert.strictEqual(last?._tag === "RunCompleted" ? last.spent.steps : 0, 3)
    }).pipe(Effect.provide(TestModel.layer(() => "text")))
  )

  it.effect("time out with what was spent", () =>
    Effect.gen(function* () {
      const slow = Runner.withTimeout(Runner.make("slow", { run: (_input: void) => Effect.never }), "1 minute")
      const fiber = yield* Effect.forkChild(Effect.flip(slow.run()))
      yield* TestClock.adjust("1 minute")
      const error = yield* Fiber.join(fiber)
      assert.deepStrictEqual([error._tag, error.path, error.durationMs], ["RunTimedOut", ["slow"], 60_000])
    })
  )

  it.effect("emit everything to observers, also of a plain run, in order", () =>
    Effect.gen(function* () {
      const events: Array<RunEvent.RunEvent> = []
      const writer = Agent.make("writer", {}).pipe(
        Runner.onEvent((event) => Effect.sync(() => void events.push(event)))
      )
      yield* Runner.make("outer", { run: (_input: void) => writer.run("go") }).run()
      assert.deepStrictEqual(
        events.map((event) => `${event.path.join(">")} ${event._tag}`),
        [
          "outer>writer RunStarted",
          "outer>writer StepStarted",
          "outer>writer TextDelta",
          "outer>writer StepCompleted",
          "outer>writer RunCompleted"
        ]
      )
    }).pipe(Effect.provide(TestModel.layer(["text"])))
  )
})

describe("an agent as a tool", () => {
  it.effect("fails as a result for the model, or fails the caller, as asked", () =>
    Effect.gen(function* () {
      const broken = Runner.make("broken", {
        description: "Breaks",
        run: (_input: string) => Effect.fail(new Error("no luck"))
      })
      const soft = Agent.make("soft", { tools: [AgentTool.fromRunner(broken)] })
      assert.strictEqual(yield* soft.run("go"), "done")
      const hard = Agent.make("hard", { tools: [AgentTool.fromRunner(broken, { failureMode: "error" })] })
      const error = yield* Effect.flip(hard.run("go"))
      assert.strictEqual(error._tag, "ToolError")
      assert.include(error.message, "no luck")
    }).pipe(
      Effect.provide(
        TestModel.layer([
          TestModel.toolCall("broken", { input: "x" }),
          "done",
          TestModel.toolCall("broken", { input: "x" })
        ])
      )
    )
  )

  it.effect("takes typed parameters and gives its typed output", () =>
    Effect.gen(function* () {
      const tool = AgentTool.fromRunner(double, {
        name: "twice",
        parameters: Schema.Struct({ n: Schema.Finite }),
        input: ({ n }) => n
      })
      const { events } = yield* collect(Agent.make("agent", { tools: [tool] }), "go")
      const completed = events.find((event) => event._tag === "ToolCompleted")
      assert.strictEqual(completed?._tag === "ToolCompleted" ? completed.result : undefined, 8)
    }).pipe(Effect.provide(TestModel.layer([TestModel.toolCall("twice", { n: 4 }), "done"])))
  )

  it("is described by its members when it is a workflow without a description", () => {
    const billing = Agent.make("billing", { description: "Invoices" })
    const desk = Router.make("desk", { billing, rest: Agent.make("rest", {}) }, { fallback: "rest" })
    assert.strictEqual(AgentTool.fromRunner(desk).tool.description, "A router of: billing (Invoices), rest")
    assert.strictEqual(AgentTool.fromRunner(Runner.described(desk, "The desk")).tool.description, "The desk")
  })
})

describe("under Effect.runSync without the sync edge", () => {
  const Add = Tool.make("add", { parameters: Schema.Struct({ a: Schema.Finite }), success: Schema.Finite })
  const tools = Toolkit.make(Add)
  const agent = Agent.make("agent", { toolkit: tools })
  const here = Layer.merge(
    tools.toLayer({ add: ({ a }) => Effect.succeed(a + 1) }),
    TestModel.layer((call) => (call.prompt.content.length > 1 ? "done" : TestModel.toolCall("add", { a: 1 })))
  )

  it("a run that waits for nothing outside of itself ends, handlers in toolkits and branches included", () => {
    const panel = Parallel.make("panel", { agent, other: agent })
    const settled = { agent: "done", other: "done" }
    assert.deepStrictEqual(Effect.runSync(Effect.provide(panel.run("go"), here)), settled)
    assert.deepStrictEqual(Effect.runSync(Effect.provide(panel.result("go"), here)).output, settled)
    const events = Effect.runSync(Effect.provide(Stream.runCollect(agent.stream("go")), here))
    checkGrammar(events)
    assert.strictEqual(events.at(-1)?._tag, "RunCompleted")
  })

  it("a sync edge that is provided within it works", () => {
    const waits = Runner.make("waits", {
      run: (text: string) => Effect.as(Effect.sleep(5), text).pipe(Effect.provide(SyncEdge.layer))
    })
    assert.strictEqual(Effect.runSync(Chain.make("both", [waits, waits]).run("hi")), "hi")
  })
})

describe("events", () => {
  it.effect("carry the path, the step and the time, and go through JSON", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(5000)
      const { events } = yield* collect(Agent.make("agent", {}), "go")
      for (const event of events) {
        assert.deepStrictEqual([event.v, event.path, event.at], [2, ["agent"], 5000])
        if ("step" in event) assert.strictEqual(event.step, 1)
      }
      const wrong = yield* Effect.flip(RunEvent.fromJsonLine('{"_tag":"RunStarted","v":2}'))
      assert.strictEqual(wrong._tag, "SchemaError")
    }).pipe(Effect.provide(TestModel.layer(["text"])))
  )

  it.effect("give the text of the root alone", () =>
    Effect.gen(function* () {
      const inner = Agent.make("inner", { description: "Helps" })
      const outer = Agent.make("outer", { tools: [AgentTool.fromRunner(inner)] })
      const pieces = yield* Stream.runCollect(RunEvent.text(outer.stream("go")))
      assert.strictEqual(pieces.join(""), "outer text")
    }).pipe(
      Effect.provide(
        TestModel.layer([TestModel.toolCall("inner", { input: "x" }), "inner text", { text: "outer text", chunk: 3 }])
      )
    )
  )

  it("are refused by the grammar when they are wrong", () => {
    const event = (seq: number, _tag: string, more: object = {}) =>
      ({ _tag, v: 1, seq, runId: "r", path: ["a"], at: 0, ...more }) as never
    const spent = { usage: {}, steps: 0, text: "", toolCalls: [] }
    checkGrammar([event(0, "RunStarted"), event(1, "RunCompleted", { spent })])
    for (const wrong of [
      [event(0, "RunStarted")],
      [event(0, "RunStarted"), event(2, "RunCompleted", { spent })],
      [event(0, "RunStarted"), event(1, "TextDelta", { step: 1 }), event(2, "RunCompleted", { spent })],
      [event(0, "RunStarted"), event(1, "RunCompleted", { spent }), event(2, "RunFailed", { spent })]
    ]) {
      assert.throws(() => checkGrammar(wrong))
    }
  })
})
