/** What a run failed with is not lost with the stream that hands it over, whenever the reader is interrupted. */
import { assert, describe } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Stream } from "effect"
import { TestClock } from "effect/testing"
import { Chain, Parallel, Runner } from "troupe"
import { it } from "./support/edges.ts"

const boom = Runner.make("boom", { run: (_input: string) => Effect.andThen(Effect.sleep(5), Effect.fail("boom")) })
const errorsOf = (exit: Exit.Exit<unknown, unknown>): ReadonlyArray<unknown> =>
  Exit.isSuccess(exit)
    ? assert.fail("it succeeded")
    : exit.cause.reasons.filter(Cause.isFailReason).map((one) => one.error)
const interruptedAt = <A, E, R>(ms: number, effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(effect)
    yield* TestClock.adjust(ms)
    yield* Fiber.interrupt(fiber)
    return yield* Fiber.await(fiber)
  })
const slowly = <E, R>(stream: Stream.Stream<unknown, E, R>) => Stream.runForEach(stream, () => Effect.sleep(60))

describe("a reader that is interrupted", () => {
  it.effect("has the failure that it had not read yet", () =>
    Effect.gen(function* () {
      const exit = yield* interruptedAt(30, slowly(boom.stream("x")))
      assert.deepStrictEqual(errorsOf(exit), ["boom"])
      assert.isTrue(Exit.hasInterrupts(exit))
    })
  )

  it.effect("has it in a workflow too", () =>
    Effect.gen(function* () {
      const exit = yield* interruptedAt(30, slowly(Chain.make("chain", [boom]).stream("x")))
      assert.deepStrictEqual(errorsOf(exit), ["boom"])
    })
  )

  it.effect("has no failure of a run that had not failed, nor one that it has handled", () =>
    Effect.gen(function* () {
      const waits = Runner.make("waits", { run: (_input: string) => Effect.never })
      assert.deepStrictEqual(errorsOf(yield* interruptedAt(30, slowly(waits.stream("x")))), [])
      const handled = boom.stream("x").pipe(Stream.catch(() => Stream.never))
      assert.deepStrictEqual(errorsOf(yield* interruptedAt(30, Stream.runDrain(handled))), [])
    })
  )

  it.effect("as a branch is one that failed", () =>
    Effect.gen(function* () {
      const reads = Runner.make("reads", { run: (input: string) => slowly(boom.stream(input)) })
      const bad = Runner.make("bad", { run: (_input: string) => Effect.andThen(Effect.sleep(30), Effect.fail("bad")) })
      const outer = Parallel.make("outer", { reads, bad })
      const fiber = yield* Effect.forkChild(Effect.flip(outer.run("x")))
      yield* TestClock.adjust(30)
      const error = yield* Fiber.join(fiber)
      assert.deepStrictEqual(error.failures, [
        { branch: "bad", error: "bad" },
        { branch: "reads", error: "boom" }
      ])
      assert.deepStrictEqual(error.interrupted, [])
    })
  )

  it.effect("that has enough ends well", () =>
    Effect.gen(function* () {
      const first = Stream.runCollect(Stream.take(boom.stream("x"), 1))
      assert.lengthOf(yield* first, 1)
    })
  )

  it.effect("has it whenever it is interrupted", () =>
    Effect.gen(function* () {
      for (let ms = 1; ms < 20; ms++) {
        const events: Array<string> = []
        const seen = boom.pipe(Runner.onEvent((event) => Effect.sync(() => void events.push(event._tag))))
        const exit = yield* interruptedAt(ms, slowly(seen.stream("x")))
        assert.deepStrictEqual(errorsOf(exit), events.includes("RunFailed") ? ["boom"] : [], `${ms} ms`)
      }
    })
  )
})
