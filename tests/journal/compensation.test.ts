/** What finished parts of a run that fails leave behind: each is undone once, the last first. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Schema, Context } from "effect"
import { TestClock } from "effect/testing"
import { Agent, AgentTool, Chain, CodeMode, Parallel, Runner, Step, TestModel } from "troupe"
import { Engine } from "../support/codeEngine.ts"
import { collect } from "../support/grammar.ts"
import { attempt, MemoryJournal, type Moment } from "../support/journal.ts"

const part = (name: string, log: Array<string>, work: Effect.Effect<void> = Effect.void) =>
  Runner.make(name, {
    run: (input: string) =>
      Step.run(
        name,
        Schema.String,
        Effect.as(
          Effect.andThen(
            work,
            Effect.sync(() => void log.push(name))
          ),
          `${input}+${name}`
        )
      )
  }).pipe(Runner.withCompensation((output) => Effect.sync(() => void log.push(`undo ${name} ${output}`))))

const failing = (name: string, wait: Effect.Effect<void> = Effect.void) =>
  Runner.make(name, {
    run: () =>
      Step.run(name, { success: Schema.Never, error: Schema.String }, Effect.andThen(wait, Effect.fail(`no ${name}`)))
  })

describe("a run that fails", () => {
  it.effect("undoes what has finished in it, the last first, before its error is seen", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const inner = Chain.make("inner", [part("a", log), part("b", log)])
      const trip = Chain.make("trip", [inner, part("c", log), failing("pay")])
      const { exit, events } = yield* collect(trip, "x")
      assert.deepStrictEqual(exit, Exit.fail("no pay"))
      assert.deepStrictEqual(log, ["a", "b", "c", "undo c x+a+b+c", "undo b x+a+b", "undo a x+a"])
      assert.strictEqual(events.at(-1)?._tag, "RunFailed")
    })
  )

  it.effect("undoes nothing when it succeeds, and nothing that has failed itself", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const broken = failing("b").pipe(Runner.withCompensation(() => Effect.sync(() => void log.push("undo b"))))
      assert.strictEqual(yield* Chain.make("good", [part("a", log)]).run("x"), "x+a")
      yield* Effect.exit(broken.run("x"))
      assert.deepStrictEqual(log, ["a"])
    })
  )

  it.effect("undoes what branches have finished that it interrupts", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const slow = Runner.make("slow", { run: () => Effect.never })
      const booking = Chain.make("booking", [part("hotel", log), slow])
      const both = Parallel.make("both", { booking, pay: failing("pay", Effect.sleep(10)) })
      const fiber = yield* Effect.forkChild(Effect.exit(both.run("x")))
      yield* TestClock.adjust(10)
      assert.isTrue(Exit.isFailure(yield* Fiber.join(fiber)))
      assert.deepStrictEqual(log, ["hotel", "undo hotel x+hotel"])
    })
  )

  it.effect("undoes an attempt before the next one, and the first of orElse before the second", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      let tries = 0
      const flaky = Runner.make("flaky", {
        run: (input: string) => Effect.suspend(() => (++tries < 2 ? Effect.fail("not yet") : Effect.succeed(input)))
      })
      const again = Chain.make("again", [part("a", log), flaky]).pipe(Runner.withRetry({ times: 1 }))
      assert.strictEqual(yield* again.run("x"), "x+a")
      assert.deepStrictEqual(log.splice(0), ["a", "undo a x+a", "a"])
      const either = Chain.make("first", [part("b", log), failing("pay")]).pipe(Runner.orElse(part("c", log)))
      assert.strictEqual(yield* either.run("x"), "x+c")
      assert.deepStrictEqual(log, ["b", "undo b x+b", "c"])
    })
  )

  it.effect("does not undo the losers of a race, and undoes what a time limit has cut short", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const never = Runner.make("never", { run: () => Effect.never })
      const race = Parallel.make(
        "race",
        [Chain.make("one", [part("a", log), never]), part("b", log, Effect.sleep(5))],
        {
          mode: Parallel.race
        }
      )
      const limited = Chain.make("limited", [part("c", log), never]).pipe(Runner.withTimeout(20))
      const whole = Chain.make("whole", [race, limited])
      const fiber = yield* Effect.forkChild(Effect.exit(whole.run("x")))
      yield* TestClock.adjust(5)
      yield* TestClock.adjust(20)
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(log, ["a", "b", "c", "undo c x+b+c", "undo b x+b"])
    })
  )

  it.effect("has not failed when it is interrupted or waits", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const never = Runner.make("never", { run: () => Effect.never })
      const fiber = yield* Effect.forkChild(Chain.make("one", [part("a", log), never]).run("x"))
      yield* Effect.yieldNow
      yield* Fiber.interrupt(fiber)
      const paid = Runner.event("paid", { schema: Schema.Null })
      const error = yield* Effect.flip(Chain.make("two", [part("b", log), paid]).run("x"))
      assert.strictEqual(error._tag, "RunSuspended")
      assert.deepStrictEqual(log, ["a", "b"])
    })
  )

  it.effect("has the services of the part, and fails with what a hook dies of as well; the others run", () =>
    Effect.gen(function* () {
      class Bank extends Context.Service<Bank, string>()("Bank") {}
      const log: Array<string> = []
      const own = Runner.make("own", { run: (input: string) => Effect.succeed(input) }).pipe(
        Runner.withCompensation(() => Effect.map(Bank, (bank) => void log.push(`undo at ${bank}`))),
        Runner.provide(Layer.succeed(Bank)("the bank"))
      )
      const dying = Runner.make("dying", {
        run: (input: string) => Effect.succeed(input),
        compensate: () => Effect.die(new Error("out of order"))
      })
      const exit = yield* Effect.exit(Chain.make("all", [own, dying, failing("pay")]).run("x"))
      assert.isTrue(Exit.isFailure(exit) && exit.cause.reasons.length === 2)
      assert.include(String(exit), "out of order")
      assert.include(String(exit), "no pay")
      assert.deepStrictEqual(log, ["undo at the bank"])
    })
  )

  it.effect("undoes what the tools of an agent did", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const book = AgentTool.fromRunner(part("hotel", log).pipe(Runner.described("books")))
      const agent = Agent.make("clerk", { tools: [book], maxSteps: 1 })
      const model = TestModel.layer(() => TestModel.toolCall("hotel", { input: "x" }))
      const error = yield* Effect.flip(agent.run("go").pipe(Effect.provide(model)))
      assert.strictEqual(error._tag, "MaxStepsExceeded")
      assert.deepStrictEqual(log, ["hotel", "undo hotel x+hotel"])
    })
  )
})

/** Two branches of which one fails, around two parts that have finished before it does. */
const saga = (log: Array<string>) => {
  const slow = Runner.make("slow", { run: () => Effect.never })
  const booking = Chain.make("booking", [part("hotel", log), part("car", log), slow])
  const both = Parallel.make("both", { pay: failing("pay", Effect.sleep(1)), booking })
  return Chain.make("trip", [part("flight", log), both])
}

/** The same by the calls of a program of a model: one fails, when two parts of another have finished. */
const coded = (log: Array<string>, failureMode: "error" | "return") => {
  const slow = Runner.make("slow", { run: () => Effect.never })
  const booking = Chain.make("booking", [part("hotel", log), part("car", log), slow])
  const pay = failing("pay", Effect.sleep(1))
  const tool = <E>(runner: Runner.Runner<string, string, E, never>) =>
    AgentTool.fromRunner(runner.pipe(Runner.described(runner.name)), { failureMode })
  const agent = Agent.make("coder", { use: [CodeMode.feature([tool(pay), tool(booking)])], maxSteps: 1 })
  const program = `await Promise.all([tools.pay({ input: "x" }), tools.booking({ input: "x" })])`
  return agent.pipe(
    Runner.provide(TestModel.layer(() => ({ toolCalls: [{ id: "p", name: "run_program", params: { program } }] }))),
    Runner.provide(Engine)
  )
}

describe("a run with a journal", () => {
  for (const mode of ["error", "return"] as const)
    it.live(
      `that is killed after any step undoes what calls of a program had finished, whose failure is one of ${mode === "error" ? "the run" : "the program"}`,
      () =>
        Effect.gen(function* () {
          const whole = new MemoryJournal()
          yield* attempt(coded([], mode).run("x"), whole)
          for (let at = 0; at < whole.ended.length; at++) {
            const log: Array<string> = []
            const journal = new MemoryJournal()
            const killed = yield* attempt(coded(log, mode).run("x"), journal, { at, moment: "after" })
            const exit = killed ?? (yield* attempt(coded(log, mode).run("x"), journal))
            assert.isTrue(exit !== undefined && Exit.isFailure(exit))
            const where = `${at}: ${log.join(", ")}`
            const done = log.filter((line) => !line.startsWith("undo ")).map((name) => `undo ${name}`)
            const undone = log
              .filter((line) => line.startsWith("undo "))
              .map((line) => line.split(" ").slice(0, 2).join(" "))
            assert.deepStrictEqual(undone, done.toReversed(), where)
          }
        })
    )

  for (const moment of ["before", "within", "after"] satisfies ReadonlyArray<Moment>) {
    it.live(`that is killed ${moment} any step undoes each part once, the last first`, () =>
      Effect.gen(function* () {
        const whole = new MemoryJournal()
        const first: Array<string> = []
        yield* attempt(saga(first).run("x"), whole)
        const steps = whole.ended.length
        assert.isAbove(steps, 8)
        for (let at = 0; at < steps; at++) {
          const log: Array<string> = []
          const journal = new MemoryJournal()
          const killed = yield* attempt(saga(log).run("x"), journal, { at, moment })
          const exit = killed ?? (yield* attempt(saga(log).run("x"), journal))
          assert.isTrue(exit !== undefined && Exit.isFailure(exit))
          const undone = log.filter((line) => line.startsWith("undo "))
          const done = log.filter((line) => !line.startsWith("undo "))
          const where = `${moment} ${at}: ${log.join(", ")}`
          // What was done and not kept is done again, in this journal, which asks nothing.
          assert.strictEqual(new Set(done).size, done.length, where)
          assert.deepStrictEqual(
            undone,
            first.filter((line) => line.startsWith("undo ")).filter((line) => done.includes(line.split(" ")[1]!)),
            where
          )
        }
      })
    )
  }

  it.effect("undoes what a time limit had cut short before it was killed", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const never = Runner.make("never", { run: () => Effect.never })
      const limited = Chain.make("limited", [part("a", log), never]).pipe(Runner.withTimeout(20))
      const journal = new MemoryJournal()
      const run = () => Effect.forkChild(attempt(limited.run("x"), journal, undefined))
      // Killed as it undoes.
      const killed = yield* Effect.forkChild(attempt(limited.run("x"), journal, { at: 4, moment: "before" }))
      yield* TestClock.adjust(20)
      assert.strictEqual(yield* Fiber.join(killed), undefined)
      assert.deepStrictEqual(log, ["a"])
      const again = yield* run()
      yield* TestClock.adjust(20)
      yield* Fiber.join(again)
      assert.deepStrictEqual(log, ["a", "undo a x+a"])
      yield* Fiber.join(yield* run())
      assert.deepStrictEqual(log, ["a", "undo a x+a"])
    })
  )
})
