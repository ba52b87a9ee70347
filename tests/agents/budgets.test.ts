import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Schema } from "effect"
import { TestClock } from "effect/testing"
import {
  Agent,
  AgentTool,
  Chain,
  Middleware,
  Parallel,
  Prices,
  RunError,
  type RunEvent,
  Runner,
  TestModel
} from "troupe"
import { collect } from "../support/grammar.ts"

/** A turn that uses `total` tokens of output and none of input. */
const tokens = (total: number) => ({ inputTokens: { total: 0 }, outputTokens: { total } })
const says = (text: string, total: number) => ({ text, usage: tokens(total) })
const calls = (total: number, ...names: ReadonlyArray<string>) => ({
  toolCalls: names.map((name, at) => ({ id: `${name}-${at}`, name, params: name === "help" ? { input: "go" } : {} })),
  usage: tokens(total)
})
const look = AgentTool.fromFunction("look", { description: "Looks", execute: () => "seen" })

const outputIn = (events: ReadonlyArray<RunEvent.RunEvent>) => {
  const last = events.at(-1)!
  return last._tag === "RunCompleted" ? last.output : undefined
}

const exceeded = <A, E>(exit: Exit.Exit<A, E>): RunError.BudgetExceeded => {
  const error = Exit.isFailure(exit) ? exit.cause.reasons.find((reason) => reason._tag === "Fail")?.error : undefined
  assert.instanceOf(error, RunError.BudgetExceeded)
  return error as RunError.BudgetExceeded
}

describe("a budget", () => {
  it.effect("of tokens ends the run whose call went beyond it", () =>
    Effect.gen(function* () {
      const limited = Runner.withBudget(Agent.make("desk", { tools: [look] }), { tokens: 250 })
      const { events, exit } = yield* collect(limited, "go")
      const error = exceeded(exit)
      assert.deepInclude(error, { limit: "tokens", allowed: 250, used: 300, path: ["desk"], by: ["desk"] })
      assert.strictEqual(error.spent.usage.outputTokens.total, 300)
      assert.include(error.message, '"desk" has a budget of 250 tokens, and it is used up (used: 300 tokens)')
      assert.strictEqual(events.at(-1)!._tag, "RunFailed")
    }).pipe(Effect.provide(TestModel.layer([calls(100, "look"), calls(100, "look"), calls(100, "look")])))
  )

  it.effect("that is not used up changes nothing", () =>
    Effect.gen(function* () {
      const agent = Agent.make("desk", { tools: [look] })
      const limited = agent.pipe(Runner.withBudget({ tokens: 200, cost: 1, steps: 2, toolCalls: 1, time: "1 minute" }))
      const script = [calls(100, "look"), says("done", 100)]
      const kept = Prices.layer({ test: { input: 1, output: 1 } })
      const tags = (runner: typeof limited) =>
        Effect.map(collect(runner, "go"), ({ events }) =>
          events.map(({ runId: _id, at: _at, ...event }) => ({ ...event, durationMs: 0 }))
        ).pipe(Effect.provide(TestModel.layer(script)), Effect.provide(kept))
      assert.deepStrictEqual(yield* tags(limited), yield* tags(agent))
    })
  )

  it.effect("of steps and of tool calls is never exceeded", () =>
    Effect.gen(function* () {
      let made = 0
      const count = AgentTool.fromFunction("count", { description: "Counts", execute: () => ++made })
      const agent = Agent.make("desk", { tools: [count] })
      const script = TestModel.layer(() => calls(1, "count", "count"))
      const steps = exceeded(
        yield* Effect.exit(Runner.withBudget(agent, { steps: 3 }).run("go")).pipe(Effect.provide(script))
      )
      assert.deepStrictEqual([steps.limit, steps.used, steps.spent.steps, made], ["steps", 3, 3, 6])
      made = 0
      const made5 = yield* Effect.exit(Runner.withBudget(agent, { toolCalls: 5 }).run("go")).pipe(
        Effect.provide(script)
      )
      assert.deepInclude(exceeded(made5), { limit: "toolCalls", allowed: 5, used: 4 })
      // The calls of a step that do not all fit are not made.
      assert.strictEqual(made, 4)
    })
  )

  it.effect("says where a step asked for more calls than are left", () =>
    Effect.gen(function* () {
      const count = AgentTool.fromFunction("count", { description: "Counts", execute: () => 1 })
      const limited = Runner.withBudget(Agent.make("desk", { tools: [count] }), { toolCalls: 1 })
      const { message } = exceeded(yield* Effect.exit(limited.run("go")))
      assert.include(
        message,
        'of 1 tool call, and a step of "desk" asked for more than is left, so none of its calls was made (used: 0 tool calls)'
      )
    }).pipe(Effect.provide(TestModel.layer(() => calls(1, "count", "count"))))
  )

  it.effect("of time interrupts the run, and says so", () =>
    Effect.gen(function* () {
      let interrupted = false
      const slow = Runner.make("slow", {
        run: (_task: string) => Effect.onInterrupt(Effect.never, () => Effect.sync(() => (interrupted = true)))
      })
      const fiber = yield* Effect.forkChild(Effect.exit(Runner.withBudget(slow, { time: "2 minutes" }).run("go")))
      yield* TestClock.adjust("2 minutes")
      const error = exceeded(yield* Fiber.join(fiber))
      assert.deepStrictEqual([error.limit, error.allowed, interrupted], ["time", 120_000, true])
      assert.include(error.message, "a budget of 2m")
    })
  )

  it.effect("surfaces at the runner that has it, and interrupts the siblings of the run that went beyond it", () =>
    Effect.gen(function* () {
      let seen: unknown
      let interrupted = 0
      const hungry = Agent.make("hungry", {})
      const idle = Runner.make("idle", {
        run: (_task: string) => Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted++))
      })
      const inner = Runner.make("inner", {
        run: (input: string) =>
          Effect.onExit(Parallel.make("both", { hungry, idle }).run(input), (exit) => Effect.sync(() => (seen = exit)))
      })
      const { events, exit } = yield* collect(Runner.withBudget(inner, { tokens: 100 }), "go")
      const error = exceeded(exit)
      assert.deepStrictEqual([error.path, error.by], [["inner"], ["inner", "both", "hungry"]])
      assert.include(error.message, '"inner > both > hungry" used it up')
      assert.strictEqual(interrupted, 1)
      // Inside of it is an interruption.
      assert.isTrue(Exit.isFailure(seen as Exit.Exit<unknown>) && Exit.hasInterrupts(seen as Exit.Exit<unknown>))
      assert.deepStrictEqual(
        events.flatMap((event) => (event._tag === "RunInterrupted" ? [event.path.at(-1)] : [])).toSorted(),
        ["both", "hungry", "idle"]
      )
    }).pipe(Effect.provide(TestModel.layer([says("much", 101)])))
  )

  it.effect("inside of another one is bounded by both", () =>
    Effect.gen(function* () {
      const help = Runner.withBudget(Agent.make("help", { description: "Helps", tools: [look] }), { tokens: 100 })
      const desk = Agent.make("desk", { tools: [AgentTool.fromRunner(help)] })
      const script = TestModel.layer(({ prompt }) => {
        const text = JSON.stringify(prompt.content)
        if (text.includes("a budget of 100 tokens")) return says("done", 1)
        return text.includes("start") ? calls(1, "help") : calls(60, "look")
      })
      // The inner one is used up: the model of the outer agent sees the failure.
      assert.strictEqual(
        yield* Runner.withBudget(desk, { tokens: 1000 }).run("start").pipe(Effect.provide(script)),
        "done"
      )
      // The outer one is used up first: it fails, and the inner one is interrupted.
      const error = exceeded(
        yield* Effect.exit(Runner.withBudget(desk, { tokens: 50 }).run("start")).pipe(Effect.provide(script))
      )
      assert.deepStrictEqual([error.path, error.by, error.allowed], [["desk"], ["desk", "help"], 50])
    })
  )

  it.effect("of cost counts by prices, and refuses a model whose price is not known", () =>
    Effect.gen(function* () {
      const limited = Runner.withBudget(Agent.make("desk", { tools: [look] }), { cost: 0.25 })
      const run = Effect.exit(limited.run("go")).pipe(Effect.provide(TestModel.layer(() => calls(1000, "look"))))
      const refused = exceeded(yield* run)
      assert.deepStrictEqual([refused.unpriced, refused.spent.steps], ["troupe-test:test", 1])
      assert.include(refused.message, 'Prices.layer({ "troupe-test:test": { input, output } })')
      const error = exceeded(yield* Effect.provide(run, Prices.layer({ "troupe-test:*": { input: 0, output: 100 } })))
      assert.deepStrictEqual([error.limit, error.allowed, error.spent.steps], ["cost", 0.25, 3])
      assert.closeTo(error.used, 0.3, 1e-9)
      assert.strictEqual(error.cost, error.used)
    })
  )

  it.effect("lets calls at once begin only while what is set aside for them fits", () =>
    Effect.gen(function* () {
      const workers = Object.fromEntries(Array.from({ length: 12 }, (_, at) => [`w${at}`, Agent.make(`w${at}`, {})]))
      const limited = Runner.withBudget(Parallel.make("all", workers), { tokens: 1000 })
      const fiber = yield* Effect.forkChild(Effect.exit(limited.run("go")))
      for (let at = 0; at < 20; at++) yield* TestClock.adjust(10)
      const error = exceeded(yield* Fiber.join(fiber))
      // Four of unknown size, then as many as fit.
      assert.deepStrictEqual([error.used, error.limit], [1000, "tokens"])
    }).pipe(Effect.provide(TestModel.layer(() => ({ ...says("ok", 100), delay: 10 }))))
  )

  it.effect("that a retry is around is a new one for each attempt", () =>
    Effect.gen(function* () {
      const limited = Runner.withBudget(Agent.make("desk", {}), { tokens: 100 })
      const patient = Runner.withRetry(limited, { while: (error) => error._tag === "BudgetExceeded" })
      const { output, usage } = yield* patient.result("go")
      assert.deepStrictEqual([output, usage.outputTokens.total], ["fine", 200])
    }).pipe(Effect.provide(TestModel.layer([says("much", 150), says("fine", 50)])))
  )

  it.effect("counts what a server does not report by the length of the texts", () =>
    Effect.gen(function* () {
      const error = exceeded(yield* Effect.exit(Runner.withBudget(Agent.make("desk", {}), { tokens: 100 }).run("go")))
      assert.isAbove(error.used, 250)
    }).pipe(
      Effect.provide(
        TestModel.layer([
          { text: "word".repeat(250), usage: { inputTokens: { total: undefined }, outputTokens: { total: undefined } } }
        ])
      )
    )
  )

  it("that limits nothing in earnest, or that could not be answered for, is refused", () => {
    const agent = Agent.make("desk", {})
    for (const budget of [
      { tokens: 0 },
      { steps: -1 },
      { cost: Number.NaN },
      { toolCalls: -1 },
      { time: "soon" as "1 second" }
    ]) {
      assert.throws(() => Runner.withBudget(agent, budget), RunError.InvalidDefinition)
    }
    const answers = () =>
      Runner.withBudget(Runner.make("f", { run: Effect.succeed }), { steps: 1, onExceeded: "answer" })
    assert.throws(answers, /it cannot answer when its budget is used up: it is a function/)
  })

  it("runs on the sync edge too", () => {
    const limited = Runner.withBudget(Agent.make("desk", { tools: [look] }), { tokens: 250, time: "1 minute" })
    const exit = Effect.runSyncExit(limited.run("go").pipe(Effect.provide(TestModel.layer(() => calls(100, "look")))))
    assert.strictEqual(exceeded(exit).used, 300)
  })
})

describe("a budget that is answered for", () => {
  it.effect("asks for the answer without tools, and makes no more calls", () =>
    Effect.gen(function* () {
      const limited = Runner.withBudget(Agent.make("desk", { tools: [look] }), { tokens: 250, onExceeded: "answer" })
      const { events } = yield* collect(limited, "go")
      assert.strictEqual(outputIn(events), "what I have")
      assert.strictEqual(events.filter(({ _tag }) => _tag === "ToolCompleted").length, 2)
      const { calls: asked } = yield* TestModel.TestModel
      const last = JSON.stringify((yield* asked).at(-1)!.prompt.content)
      assert.include(last, "not executed: the budget of 250 tokens is used up; answer with what you have")
      assert.include(last, "You cannot call tools any more. Answer now with what you have.")
    }).pipe(
      Effect.provide(
        TestModel.layer([calls(100, "look"), calls(100, "look"), calls(100, "look"), says("what I have", 100)])
      )
    )
  )

  it.effect("is what a model fails by that goes on calling tools in place of an answer", () =>
    Effect.gen(function* () {
      const desk = Agent.make("desk", { tools: [look] })
      for (const budget of [{ tokens: 50 }, { steps: 2 }, { toolCalls: 1 }]) {
        const limited = Runner.withBudget(desk, { ...budget, onExceeded: "answer" })
        const error = yield* Effect.flip(Chain.make("outer", [limited]).run("go"))
        assert.strictEqual(error._tag, "BudgetExceeded")
        if (error._tag !== "BudgetExceeded") continue
        assert.strictEqual(error.limit, Object.keys(budget)[0])
        assert.deepStrictEqual(error.path, ["outer", "desk"])
        assert.isAbove(error.spent.steps, 2)
        assert.include(error.message, "It was asked for its answer, and its model went on calling tools")
      }
    }).pipe(Effect.provide(TestModel.layer(() => TestModel.toolCall("look", {}))))
  )

  it.effect("keeps an answer that went beyond it", () =>
    Effect.gen(function* () {
      const limited = Runner.withBudget(Agent.make("desk", {}), { tokens: 10, onExceeded: "answer" })
      assert.strictEqual(yield* limited.run("go"), "all of it")
    }).pipe(Effect.provide(TestModel.layer([says("all of it", 100)])))
  )

  it.effect("interrupts a tool's run that went beyond it, and a model call at the end of its time", () =>
    Effect.gen(function* () {
      const help = AgentTool.fromRunner(Agent.make("help", { description: "Helps" }))
      const desk = Agent.make("desk", { tools: [help] })
      const tokens = yield* collect(Runner.withBudget(desk, { tokens: 50, onExceeded: "answer" }), "go").pipe(
        Effect.provide(TestModel.layer([calls(1, "help"), says("long", 100), says("short", 1)]))
      )
      assert.strictEqual(outputIn(tokens.events), "short")
      const failed = tokens.events.find(({ _tag }) => _tag === "ToolFailed")
      assert.include(
        JSON.stringify(failed),
        "interrupted: the budget of 50 tokens is used up; answer with what you have"
      )
      const timed = Runner.withBudget(desk, { time: "1 minute", onExceeded: "answer" })
      const fiber = yield* Effect.forkChild(
        collect(timed, "go").pipe(
          Effect.provide(TestModel.layer([{ text: ["slow", "er"], chunkDelay: "50 seconds" }, says("in time", 1)]))
        )
      )
      for (let at = 0; at < 4; at++) yield* TestClock.adjust("20 seconds")
      const { events } = yield* Fiber.join(fiber)
      assert.strictEqual(outputIn(events), "in time")
      assert.deepStrictEqual(
        events.flatMap((event) => (event._tag === "TurnReplaced" ? [event.by] : [])),
        ["budget"]
      )
    })
  )

  it.effect("of steps and of tool calls too", () =>
    Effect.gen(function* () {
      let made = 0
      const count = AgentTool.fromFunction("count", { description: "Counts", execute: () => ++made })
      const agent = Agent.make("desk", { tools: [count], output: Schema.Struct({ n: Schema.Int }) })
      const script = TestModel.layer([calls(1, "count", "count"), calls(1, "count", "count"), says('{"n":1}', 1)])
      const run = (budget: Runner.Budget) =>
        Runner.withBudget(agent, { ...budget, onExceeded: "answer" })
          .run("go")
          .pipe(Effect.provide(script))
      assert.deepStrictEqual(yield* run({ steps: 2 }), { n: 1 })
      assert.strictEqual(made, 4)
      made = 0
      assert.deepStrictEqual(yield* run({ toolCalls: 3 }), { n: 1 })
      assert.strictEqual(made, 3)
    })
  )
})

describe("Runner.remaining", () => {
  it.effect("is what the budgets around a tool or a middleware leave, and nothing outside of any", () =>
    Effect.gen(function* () {
      const seen: Array<unknown> = []
      const note = Effect.map(Runner.remaining, ({ time, ...left }) =>
        seen.push({ ...left, time: time === undefined ? undefined : Duration.toSeconds(time) })
      )
      const tool = AgentTool.fromFunction("look", { description: "Looks", execute: () => note })
      const middleware = Middleware.make("notes", { model: (request, next) => Effect.andThen(note, next(request)) })
      const agent = Agent.make("desk", { tools: [tool], middleware: [middleware] })
      const limited = agent.pipe(
        Runner.withBudget({ tokens: 1000, steps: 5 }),
        Runner.withBudget({ tokens: 500, toolCalls: 3, time: "1 minute" })
      )
      yield* limited.run("go")
      yield* note
      const none = { tokens: undefined, cost: undefined, steps: undefined, toolCalls: undefined, time: undefined }
      assert.deepStrictEqual(seen, [
        { ...none, tokens: 500, steps: 4, toolCalls: 3, time: 60 },
        { ...none, tokens: 400, steps: 4, toolCalls: 2, time: 60 },
        { ...none, tokens: 400, steps: 3, toolCalls: 2, time: 60 },
        none
      ])
    }).pipe(Effect.provide(TestModel.layer([calls(100, "look"), says("done", 100)])))
  )
})
