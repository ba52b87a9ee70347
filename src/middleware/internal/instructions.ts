/** The instructions of the agent whose run a middleware is around. */
import * as Effect from "effect/Effect"
import type * as Prompt from "effect/ai/Prompt"
import { CurrentState } from "../../internal/runState.ts"

/** The system message that the agent sends first, where it has one. */
export const instructions: Effect.Effect<ReadonlyArray<Prompt.SystemMessage>> = Effect.map(CurrentState, (state) =>
  state?.instructions === undefined ? [] : [state.instructions]
)
