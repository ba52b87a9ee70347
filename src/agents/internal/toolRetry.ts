/** Retries tool calls that failed. A call that may have done something is made again only where that does no harm. */
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import type * as Schedule from "effect/Schedule"
import { isPassedOn } from "../../internal/resumption.ts"
import type { ToolFailure } from "../../RunError.ts"
import type { Value } from "./toolCall.ts"
import { type Failure, failureOf, isForProgram } from "./toolFailure.ts"
import type { Call } from "./turnCollector.ts"

/** When a call that failed is made again. */
export type Retry = Schedule.Schedule<unknown, ToolFailure>

/** A failure as the schedule is given it. */
interface Tried extends ToolFailure {
  readonly own: Failure
}

/** Makes the call again as `schedule` says, and where `isHarmless` or its failure says that nothing was done. */
export const retrying = (
  attempt: Effect.Effect<Value, Failure>,
  call: Call,
  isHarmless: boolean,
  schedule: Retry
): Effect.Effect<Value, Failure> => {
  const tried = Effect.mapError(attempt, (own): Tried => ({ ...failureOf(call, own), own }))
  const isWorthIt = ({ own }: Tried) => !isFinal(own) && (isHarmless || hasDoneNothing(own.cause))
  return Effect.mapError(Effect.retry(tried, { schedule, while: isWorthIt }), ({ own }) => own)
}

/** True for what another attempt cannot change: the model or the program has to. */
const isFinal = ({ always, cause }: Failure): boolean => always || isForProgram(cause) || isPassedOn(cause)

/** Errors of MCP servers say so, and those of a program can. */
const hasDoneNothing = (cause: unknown): boolean => Predicate.hasProperty(cause, "executed") && cause.executed === "no"
