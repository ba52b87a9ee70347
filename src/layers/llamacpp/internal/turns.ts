/**
 * Turns at so many places, the first who asks first. A place that becomes free is handed to the next one who waits, so that no later
 * call gets in between. It belongs to no run: programs of several runs, on either edge, can wait for each other here.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"

/** The places, by number. */
export interface Turns {
  /** Runs an effect at a place once one is free. Interruption ends the waiting. */
  readonly at: <A, E, R>(use: (place: number) => Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
}

/** Makes so many places. */
export const make = (count: number): Turns => {
  const free = Array.from({ length: count }, (_, place) => place)
  const waiting: Array<Deferred.Deferred<number>> = []
  const give = (place: number): void => {
    const next = waiting.shift()
    if (next === undefined) free.push(place)
    else Deferred.doneUnsafe(next, Effect.succeed(place))
  }
  /** One who does not wait any more may have been handed a place already. */
  const withdraw = (mine: Deferred.Deferred<number>): Effect.Effect<void> =>
    Effect.suspend(() => {
      const index = waiting.indexOf(mine)
      if (index < 0) return Effect.map(Deferred.await(mine), give)
      waiting.splice(index, 1)
      return Effect.void
    })
  return {
    at: (use) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.gen(function* () {
          let place = free.shift()
          if (place === undefined) {
            const mine = Deferred.makeUnsafe<number>()
            waiting.push(mine)
            place = yield* Effect.onExit(restore(Deferred.await(mine)), (exit) =>
              Exit.isFailure(exit) ? withdraw(mine) : Effect.void
            )
          }
          const mine = place
          return yield* Effect.ensuring(
            restore(use(mine)),
            Effect.sync(() => give(mine))
          )
        })
      )
  }
}
