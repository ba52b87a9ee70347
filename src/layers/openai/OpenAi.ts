/**
 * OpenAI and every server that speaks its language (vLLM, Ollama, LM Studio, llama-server) as a `LanguageModel`. This
 * file wires requests, answers, options, retries and spans together; the parts are in `openai/`.
 */
import * as Config from "effect/Config"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type * as AiError from "effect/ai/AiError"
import * as EmbeddingModel from "effect/ai/EmbeddingModel"
import type * as LanguageModel from "effect/ai/LanguageModel"
import type * as Response from "effect/ai/Response"
import type * as Tool from "effect/ai/Tool"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import { lookUp } from "../../data/models.ts"
import { assertOneOf, assertOptions, countOf, namesOf } from "../../internal/definition.ts"
import * as ForCalls from "../internal/model/callOptions.ts"
import * as Calling from "../internal/model/calling.ts"
import { contextOf } from "../internal/model/direct.ts"
import { HttpTape } from "../../services/HttpTape.ts"
import type { HttpRequest, HttpTransport } from "../../services/HttpTransport.ts"
import { CurrentRun } from "../../services/CurrentRun.ts"
import * as ModelInfo from "../../services/ModelInfo.ts"
import { askFor, type Cache, type Times } from "../internal/model/cache.ts"
import { type Sending, streamed, whole } from "./internal/answering.ts"
import { type Question, requests, textOf } from "./internal/asking.ts"
import * as Carrier from "./internal/carrier.ts"
import * as Chat from "./internal/chat.ts"
import { StreamDecoder as ChatStreamDecoder } from "./internal/chatStream.ts"
import { type Connected, connect, endpointNames, type EndpointOptions } from "./internal/connection.ts"
import { Images } from "../../services/Images.ts"
import { Speech } from "../../services/Speech.ts"
import { Transcription } from "../../services/Transcription.ts"
import * as Embedding from "./internal/embedding.ts"
import * as ImagesApi from "./internal/images.ts"
import * as SpeechApi from "./internal/speech.ts"
import * as TranscriptionApi from "./internal/transcription.ts"
import * as Failing from "./internal/failing.ts"
import { reach } from "./internal/reach.ts"
import * as Decoding from "./internal/decoding.ts"
import { contextLengthPrefix } from "../internal/model/errors.ts"
import { type CallOptions, CurrentOptions, limited, merge, withSettings } from "./internal/options.ts"
import { isProblem, ofEncoding, type Problem } from "../internal/model/problems.ts"
import * as OwnTools from "./internal/ownTools.ts"
import * as Responses from "./internal/responses.ts"
import { StreamDecoder as ResponsesStreamDecoder } from "./internal/responsesStream.ts"
import * as Search from "../internal/model/search.ts"
import * as Tools from "./internal/tools.ts"
import * as Events from "./internal/sse.ts"
import * as ClientTransport from "./internal/transport/client.ts"
import type { Client } from "./internal/transport/client.ts"
import { answeringBy } from "./internal/answerTool.ts"
import { secretsOf } from "../internal/model/providerTool.ts"
import { ask, formatOf, type StructuredOutput, type Ways } from "../internal/model/typedOutput.ts"
import { serverAt } from "./internal/servers.ts"
import { type Fields, randomId } from "../internal/model/wire.ts"
import type { Target } from "./internal/written.ts"

export type { EndpointOptions } from "./internal/connection.ts"
export type { EmbeddingOptions } from "./internal/embedding.ts"
export type { ImagesOptions } from "./internal/images.ts"
export type { CallOptions, ChatOptions, ResponsesOptions } from "./internal/options.ts"
export type { Cache } from "../internal/model/cache.ts"
export type { SpeechOptions } from "./internal/speech.ts"
export type { TranscriptionOptions } from "./internal/transcription.ts"
export type { StructuredOutput } from "../internal/model/typedOutput.ts"
export type { Client } from "./internal/transport/client.ts"
export * as tools from "./internal/tools.ts"
export type { Fetch, FetchResponse } from "./internal/transport/fetch.ts"
export type { Adapter, Transport } from "./internal/transport/select.ts"

/** How a model is reached, and asked. */
export interface Options extends EndpointOptions {
  /** Which API: `"auto"` (default) takes Responses at OpenAI itself and Chat Completions everywhere else. */
  readonly api?: "auto" | "responses" | "chat" | undefined
  /** The provider's name in spans. Default `openai`. */
  readonly provider?: string | undefined
  /**
   * How the model is asked for typed output:
   *
   * - `"json_schema"`: by a schema that the server holds the answer to, with every request;
   * - `"json_object"`: in JSON mode, with the schema in the instructions; where tools are offered by the instructions alone;
   * - `"tool"`: by a tool whose arguments are the answer;
   * - `"prompt"`: by the instructions alone.
   *
   * Default: what the server is known to take. That is a schema at OpenAI and Azure, JSON mode at DeepSeek and others
   * that have no more; at servers that nothing is known of a schema, and instructions where tools are offered, since many
   * servers call no tool while they hold the answer to a schema.
   */
  readonly structuredOutput?: StructuredOutput | undefined
  /**
   * Keeps the beginnings of conversations in the provider's cache, which makes them cheaper: `"auto"`, or for at least `ttl`.
   * OpenAI caches on its own; with this, requests of one conversation go to the same cache (`prompt_cache_key`), and with a
   * `ttl` above 10 minutes it is kept for a day (`prompt_cache_retention`). Other servers are sent nothing, and a call that asks
   * them for a `ttl` fails. The option `cache` of an agent goes before this one. Usage has the cached tokens in any case.
   */
  readonly cache?: Cache | undefined
  /**
   * Whether the provider searches tools that need not be shown, see `ToolSearch`: with the Responses API and a model that can.
   * Default: what is known of the model at OpenAI itself; false elsewhere.
   */
  readonly toolSearch?: boolean | undefined
  /** Whether streamed answers are asked for their usage (`stream_options`), which not every server takes. Default true. */
  readonly streamUsage?: boolean | undefined
  /** Options of every call; {@link withOptions} sets those of one. */
  readonly options?: CallOptions | undefined
}

/**
 * A model at OpenAI or a compatible server. What carries the requests is chosen by `transport`. Under `Effect.runSync` with
 * `SyncEdge.layer` the same requests go through the edge's I/O thread. With `Cassette.layer` provided they are recorded or
 * replayed, and a replay needs no key.
 *
 * Fails with `ConfigError` when OpenAI itself is asked and there is no key, and for an address, key, header or timeout
 * that no request can be made with. Calls fail with `AiError`: rate limits, server errors and lost connections are
 * retryable; a wrong key, an unknown model, a refused request, a used-up quota and an unreadable answer are not.
 * Interrupting a call aborts its request on the wire.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, OpenAi } from "troupe"
 *
 * const agent = Agent.make("agent", { instructions: "Be brief." })
 * const program = agent.run("Hello").pipe(Effect.provide(OpenAi.layer({ model: "gpt-4.1-mini" })))
 */
export const layer = (options: Options): Layer.Layer<LanguageModel.LanguageModel, Config.ConfigError> => {
  assertOptions("OpenAi.layer", options, known, elsewhere)
  if (options.options !== undefined) assertCall(options.options)
  assertWays("OpenAi.layer", options)
  return Layer.effectContext(make(options))
}

const clientNames = {
  model: true,
  api: true,
  provider: true,
  timeout: true,
  retry: true,
  headers: true,
  structuredOutput: true,
  cache: true,
  toolSearch: true,
  streamUsage: true,
  maxAnswerBytes: true,
  options: true
} as const
const knownOfClient = namesOf<ClientOptions>(clientNames)
const known = namesOf<Options>({
  ...clientNames,
  apiKey: true,
  baseUrl: true,
  organization: true,
  project: true,
  transport: true
})

const knownOfCall = namesOf<CallOptions>({
  model: true,
  temperature: true,
  topP: true,
  maxOutputTokens: true,
  reasoningEffort: true,
  verbosity: true,
  parallelToolCalls: true,
  serviceTier: true,
  metadata: true,
  seed: true,
  stop: true,
  chat: true,
  responses: true,
  body: true
})

const assertCall = (options: CallOptions): void =>
  assertOptions("options of calls of OpenAi", options, knownOfCall, {
    max_tokens: "Give it as maxOutputTokens",
    response_format: "Give the agent an output",
    tools: "Give them to the agent",
    top_p: "Give it as topP"
  })

/** Options of the `openai` package, and of a call. */
const elsewhere = {
  baseURL: "Give the address as baseUrl",
  defaultHeaders: "Give them as headers",
  fetch: "Give it as transport",
  maxRetries: "Give a schedule as retry",
  temperature: "Give it in options, or by ModelInfo.CurrentSettings"
}

/** Throws for what would be taken for another way than the one that was meant. */
const assertWays = (subject: string, { api, structuredOutput }: Pick<Options, "api" | "structuredOutput">): void => {
  assertOneOf(subject, "api", api, ["auto", "responses", "chat"])
  assertOneOf(subject, "structuredOutput", structuredOutput, ["json_schema", "json_object", "tool", "prompt"])
}

/** The options of {@link layerClient}: what the client itself knows is left out. */
export type ClientOptions = Omit<Options, "apiKey" | "baseUrl" | "organization" | "project" | "transport">

/**
 * A model by a configured client of the `openai` package, such as `new OpenAI(...)` or `new AzureOpenAI(...)`: its key
 * or way to sign in, its headers, its hooks and its `fetch` carry the requests. Retries, time limits and the reading of
 * answers and errors are those of {@link layer}; the client's own `maxRetries` and `timeout` are not used.
 *
 * `api: "auto"` takes Responses where the client's `baseURL` is OpenAI's own, and Chat Completions otherwise.
 *
 * Fails with `ConfigError` for a client whose `baseURL` is not an http or https address, and for options that no request
 * can be made with. Calls fail with `AiError` as those of {@link layer} do. Under `Effect.runSync` they fail with an
 * `InvalidUserInputError`, as a client gives promises. Interrupting a call aborts its request on the wire.
 *
 * @example
 * import { Effect } from "effect"
 * import OpenAI from "openai"
 * import { Agent, OpenAi } from "troupe"
 *
 * const client = new OpenAI({ apiKey: "sk-...", defaultHeaders: { "x-team": "support" } })
 * const program = Agent.make("agent", {})
 *   .run("Hello")
 *   .pipe(Effect.provide(OpenAi.layerClient(client, { model: "gpt-4.1-mini" })))
 */
export const layerClient = (
  client: Client,
  options: ClientOptions
): Layer.Layer<LanguageModel.LanguageModel, Config.ConfigError> => {
  assertOptions("OpenAi.layerClient", options, knownOfClient, elsewhere)
  if (options.options !== undefined) assertCall(options.options)
  assertWays("OpenAi.layerClient", options)
  return Layer.effectContext(
    Effect.gen(function* () {
      const at = yield* connect({ ...options, baseUrl: client.baseURL }, { client })
      const own = { transport: ClientTransport.make(client, client.baseURL), isProgram: true }
      return yield* modelOf(options, at, Carrier.make(own, yield* HttpTape))
    })
  )
}

/**
 * Embeddings by a model at OpenAI or a compatible server, for `MemoryStore`, `Rag` and programs of `effect/ai`. Texts beyond what one
 * request may have are sent in several, two at once, and come back in their order; usage is added up.
 *
 * Fails with `ConfigError` as {@link layer} does. Calls fail with `AiError` as those of it do, and with `InvalidResponseError` for an
 * answer that has not one vector for each text; one chunk that fails fails the call. Interruption aborts the requests on the wire.
 *
 * @example
 * import { Effect } from "effect"
 * import { EmbeddingModel } from "effect/ai"
 * import { OpenAi } from "troupe"
 *
 * const vectors = Effect.flatMap(EmbeddingModel.EmbeddingModel, (model) => model.embedMany(["a text", "another"])).pipe(
 *   Effect.provide(OpenAi.layerEmbedding({ model: "text-embedding-3-small" }))
 * )
 */
export const layerEmbedding = (
  options: Embedding.EmbeddingOptions
): Layer.Layer<EmbeddingModel.EmbeddingModel, Config.ConfigError> => {
  assertOptions("OpenAi.layerEmbedding", options, knownOfEmbedding)
  const { dimensions = 1, limits = {} } = options
  assertOptions("limits of OpenAi.layerEmbedding", limits, knownOfLimits)
  countOf("OpenAi.layerEmbedding", "dimensions", dimensions)
  countOf("OpenAi.layerEmbedding", "limits.inputs", limits.inputs ?? 1)
  countOf("OpenAi.layerEmbedding", "limits.tokens", limits.tokens ?? 1)
  return Layer.effect(EmbeddingModel.EmbeddingModel, Embedding.make(options))
}

const knownOfLimits: ReadonlySet<string> = new Set(["inputs", "tokens"])
const knownOfEmbedding = namesOf<Embedding.EmbeddingOptions>({ ...endpointNames, dimensions: true, limits: true })

/**
 * Images by a model at OpenAI or a compatible server. Requests with `images` are sent as edits. An answer with the address of an image in
 * place of its data fails with `InvalidResponseError`: nothing is fetched on a server's word.
 *
 * Fails with `ConfigError` as {@link layer} does, and calls with `AiError` as those of it do; `maxAnswerBytes` and `timeout` bound an
 * answer. Interruption aborts the request on the wire.
 *
 * @example
 * import { Effect } from "effect"
 * import { Images, OpenAi } from "troupe"
 *
 * const cat = Images.generate({ prompt: "A cat in the rain", size: "1024x1024" }).pipe(
 *   Effect.provide(OpenAi.layerImages({ model: "gpt-image-1" }))
 * )
 */
export const layerImages = (options: ImagesApi.ImagesOptions): Layer.Layer<Images, Config.ConfigError> => {
  assertOptions("OpenAi.layerImages", options, knownOfImages)
  return Layer.effect(Images, ImagesApi.make(options))
}

const knownOfImages = namesOf<ImagesApi.ImagesOptions>({
  ...endpointNames,
  quality: true,
  background: true,
  format: true
})

/**
 * Speech by a model at OpenAI or a compatible server. Fails with `ConfigError` as {@link layer} does, and calls with `AiError` as those
 * of it do; `maxAnswerBytes` and `timeout` bound an answer. Interruption aborts the request on the wire.
 *
 * @example
 * import { Effect } from "effect"
 * import { OpenAi, Speech } from "troupe"
 *
 * const hello = Speech.synthesize({ text: "Hello!" }).pipe(
 *   Effect.provide(OpenAi.layerSpeech({ model: "gpt-4o-mini-tts", voice: "nova" }))
 * )
 */
export const layerSpeech = (options: SpeechApi.SpeechOptions): Layer.Layer<Speech, Config.ConfigError> => {
  assertOptions("OpenAi.layerSpeech", options, knownOfSpeech)
  return Layer.effect(Speech, SpeechApi.make(options))
}

const knownOfSpeech = namesOf<SpeechApi.SpeechOptions>({ ...endpointNames, voice: true })

/**
 * Texts of recordings by a model at OpenAI or a compatible server. Fails with `ConfigError` as {@link layer} does, and calls with
 * `AiError` as those of it do; a recording that is too large fails with `InvalidUserInputError`. Interruption aborts the request on the
 * wire.
 *
 * @example
 * import { Effect } from "effect"
 * import { OpenAi, Transcription } from "troupe"
 *
 * const said = (recording: Uint8Array) =>
 *   Transcription.transcribe({ mediaType: "audio/mpeg", data: recording }).pipe(
 *     Effect.provide(OpenAi.layerTranscription({ model: "gpt-4o-mini-transcribe" }))
 *   )
 */
export const layerTranscription = (
  options: TranscriptionApi.TranscriptionOptions
): Layer.Layer<Transcription, Config.ConfigError> => {
  assertOptions("OpenAi.layerTranscription", options, knownOfTranscription)
  countOf("OpenAi.layerTranscription", "maxAudioBytes", options.maxAudioBytes ?? 1)
  return Layer.effect(Transcription, TranscriptionApi.make(options))
}

const knownOfTranscription = namesOf<TranscriptionApi.TranscriptionOptions>({ ...endpointNames, maxAudioBytes: true })

/** {@link Options}, each a value or a Config of one. */
export type ConfigOptions = { readonly [K in keyof Options]: Options[K] | Config.Config<Options[K]> }

/**
 * Like {@link layer}, with options from Config.
 *
 * @example
 * import { Config } from "effect"
 * import { OpenAi } from "troupe"
 *
 * const Model = OpenAi.layerConfig({
 *   model: Config.String("MODEL").pipe(Config.withDefault("gpt-4.1-mini")),
 *   apiKey: Config.Redacted("MY_KEY"),
 *   timeout: "1 minute"
 * })
 */
export const layerConfig = (options: ConfigOptions): Layer.Layer<LanguageModel.LanguageModel, Config.ConfigError> =>
  Layer.unwrap(
    Effect.gen(function* () {
      const values: Record<string, unknown> = {}
      for (const [key, value] of Object.entries(options)) values[key] = Config.isConfig(value) ? yield* value : value
      // `ConfigOptions` gives each value the type of its key.
      return layer(values as unknown as Options)
    })
  )

/**
 * Sets request options for the calls made inside of an Effect; they win over those of the Layer.
 *
 * @example
 * import { Agent, OpenAi } from "troupe"
 *
 * const agent = Agent.make("agent", { instructions: "Be brief." })
 * const precise = agent.run("Hello").pipe(OpenAi.withOptions({ temperature: 0, maxOutputTokens: 200 }))
 */
export const withOptions: ForCalls.ForEffect<CallOptions> = ForCalls.forEffect(CurrentOptions, merge, assertCall)

/** {@link withOptions} for a Stream. */
export const withStreamOptions: ForCalls.ForStream<CallOptions> = ForCalls.forStream(CurrentOptions, merge, assertCall)

/** True when the conversation was too long for the model: shorten it and try again. */
export const isContextLengthExceeded = (error: AiError.AiError): boolean =>
  error.reason._tag === "InvalidRequestError" && error.reason.description?.startsWith(contextLengthPrefix) === true

const make = (options: Options): Effect.Effect<Context.Context<LanguageModel.LanguageModel>, Config.ConfigError> =>
  Effect.flatMap(reach(options), ({ at, carrier }) => modelOf(options, at, carrier))

const modelOf = (
  options: Options,
  at: Connected,
  carrier: Carrier.Carrier
): Effect.Effect<Context.Context<LanguageModel.LanguageModel>> =>
  Effect.gen(function* () {
    const catalog = yield* ModelInfo.CurrentCatalog
    const provider = new Provider(options, at, carrier, catalog)
    const info: ModelInfo.ModelInfo = {
      provider: provider.name,
      model: options.model,
      structuredOutput: true,
      readsSettings: true,
      toolSearch: provider.searchesTools(options.model),
      capabilities: provider.known(options.model),
      network: true,
      server: provider.server,
      retry: options.retry
    }
    return yield* contextOf(info, {
      generateText: (request, memory) => provider.generate(request, memory),
      streamText: (request, memory) => provider.stream(request, memory)
    })
  })

interface Call {
  readonly question: Question & { readonly body: Fields }
  readonly transport: HttpTransport
  readonly decoder: Decoding.Decoder
  /** True when the caller is not the agent loop, so that the Layer itself retries and traces. */
  readonly alone: boolean
  /** Texts that no message may hold. */
  readonly secrets: ReadonlyArray<string>
  /** The kinds of parts of its answer that are left out. */
  readonly leftOut: Set<string>
}

const hasOptions = ({ chat: _chat, responses: _responses, body: _body, ...own }: CallOptions): boolean =>
  Object.keys(own).length > 0

/**
 * Makes ids for calls without one. On a tape they are made from the request: they come back in the next one, which has to be
 * the same whenever the tape is played.
 */
const idMaker = (nameOf: (() => string) | undefined, random: typeof Random.Random.Service): (() => string) => {
  if (nameOf === undefined) return () => randomId(random)
  let name: string | undefined
  let count = 0
  return () => `call_${(name ??= nameOf())}_${count++}`
}

type AnyFiber = Fiber.Fiber<unknown, unknown>

/** For models that take no schema: OpenAI refuses one. */
const inWords: Ways = { alone: "prompt", withTools: "prompt" }

/** OpenAI keeps what it caches for 5 to 10 minutes, or for a day. */
const retentions: Times<string | undefined> = [
  ["10 minutes", undefined],
  ["24 hours", "24h"]
]

class Provider {
  readonly name: string
  readonly server: { readonly address: string; readonly port: number }
  readonly #options: Options
  readonly #at: Connected
  readonly #api: "responses" | "chat"
  readonly #carrier: Carrier.Carrier
  readonly #requestOf: (question: Question) => HttpRequest
  readonly #target: Omit<Target, "memory" | "searchesTools">
  readonly #catalog: ModelInfo.Catalog
  readonly #tools: ReturnType<typeof Search.resolver>
  /** The kinds that were warned of. */
  readonly #leftOut = new Set<string>()
  #lookedUp: { readonly model: string; readonly known: ModelInfo.Capabilities | undefined } | undefined

  constructor(options: Options, at: Connected, carrier: Carrier.Carrier, catalog: ModelInfo.Catalog) {
    const { api = "auto" } = options
    this.name = options.provider ?? "openai"
    this.server = at.server
    this.#options = options
    this.#at = at
    this.#api = api === "auto" ? (at.isOpenAi ? "responses" : "chat") : api
    this.#carrier = carrier
    this.#catalog = catalog
    const searches = this.#api === "responses" && at.isOpenAi
    this.#tools = Search.resolver(options.model, searches ? Tools.inPlaceOf : Search.none)
    this.#requestOf = requests(at.connection)
    const server = { host: at.server.address, compatible: !at.isOpenAi }
    this.#target = { server, messages: (this.#api === "chat" ? Chat : Responses).messagesOf(server) }
  }

  /** What is known of a model of OpenAI's; names of other servers' models say nothing. */
  known(model: string): ModelInfo.Capabilities | undefined {
    if (!this.#at.isOpenAi) return undefined
    // Asked for each request, nearly always for the same model.
    if (this.#lookedUp?.model !== model) this.#lookedUp = { model, known: lookUp(this.#catalog, `openai:${model}`) }
    return this.#lookedUp.known
  }

  /** Whether the model has a tool search of its own. */
  searchesTools(model: string): boolean {
    if (this.#api !== "responses") return false
    return this.#options.toolSearch ?? this.known(model)?.toolSearch === true
  }

  generate(
    request: LanguageModel.ProviderOptions,
    memory?: ModelInfo.RunMemory
  ): Effect.Effect<Array<Response.PartEncoded>, AiError.AiError> {
    return Effect.withFiber((fiber) => {
      const once = Effect.suspend(() => {
        const call = this.#prepare(fiber, request, false, memory)
        if (isUnprepared(call)) return this.#fail(call, "generateText", undefined)
        return whole(this.#sending(call)).pipe(
          Effect.flatMap((answer) => {
            const { events, problem } = Events.read(textOf(answer.chunks), answer.contentType)
            const decoded = Decoding.whole(events, problem, call.decoder)
            if (isProblem(decoded)) return Effect.fail(decoded)
            if (call.alone) Calling.annotate(request, decoded)
            return Effect.as(this.#noteLeftOut(call), [...decoded])
          }),
          Effect.catch((problem) => this.#fail(problem, "generateText", call))
        )
      })
      return Calling.retried(this.#options.retry, fiber, once)
    })
  }

  stream(
    request: LanguageModel.ProviderOptions,
    memory?: ModelInfo.RunMemory
  ): Stream.Stream<Response.StreamPartEncoded, AiError.AiError> {
    return Stream.unwrap(
      Effect.withFiber((fiber) => {
        const once = Stream.suspend(() => {
          const call = this.#prepare(fiber, request, true, memory)
          if (isUnprepared(call)) return Stream.fromEffect(this.#fail(call, "streamText", undefined))
          const parts = Stream.onEnd(
            streamed(this.#sending(call), call.decoder, (problem) => this.#fail(problem, "streamText", call)),
            this.#noteLeftOut(call)
          )
          if (!call.alone) return parts
          return Stream.mapArray(parts, (some) => {
            Calling.annotate(request, some)
            return some
          })
        })
        return Effect.succeed(Calling.retriedStream(this.#options.retry, fiber, once))
      })
    )
  }

  #sending({ question, transport }: Call): Sending {
    const { maxAnswerBytes, timeout } = this.#at.connection
    return { transport, request: this.#requestOf(question), timeout, maxAnswerBytes }
  }

  #prepare(
    fiber: AnyFiber,
    request: LanguageModel.ProviderOptions,
    isStreamed: boolean,
    memory: ModelInfo.RunMemory | undefined
  ): Call | Problem {
    const output = formatOf(request) ?? fiber.getRef(ModelInfo.OutputFormat)
    const own = secretsOf(request.tools)
    const secrets = own.length === 0 ? this.#at.secrets : [...this.#at.secrets, ...own]
    const carried = this.#carrier(fiber, secrets)
    if ("kind" in carried) return carried
    const { nameOf, transport } = carried
    const alone = !fiber.getRef(ModelInfo.CallerRetries)
    try {
      const options = this.#callOptions(fiber)
      if (alone || hasOptions(options)) this.#describe(request, options)
      const { model, structuredOutput } = this.#options
      const tools = this.#tools(request.tools)
      const sent = tools === request.tools ? request : { ...request, tools }
      const typed = ask(sent, output, structuredOutput, this.#typedWays(options.model ?? model))
      const isChat = this.#api === "chat"
      const encode = isChat ? Chat.encode : Responses.encode
      // Beyond the agent loop, effect/ai would refuse the results of a tool that it does not know.
      const searchesTools = memory !== undefined && this.searchesTools(options.model ?? model)
      const encoded = encode(typed, model, options, { ...this.#target, memory, searchesTools })
      const asksUsage = isStreamed && isChat && this.#options.streamUsage !== false
      const cached = carried.nameOf === undefined ? this.#cached(fiber) : {}
      const body = { ...cached, ...(asksUsage ? { stream_options: { include_usage: true } } : {}), ...encoded }
      const question = { path: isChat ? "/chat/completions" : "/responses", body, isStreamed }
      const name = nameOf === undefined ? undefined : () => nameOf(this.#requestOf({ ...question, isStreamed: false }))
      const newId = idMaker(name, fiber.getRef(Random.Random))
      const leftOut = new Set<string>()
      const decoder = answeringBy(typed.answerTool, this.#decoder(newId, tools, leftOut))
      return { question, transport, decoder, alone, secrets, leftOut }
    } catch (error) {
      return ofEncoding(error)
    }
  }

  #typedWays(model: string): Ways {
    const lacksSchemas = this.known(model)?.structuredOutput === false
    return lacksSchemas ? inWords : serverAt(this.server.address).structuredOutput
  }

  /** On a tape the same request has to be the same each time, so it has no key of a conversation. */
  #cached(fiber: AnyFiber): Fields {
    const cache = fiber.getRef(ModelInfo.CurrentSettings).cache ?? this.#options.cache
    if (cache === undefined) return {}
    const retention = askFor(cache, this.#at.isOpenAi ? retentions : [], this.server.address)
    if (!this.#at.isOpenAi) return {}
    const conversation = fiber.getRef(CurrentRun)?.conversationId
    return {
      ...(conversation === undefined ? {} : { prompt_cache_key: conversation.slice(0, 64) }),
      ...(retention === undefined ? {} : { prompt_cache_retention: retention })
    }
  }

  #callOptions(fiber: AnyFiber): CallOptions {
    const own = merge(this.#options.options ?? {}, fiber.getRef(CurrentOptions))
    const model = own.model ?? this.#options.model
    const settings = fiber.getRef(ModelInfo.CurrentSettings)
    const set = withSettings(own, settings, {
      api: this.#api,
      model,
      server: this.#target.server,
      thinks: settings.reasoning === undefined ? undefined : this.known(model)?.reasoning
    })
    return limited(set, fiber.getRef(ModelInfo.MaxOutputTokens), this.#api)
  }

  #decoder(newId: () => string, tools: ReadonlyArray<Tool.Any>, unread: Set<string>): Decoding.Decoder {
    const host = this.server.address
    const leftOut: Decoding.LeftOut = (kind) => {
      if (kind !== undefined) unread.add(kind)
    }
    if (this.#api === "chat") {
      return {
        whole: (document) => Chat.decode(document, newId, host, leftOut),
        stream: () => new ChatStreamDecoder(newId, host, leftOut)
      }
    }
    const read = OwnTools.readerOf(tools)
    return {
      whole: (document) => Responses.decode(document, newId, host, read, leftOut),
      stream: () => new ResponsesStreamDecoder(newId, host, read, leftOut)
    }
  }

  /** Warns of what an answer had and nothing here has a place for, of each kind once. */
  #noteLeftOut({ leftOut }: Call): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (leftOut.size === 0) return Effect.void
      const kinds = [...leftOut].filter((kind) => !this.#leftOut.has(kind) && this.#leftOut.size < 100)
      for (const kind of kinds) this.#leftOut.add(kind)
      return Effect.forEach(
        kinds,
        (kind) =>
          Effect.logWarning(
            `${this.name}: an answer has a part of the kind ${JSON.stringify(kind.slice(0, 100))}, which is left out`
          ),
        { discard: true }
      )
    })
  }

  #describe(request: LanguageModel.ProviderOptions, options: CallOptions): void {
    const { stop } = options
    Calling.describe(request, {
      provider: this.name,
      model: options.model ?? this.#options.model,
      temperature: options.temperature,
      topP: options.topP,
      maxTokens: options.maxOutputTokens,
      seed: options.seed,
      stopSequences: typeof stop === "string" ? [stop] : stop
    })
  }

  #fail(problem: Problem, method: string, call: Call | undefined): Effect.Effect<never, AiError.AiError> {
    const { body, path = "" } = call?.question ?? {}
    const model = String(body?.["model"] ?? this.#options.model)
    const at = call === undefined ? this.#at : { ...this.#at, secrets: call.secrets }
    return Failing.fail(at, problem, { method, path, model, sent: new Set(Object.keys(body ?? {})) })
  }
}

const isUnprepared = (call: Call | Problem): call is Problem => "kind" in call
