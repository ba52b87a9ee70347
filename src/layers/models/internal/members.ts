/** The models of a fallback: each by how it is called directly, with its retries and its breaker. */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as AiError from "effect/ai/AiError"
import * as LanguageModel from "effect/ai/LanguageModel"
import * as Model from "effect/ai/Model"
import * as Response from "effect/ai/Response"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Lacking from "../../../internal/lacking.ts"
import { messageOf } from "../../../internal/message.ts"
import { oneLine } from "../../../internal/text.ts"
import * as ModelRetry from "../../../internal/modelRetry.ts"
import * as ModelInfo from "../../../services/ModelInfo.ts"
import * as TypedOutput from "../../internal/model/typedOutput.ts"

/** When a model is left out for a while. */
export interface Breaker {
  /** After how many failures in a row. */
  readonly failures: number
  /** For how long. */
  readonly reset: Duration.Duration
}

/** One of the models. */
export interface Member {
  readonly index: number
  readonly provider: string
  readonly model: string
  readonly info: ModelInfo.ModelInfo | undefined
  readonly direct: ModelInfo.Direct
  /** Whether a call may be made now, by the breaker. */
  readonly isClosed: (now: number) => boolean
  /** Notes how a call went. */
  readonly note: (isWell: boolean, now: number) => void
}

/** A member of what a model's Layer gives. */
export const make = (context: Context.Context<never>, index: number, breaker: Breaker | undefined): Member => {
  const known = ModelInfo.describe(context)
  const service = Context.getOrUndefined(context, LanguageModel.LanguageModel)
  if (service === undefined) throw new Error("a model's Layer gives no LanguageModel")
  let failures = 0
  let openUntil = Number.NEGATIVE_INFINITY
  return {
    index,
    provider: known?.info.provider ?? Context.getOrUndefined(context, Model.ProviderName) ?? "unknown",
    model: known?.info.model ?? Context.getOrUndefined(context, Model.ModelName) ?? `model ${index + 1}`,
    info: known?.info,
    direct: known?.direct ?? foreign(service, known?.info.structuredOutput === true),
    isClosed: (now) => now >= openUntil,
    note: (isWell, now) => {
      failures = isWell ? 0 : failures + 1
      if (breaker !== undefined && failures >= breaker.failures) openUntil = now + Duration.toMillis(breaker.reset)
      else if (isWell) openUntil = Number.NEGATIVE_INFINITY
    }
  }
}

const encodeParts = Schema.encodeUnknownSync(Schema.Array(Response.AllParts()))

/** Another way is known to ask the model only through its service, which runs no tools here. */
const foreign = (service: LanguageModel.LanguageModel, readsFormat: boolean): ModelInfo.Direct => {
  const asked = <A, E, R>(
    request: LanguageModel.ProviderOptions,
    use: (options: { readonly prompt: LanguageModel.ProviderOptions["prompt"] }) => Effect.Effect<A, E, R>
  ): Effect.Effect<A, E, R> =>
    Effect.flatMap(ModelInfo.OutputFormat, (around) => {
      const format = TypedOutput.formatOf(request) ?? around
      const words = { alone: "prompt", withTools: "prompt" } as const
      const own = readsFormat ? request : TypedOutput.ask(request, format, undefined, words).request
      return Effect.provideService(use(optionsOf(own)), ModelInfo.OutputFormat, format)
    })
  return {
    generateText: (request) =>
      asked(request, (options) =>
        Effect.map(
          service.generateText(options),
          ({ content }) => encodeParts(content) as ReadonlyArray<Response.PartEncoded>
        )
      ),
    streamText: (request) =>
      Stream.unwrap(
        asked(request, (options) => {
          const parts: Stream.Stream<Response.AnyPart, AiError.AiError> = service.streamText(options)
          return Effect.map(ModelInfo.OutputFormat, (format) =>
            Stream.mapArray(
              Stream.provideService(parts, ModelInfo.OutputFormat, format),
              (some) =>
                encodeParts(some) as unknown as [Response.StreamPartEncoded, ...Array<Response.StreamPartEncoded>]
            )
          )
        })
      )
  }
}

// effect/ai resolves the types of a response from literal options; ours are made at run time.
const optionsOf = ({ prompt, toolChoice, tools }: LanguageModel.ProviderOptions) => {
  const toolkit = {
    tools: Object.fromEntries(tools.map((tool) => [tool.name, tool])),
    handle: () => Effect.die(new Error("tools are run by the caller"))
  }
  return {
    prompt,
    ...(tools.length === 0 ? {} : { toolkit, toolChoice }),
    disableToolCallResolution: true,
    toolCallValidation: "deferred"
  } as unknown as { readonly prompt: LanguageModel.ProviderOptions["prompt"] }
}

/**
 * True for what another model may do better: a busy or broken server, a lost connection, an empty account, a wrong key, and what
 * this one lacks.
 */
export const isOthers = (error: AiError.AiError): boolean => {
  switch (error.reason._tag) {
    case "InvalidRequestError":
      return Lacking.lackedBy(error) !== undefined
    case "RateLimitError":
    case "InternalProviderError":
    case "NetworkError":
    case "QuotaExhaustedError":
    case "AuthenticationError":
      return true
    default:
      return false
  }
}

/** Notes for the breaker of a member how a call of it ended. */
export const noteEnd = (self: Member, exit: Exit.Exit<unknown, AiError.AiError>): Effect.Effect<void> => {
  const failed = Exit.isSuccess(exit) ? undefined : exit.cause.reasons.find(Cause.isFailReason)
  if (failed === undefined && !Exit.isSuccess(exit)) return Effect.void
  // What it lacks is not a failure of it.
  const isWell = failed === undefined || !isOthers(failed.error) || Lacking.lackedBy(failed.error) !== undefined
  return Effect.map(Clock.currentTimeMillis, (now) => self.note(isWell, now))
}

/** A call of a member, with its own retries; its failure is noted. The member's Layer does not retry alongside them. */
export const called = <A>(
  self: Member,
  { tools }: LanguageModel.ProviderOptions,
  call: Effect.Effect<A, AiError.AiError>
): Effect.Effect<A, AiError.AiError> => {
  const asked = Effect.andThen(Lacking.refuseUnread("Fallback", self.info, self.model, tools), call)
  const once = Effect.provideService(asked, ModelInfo.CallerRetries, true)
  const schedule = self.info?.retry ?? ModelRetry.defaultSchedule
  const made = schedule === "none" ? once : Effect.retry(once, ModelRetry.policy(schedule))
  return Effect.tapError(made, (error) =>
    Effect.andThen(
      noteEnd(self, Exit.fail(error)),
      isOthers(error)
        ? Effect.logInfo(`fallback: ${self.provider}:${self.model} failed: ${oneLine(messageOf(error)).slice(0, 300)}`)
        : Effect.void
    )
  )
}
