/** Emits what a ready-made middleware has decided, as an event of the run that it is around. */
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import { CurrentState } from "../../internal/runState.ts"

/** A plan was revised at a step. */
export const planRevised = (step: number, plan: Schema.Json): Effect.Effect<void> =>
  Effect.flatMap(CurrentState, (state) => state?.events.decide({ _tag: "PlanRevised", step, plan }) ?? Effect.void)

/** A round was judged. */
export const roundCompleted = (round: number, accepted: boolean, verdict: Schema.Json): Effect.Effect<void> =>
  Effect.flatMap(
    CurrentState,
    (state) => state?.events.decide({ _tag: "RoundCompleted", round, accepted, verdict }) ?? Effect.void
  )
