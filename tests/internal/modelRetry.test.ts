import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Fiber, Schedule } from "effect"
import { AiError } from "effect/ai"
import { TestClock } from "effect/testing"
import * as ModelRetry from "../../src/internal/modelRetry.ts"

const error = (reason: AiError.AiErrorReason) => AiError.make({ module: "Test", method: "call", reason })
const busy = error(new AiError.InternalProviderError({ description: "busy" }))
const limited = (retryAfter?: Duration.Input) =>
  error(
    new AiError.RateLimitError(retryAfter === undefined ? {} : { retryAfter: Duration.fromInputUnsafe(retryAfter) })
  )

/** The milliseconds after the first at which a call that always fails is made under a schedule, within two minutes. */
const callsOf = (failure: AiError.AiError, schedule = ModelRetry.defaultSchedule) =>
  Effect.gen(function* () {
    const at: Array<number> = []
    const call = Clock.currentTimeMillis.pipe(
      Effect.tap((now) => Effect.sync(() => at.push(now))),
      Effect.andThen(Effect.fail(failure))
    )
    const fiber = yield* Effect.forkChild(Effect.exit(Effect.retry(call, ModelRetry.policy(schedule))))
    for (let n = 0; n < 1200; n++) yield* TestClock.adjust("100 millis")
    yield* Fiber.join(fiber)
    return at.map((time) => time - at[0]!)
  })

describe("the retry of model calls", () => {
  it.effect("makes two more attempts, after about half a second and a second", () =>
    Effect.gen(function* () {
      const [first = -1, second = -1, third = -1, ...more] = yield* callsOf(busy)
      assert.deepStrictEqual([first, more], [0, []])
      assert.isTrue(second - first >= 400 && second - first <= 700, String(second - first))
      assert.isTrue(third - second >= 800 && third - second <= 1300, String(third - second))
    })
  )

  it.effect("waits as long as the server says, and never less than the schedule", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* callsOf(limited("20 seconds")), [0, 20_000, 40_000])
      const slow = Schedule.max([Schedule.spaced("5 seconds"), Schedule.recurs(1)])
      assert.deepStrictEqual(yield* callsOf(limited("1 second"), slow), [0, 5000])
    })
  )

  it.effect("waits for a server that is down as long as it says", () =>
    Effect.gen(function* () {
      const metadata = { openai: { retryAfterMillis: 9000 } } as never
      const down = error(new AiError.InternalProviderError({ description: "down", metadata }))
      assert.deepStrictEqual(yield* callsOf(down), [0, 9000, 18_000])
    })
  )

  it.effect("does not wait for longer than a minute: it fails at once", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* callsOf(limited("60 seconds"), Schedule.recurs(1)), [0, 60_000])
      assert.deepStrictEqual(yield* callsOf(limited("61 seconds"), Schedule.recurs(1)), [0])
    })
  )

  it("retries only transient failures", () => {
    const network = (reason: "TransportError" | "InvalidUrlError") =>
      new AiError.NetworkError({ reason, method: "POST", url: "http://x", description: "x" })
    const transient = [busy, limited(), error(network("TransportError"))]
    const lasting: ReadonlyArray<AiError.AiErrorReason> = [
      network("InvalidUrlError"),
      new AiError.InvalidRequestError({ description: "x" }),
      new AiError.AuthenticationError({ kind: "InvalidKey" }),
      new AiError.QuotaExhaustedError({}),
      new AiError.InvalidResponseError({ description: "x" }),
      // Retryable to effect/ai, but by asking the model again, not by sending the same.
      new AiError.InvalidOutputError({ description: "x" }),
      new AiError.StructuredOutputError({ description: "x", responseText: "x" })
    ]
    assert.deepStrictEqual(transient.map(ModelRetry.isTransient), [true, true, true])
    assert.deepStrictEqual(
      lasting.map((reason) => ModelRetry.isTransient(error(reason))),
      lasting.map(() => false)
    )
  })
})
