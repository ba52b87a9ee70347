/**
 * What a model Layer and the agent loop exchange beyond `effect/ai`: who answers, whether structured output is native,
 * which retries it wants.
 */
import * as Context from "effect/Context"
import type * as AiError from "effect/ai/AiError"
import * as LanguageModel from "effect/ai/LanguageModel"
import type * as Response from "effect/ai/Response"
import * as Effect from "effect/Effect"
import type * as JsonSchema from "effect/JsonSchema"
import type * as Duration from "effect/Duration"
import type * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { type Capabilities, type Catalog, catalog } from "../data/models.ts"
import type * as Stream from "effect/Stream"

export type { Capabilities, Catalog } from "../data/models.ts"

/** Static metadata about a model. */
export interface ModelInfo {
  /** `gen_ai.provider.name` of the OpenTelemetry GenAI conventions, such as `openai`. */
  readonly provider: string
  /** The model that requests are sent for. */
  readonly model: string
  /** True when the Layer reads {@link OutputFormat} and asks the model for output in that shape itself. */
  readonly structuredOutput: boolean
  /**
   * True when the Layer reads {@link CurrentSettings}, and fails the call for reasoning or a time in the cache that its model
   * cannot be asked for. Otherwise an agent fails such calls, as nothing would come of the setting.
   */
  readonly readsSettings?: boolean | undefined
  /** True when answering takes the network, which `Effect.runSync` can wait for only with `SyncEdge.layer`. */
  readonly network?: boolean | undefined
  /** The host and port that requests go to, for spans. */
  readonly server?: { readonly address: string; readonly port: number | undefined } | undefined
  /**
   * True when the Layer gives tools that need not be shown to the provider's own tool search, as `ToolSearch` with
   * `provider: true` has them.
   */
  readonly toolSearch?: boolean | undefined
  /** What the model is known to do. */
  readonly capabilities?: Capabilities | undefined
  /** The Layer's retry policy, which the agent loop takes over so that only one place retries. */
  readonly retry?: Schedule.Schedule<unknown, AiError.AiError> | "none" | undefined
}

/**
 * A provider as effect/ai's `LanguageModel.make` takes it, for the agent loop to call without the work of decoding parts
 * by schema that are known to be well-formed.
 */
export interface Direct {
  readonly generateText: (
    request: LanguageModel.ProviderOptions,
    memory?: RunMemory
  ) => Effect.Effect<ReadonlyArray<Response.PartEncoded>, AiError.AiError>
  readonly streamText: (
    request: LanguageModel.ProviderOptions,
    memory?: RunMemory
  ) => Stream.Stream<Response.StreamPartEncoded, AiError.AiError>
}

/**
 * Where a provider keeps what it has made of the conversation of a run, for the next call. Each run of an agent has one. The
 * prompt of its calls is then one object, whose messages grow from call to call: it must be read at once, and not kept.
 */
export interface RunMemory {
  kept: unknown
}

/** Metadata of one model service. It does not apply to a service that wraps or replaces it. */
export interface Described {
  /** The service that it describes. */
  readonly of: LanguageModel.LanguageModel
  readonly info: ModelInfo
  readonly direct?: Direct | undefined
}

/** Provided by a model's Layer together with the model. Read it through {@link describe} or {@link get}. */
export const CurrentModel: Context.Reference<Described | undefined> = Context.Reference<Described | undefined>(
  "troupe/ModelInfo",
  { defaultValue: () => undefined }
)

/**
 * The services of a model's Layer: the model, and what is known of it.
 *
 * @example
 * import { Effect, Layer, Stream } from "effect"
 * import { LanguageModel } from "effect/ai"
 * import { ModelInfo } from "troupe"
 *
 * const Silent = Layer.effectContext(
 *   Effect.map(
 *     LanguageModel.make({ generateText: () => Effect.succeed([]), streamText: () => Stream.empty }),
 *     (model) => ModelInfo.context(model, { provider: "none", model: "silent", structuredOutput: false })
 *   )
 * )
 */
export const context = (
  model: LanguageModel.LanguageModel,
  info: ModelInfo,
  direct?: Direct
): Context.Context<LanguageModel.LanguageModel> =>
  Context.add(Context.make(LanguageModel.LanguageModel, model), CurrentModel, { of: model, info, direct })

/** The metadata of the model in a context; `undefined` for a foreign or wrapped model. */
export const describe = (context: Context.Context<never>): Described | undefined => {
  const known = Context.get(context, CurrentModel)
  return known?.of === Context.getOrUndefined(context, LanguageModel.LanguageModel) ? known : undefined
}

/** The metadata of the model in the context; `undefined` for one that is not ours or that is wrapped. */
export const get: Effect.Effect<ModelInfo | undefined> = Effect.withFiber((fiber) =>
  Effect.succeed(describe(fiber.context)?.info)
)

/** The shape that the answer of one model call must have. The root is always a JSON object. */
export interface OutputFormat {
  /** A name for the shape, of letters, digits, `_` and `-`, at most 64 characters. */
  readonly name: string
  readonly description: string | undefined
  readonly jsonSchema: JsonSchema.JsonSchema
}

/** Set by the agent loop around each call of a model whose `structuredOutput` is true. */
export const OutputFormat: Context.Reference<OutputFormat | undefined> = Context.Reference<OutputFormat | undefined>(
  "troupe/OutputFormat",
  { defaultValue: () => undefined }
)

/**
 * How many tokens the answer of a model may have, reasoning included, for calls inside of an Effect. `OpenAi.layer` sends it, or
 * its own limit where that is smaller. Default: no limit. A model that does not read it answers at any length.
 *
 * @example
 * import { Effect } from "effect"
 * import { LanguageModel } from "effect/ai"
 * import { ModelInfo } from "troupe"
 *
 * const short = LanguageModel.generateText({ prompt: "Hello" }).pipe(
 *   Effect.provideService(ModelInfo.MaxOutputTokens, 100)
 * )
 */
export const MaxOutputTokens: Context.Reference<number | undefined> = Context.Reference<number | undefined>(
  "troupe/MaxOutputTokens",
  { defaultValue: () => undefined }
)

/**
 * How much a model thinks before it answers: by a level that every model's Layer knows, or by at most so many tokens, which
 * not every model takes. `none` asks for no thinking. A Layer fails the call where it has no way to ask for it.
 */
export const Reasoning = Schema.Union([
  Schema.Literals(["none", "minimal", "low", "medium", "high", "xhigh", "max"]),
  Schema.Struct({ tokens: Schema.Int })
])
/** How much a model thinks before it answers: by a level, or by at most so many tokens. */
export type Reasoning = typeof Reasoning.Type

/**
 * How long a provider keeps the beginning of a conversation in its cache, which makes the next call of it cheaper. `"auto"`: as
 * long as the provider has it by default, or not at all where it has no cache. `{ ttl }`: for at least so long; a Layer fails the
 * call where it cannot be asked for that.
 */
export type Cache = "auto" | { readonly ttl: Duration.Input }

/** How a model is to answer, in the words that all models have. What is not set is as the model's Layer has it. */
export const CallSettings = Schema.Struct({
  /** How free it is in its choice of words: 0 to 2. */
  temperature: Schema.optionalKey(Schema.Finite),
  /** How many tokens the answer may have, reasoning included. A limit of the Layer stays where it is smaller. */
  maxOutputTokens: Schema.optionalKey(Schema.Int),
  /** How much it thinks before it answers, for models that do. */
  reasoning: Schema.optionalKey(Reasoning),
  /** How long the provider keeps the beginning of the conversation in its cache: as long as it does, or at least `ttl` milliseconds. */
  cache: Schema.optionalKey(Schema.Union([Schema.Literal("auto"), Schema.Struct({ ttl: Schema.Finite })]))
})
/** How a model is to answer, in the words that all models have. What is not set is as the model's Layer has it. */
export interface CallSettings extends Schema.Schema.Type<typeof CallSettings> {}

/**
 * The settings of the calls inside of an Effect. The options `reasoning` and `cache` of an agent go before them, for its own
 * calls; middleware can change them for one call. A model that does not read them answers as it does without, but for reasoning
 * and a time in the cache: an agent fails calls that ask such a model for these.
 *
 * @example
 * import { Effect } from "effect"
 * import { LanguageModel } from "effect/ai"
 * import { ModelInfo } from "troupe"
 *
 * const exact = LanguageModel.generateText({ prompt: "Hello" }).pipe(
 *   Effect.provideService(ModelInfo.CurrentSettings, { temperature: 0 })
 * )
 */
export const CurrentSettings: Context.Reference<CallSettings> = Context.Reference<CallSettings>("troupe/CallSettings", {
  defaultValue: () => noSettings
})
const noSettings: CallSettings = {}

/** What models are known to do: the catalog of this package, unless `Models.withCatalog` adds to it. */
export const CurrentCatalog: Context.Reference<Catalog> = Context.Reference<Catalog>("troupe/Models/Catalog", {
  defaultValue: catalog
})

/** True while the agent loop calls a model: it retries whole steps, so the Layer must not retry on its own. */
export const CallerRetries: Context.Reference<boolean> = Context.Reference<boolean>("troupe/CallerRetries", {
  defaultValue: () => false
})
