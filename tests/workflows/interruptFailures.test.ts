/** A failure during an interruption is listed, through every combinator between it and the group that fails. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Stream } from "effect"
import { TestClock } from "effect/testing"
import { Gather, Parallel, PlanExecuteEvaluate, Runner } from "troupe"

const spiteful = Runner.make("spiteful", {
  run: (_input: string) => Effect.onInterrupt(Effect.never, () => Effect.die(new Error("spite")))
})
const boom = Runner.make("boom", { run: (_input: string) => Effect.andThen(Effect.sleep(20), Effect.fail("boom")) })

const between: Readonly<Record<string, Runner.Runner<string, unknown, unknown, never>>> = {
  nothing: spiteful,
  "a timeout": Runner.withTimeout(spiteful, "1 minute"),
  "a retry": Runner.withRetry(spiteful, { times: 2 }),
  "a timeout around a group": Runner.withTimeout(Parallel.make("group", { spiteful }), "1 minute"),
  "a retry around a group": Runner.withRetry(Parallel.make("group", { spiteful }), { times: 1 }),
  "a stream that is read": Runner.make("reads", { run: (input: string) => Stream.runDrain(spiteful.stream(input)) }),
  "a spawned run": Runner.make("spawns", {
    run: (input: string) => Effect.scoped(Effect.andThen(Gather.spawn(spiteful, input), Effect.never))
  }),
  "a plan": PlanExecuteEvaluate.make("plan", {
    planner: Effect.succeed({ steps: [{ id: "one", task: "wait" }] }),
    executor: ({ step }: PlanExecuteEvaluate.Task<string>) => spiteful.run(step.task)
  })
}

describe("what fails while it is interrupted", () => {
  for (const [name, inner] of Object.entries(between)) {
    it.effect(`is listed through ${name}`, () =>
      Effect.gen(function* () {
        const outer = Parallel.make("outer", { boom, inner })
        const fiber = yield* Effect.forkChild(Effect.flip(outer.run("go")))
        yield* TestClock.adjust(20)
        const error = yield* Fiber.join(fiber)
        assert.deepStrictEqual(
          error.failures.map(({ branch }) => branch),
          ["boom", "inner"]
        )
        assert.include(error.message, "spite")
        assert.deepStrictEqual(error.interrupted, [])
      })
    )
  }

  it.effect("is reported by the timeout that interrupts it", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.forkChild(Effect.flip(Runner.withTimeout(spiteful, 10).run("go")))
      yield* TestClock.adjust(10)
      const error = yield* Fiber.join(fiber)
      assert.deepStrictEqual([error._tag, error.failures], ["RunTimedOut", ["spite"]])
      assert.include(error.message, "Meanwhile: spite.")
    })
  )

  it.effect("does not fail a reader that ends a stream early", () =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(Stream.runCollect(Stream.take(spiteful.stream("go"), 1)))
      assert.isTrue(Exit.isSuccess(exit))
    })
  )
})

describe("a slow reader", () => {
  it.effect("does not delay that the others are stopped", () =>
    Effect.gen(function* () {
      let stoppedAt = 0
      const wait = Runner.make("wait", {
        run: (_input: string) =>
          Effect.onInterrupt(Effect.never, () =>
            Effect.map(
              Effect.clockWith((clock) => clock.currentTimeMillis),
              (now) => (stoppedAt = now)
            )
          )
      })
      const events = Parallel.make("par", { boom, wait }).stream("go")
      const reading = Stream.runForEach(events, () => Effect.sleep(500)).pipe(
        Effect.provideService(Runner.StreamBuffer, 0)
      )
      const fiber = yield* Effect.forkChild(Effect.exit(reading))
      for (let n = 0; n < 200; n++) yield* TestClock.adjust(50)
      assert.isTrue(Exit.isFailure(yield* Fiber.join(fiber)))
      // Three runs began before, each waiting for room.
      assert.isAtMost(stoppedAt, 1020)
    })
  )
})
