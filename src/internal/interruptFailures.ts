/**
 * Keeps failures that happen during an interruption. Effect's races, retries and scopes drop them; an error that
 * promises to list every failure must not.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"

/** The failures and defects of an exit that was interrupted too, as a cause without the interruption. */
export const interruptFailuresOf = <E>(exit: Exit.Exit<unknown, E> | undefined): Cause.Cause<E> | undefined => {
  if (exit === undefined || Exit.isSuccess(exit) || !Cause.hasInterrupts(exit.cause)) return undefined
  const late = exit.cause.reasons.filter((reason) => !Cause.isInterruptReason(reason))
  return late.length === 0 ? undefined : Cause.fromReasons(late)
}

/**
 * Puts `around` around an effect that it may interrupt. When all of it is interrupted from outside, what the effect then
 * failed with is kept, as `toError` says: an interrupted fiber runs no handler, so nothing after this could map it.
 * `late` gives what it failed with when `around` itself interrupted it.
 */
export const withInterruptFailures = <A, E, R, A2, E2, R2, E3 = E>(
  effect: Effect.Effect<A, E, R>,
  around: (effect: Effect.Effect<A, E, R>, late: () => Cause.Cause<E> | undefined) => Effect.Effect<A2, E2, R2>,
  toError?: (error: E) => E3
): Effect.Effect<A2, E2 | E3, R2> =>
  Effect.suspend(() => {
    let last: Exit.Exit<A, E> | undefined
    const seen = Effect.onExit(effect, (exit) =>
      Effect.sync(() => {
        last = exit
      })
    )
    return Effect.onExit(
      around(seen, () => interruptFailuresOf(last)),
      (exit): Effect.Effect<void, E3> => {
        const late = interruptFailuresOf(last)
        // A success: the failure was handled as any other, in a fiber that is being interrupted.
        const isLost = Exit.isSuccess(exit) || Cause.hasInterruptsOnly(exit.cause)
        if (late === undefined || !isLost) return Effect.void
        // Without `toError` the errors are the same.
        return Effect.failCause(
          Cause.map(late, (error) => (toError === undefined ? (error as unknown as E3) : toError(error)))
        )
      }
    )
  })

/**
 * For the finalizer of a scope that a run belongs to: when the scope is closed by an interruption, what the run failed with
 * meanwhile is not lost. A scope that is closed otherwise has no use for it.
 */
export const dieWithInterruptFailures = (
  run: Exit.Exit<unknown, unknown> | undefined,
  scope: Exit.Exit<unknown, unknown>
): Effect.Effect<void> => {
  const late = interruptFailuresOf(run)
  if (late === undefined || Exit.isSuccess(scope) || !Cause.hasInterrupts(scope.cause)) return Effect.void
  return Effect.orDie(Effect.failCause(late))
}

/**
 * For the finalizer of a stream that hands over the failure of a run: when the reader is interrupted before it has read the
 * failure, the failure is that of the reader too, as it is when the run is not streamed.
 */
export const withUnread = (
  run: Exit.Exit<unknown, unknown> | undefined,
  reader: Exit.Exit<unknown, unknown>
): Effect.Effect<void> => {
  if (run === undefined || Exit.isSuccess(run) || Exit.isSuccess(reader)) return Effect.void
  if (!Cause.hasInterrupts(reader.cause)) return Effect.void
  const own = run.cause.reasons.filter((reason) => !Cause.isInterruptReason(reason))
  // A finalizer has no error of its own; the stream has this one.
  return own.length === 0 ? Effect.void : Effect.failCause(Cause.fromReasons(own) as Cause.Cause<never>)
}
