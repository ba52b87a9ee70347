/** State of a middleware that lasts for one run: the `run` function provides it, and the others find it. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"

/** The state of one middleware in the run under way. */
export interface RunScoped<S> {
  /** Goes on with a new state. Also for an Effect that is begun again, which has another one. */
  readonly provide: <A, E, R>(effect: Effect.Effect<A, E, R>, state: S) => Effect.Effect<A, E, R>
  /** The state; `undefined` outside of a run that the middleware is around. */
  readonly get: Effect.Effect<S | undefined>
}

/** Makes a place for the state of one middleware. */
export const make = <S>(name: string): RunScoped<S> => {
  const Current = Context.Reference<S | undefined>(`troupe/${name}/${globalThis.crypto.randomUUID()}`, {
    defaultValue: () => undefined
  })
  return {
    provide: (effect, state) => Effect.provideService(effect, Current, state),
    get: Current
  }
}
