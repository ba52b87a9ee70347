/** The two ways in which a language model is asked, for the agent loop and for `effect/ai`. */
import type { LanguageModelV4, LanguageModelV4CallOptions } from "@ai-sdk/provider"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type * as AiError from "effect/ai/AiError"
import type * as LanguageModel from "effect/ai/LanguageModel"
import type * as Response from "effect/ai/Response"
import * as Stream from "effect/Stream"
import { CurrentRun } from "../../../services/CurrentRun.ts"
import * as ModelInfo from "../../../services/ModelInfo.ts"
import { isSecretName } from "../../../internal/scrubber.ts"
import * as Calling from "../../internal/model/calling.ts"
import { secretsOf } from "../../internal/model/providerTool.ts"
import * as Search from "../../internal/model/search.ts"
import * as TypedOutput from "../../internal/model/typedOutput.ts"
import type * as Errors from "./errors.ts"
import { failWith } from "./failed.ts"
import { type CallOptions, CurrentOptions, merge, withSettings } from "./options.ts"
import type { Provider } from "./provider.ts"
import { encode } from "./request.ts"
import { searchOf } from "./search.ts"
import * as Talk from "./talk.ts"
import * as TalkStream from "./talkStream.ts"
import { assertAsync } from "./waiting.ts"
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
  /** Whether the provider searches tools for the model that need not be shown. */
  readonly searchesTools: boolean
}

type AnyFiber = Fiber.Fiber<unknown, unknown>

/** The calls of a model. Under `Effect.runSync` they fail. */
export const portOf = (asked: CalledModel): ModelInfo.Direct => {
  const { model, options, provider, timeout } = asked
  const warnings = Warnings.make(provider, model.modelId)
  const ask = questioner(asked, warnings)
  const callee: Talk.Callee = { model, timeout, warn: warnings.note }
  return {
    generateText: (request, memory) =>
      Effect.withFiber((fiber) => {
        const once = Effect.flatMap(ask("generateText", request, memory, fiber), (question) =>
          Talk.whole(callee, question)
        )
        const noted = Effect.tap(once, (parts) => Effect.sync(() => annotate(fiber, request, parts)))
        return Calling.retried(options.retry, fiber, noted)
      }),
    streamText: (request, memory) =>
      Stream.unwrap(
        Effect.withFiber((fiber) => {
          const once = Stream.unwrap(
            Effect.flatMap(ask("streamText", request, memory, fiber), (question) =>
              TalkStream.streamed(callee, question)
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
const questioner = ({ model, options, provider, searchesTools, thinks }: CalledModel, warnings: Warnings.Warnings) => {
  const resolve = Search.resolver(model.modelId, searchOf(provider, model.provider, model.modelId))
  const make = (
    request: LanguageModel.ProviderOptions,
    memory: ModelInfo.RunMemory | undefined,
    fiber: AnyFiber,
    urls: Record<string, RegExp[]> | undefined
  ): Omit<Talk.Question, "failing"> => {
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
      // Beyond the agent loop, effect/ai would refuse the results of a tool that it does not know.
      searchesTools: searchesTools && memory !== undefined
    }
    const encoded = encode(typed, call, target)
    warnings.assertTaken(encoded)
    return { options: encoded, answerTool: typed.answerTool, isTyped: typed.format !== undefined }
  }
  return (
    method: Errors.Failing["method"],
    request: LanguageModel.ProviderOptions,
    memory: ModelInfo.RunMemory | undefined,
    fiber: AnyFiber
  ): Effect.Effect<Talk.Question, AiError.AiError> => {
    const failing = { method, provider, model: model.modelId, secrets: secretsOf(request.tools) }
    return assertAsync.pipe(
      Effect.andThen(Effect.tryPromise({ try: async () => model.supportedUrls, catch: (error) => error })),
      Effect.flatMap((urls) => Effect.try({ try: () => make(request, memory, fiber, urls), catch: (error) => error })),
      Effect.map((question) => {
        const secrets = [...failing.secrets, ...secretHeaders(question.options.headers)]
        return { ...question, failing: { ...failing, secrets } }
      }),
      Effect.catch(failWith(failing))
    )
  }
}

const secretHeaders = (headers: LanguageModelV4CallOptions["headers"] = {}): ReadonlyArray<string> =>
  Object.entries(headers).flatMap(([name, value = ""]) => (isSecretName(name, "header") ? [value] : []))

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
