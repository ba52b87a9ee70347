/**
 * Models of the AI SDK's provider packages as a `LanguageModel`: Anthropic, Google, Amazon Bedrock, Azure, Mistral, Groq and
 * some forty others, each by the package that its makers or the AI SDK publish.
 */
import type { EmbeddingModelV4, LanguageModelV4, SharedV4ProviderOptions } from "@ai-sdk/provider"
import type * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as AiError from "effect/ai/AiError"
import * as EmbeddingModel from "effect/ai/EmbeddingModel"
import type * as LanguageModel from "effect/ai/LanguageModel"
import * as Layer from "effect/Layer"
import type * as Schedule from "effect/Schedule"
import { lookUp } from "../../data/models.ts"
import { assertOptions, namesOf, positiveDurationOf } from "../../internal/definition.ts"
import * as ModelInfo from "../../services/ModelInfo.ts"
import { contextOf } from "../internal/model/direct.ts"
import * as ForCalls from "../internal/model/callOptions.ts"
import * as Embedding from "../internal/model/embedding.ts"
import { number } from "../internal/model/wire.ts"
import { Images } from "../../services/Images.ts"
import { Speech } from "../../services/Speech.ts"
import { Transcription } from "../../services/Transcription.ts"
import * as Calls from "./internal/calls.ts"
import * as Media from "./internal/media.ts"
import type * as TypedOutput from "../internal/model/typedOutput.ts"
import { type CallOptions, CurrentOptions, merge } from "./internal/options.ts"
import { providerOf } from "./internal/provider.ts"
import { portOf } from "./internal/port.ts"

export type { CallOptions, ProviderOptions } from "./internal/options.ts"
export type { StructuredOutput } from "../internal/model/typedOutput.ts"

/**
 * A language model of an AI SDK provider package, as `createAnthropic()("claude-sonnet-4-5")` gives it: `LanguageModelV4` of
 * `@ai-sdk/provider`, as far as it has to be known here.
 */
export interface Model {
  readonly specificationVersion: "v4"
  readonly provider: string
  readonly modelId: string
  doGenerate(options: never): PromiseLike<unknown>
  doStream(options: never): PromiseLike<unknown>
}

/** How a model is called. */
export interface Options extends CallOptions {
  /**
   * How long an answer may take; of a stream, how long the model may be silent. Then the request is aborted and counts as a
   * lost connection. Default 10 minutes.
   */
  readonly timeout?: Duration.Input | undefined
  /** Retry policy for transient failures of requests. Default: twice more, with backoff and `retry-after`. */
  readonly retry?: Schedule.Schedule<unknown, AiError.AiError> | "none" | undefined
  /**
   * How the model is asked for typed output: `"json_schema"` (default) by the provider's own means, `"tool"` by a tool whose
   * arguments are the answer, `"prompt"` by the instructions. Where the agent has tools, the default is `"prompt"` for
   * providers that are not known to take both.
   */
  readonly structuredOutput?: TypedOutput.StructuredOutput | undefined
}

/**
 * A model of an AI SDK provider package (`npm install @ai-sdk/anthropic`, `@ai-sdk/google`, `@ai-sdk/amazon-bedrock`, ...):
 * text, streams, reasoning whose signatures go back, tools, tools that the provider runs, typed output, files, sources, and
 * usage with cached and reasoning tokens.
 *
 * Throws `InvalidDefinition` for a model of another version of the interface. Calls fail with `AiError`: rate limits, server
 * errors and lost connections are retryable; a wrong key, a refused request and an unreadable answer are not. Interrupting a
 * call aborts its request on the wire. The packages give promises, so under `Effect.runSync` a call fails with an
 * `InvalidUserInputError` that names the way out.
 *
 * @example
 * import { createAnthropic } from "@ai-sdk/anthropic"
 * import { Effect } from "effect"
 * import { Agent, AiSdk } from "troupe"
 *
 * const Claude = AiSdk.layer(createAnthropic({ apiKey: "sk-ant-..." })("claude-sonnet-4-5"), { maxOutputTokens: 8000 })
 * const program = Agent.make("agent", { instructions: "Be brief." }).run("Hello").pipe(Effect.provide(Claude))
 */
export const layer = (model: Model, options: Options = {}): Layer.Layer<LanguageModel.LanguageModel> => {
  assertOptions("AiSdk.layer", options, known)
  Calls.assertModel("AiSdk.layer", model, "doGenerate", 'createAnthropic()("claude-sonnet-4-5")')
  const timeout = positiveDurationOf("AiSdk.layer", "timeout", options.timeout ?? "10 minutes")
  // The public type leaves out what only this Layer calls.
  return Layer.effectContext(make(model as unknown as LanguageModelV4, options, timeout))
}

const callNames = {
  temperature: true,
  topP: true,
  topK: true,
  maxOutputTokens: true,
  stopSequences: true,
  seed: true,
  presencePenalty: true,
  frequencyPenalty: true,
  reasoning: true,
  cache: true,
  headers: true,
  providerOptions: true
} as const
const known = namesOf<Options>({ ...callNames, timeout: true, retry: true, structuredOutput: true })
const knownOfCall = namesOf<CallOptions>(callNames)
const knownOfEmbedding = namesOf<EmbeddingOptions>({ timeout: true, retry: true, providerOptions: true })
const media = { timeout: true, retry: true, providerOptions: true } as const
const knownOfMedia = namesOf<Media.MediaOptions>({ ...media, maxAnswerBytes: true })
const knownOfSpeech = namesOf<Media.SpeechOptions>({ ...media, maxAnswerBytes: true, voice: true })
const knownOfTranscription = namesOf<Media.TranscriptionOptions>({ ...media, maxAudioBytes: true })

const assertCall = (options: CallOptions): void => assertOptions("options of calls of AiSdk", options, knownOfCall)

/**
 * Sets request options for the calls made inside of an Effect; they win over those of the Layer.
 *
 * @example
 * import { Agent, AiSdk } from "troupe"
 *
 * const agent = Agent.make("agent", { instructions: "Be brief." })
 * const thorough = agent
 *   .run("Hello")
 *   .pipe(AiSdk.withOptions({ providerOptions: { anthropic: { thinking: { type: "adaptive" } } } }))
 */
export const withOptions: ForCalls.ForEffect<CallOptions> = ForCalls.forEffect(CurrentOptions, merge, assertCall)

/** {@link withOptions} for a Stream. */
export const withStreamOptions: ForCalls.ForStream<CallOptions> = ForCalls.forStream(CurrentOptions, merge, assertCall)

const make = (
  model: LanguageModelV4,
  options: Options,
  timeout: Duration.Duration
): Effect.Effect<Context.Context<LanguageModel.LanguageModel>> =>
  Effect.flatMap(ModelInfo.CurrentCatalog, (catalog) => {
    const provider = providerOf(model.provider, model.modelId)
    const known = provider.catalog === undefined ? undefined : lookUp(catalog, `${provider.catalog}:${model.modelId}`)
    const toolSearch = provider.key === "anthropic" && known?.toolSearch === true
    const info: ModelInfo.ModelInfo = {
      provider: provider.name,
      model: model.modelId,
      structuredOutput: true,
      readsSettings: true,
      toolSearch,
      capabilities: known,
      retry: options.retry
    }
    return contextOf(
      info,
      portOf({ model, provider, options, timeout, thinks: known?.reasoning, searchesTools: toolSearch })
    )
  })

/** An embedding model of an AI SDK provider package: `EmbeddingModelV4` of `@ai-sdk/provider`, as far as it has to be known here. */
export interface Embedder {
  readonly specificationVersion: "v4"
  readonly provider: string
  readonly modelId: string
  doEmbed(options: never): PromiseLike<unknown>
}

/** How an embedding model is called. */
export interface EmbeddingOptions {
  /** How long one request may take. Default 1 minute. */
  readonly timeout?: Duration.Input | undefined
  /** Retry policy for transient failures. Default: twice more, with backoff and `retry-after`. */
  readonly retry?: Schedule.Schedule<unknown, AiError.AiError> | "none" | undefined
  readonly providerOptions?: CallOptions["providerOptions"]
}

/**
 * Embeddings by a model of an AI SDK provider package. Texts beyond what the provider takes in one request are sent in several, two
 * at once where the model allows it, and come back in their order. Throws `InvalidDefinition` for what is not such a model, and for a
 * timeout that is not above 0. Calls fail with `AiError` as those of {@link layer} do; interruption aborts the requests on the wire.
 *
 * @example
 * import { createOpenAICompatible } from "@ai-sdk/openai-compatible"
 * import { AiSdk } from "troupe"
 *
 * const provider = createOpenAICompatible({ name: "local", baseURL: "http://localhost:11434/v1" })
 * const Embeddings = AiSdk.layerEmbedding(provider.embeddingModel("nomic-embed-text"))
 */
export const layerEmbedding = (
  model: Embedder,
  options: EmbeddingOptions = {}
): Layer.Layer<EmbeddingModel.EmbeddingModel> => {
  assertOptions("AiSdk.layerEmbedding", options, knownOfEmbedding)
  const example = 'createGoogle().embeddingModel("gemini-embedding-001")'
  Calls.assertModel("AiSdk.layerEmbedding", model, "doEmbed", example)
  // The public type leaves out what only this Layer calls.
  return Layer.effect(EmbeddingModel.EmbeddingModel, makeEmbedding(model as unknown as EmbeddingModelV4, options))
}

const makeEmbedding = (
  model: EmbeddingModelV4,
  options: EmbeddingOptions
): Effect.Effect<EmbeddingModel.EmbeddingModel> => {
  const { providerOptions } = options
  const own = providerOptions === undefined ? {} : { providerOptions: providerOptions as SharedV4ProviderOptions }
  const calling = Calls.make(model, "embedMany", { timeout: "1 minute", ...options })
  const embed = (values: ReadonlyArray<string>) =>
    calling.ask(
      (abortSignal) => model.doEmbed({ values: [...values], abortSignal, ...own }),
      ({ embeddings, usage }) => {
        const vectors = Embedding.vectorsOf(embeddings, values.length)
        return "kind" in vectors ? Effect.fail(vectors) : Effect.succeed({ vectors, tokens: number(usage, "tokens") })
      }
    )
  const provider = calling.within(async (): Promise<Embedding.Provider> => {
    const [inputs = 2048, isParallel] = [await model.maxEmbeddingsPerCall, await model.supportsParallelCalls]
    return {
      // Providers that say how many texts they take do not say how much in sum: OpenAI's is the least that is known.
      limits: { inputs: Math.max(1, Math.min(inputs, 2048)), tokens: 300_000 },
      concurrency: isParallel ? 2 : 1,
      embed,
      fail: calling.fail
    }
  })
  return Embedding.make(provider)
}

/** An image, speech or transcription model of an AI SDK provider package, as far as it has to be known here. */
export type { MediaOptions, Model as MediaModel } from "./internal/media.ts"

/**
 * Images by a model of an AI SDK provider package. Throws `InvalidDefinition` for what is not such a model. Calls fail with `AiError` as
 * those of {@link layer} do; interruption aborts the request on the wire.
 *
 * @example
 * import { createGoogle } from "@ai-sdk/google"
 * import { AiSdk } from "troupe"
 *
 * const Painter = AiSdk.layerImages(createGoogle({ apiKey: "..." }).image("imagen-4.0-generate-001"))
 */
export const layerImages = (model: Media.Model, options: Media.MediaOptions = {}): Layer.Layer<Images> => {
  assertOptions("AiSdk.layerImages", options, knownOfMedia)
  Calls.assertModel("AiSdk.layerImages", model, "doGenerate", 'createGoogle().image("imagen-4.0-generate-001")')
  return Layer.succeed(Images, Media.images(model, options))
}

/**
 * Speech by a model of an AI SDK provider package (`@ai-sdk/openai`, `@ai-sdk/elevenlabs`, ...). Throws and fails as
 * {@link layerImages} does. `voice` is that of requests that name none.
 *
 * @example
 * import { AiSdk } from "troupe"
 *
 * const speaking = (model: AiSdk.MediaModel) => AiSdk.layerSpeech(model, { voice: "alloy" })
 */
export const layerSpeech = (model: Media.Model, options: Media.SpeechOptions = {}): Layer.Layer<Speech> => {
  assertOptions("AiSdk.layerSpeech", options, knownOfSpeech)
  Calls.assertModel("AiSdk.layerSpeech", model, "doGenerate", 'createOpenAI().speech("gpt-4o-mini-tts")')
  return Layer.succeed(Speech, Media.speech(model, options, options.voice))
}

/**
 * Texts of recordings by a model of an AI SDK provider package. Throws and fails as {@link layerImages} does; a recording above
 * `maxAudioBytes` (25 MiB by default) fails with `InvalidUserInputError` before a request. The language, and words that may come, are
 * options of the provider.
 *
 * @example
 * import { AiSdk } from "troupe"
 *
 * const writing = (model: AiSdk.MediaModel) =>
 *   AiSdk.layerTranscription(model, { providerOptions: { openai: { language: "de" } } })
 */
export const layerTranscription = (
  model: Media.Model,
  options: Media.TranscriptionOptions = {}
): Layer.Layer<Transcription> => {
  assertOptions("AiSdk.layerTranscription", options, knownOfTranscription)
  Calls.assertModel("AiSdk.layerTranscription", model, "doGenerate", 'createOpenAI().transcription("whisper-1")')
  return Layer.succeed(Transcription, Media.transcription(model, options))
}
