/** Emits what a ready-made middleware has decided, as an event of the run that it is around. */
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import { CurrentState } from "../../internal/runState.ts"

/** A plan was revised at a step. */
export const planRevised = (step: number, plan: Schema.Json): Effect.Effect<void> =>
  Effect.flatMap(CurrentState, (state) => state?.events.decide({ _tag: "PlanRevised", step, plan }) ?? Effect.void)

/** What is sent of a conversation was made shorter at a step, by a policy: how many tokens it had and has. */
export const compacted = (step: number, { after, before, policy }: Change): Effect.Effect<void> =>
  Effect.flatMap(
    CurrentState,
    (state) => state?.events.emit({ _tag: "Compacted", step, before, after, policy }) ?? Effect.void
  )

/** What a policy has done to what is sent, in tokens. */
export interface Change {
  readonly before: number
  readonly after: number
  readonly policy: string
}

/** A round was judged. */
export const roundCompleted = (round: number, accepted: boolean, verdict: Schema.Json): Effect.Effect<void> =>
  Effect.flatMap(
    CurrentState,
    (state) => state?.events.decide({ _tag: "RoundCompleted", round, accepted, verdict }) ?? Effect.void
  )
