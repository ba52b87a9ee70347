/** What a model's Layer does around each of its calls: retries and attributes of spans, unless the agent loop sees to them. */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type * as AiError from "effect/ai/AiError"
import type * as LanguageModel from "effect/ai/LanguageModel"
import type * as Response from "effect/ai/Response"
import * as AiTelemetry from "effect/ai/Telemetry"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as ModelRetry from "../../../internal/modelRetry.ts"
import * as ModelInfo from "../../../services/ModelInfo.ts"

/** A Layer's retry policy. */
export type Retry = Schedule.Schedule<unknown, AiError.AiError> | "none" | undefined

/** The retry policy, unless the caller retries: two loops would multiply. */
const policyFor = (
  retry: Retry,
  fiber: Fiber.Fiber<unknown, unknown>
): ReturnType<typeof ModelRetry.policy> | undefined => {
  const schedule = retry ?? ModelRetry.defaultSchedule
  return schedule === "none" || fiber.getRef(ModelInfo.CallerRetries) ? undefined : ModelRetry.policy(schedule)
}

/** Makes a call, again as the policy says where the caller does not retry. */
export const retried = <A>(
  retry: Retry,
  fiber: Fiber.Fiber<unknown, unknown>,
  once: Effect.Effect<A, AiError.AiError>
): Effect.Effect<A, AiError.AiError> => {
  const policy = policyFor(retry, fiber)
  return policy === undefined ? once : Effect.retry(once, policy)
}

/** As {@link retried}. What has been emitted cannot be taken back, so a stream is asked for again only before it has begun. */
export const retriedStream = <A>(
  retry: Retry,
  fiber: Fiber.Fiber<unknown, unknown>,
  once: Stream.Stream<A, AiError.AiError>
): Stream.Stream<A, AiError.AiError> => {
  const policy = policyFor(retry, fiber)
  if (policy === undefined) return once
  let began = false
  const again = Schedule.while(policy.schedule, ({ input }) => !began && policy.while(input))
  const noted = Stream.mapArray(once, (some) => {
    began = true
    return some
  })
  return Stream.retry(noted, again)
}

/** The request, for the span of a direct caller. */
export interface Described {
  readonly provider: string
  readonly model: string
  readonly temperature?: number | undefined
  readonly topP?: number | undefined
  readonly maxTokens?: number | undefined
  readonly seed?: number | undefined
  readonly stopSequences?: ReadonlyArray<string> | undefined
}

/** Annotates the span with what is asked. */
export const describe = (request: LanguageModel.ProviderOptions, { provider, ...asked }: Described): void =>
  AiTelemetry.addGenAIAnnotations(request.span, {
    provider: { name: provider },
    operation: { name: "chat" },
    request: asked
  })

/** Annotates the span with the answer's metadata, for direct callers; the agent loop annotates its own spans. */
export const annotate = (
  request: LanguageModel.ProviderOptions,
  parts: ReadonlyArray<Response.PartEncoded | Response.StreamPartEncoded>
): void => {
  for (const part of parts) {
    if (part.type === "response-metadata") {
      AiTelemetry.addGenAIAnnotations(request.span, { response: { id: part.id, model: part.modelId } })
    } else if (part.type === "finish") {
      AiTelemetry.addGenAIAnnotations(request.span, {
        response: { finishReasons: [part.reason] },
        usage: { inputTokens: part.usage.inputTokens.total, outputTokens: part.usage.outputTokens.total }
      })
    }
  }
}
