/** State of a middleware that lasts for one run, or for one attempt at it. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { CurrentState } from "../../internal/runState.ts"

/** The state of one middleware in the attempt under way: the `run` function provides it, and the others find it. */
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

/**
 * Makes a place for the state of one middleware that all attempts at a run have, as the rounds of a `Goal` are. It is made when it
 * is first asked for; `undefined` outside of a run.
 */
export const perRun = <S>(make: () => S): Effect.Effect<S | undefined> => {
  const states = new WeakMap<object, S>()
  return Effect.map(CurrentState, (run) => {
    if (run === undefined) return undefined
    let state = states.get(run)
    if (state === undefined) states.set(run, (state = make()))
    return state
  })
}
