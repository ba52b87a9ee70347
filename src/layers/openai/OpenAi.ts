/**
 * OpenAI and every server that speaks its language (vLLM, Ollama, LM Studio, llama-server) as a `LanguageModel`. This
 * file wires requests, answers, options, retries and spans together; the parts are in `openai/`.
 */
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import type * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as AiError from "effect/ai/AiError"
import * as LanguageModel from "effect/ai/LanguageModel"
import * as AiTelemetry from "effect/ai/Telemetry"
import type * as Response from "effect/ai/Response"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as ModelRetry from "../../internal/modelRetry.ts"
import { HttpTape } from "../../services/HttpTape.ts"
import * as ModelInfo from "../../services/ModelInfo.ts"
import { SyncBridge } from "../../services/SyncBridge.ts"
import * as Chat from "./internal/chat.ts"
import { StreamDecoder as ChatStreamDecoder } from "./internal/chatStream.ts"
import { type Connected, connect } from "./internal/connection.ts"
import * as Decoding from "./internal/decoding.ts"
import { contextLengthPrefix, toAiError } from "./internal/errors.ts"
import { type CallOptions, CurrentOptions, limited, merge } from "./internal/options.ts"
import { isProblem, ofEncoding, type Problem } from "./internal/problems.ts"
import * as Responses from "./internal/responses.ts"
import { StreamDecoder as ResponsesStreamDecoder } from "./internal/responsesStream.ts"
import type { StructuredOutput } from "./internal/servers.ts"
import * as Events from "./internal/sse.ts"
import * as Transports from "./internal/transport.ts"
import type { Transport } from "./internal/transport.ts"
import { answeringBy, ask } from "./internal/typedOutput.ts"
import type { Fields } from "./internal/wire.ts"

export type { CallOptions, ChatOptions, ResponsesOptions } from "./internal/options.ts"
export type { StructuredOutput } from "./internal/servers.ts"

/** How a model is reached. */
export interface Options {
  /** The model's name as the server knows it, such as `gpt-4.1-mini`. An empty one is refused. */
  readonly model: string
  /** Default: `OPENAI_API_KEY` from Config. A server that is not OpenAI's own needs none. */
  readonly apiKey?: Redacted.Redacted | undefined
  /** Default: `OPENAI_BASE_URL` from Config, else `https://api.openai.com/v1`. An empty variable is an absent one. */
  readonly baseUrl?: string | undefined
  /** Which API: `"auto"` (default) takes Responses at OpenAI itself and Chat Completions everywhere else. */
  readonly api?: "auto" | "responses" | "chat" | undefined
  /** The provider's name in spans. Default `openai`. */
  readonly provider?: string | undefined
  /**
   * How long an answer may take; of a stream, how long the server may be silent. A slow consumer does not count. Then the
   * request is aborted and counts as a lost connection. Default 10 minutes. Once a streamed answer is complete, what may
   * follow it, such as its usage, is waited for 5 seconds at most.
   */
  readonly timeout?: Duration.Input | undefined
  /** When a request that failed in passing is made again. Default: twice more, with backoff and `retry-after`. */
  readonly retry?: Schedule.Schedule<unknown, AiError.AiError> | "none" | undefined
  readonly organization?: string | undefined
  readonly project?: string | undefined
  /** Further headers of every request. Give secret ones as `Redacted`: they are then kept out of every message. */
  readonly headers?: Readonly<Record<string, string | Redacted.Redacted>> | undefined
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
  /** Whether streamed answers are asked for their usage (`stream_options`), which not every server takes. Default true. */
  readonly streamUsage?: boolean | undefined
  /** The most bytes that one answer may have on the wire. More fails the call. Default 256 MiB. */
  readonly maxAnswerBytes?: number | undefined
  /** Options of every call; {@link withOptions} sets those of one. */
  readonly options?: CallOptions | undefined
}

/**
 * A model by the `openai` SDK, which is loaded when the first request is made. Under `Effect.runSync` with
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
export const layer = (options: Options): Layer.Layer<LanguageModel.LanguageModel, Config.ConfigError> =>
  Layer.effectContext(make(options))

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
      // Each value is of its key's own type: `ConfigOptions` says so.
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
export const withOptions: {
  (options: CallOptions): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, options: CallOptions): Effect.Effect<A, E, R>
} = dual(2, <A, E, R>(self: Effect.Effect<A, E, R>, options: CallOptions) =>
  Effect.flatMap(CurrentOptions, (outer) => Effect.provideService(self, CurrentOptions, merge(outer, options)))
)

/** {@link withOptions} for a Stream. */
export const withStreamOptions: {
  (options: CallOptions): <A, E, R>(self: Stream.Stream<A, E, R>) => Stream.Stream<A, E, R>
  <A, E, R>(self: Stream.Stream<A, E, R>, options: CallOptions): Stream.Stream<A, E, R>
} = dual(2, <A, E, R>(self: Stream.Stream<A, E, R>, options: CallOptions) =>
  Stream.unwrap(
    Effect.map(CurrentOptions, (outer) => Stream.provideService(self, CurrentOptions, merge(outer, options)))
  )
)

/** True when the conversation was too long for the model: shorten it and try again. */
export const isContextLengthExceeded = (error: AiError.AiError): boolean =>
  error.reason._tag === "InvalidRequestError" && error.reason.description?.startsWith(contextLengthPrefix) === true

const make = (options: Options): Effect.Effect<Context.Context<LanguageModel.LanguageModel>, Config.ConfigError> =>
  Effect.gen(function* () {
    const tape = yield* HttpTape
    const place = tape?.replays === true ? yield* keyless(options) : options
    const provider = new Provider(options, yield* connect(place), tape)
    const direct: ModelInfo.Direct = {
      generateText: (request) => provider.generate(request),
      streamText: (request) => provider.stream(request)
    }
    const model = yield* LanguageModel.make({
      generateText: (request) => provider.generate(request),
      streamText: direct.streamText
    })
    const info: ModelInfo.ModelInfo = {
      provider: provider.name,
      model: options.model,
      structuredOutput: true,
      network: true,
      server: provider.server,
      retry: options.retry
    }
    return ModelInfo.context(model, info, direct)
  })

/** Who is answered from a tape needs no key. One that is there is still used, so that it is known as a secret. */
const keyless = (options: Options): Effect.Effect<Options, Config.ConfigError> =>
  Effect.map(
    options.apiKey === undefined ? Config.withDefault(Config.Redacted("OPENAI_API_KEY"), undefined) : Effect.undefined,
    (configured) => {
      const given = options.apiKey ?? configured
      const apiKey = given === undefined || Redacted.value(given).trim() === "" ? Redacted.make("none") : given
      return { ...options, apiKey }
    }
  )

interface Call {
  readonly path: string
  readonly body: Fields
  readonly transport: Transport
  readonly decoder: Decoding.Decoder
  /** True when the caller is not the agent loop, so that the Layer itself retries and traces. */
  readonly alone: boolean
}

const hasOptions = ({ chat: _chat, responses: _responses, body: _body, ...own }: CallOptions): boolean =>
  Object.keys(own).length > 0

/**
 * Calls without an id get one; `Random` makes it, so that tests can repeat it. On a tape it is made from the request: it
 * comes back in the next one, which has to be the same whenever the tape is played.
 */
const idMaker = (
  { nameOf }: Transport,
  random: { readonly nextDoubleUnsafe: () => number },
  path: string,
  body: Fields
): (() => string) => {
  if (nameOf !== undefined) {
    let name: string | undefined
    let count = 0
    return () => `call_${(name ??= nameOf(path, body))}_${count++}`
  }
  return () => {
    const digits = Math.floor(random.nextDoubleUnsafe() * 2 ** 52).toString(36)
    return `call_${digits.padStart(11, "0")}`
  }
}

class Provider {
  readonly name: string
  readonly server: { readonly address: string; readonly port: number }
  readonly #options: Options
  readonly #at: Connected
  readonly #api: "responses" | "chat"
  readonly #sdk: Transport
  readonly #tape: HttpTape | undefined

  constructor(options: Options, at: Connected, tape: HttpTape | undefined) {
    const { api = "auto" } = options
    this.name = options.provider ?? "openai"
    this.server = at.server
    this.#options = options
    this.#at = at
    this.#api = api === "auto" ? (at.isOpenAi ? "responses" : "chat") : api
    this.#sdk = Transports.sdk(at.connection)
    this.#tape = tape
  }

  generate(request: LanguageModel.ProviderOptions): Effect.Effect<Array<Response.PartEncoded>, AiError.AiError> {
    return this.#retrying(
      Effect.suspend(() => {
        let sent: Call | undefined
        return Effect.gen({ self: this }, function* () {
          const call = (sent = yield* this.#prepare(request, false))
          const { body, decoder, path, transport } = call
          const { bytes, contentType } = yield* Transports.whole(transport, this.#at.connection, path, body)
          const { events, problem } = Events.read(bytes, contentType)
          const decoded = Decoding.whole(events, problem, decoder)
          if (isProblem(decoded)) return yield* Effect.fail(decoded)
          if (call.alone) this.#annotate(request, decoded)
          return [...decoded]
        }).pipe(Effect.catch((problem) => this.#fail(problem, "generateText", sent)))
      })
    )
  }

  stream(request: LanguageModel.ProviderOptions): Stream.Stream<Response.StreamPartEncoded, AiError.AiError> {
    const once = Stream.suspend(() => {
      let sent: Call | undefined
      return Stream.unwrap(
        Effect.gen({ self: this }, function* () {
          const call = (sent = yield* this.#prepare(request, true))
          const { alone, body, decoder, path, transport } = call
          const opened = yield* Transports.streamed(transport, this.#at.connection, path, body)
          const parts = Decoding.parts(opened.body, opened.contentType, decoder)
          if (!alone) return parts
          return Stream.mapArray(parts, (some) => {
            this.#annotate(request, some)
            return some
          })
        })
      ).pipe(Stream.catch((problem) => Stream.fromEffect(this.#fail(problem, "streamText", sent))))
    })
    // Emitted parts cannot be taken back, so a stream is retried only before its first part.
    return Stream.unwrap(
      Effect.map(this.#policy(), (policy) => {
        if (policy === undefined) return once
        let began = false
        const again = Schedule.while(policy.schedule, ({ input }) => !began && policy.while(input))
        const noted = Stream.mapArray(once, (some) => {
          began = true
          return some
        })
        return Stream.retry(noted, again)
      })
    )
  }

  #prepare(request: LanguageModel.ProviderOptions, streams: boolean): Effect.Effect<Call, Problem> {
    return Effect.withFiber((fiber) => {
      const own = merge(this.#options.options ?? {}, fiber.getRef(CurrentOptions))
      const options = limited(own, fiber.getRef(ModelInfo.MaxOutputTokens), this.#api)
      const output = formatOf(request) ?? fiber.getRef(ModelInfo.OutputFormat)
      const transport = this.#transport(fiber.getRef(SyncBridge), fiber.getRef(HttpTape))
      const random = fiber.getRef(Random.Random)
      const alone = !fiber.getRef(ModelInfo.CallerRetries)
      if (alone || hasOptions(options)) this.#describe(request, options)
      return Effect.try({
        try: (): Call => {
          const { model, structuredOutput } = this.#options
          const typed = ask(request, output, structuredOutput, this.server.address)
          const isChat = this.#api === "chat"
          const encode = isChat ? Chat.encode : Responses.encode
          const encoded = encode(typed, model, options, {
            host: this.server.address,
            compatible: !this.#at.isOpenAi
          })
          const asksUsage = streams && isChat && this.#options.streamUsage !== false
          const body = asksUsage ? { stream_options: { include_usage: true }, ...encoded } : encoded
          const path = isChat ? "/chat/completions" : "/responses"
          const newId = idMaker(transport, random, path, body)
          const decoder = answeringBy(typed.answerTool, this.#decoder(newId))
          return { path, body, transport, decoder, alone }
        },
        catch: ofEncoding
      })
    })
  }

  /** The tape that is nearer to the Layer wins. */
  #transport(bridge: SyncBridge | undefined, outerTape: HttpTape | undefined): Transport {
    const { connection, secrets } = this.#at
    const tape = this.#tape ?? outerTape
    if (tape !== undefined) return Transports.taped(connection, tape, bridge, secrets)
    return bridge === undefined ? this.#sdk : Transports.bridged(connection, bridge)
  }

  #decoder(newId: () => string): Decoding.Decoder {
    const host = this.server.address
    return this.#api === "chat"
      ? { whole: (document) => Chat.decode(document, newId, host), stream: () => new ChatStreamDecoder(newId, host) }
      : { whole: (document) => Responses.decode(document, newId), stream: () => new ResponsesStreamDecoder(newId) }
  }

  #describe(request: LanguageModel.ProviderOptions, options: CallOptions): void {
    const { stop } = options
    AiTelemetry.addGenAIAnnotations(request.span, {
      provider: { name: this.name },
      operation: { name: "chat" },
      request: {
        model: options.model ?? this.#options.model,
        temperature: options.temperature,
        topP: options.topP,
        maxTokens: options.maxOutputTokens,
        seed: options.seed,
        stopSequences: typeof stop === "string" ? [stop] : stop
      }
    })
  }

  /** Annotates the span with the answer's metadata, for direct callers; the agent loop annotates its own spans. */
  #annotate(
    request: LanguageModel.ProviderOptions,
    parts: ReadonlyArray<Response.PartEncoded | Response.StreamPartEncoded>
  ): void {
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

  #fail(problem: Problem, method: string, call: Call | undefined): Effect.Effect<never, AiError.AiError> {
    const tape = Transports.tapeFailureOf(problem)
    if (tape !== undefined) {
      // Metadata is typed by what programs declare of providers.
      const metadata = { cassette: tape.error } as never
      const reason = new AiError.InvalidRequestError({ description: tape.message, metadata })
      return Effect.fail(AiError.make({ module: "OpenAi", method, reason }))
    }
    const { secrets, shown, shownBaseUrl } = this.#at
    const target = {
      method,
      url: shown,
      baseUrl: shownBaseUrl,
      address: `${shownBaseUrl}${call?.path ?? ""}`,
      model: String(call?.body["model"] ?? this.#options.model),
      sent: new Set(Object.keys(call?.body ?? {})),
      secrets
    }
    return Effect.flatMap(Clock.currentTimeMillis, (now) => Effect.fail(toAiError(problem, target, now)))
  }

  /** The retry policy, unless the caller retries: two loops would multiply. */
  #policy(): Effect.Effect<ReturnType<typeof ModelRetry.policy> | undefined> {
    return Effect.map(ModelInfo.CallerRetries, (callerRetries) => {
      const retry = this.#options.retry ?? ModelRetry.defaultSchedule
      return callerRetries || retry === "none" ? undefined : ModelRetry.policy(retry)
    })
  }

  #retrying<A>(effect: Effect.Effect<A, AiError.AiError>): Effect.Effect<A, AiError.AiError> {
    return Effect.flatMap(this.#policy(), (policy) => (policy === undefined ? effect : Effect.retry(effect, policy)))
  }
}

/** The shape that `generateObject` asks for. */
const formatOf = (request: LanguageModel.ProviderOptions): ModelInfo.OutputFormat | undefined => {
  const { responseFormat } = request
  if (responseFormat.type !== "json") return undefined
  const { jsonSchema } = LanguageModel.defaultCodecTransformer(responseFormat.schema)
  return {
    name: responseFormat.objectName.replace(/[^a-zA-Z0-9_-]/g, "_").slice(0, 64),
    description: undefined,
    jsonSchema
  }
}
