/** Waits for promises within a time limit, by the clock of the program. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { isSync } from "../../../services/SyncBridge.ts"
import { Unsupported } from "../../internal/model/problems.ts"
import { after } from "../../internal/model/timer.ts"
import { Known } from "./failed.ts"

/**
 * Waits for the promise of `start`, for `timeout` at most: then fails with a {@link Known} timeout. Fails with what `start` throws and
 * with what the promise rejects with. `abandon` is called when the time is over, and on interruption.
 */
export const within = <A>(
  timeout: Duration.Duration,
  start: () => PromiseLike<A>,
  abandon: () => void
): Effect.Effect<A, unknown> =>
  Effect.withFiber((fiber) =>
    Effect.callback<A, unknown>((resume) => {
      const stop = after(fiber.context, Duration.toMillis(timeout), () => {
        abandon()
        resume(Effect.fail(new Known({ kind: "timeout", message: `no answer within ${Duration.format(timeout)}` })))
      })
      const settle = (next: Effect.Effect<A, unknown>): void => {
        stop()
        resume(next)
      }
      try {
        start().then(
          (value) => settle(Effect.succeed(value)),
          (error: unknown) => settle(Effect.fail(error))
        )
      } catch (error) {
        settle(Effect.fail(error))
      }
      return Effect.sync(() => {
        stop()
        abandon()
      })
    })
  )

/** {@link within}, for a request that is aborted when it is given up. */
export const asked = <A>(
  timeout: Duration.Duration,
  ask: (signal: AbortSignal) => PromiseLike<A>
): Effect.Effect<A, unknown> =>
  Effect.suspend(() => {
    const controller = new AbortController()
    return within(
      timeout,
      () => ask(controller.signal),
      () => controller.abort()
    )
  })

/** Fails under `Effect.runSync`, which cannot wait for promises. */
export const assertAsync: Effect.Effect<void, Unsupported> = Effect.flatMap(isSync, (is) =>
  is
    ? Effect.fail(
        new Unsupported(
          "Effect.runSync cannot wait for the promises of an AI SDK model. Run the program with Effect.runPromise; under Effect.runSync use the Layers of OpenAi, which can also reach many other providers by `baseUrl`"
        )
      )
    : Effect.void
)
