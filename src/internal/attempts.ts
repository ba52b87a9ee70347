/**
 * Attempts at one piece of work. A call that is made again in another attempt has the same idempotency key there, although
 * the run, its steps and the model's ids are others.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"

/** One of several attempts at the same work. */
export interface Attempt {
  /** The same in every attempt. */
  readonly id: string
  /** How often each thing was done in this attempt. */
  readonly counts: Map<string, number>
}

/** The attempt that the current fiber works for; `undefined` where there is only one. */
export const CurrentAttempt: Context.Reference<Attempt | undefined> = Context.Reference<Attempt | undefined>(
  "troupe/Attempt",
  { defaultValue: () => undefined }
)

/** Identifies the `n`th time that `what` is done in an attempt, by an id that is the same in every attempt. */
export const idIn = ({ counts, id }: Attempt, what: string): string => {
  const count = (counts.get(what) ?? 0) + 1
  counts.set(what, count)
  return `${id}/${what}/${count}`
}

/**
 * Runs `f` with a function that makes one of its Effects an attempt. `id` identifies the work outside of any attempt; within
 * an attempt, work at the same place of another attempt counts as the same.
 */
export const inAttempts = <A, E, R>(
  id: string,
  place: string,
  f: (attempt: <B, E2, R2>(effect: Effect.Effect<B, E2, R2>) => Effect.Effect<B, E2, R2>) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.flatMap(CurrentAttempt, (outer) => {
    const own = outer === undefined ? id : idIn(outer, place)
    return f((effect) =>
      Effect.provideServiceEffect(
        effect,
        CurrentAttempt,
        Effect.sync(() => ({ id: own, counts: new Map() }))
      )
    )
  })
