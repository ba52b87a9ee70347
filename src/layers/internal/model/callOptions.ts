/** Options of the calls inside of an Effect or a Stream, over those around it. */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Stream from "effect/Stream"

/** Sets options for an Effect. */
export interface ForEffect<Options> {
  (options: Options): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, options: Options): Effect.Effect<A, E, R>
}

/** Sets options for a Stream. */
export interface ForStream<Options> {
  (options: Options): <A, E, R>(self: Stream.Stream<A, E, R>) => Stream.Stream<A, E, R>
  <A, E, R>(self: Stream.Stream<A, E, R>, options: Options): Stream.Stream<A, E, R>
}

/** Merges options of a call over those around it. */
export type Merge<Options> = (around: Options, own: Options) => Options

/** For an Effect. `check` throws for options that do not exist. */
export const forEffect = <Options>(
  current: Context.Reference<Options>,
  merge: Merge<Options>,
  check: (options: Options) => void
): ForEffect<Options> =>
  dual(2, <A, E, R>(self: Effect.Effect<A, E, R>, options: Options) => {
    check(options)
    return Effect.flatMap(current, (around) => Effect.provideService(self, current, merge(around, options)))
  })

/** For a Stream. */
export const forStream = <Options>(
  current: Context.Reference<Options>,
  merge: Merge<Options>,
  check: (options: Options) => void
): ForStream<Options> =>
  dual(2, <A, E, R>(self: Stream.Stream<A, E, R>, options: Options) => {
    check(options)
    return Stream.unwrap(Effect.map(current, (around) => Stream.provideService(self, current, merge(around, options))))
  })
