/** Decisions of a run, which are made once: a journal keeps them. */
import * as Effect from "effect/Effect"
import { decide, type Form, formOf, journalOf } from "./journaled.ts"
import * as Schema from "effect/Schema"
import { CurrentPlace, placeIn } from "./place.ts"
import { CurrentState, type RunState } from "./runState.ts"

/** What an Effect of a user came to. When the run is made again, it is not asked again. `what` names it by its place in the run. */
export const decided = <A, E, R>(
  state: RunState,
  what: string,
  effect: Effect.Effect<A, E, R>,
  form: Form<A>
): Effect.Effect<A, E, R> =>
  Effect.withFiber((fiber) => {
    const journal = journalOf(fiber)
    if (journal === undefined) return effect
    const key = placeIn(state, fiber.getRef(CurrentPlace)).key(what)
    return decide(journal, { key, name: what.slice(what.indexOf("/") + 1) }, effect, form)
  })

/** {@link decided} in the run that the fiber works for. */
export const decidedHere = <A, E, R>(
  what: string,
  effect: Effect.Effect<A, E, R>,
  form: Form<A>
): Effect.Effect<A, E, R> =>
  Effect.flatMap(CurrentState, (state) => (state === undefined ? effect : decided(state, what, effect, form)))

/** The form of a text. */
export const text = formOf(Schema.String)
/** The form of a truth value. */
export const truth = formOf(Schema.Boolean)
/** The form of a time, in milliseconds since the epoch. */
export const time = formOf(Schema.Finite)
/** The form of a list of texts. */
export const texts = formOf(Schema.Array(Schema.String))
