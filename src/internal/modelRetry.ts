/**
 * Retry policy for failed model calls. The agent loop and the model Layers share it, so that only one of them retries.
 */
import type * as AiError from "effect/ai/AiError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Schedule from "effect/Schedule"

/** The longest `retry-after` that is waited for. A longer one is the caller's to decide on. */
export const maxRetryAfter = Duration.seconds(60)

/** Twice more, after about 0.5 s and 1 s; never more than 8 s apart. */
export const defaultSchedule: Schedule.Schedule<unknown, AiError.AiError> = Schedule.max([
  Schedule.min([Schedule.exponential("500 millis", 2).pipe(Schedule.jittered), Schedule.spaced("8 seconds")]),
  Schedule.recurs(2)
])

/** @internal What a Layer of ours has noted on an error, beyond the fields that effect/ai has. */
export const noteOf = (reason: AiError.AiErrorReason, name: string): unknown => {
  const metadata: unknown = "metadata" in reason ? reason.metadata : undefined
  const own: unknown = Predicate.hasProperty(metadata, "openai") ? metadata.openai : undefined
  return Predicate.hasProperty(own, name) ? own[name] : undefined
}

/** @internal The server's own word on asking again, which goes before what the kind of the error says. */
export const shouldRetry = ({ reason }: AiError.AiError): boolean | undefined => {
  const said = noteOf(reason, "shouldRetry")
  return typeof said === "boolean" ? said : undefined
}

/** True when sending the same request again may succeed. Bad output is not transient: the model has to correct it. */
export const isTransient = (error: AiError.AiError): boolean => {
  const said = shouldRetry(error)
  if (said !== undefined) return said
  switch (error.reason._tag) {
    case "RateLimitError":
    case "InternalProviderError":
      return true
    case "NetworkError":
      return error.reason.isRetryable
    default:
      return false
  }
}

/**
 * How long the server says to wait. `effect/ai` has a field for it in rate limits only; other errors note it for us.
 */
const waitOf = ({ reason, retryAfter }: AiError.AiError): Duration.Duration | undefined => {
  if (reason._tag !== "InternalProviderError") return retryAfter
  const millis = noteOf(reason, "retryAfterMillis")
  return typeof millis === "number" ? Duration.millis(millis) : undefined
}

/** Options of `Effect.retry`: follow `schedule`, wait at least as long as the server says, and give up if that is too long. */
export const policy = (
  schedule: Schedule.Schedule<unknown, AiError.AiError>
): {
  readonly schedule: Schedule.Schedule<unknown, AiError.AiError>
  readonly while: (error: AiError.AiError) => boolean
} => ({
  schedule: schedule.pipe(
    Schedule.setInputType<AiError.AiError>(),
    Schedule.modifyDelay(({ duration, input }) =>
      Effect.succeed(Duration.max(duration, waitOf(input) ?? Duration.zero))
    )
  ),
  while: (error) => isTransient(error) && Duration.isLessThanOrEqualTo(waitOf(error) ?? Duration.zero, maxRetryAfter)
})
