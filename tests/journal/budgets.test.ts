/** What a budget has counted, in a run that is killed and made again. */
import { assert, describe, it as async } from "@effect/vitest"
import { Cause, Duration, Effect, Exit, Fiber, Layer, Schedule, Schema } from "effect"
import { TestClock } from "effect/testing"
import { Agent, AgentTool, Parallel, Prices, RunEvent, Runner, Step, TestModel } from "troupe"
import { it } from "../support/edges.ts"
import { attempt, MemoryJournal, type Moment } from "../support/journal.ts"

const outputOf = <A, E>(exit: Exit.Exit<A, E> | undefined): A => {
  if (exit === undefined) return assert.fail("it was killed")
  return Exit.isSuccess(exit) ? exit.value : assert.fail(Cause.pretty(exit.cause))
}
const errorOf = <A, E>(exit: Exit.Exit<A, E> | undefined): E => {
  const reason = exit !== undefined && Exit.isFailure(exit) ? exit.cause.reasons.find(Cause.isFailReason) : undefined
  return reason === undefined ? assert.fail("it did not fail") : reason.error
}
const moments: ReadonlyArray<Moment> = ["before", "within", "after"]
const usage = { inputTokens: { total: 70 }, outputTokens: { total: 30 } }
const doing = (name: string, execute: () => Effect.Effect<string> | string) =>
  AgentTool.fromFunction(name, { description: "Does it", execute: () => execute() })
/** Calls the tools that it has, one in each step, and then answers. */
const inTurn = TestModel.layer(({ prompt, tools }) => {
  const done = prompt.content.filter(({ role }) => role === "tool").length
  const name = tools[done]
  return name === undefined ? { text: "done", usage } : { usage, toolCalls: [{ id: `c${done}`, name, params: {} }] }
})
const priced = Layer.merge(inTurn, Prices.layer({ "troupe-test:test": { input: 1000, output: 2000 } }))

describe("a budget, in a run that is killed and made again,", () => {
  /** What is left once the runner has ended, in its own budget. */
  const leaving = <E, R>(runner: Runner.Runner<string, unknown, E, R>) =>
    Runner.withBudget(
      Runner.mapEffect(runner, () => Runner.remaining),
      { tokens: 10_000, cost: 10, steps: 100, toolCalls: 100 }
    )
  const helper = Agent.make("helper", { tools: [doing("note", () => "noted")] })
  const slow = Runner.mapEffect(helper, () => Effect.never)
  const asked = Effect.andThen(helper.run("help"), Effect.succeed("helped")).pipe(Effect.orDie, Effect.provide(priced))
  const late = Runner.withTimeout(slow, "1 second")
  const cases = {
    "an agent and its tools": Agent.make("clerk", { tools: [doing("pay", () => "paid"), doing("send", () => "sent")] }),
    "a tool and a step that run agents": Runner.make("top", {
      run: (input: string) =>
        Effect.andThen(
          Agent.make("clerk", { tools: [doing("ask", () => asked)] }).run(input),
          Step.run("ask", Schema.String, asked)
        )
    }),
    "the losers of a race": Parallel.make("race", { slow, helper: Agent.make("quick", {}) }, { mode: Parallel.race }),
    "a run that was too late": Runner.orElse(Runner.named(late, "late"), Agent.make("second", {})),
    "a model that is a runner": Runner.provide(
      Agent.make("front", {}),
      Layer.provide(Runner.asLanguageModel(Runner.mapInput(helper, () => "help")), inTurn)
    ),
    "attempts at a model call": Runner.provide(
      Agent.make("front", { retry: Schedule.recurs(1) }),
      Layer.suspend(() => {
        let count = 0
        return TestModel.layer(() =>
          ++count % 2 === 1 ? { text: "no", usage, finishReason: "error" } : { text: "done", usage }
        )
      })
    )
  }
  for (const [what, runner] of Object.entries(cases)) {
    let cost: number | undefined
    const top = Runner.onEvent(leaving(runner as Runner.Runner<string, unknown, unknown, never>), (event) =>
      Effect.sync(() => {
        if (RunEvent.isTerminal(event) && event.path.length === 1) cost = event.spent.cost
      })
    )
    async.effect(`has left what it had left, and says the same cost, wherever that was: ${what}`, () =>
      Effect.gen(function* () {
        const run = (journal: MemoryJournal, kill?: { readonly at: number; readonly moment: Moment }) =>
          Effect.gen(function* () {
            const fiber = yield* Effect.forkChild(attempt(Effect.provide(top.run("go"), priced), journal, kill))
            for (let n = 0; n < 40 && fiber.pollUnsafe() === undefined; n++) yield* TestClock.adjust(100)
            return yield* Fiber.join(fiber)
          })
        const whole = new MemoryJournal()
        const expected = outputOf(yield* run(whole))
        assert.isBelow(expected.tokens!, 10_000)
        const spent = cost!
        assert.approximately(spent, 10 - expected.cost!, 1e-9)
        assert.deepStrictEqual(outputOf(yield* run(whole)), expected)
        for (let at = 0; at < whole.ended.length; at++) {
          const journal = new MemoryJournal()
          yield* run(journal, { at, moment: moments[at % 3]! })
          assert.deepStrictEqual(outputOf(yield* run(journal)), expected, `killed at ${at}`)
          assert.approximately(cost!, spent, 1e-9, `killed at ${at}`)
        }
      })
    )
  }
})

describe("a budget of time, in a run that is made again,", () => {
  const did: Array<string> = []
  const pay = doing("pay", () => Effect.sync(() => (did.push("pay"), "paid")))
  const wait = doing("wait", () => Effect.as(Effect.sleep("50 seconds"), "waited"))
  const killedIn = (seconds: number, program: Effect.Effect<unknown, unknown>, journal: MemoryJournal) =>
    Effect.gen(function* () {
      const fiber = yield* Effect.forkChild(attempt(program, journal))
      yield* TestClock.adjust(Duration.seconds(seconds))
      yield* Fiber.interrupt(fiber)
    })

  it.effect("is what was left of it", () =>
    Effect.gen(function* () {
      const left = doing("left", () =>
        Effect.map(Runner.remaining, ({ time }) => (time === undefined ? "" : Duration.format(time)))
      )
      const journal = new MemoryJournal()
      const agent = Runner.withBudget(Agent.make("clerk", { tools: [wait, left] }), { time: "2 minutes" })
      const program = Effect.provide(agent.result("go"), inTurn)
      yield* killedIn(20, program, journal)
      const fiber = yield* Effect.forkChild(attempt(program, journal))
      yield* TestClock.adjust("50 seconds")
      const { transcript } = outputOf(yield* Fiber.join(fiber))
      assert.include(JSON.stringify(transcript), "50s")
    })
  )

  it.effect("that is over ends it where something new begins, and not before", () =>
    Effect.gen(function* () {
      did.splice(0)
      const agent = Runner.withBudget(Agent.make("clerk", { tools: [pay, wait, pay2] }), { time: "1 minute" })
      const program = Effect.provide(agent.run("go"), inTurn)
      const journal = new MemoryJournal()
      yield* killedIn(20, program, journal)
      yield* TestClock.adjust("1 hour")
      const error = errorOf(yield* attempt(program, journal))
      if (error._tag !== "BudgetExceeded") return assert.fail(error._tag)
      assert.strictEqual(error.limit, "time")
      assert.strictEqual(error.spent.steps, 2)
      assert.deepStrictEqual(did, ["pay"])
      // Once it has failed by it, it does so at once.
      assert.deepStrictEqual(errorOf(yield* attempt(program, journal)), error)
    })
  )
  const pay2 = doing("again", () => Effect.sync(() => (did.push("again"), "paid")))

  it.effect("does not end a run that was in time", () =>
    Effect.gen(function* () {
      did.splice(0)
      const limited = Runner.withBudget(Agent.make("clerk", { tools: [pay] }), { time: "1 minute" })
      const top = Runner.make("top", { run: (input: string) => Effect.andThen(limited.run(input), limited.run(input)) })
      const program = Effect.provide(top.run("go"), inTurn)
      const journal = new MemoryJournal()
      assert.strictEqual(outputOf(yield* attempt(program, journal)), "done")
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(outputOf(yield* attempt(program, journal)), "done")
      assert.lengthOf(did, 2)
    })
  )

  it.effect("has an agent answer as it had answered", () =>
    Effect.gen(function* () {
      did.splice(0)
      const agent = Runner.withBudget(Agent.make("clerk", { tools: [pay, wait, pay2] }), {
        time: "30 seconds",
        onExceeded: "answer"
      })
      const program = Effect.provide(agent.result("go"), inTurn)
      const journal = new MemoryJournal()
      const fiber = yield* Effect.forkChild(attempt(program, journal))
      yield* TestClock.adjust("30 seconds")
      const first = outputOf(yield* Fiber.join(fiber))
      assert.include(JSON.stringify(first.transcript), "the budget of 30s is used up")
      const keys = [...journal.kept.keys()]
      yield* TestClock.adjust("1 hour")
      const second = outputOf(yield* attempt(program, journal))
      assert.deepStrictEqual(second.transcript, first.transcript)
      assert.deepStrictEqual([...journal.kept.keys()], keys)
      assert.deepStrictEqual(did, ["pay"])
    })
  )

  it.effect("has an agent answer that was killed before it could", () =>
    Effect.gen(function* () {
      for (const seconds of [0, 20]) {
        did.splice(0)
        const agent = Runner.withBudget(Agent.make("clerk", { tools: [pay, wait, pay2] }), {
          time: "30 seconds",
          onExceeded: "answer"
        })
        const program = Effect.provide(agent.result("go"), inTurn)
        const journal = new MemoryJournal()
        yield* killedIn(seconds, program, journal)
        yield* TestClock.adjust("1 hour")
        const { output, transcript } = outputOf(yield* attempt(program, journal))
        assert.strictEqual(output, "done")
        assert.include(JSON.stringify(transcript), "Answer now with what you have")
        assert.deepStrictEqual(did, ["pay"])
      }
    })
  )
})
