/** Emits what a ready-made middleware has done, as an event of the run that it is around. */
import * as Effect from "effect/Effect"
import type { EventSink } from "../../internal/eventSink.ts"
import { CurrentState } from "../../internal/runState.ts"

/** Emits by the events of the run. Outside of a run nothing is emitted. */
export const emit = (by: (events: EventSink) => Effect.Effect<void>): Effect.Effect<void> =>
  Effect.flatMap(CurrentState, (state) => (state === undefined ? Effect.void : by(state.events)))
