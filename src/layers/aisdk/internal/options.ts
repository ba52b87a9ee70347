/** Request options: per Layer, per call, and those that all models have. */
import type { LanguageModelV4CallOptions, LanguageModelV4Message, SharedV4ProviderOptions } from "@ai-sdk/provider"
import * as Context from "effect/Context"
import type { CallSettings, Reasoning } from "../../../services/ModelInfo.ts"
import { askFor, type Cache, type Times } from "../../internal/model/cache.ts"
import { Lacking } from "../../internal/model/problems.ts"
import { isFields } from "../../internal/model/wire.ts"
import type { Provider } from "./provider.ts"

/** Options of a call, as every model of the AI SDK has them. */
export interface CallOptions {
  readonly temperature?: number | undefined
  readonly topP?: number | undefined
  readonly topK?: number | undefined
  /** The most tokens an answer may have. */
  readonly maxOutputTokens?: number | undefined
  /** Texts at which the answer ends. */
  readonly stopSequences?: ReadonlyArray<string> | undefined
  readonly seed?: number | undefined
  readonly presencePenalty?: number | undefined
  readonly frequencyPenalty?: number | undefined
  /** How much the model thinks: a level, or a number of tokens where the provider takes one. */
  readonly reasoning?: Reasoning | undefined
  /**
   * Keeps the beginning of the conversation in the provider's cache: `"auto"`, or for at least `ttl`. Anthropic is asked for it,
   * for 5 minutes or for an hour, and OpenAI for a day; others cache on their own, or are sent nothing, and a call that asks them
   * for a `ttl` fails.
   */
  readonly cache?: Cache | undefined
  /** Further headers of the request. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /**
   * Options of one provider, by its key, such as `{ anthropic: { thinking: { type: "adaptive" } } }`. The packages have
   * types for theirs, such as `AnthropicLanguageModelOptions`, which `satisfies` checks.
   */
  readonly providerOptions?: ProviderOptions | undefined
}

/** Options by the key of the provider that they are for. */
export type ProviderOptions = Readonly<Record<string, Readonly<Record<string, unknown>>>>

/** The options of the current call; they win over the Layer's. */
export const CurrentOptions: Context.Reference<CallOptions> = Context.Reference<CallOptions>(
  "troupe/AiSdk/CallOptions",
  {
    defaultValue: () => noOptions
  }
)
const noOptions: CallOptions = {}

const mergeProviders = (under: ProviderOptions = {}, over: ProviderOptions = {}): ProviderOptions => {
  const merged: Record<string, Readonly<Record<string, unknown>>> = { ...under }
  for (const [key, own] of Object.entries(over)) merged[key] = { ...merged[key], ...own }
  return merged
}

/** The options of the Layer under those of the call. */
export const merge = (layer: CallOptions, call: CallOptions): CallOptions => ({
  ...layer,
  ...call,
  headers: { ...layer.headers, ...call.headers },
  providerOptions: mergeProviders(layer.providerOptions, call.providerOptions)
})

const least = (...limits: ReadonlyArray<number | undefined>): number | undefined => {
  const set = limits.filter((limit) => limit !== undefined)
  return set.length === 0 ? undefined : Math.min(...set)
}

/** The options with the settings of one call, which win over them. Of several limits the smallest one stays. */
export const withSettings = (
  options: CallOptions,
  settings: CallSettings,
  maxOutputTokens: number | undefined
): CallOptions => ({
  ...options,
  temperature: settings.temperature ?? options.temperature,
  reasoning: settings.reasoning ?? options.reasoning,
  cache: settings.cache ?? options.cache,
  maxOutputTokens: least(options.maxOutputTokens, settings.maxOutputTokens, maxOutputTokens)
})

/** What the options of a call are sent to. */
export interface AskedModel extends Provider {
  /** The conversation that the call is of, for a provider that caches by it. */
  readonly conversation?: string | undefined
  /** False for a model that is known not to think. */
  readonly thinks?: boolean | undefined
}

/** The options as the AI SDK takes them. Throws `Lacking` for reasoning or caching that the provider cannot be asked for. */
export const fields = (options: CallOptions, provider: AskedModel): Partial<LanguageModelV4CallOptions> => {
  const { cache, headers, providerOptions: given, reasoning, stopSequences, ...plain } = options
  const providerOptions = mergeProviders(cachingOf(cache, provider), given)
  const thinking = reasoning === undefined ? {} : thinkingOf(reasoning, provider)
  const own: Record<string, Readonly<Record<string, unknown>>> = {
    ...mergeProviders(thinking.providerOptions, providerOptions)
  }
  for (const [key, deep] of Object.entries(thinking.providerOptions ?? {})) {
    const given = providerOptions?.[key]
    // One object of a provider holds several settings of thinking.
    for (const [name, value] of Object.entries(deep)) {
      const theirs = given?.[name]
      if (isFields(value) && isFields(theirs)) own[key] = { ...own[key], [name]: { ...value, ...theirs } }
    }
  }
  const set = Object.fromEntries(Object.entries(plain).filter(([, value]) => value !== undefined))
  return {
    ...set,
    ...(stopSequences === undefined ? {} : { stopSequences: [...stopSequences] }),
    ...(headers === undefined || Object.keys(headers).length === 0 ? {} : { headers: { ...headers } }),
    ...(thinking.reasoning === undefined ? {} : { reasoning: thinking.reasoning }),
    ...(Object.keys(own).length === 0 ? {} : { providerOptions: own as SharedV4ProviderOptions })
  }
}

const times: Readonly<Record<string, Times<string | undefined>>> = {
  anthropic: [
    ["5 minutes", undefined],
    ["1 hour", "1h"]
  ],
  "aws.bedrock": [
    ["5 minutes", undefined],
    ["1 hour", "1h"]
  ],
  openai: [
    ["10 minutes", undefined],
    ["24 hours", "24h"]
  ]
}

/** Anthropic caches what it is asked to, and nothing else; OpenAI keeps one conversation in one place when it has its name. */
const cachingOf = (cache: Cache | undefined, { conversation, name }: AskedModel): ProviderOptions => {
  if (cache === undefined) return {}
  const ttl = askFor(cache, times[name] ?? [], name)
  const timed = ttl === undefined ? {} : { ttl }
  if (name === "anthropic") return { anthropic: { cacheControl: { type: "ephemeral", ...timed } } }
  if (name !== "openai") return {}
  const key = conversation === undefined ? {} : { promptCacheKey: conversation.slice(0, 64) }
  return { openai: { ...key, ...(ttl === undefined ? {} : { promptCacheRetention: ttl }) } }
}

/**
 * The messages with marks up to which Bedrock keeps them: the instructions, and all of the conversation so far. It has no option for
 * that of a whole request.
 */
export const marked = (
  messages: Array<LanguageModelV4Message>,
  cache: Cache | undefined,
  { name }: Provider
): Array<LanguageModelV4Message> => {
  if (cache === undefined || name !== "aws.bedrock") return messages
  const ttl = askFor(cache, times[name] ?? [], name)
  const cachePoint = { type: "default", ...(ttl === undefined ? {} : { ttl }) }
  const system = messages.findLastIndex(({ role }) => role === "system")
  return messages.map((message, index) => {
    if (index !== system && index !== messages.length - 1) return message
    const { bedrock, ...others } = message.providerOptions ?? {}
    return { ...message, providerOptions: { ...others, bedrock: { cachePoint, ...bedrock } } }
  })
}

interface Thinking {
  readonly reasoning?: Exclude<Reasoning, object>
  readonly providerOptions?: Record<string, Record<string, unknown>>
}

const thinkingOf = (reasoning: Reasoning, { name, thinks }: AskedModel): Thinking => {
  if (thinks === false) {
    // A model that does not think refuses to be asked not to.
    if (reasoning === "none") return {}
    throw new Lacking(
      "reasoning",
      `this model of ${name} does not take reasoning, as the catalog of models says. Use another model, or leave out \`reasoning\`; if the catalog is wrong, correct it with Models.withCatalog.`
    )
  }
  const isGoogle = name === "gcp.gemini" || name === "gcp.vertex_ai"
  if (typeof reasoning !== "object") {
    // Without being asked to, Gemini keeps its thoughts to itself.
    const shown = isGoogle && reasoning !== "none" ? { ["google"]: { thinkingConfig: { includeThoughts: true } } } : {}
    return { reasoning, providerOptions: shown }
  }
  const { tokens } = reasoning
  if (isGoogle) {
    return { providerOptions: { ["google"]: { thinkingConfig: { thinkingBudget: tokens, includeThoughts: true } } } }
  }
  if (name === "anthropic") {
    return { providerOptions: { anthropic: { thinking: { type: "enabled", budgetTokens: tokens } } } }
  }
  if (name === "aws.bedrock") {
    return { providerOptions: { bedrock: { reasoningConfig: { type: "enabled", budgetTokens: tokens } } } }
  }
  throw new Lacking(
    "reasoning",
    `${name} takes no number of tokens for reasoning: use "none", "low", "medium" or "high", or the provider's own options`
  )
}
