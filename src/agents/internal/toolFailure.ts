/**
 * The failures of tool calls, and what the model sees of them.
 */
import * as AiError from "effect/ai/AiError"
import type * as Tool from "effect/ai/Tool"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import { toJson } from "../../internal/json.ts"
import { CannotWait, failureToJson } from "../../internal/toolFunction.ts"
import { MissingModel, MissingSyncEdge, NestedSyncEdge, StuckSyncEdge, type ToolFailure } from "../../RunError.ts"
import type { Call } from "./turnCollector.ts"

/** A failure that a tool reports, as opposed to a result. */
export class Failure {
  readonly cause: unknown
  /** What the model sees. */
  readonly result: Schema.Json
  /** True when the model sees the failure even if the tool's failure mode is `error`: it can fix the call. */
  readonly always: boolean
  constructor(cause: unknown, result: Schema.Json, always: boolean) {
    this.cause = cause
    this.result = result
    this.always = always
  }
}

/** A call that was not approved. The model sees the reason in every failure mode of the tool. */
export class Denied extends Failure {
  constructor(reason: string) {
    super(undefined, { error: `denied: ${reason}` }, true)
  }
}

/** A tool that was interrupted, and not by us. */
export const brokenOff = (): Failure => {
  const error = "the tool was interrupted from within"
  return new Failure(new Error(error), { error }, false)
}

/** The error or defect of a tool's Effect, as a failure. */
export const toFailure = (error: unknown): Failure => (error instanceof Failure ? error : crashed(error))

/** A tool that failed with something it did not declare. */
export const crashed = (defect: unknown): Failure => {
  return new Failure(defect, { error: "the tool crashed", cause: failureToJson(defect) }, false)
}

/** A mistake in the program's setup: the model cannot fix it, so it fails the run as it would outside of a tool. */
export const isSetup = (cause: unknown): cause is MissingModel | MissingSyncEdge | NestedSyncEdge =>
  cause instanceof MissingModel || cause instanceof MissingSyncEdge || cause instanceof NestedSyncEdge

/** True for an error of work that `Effect.runSync` cannot wait for. */
export const isAsync = (cause: unknown): boolean => cause instanceof CannotWait || cause instanceof StuckSyncEdge

/** True for a failure that only the program can fix. It fails the run in every failure mode of the tool. */
export const isForProgram = (cause: unknown): boolean => isSetup(cause) || isAsync(cause)

/** The failure as the run's error lists it. */
export const failureOf = (call: Call, failure: Failure): ToolFailure => ({
  tool: call.name,
  toolCallId: call.id,
  failure: failure.result,
  cause: failure.cause
})

/** Arguments that do not fit the tool's parameters, which the model can fix. */
export const badArguments = (cause: unknown, detail: string): Failure =>
  new Failure(
    cause,
    { error: `The arguments do not fit the tool's parameters. Fix the arguments and call the tool again. ${detail}` },
    true
  )

/** The failure of a toolkit's handler. */
export const describe = (tool: Tool.Any, error: unknown, origin: Tool.FailureOrigin | undefined): Failure => {
  const reason = AiError.isAiError(error) ? error.reason : undefined
  if (origin === "parameters" || reason?._tag === "ToolParameterValidationError") {
    return badArguments(
      error,
      reason !== undefined && "description" in reason ? String(reason.description) : String(error)
    )
  }
  if (AiError.isAiError(error)) return new Failure(error, { error: error.reason.message }, false)
  const encoded = Schema.encodeUnknownOption(tool.failureSchema as Schema.Codec<unknown, unknown>)(error)
  const json = encoded._tag === "Some" ? toJson(encoded.value) : failureToJson(error)
  // An Error's own fields leave out its message, which is what the model can act on.
  const forModel = error instanceof Error && !Predicate.hasProperty(json, "message") ? failureToJson(error) : json
  return new Failure(error, forModel, false)
}
