/** The two ways in which a language model is asked, for the agent loop and for `effect/ai`. */
import type { LanguageModelV4 } from "@ai-sdk/provider"
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type * as AiError from "effect/ai/AiError"
import type * as LanguageModel from "effect/ai/LanguageModel"
import type * as Response from "effect/ai/Response"
import * as Stream from "effect/Stream"
import { CurrentRun } from "../../../services/CurrentRun.ts"
import * as ModelInfo from "../../../services/ModelInfo.ts"
import { isSyncFiber } from "../../../services/SyncBridge.ts"
import * as Calling from "../../internal/model/calling.ts"
import { Unsupported } from "../../internal/model/problems.ts"
import * as Search from "../../internal/model/search.ts"
import * as TypedOutput from "../../internal/model/typedOutput.ts"
import type * as Errors from "./errors.ts"
import { errorOf } from "./failed.ts"
import { type CallOptions, CurrentOptions, merge, withSettings } from "./options.ts"
import type { Provider } from "./provider.ts"
import { encode } from "./request.ts"
import { searchOf } from "./search.ts"
import * as Talk from "./talk.ts"
import * as TalkStream from "./talkStream.ts"
import * as Warnings from "./warnings.ts"

/** A model, and how its Layer calls it. */
export interface CalledModel {
  readonly model: LanguageModelV4
  readonly provider: Provider
  readonly options: CallOptions & {
    readonly retry?: Calling.Retry
    readonly structuredOutput?: TypedOutput.StructuredOutput | undefined
    readonly timeout?: Duration.Input | undefined
  }
  readonly timeout: Duration.Duration
  /** Whether the model is known to reason; `undefined` for unknown. */
  readonly thinks: boolean | undefined
}

/** Asks a model. */
export interface Port {
  readonly generate: (
    request: LanguageModel.ProviderOptions,
    searchesTools: boolean
  ) => Effect.Effect<ReadonlyArray<Response.PartEncoded>, AiError.AiError>
  readonly stream: (
    request: LanguageModel.ProviderOptions,
    searchesTools: boolean
  ) => Stream.Stream<Response.StreamPartEncoded, AiError.AiError>
}

type AnyFiber = Fiber.Fiber<unknown, unknown>
type Method = "generateText" | "streamText"

const blocked =
  "Effect.runSync cannot wait for the promises of an AI SDK model. Run the program with Effect.runPromise; under Effect.runSync use OpenAi.layer, which can also reach many other providers by `baseUrl`"

/** The calls of a model. Under `Effect.runSync` they fail. */
export const portOf = (asked: CalledModel): Port => {
  const { model, options, provider, timeout } = asked
  const warnings = Warnings.make(provider, model.modelId)
  const ask = questioner(asked, warnings)
  const failing = (method: Method): Errors.Failing => ({ method, provider, model: model.modelId })
  const failed =
    (method: Method) =>
    (error: unknown): Effect.Effect<never, AiError.AiError> =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => Effect.fail(errorOf(error, failing(method), now)))
  const callee: Talk.Callee = { model, timeout, warn: warnings.note, failing: failing("streamText") }
  return {
    generate: (request, searchesTools) =>
      Effect.withFiber((fiber) => {
        if (isSyncFiber(fiber)) return failed("generateText")(new Unsupported(blocked))
        const once = ask(request, searchesTools, fiber).pipe(
          Effect.flatMap((question) => Talk.whole(callee, question)),
          Effect.tap((parts) => Effect.sync(() => annotate(fiber, request, parts))),
          Effect.catch(failed("generateText"))
        )
        return Calling.retried(options.retry, fiber, once)
      }),
    stream: (request, searchesTools) =>
      Stream.unwrap(
        Effect.withFiber((fiber) => {
          if (isSyncFiber(fiber)) return failed("streamText")(new Unsupported(blocked))
          const once = Stream.unwrap(
            ask(request, searchesTools, fiber).pipe(
              Effect.flatMap((question) => TalkStream.streamed(callee, question)),
              Effect.catch(failed("streamText"))
            )
          )
          const noted = fiber.getRef(ModelInfo.CallerRetries)
            ? once
            : Stream.mapArray(once, (parts) => {
                Calling.annotate(request, parts)
                return parts
              })
          return Effect.succeed(Calling.retriedStream(options.retry, fiber, noted))
        })
      )
  }
}

/** Makes the questions of requests. */
const questioner = ({ model, options, provider, thinks }: CalledModel, warnings: Warnings.Warnings) => {
  const resolve = Search.resolver(model.modelId, searchOf(provider, model.provider, model.modelId))
  const make = (
    request: LanguageModel.ProviderOptions,
    searchesTools: boolean,
    fiber: AnyFiber,
    urls: Record<string, RegExp[]> | undefined
  ): Talk.Question => {
    const call = callOptions(options, fiber)
    if (!fiber.getRef(ModelInfo.CallerRetries)) describe(request, call, provider.name, model.modelId)
    const output = TypedOutput.formatOf(request) ?? fiber.getRef(ModelInfo.OutputFormat)
    const tools = resolve(request.tools)
    const sent = tools === request.tools ? request : { ...request, tools }
    const typed = TypedOutput.ask(sent, output, options.structuredOutput, provider.structuredOutput)
    const target = {
      provider: model.provider,
      key: provider.key,
      urls: urls ?? {},
      features: provider,
      conversation: fiber.getRef(CurrentRun)?.conversationId,
      thinks,
      searchesTools
    }
    const encoded = encode(typed, call, target)
    warnings.assertTaken(encoded)
    return {
      options: encoded,
      answerTool: typed.answerTool,
      isTyped: typed.format !== undefined
    }
  }
  return (
    request: LanguageModel.ProviderOptions,
    searchesTools: boolean,
    fiber: AnyFiber
  ): Effect.Effect<Talk.Question, unknown> =>
    Effect.tryPromise({ try: async () => model.supportedUrls, catch: (error) => error }).pipe(
      Effect.flatMap((urls) =>
        Effect.try({ try: () => make(request, searchesTools, fiber, urls), catch: (error) => error })
      )
    )
}

const annotate = (
  fiber: AnyFiber,
  request: LanguageModel.ProviderOptions,
  parts: ReadonlyArray<Response.PartEncoded>
): void => {
  if (!fiber.getRef(ModelInfo.CallerRetries)) Calling.annotate(request, parts)
}

const callOptions = (layer: CalledModel["options"], fiber: AnyFiber): CallOptions => {
  const { retry: _retry, structuredOutput: _structuredOutput, timeout: _timeout, ...own } = layer
  return withSettings(
    merge(own, fiber.getRef(CurrentOptions)),
    fiber.getRef(ModelInfo.CurrentSettings),
    fiber.getRef(ModelInfo.MaxOutputTokens)
  )
}

const describe = (request: LanguageModel.ProviderOptions, call: CallOptions, provider: string, model: string): void =>
  Calling.describe(request, {
    provider,
    model,
    temperature: call.temperature,
    topP: call.topP,
    maxTokens: call.maxOutputTokens,
    seed: call.seed,
    stopSequences: call.stopSequences
  })
