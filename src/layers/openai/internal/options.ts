/** Request options: typed, per Layer and per call. */
import * as Context from "effect/Context"
import type { ChatCompletionCreateParams } from "openai/resources/chat/completions"
import type { ResponseCreateParams } from "openai/resources/responses/responses"
import type * as Schema from "effect/Schema"
import type { CallSettings } from "../../../services/ModelInfo.ts"
import { Lacking } from "../../internal/model/problems.ts"
import { serverAt } from "./servers.ts"

type Owned = "messages" | "input" | "instructions" | "tools" | "tool_choice" | "stream" | "stream_options" | "model"

/** Options of the Chat Completions API as the SDK types them, without what the agent decides. */
export type ChatOptions = Partial<
  Omit<ChatCompletionCreateParams, Owned | "response_format" | "functions" | "function_call">
>

/** Options of the Responses API as the SDK types them, without what the agent decides. */
export type ResponsesOptions = Partial<Omit<ResponseCreateParams, Owned>>

/** Options that both APIs have, in one spelling, and the groups for what only one has. */
export interface CallOptions {
  /** Another model for these calls. */
  readonly model?: string | undefined
  /** 0 to 2. */
  readonly temperature?: number | undefined
  /** 0 to 1. */
  readonly topP?: number | undefined
  /** The most tokens an answer may have, reasoning included. */
  readonly maxOutputTokens?: number | undefined
  /** How much a reasoning model thinks. */
  readonly reasoningEffort?: "none" | "minimal" | "low" | "medium" | "high" | "xhigh" | "max" | undefined
  readonly verbosity?: "low" | "medium" | "high" | undefined
  /** Whether the model may ask for several tools in one answer. */
  readonly parallelToolCalls?: boolean | undefined
  readonly serviceTier?: "auto" | "default" | "flex" | "scale" | "priority" | "fast" | undefined
  readonly metadata?: Readonly<Record<string, string>> | undefined
  /** Chat Completions only. */
  readonly seed?: number | undefined
  /** Chat Completions only: texts at which the answer ends. */
  readonly stop?: string | ReadonlyArray<string> | undefined
  /** Everything else of Chat Completions; wins over the options above. */
  readonly chat?: ChatOptions | undefined
  /**
   * Everything else of Responses; wins over the options above. By default nothing is stored at the provider, and models
   * that reason, by their name or because `reasoningEffort` is set, give their reasoning encrypted, to be sent back.
   */
  readonly responses?: ResponsesOptions | undefined
  /** Keys of other vendors, put into the body as they are; win over everything. */
  readonly body?: { readonly [key: string]: Schema.Json } | undefined
}

/** The options of the current call; they win over the Layer's. */
export const CurrentOptions: Context.Reference<CallOptions> = Context.Reference<CallOptions>(
  "troupe/OpenAi/CallOptions",
  {
    defaultValue: () => ({})
  }
)

/** The options of the Layer under those of the call. */
export const merge = (layer: CallOptions, call: CallOptions): CallOptions => ({
  ...layer,
  ...call,
  chat: { ...layer.chat, ...call.chat },
  responses: { ...layer.responses, ...call.responses },
  body: { ...layer.body, ...call.body }
})

/** The Responses API refuses a smaller limit. */
const leastOutputTokens = 16

const limitNames: ReadonlySet<string> = new Set(["max_tokens", "max_completion_tokens", "max_output_tokens"])

/** Fields with each limit of output tokens that is above `most` lowered to it. */
const lowered = <Fields extends object>(fields: Fields | undefined, most: number): Fields =>
  Object.fromEntries(
    Object.entries(fields ?? {}).map(([key, value]: [string, unknown]) => [
      key,
      limitNames.has(key) && typeof value === "number" ? Math.min(value, most) : value
    ])
  ) as Fields

/** The options with a limit of output tokens. A smaller one of their own stays, under the name that it has. */
export const limited = (options: CallOptions, most: number | undefined, api: "responses" | "chat"): CallOptions => {
  if (most === undefined) return options
  const limit = api === "responses" ? Math.max(most, leastOutputTokens) : most
  const { body, chat, maxOutputTokens, responses } = options
  const isNamed = Object.keys({ ...options[api], ...body }).some((name) => limitNames.has(name))
  return {
    ...options,
    chat: lowered(chat, limit),
    responses: lowered(responses, limit),
    body: lowered(body, limit),
    maxOutputTokens: maxOutputTokens === undefined && isNamed ? undefined : Math.min(maxOutputTokens ?? limit, limit)
  }
}

const without = <Fields extends object>(fields: Fields | undefined, names: ReadonlyArray<string>): Fields =>
  Object.fromEntries(Object.entries(fields ?? {}).filter(([name]) => !names.includes(name))) as Fields

/** The model that is asked, as far as its settings depend on it. */
export interface AskedModel {
  readonly api: "responses" | "chat"
  readonly model: string
  readonly server: Server
  /** False for a model that is known not to think. */
  readonly thinks: boolean | undefined
}

/** The fields by which a server limits the tokens of reasoning. Throws `Lacking` where it takes no such limit. */
const thinkingOf = (tokens: number, { api, model, server }: AskedModel): CallOptions["body"] => {
  const { thinking } = serverAt(server.host)
  if (thinking !== undefined && api === "chat") return thinking(tokens)
  throw new Lacking(
    "reasoning",
    `${model} at ${server.host} takes no number of tokens for reasoning: use "none", "minimal", "low", "medium", "high", "xhigh" or "max"`
  )
}

/**
 * The options with the settings of one call, which win over them. Of two limits of output tokens the smaller one stays. What
 * stands in `body` is for the program alone, and is sent as it is. Throws `Lacking` for what the model cannot be asked.
 */
export const withSettings = (
  options: CallOptions,
  { maxOutputTokens, reasoning: wanted, temperature }: CallSettings,
  asked: AskedModel
): CallOptions => {
  const { api } = asked
  if (asked.thinks === false && wanted !== undefined && wanted !== "none") {
    throw new Lacking(
      "reasoning",
      `the model ${asked.model} does not take reasoning, as the catalog of models says. Use another model, or leave out \`reasoning\`; if the catalog is wrong, correct it with Models.withCatalog.`
    )
  }
  // A model that does not think refuses to be asked not to.
  const isSet = wanted !== undefined && asked.thinks !== false
  const effort = typeof wanted === "object" ? undefined : wanted
  const names = [...(temperature === undefined ? [] : ["temperature"]), ...(isSet ? ["reasoning_effort"] : [])]
  if (names.length === 0) return limited(options, maxOutputTokens, api)
  const responses = without(options.responses, names)
  const thinking =
    !isSet || effort === undefined || responses.reasoning == null
      ? {}
      : { reasoning: { ...responses.reasoning, effort } }
  const own = {
    ...options,
    ...(temperature === undefined ? {} : { temperature }),
    ...(isSet ? { reasoningEffort: effort } : {}),
    chat: without(options.chat, names),
    responses: { ...responses, ...thinking },
    body: typeof wanted === "object" ? { ...thinkingOf(wanted.tokens, asked), ...options.body } : options.body
  }
  return limited(own, maxOutputTokens, api)
}

const defined = (fields: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))

/** Models that reason, by OpenAI's names for them. Others refuse to be asked for encrypted reasoning. */
const isReasoningModel = (model: string): boolean =>
  /^(ft:|openai\/|azure\/)?(o\d|gpt-([5-9]|\d\d)(?!-chat)|codex|computer-use)/i.test(model)

/** OpenAI has renamed it, and its newer models refuse the old name wherever they are; compatible servers know that one. */
const limitName = (model: string, { compatible, host }: Server): string =>
  !compatible || host.endsWith(".azure.com") || isReasoningModel(model) ? "max_completion_tokens" : "max_tokens"

/** The server that is spoken to. */
export interface Server {
  /** Its host: some of what a server says only itself understands. */
  readonly host: string
  /** False for OpenAI's own. */
  readonly compatible: boolean
}

/** The options as fields of a Chat Completions body. */
export const chatFields = (
  options: CallOptions,
  model: string,
  server: Server,
  hasTools: boolean
): Record<string, unknown> =>
  defined({
    temperature: options.temperature,
    top_p: options.topP,
    [limitName(model, server)]: options.maxOutputTokens,
    reasoning_effort: options.reasoningEffort,
    verbosity: options.verbosity,
    // Refused without tools.
    parallel_tool_calls: hasTools ? options.parallelToolCalls : undefined,
    service_tier: options.serviceTier,
    metadata: options.metadata,
    seed: options.seed,
    stop: options.stop,
    ...options.chat,
    ...options.body
  })

/** The options as fields of a Responses body. `includes` are what the tools of the request need. */
export const responsesFields = (
  options: CallOptions,
  model: string,
  includes: ReadonlyArray<string> = []
): Record<string, unknown> => {
  const { include, reasoning, text, ...rest } = options.responses ?? {}
  const reasons = isReasoningModel(model) || options.reasoningEffort !== undefined || reasoning !== undefined
  return defined({
    temperature: options.temperature,
    top_p: options.topP,
    max_output_tokens: options.maxOutputTokens,
    reasoning:
      options.reasoningEffort === undefined && reasoning === undefined
        ? undefined
        : { ...(options.reasoningEffort === undefined ? {} : { effort: options.reasoningEffort }), ...reasoning },
    text:
      options.verbosity === undefined && text === undefined
        ? undefined
        : { ...(options.verbosity === undefined ? {} : { verbosity: options.verbosity }), ...text },
    parallel_tool_calls: options.parallelToolCalls,
    service_tier: options.serviceTier,
    metadata: options.metadata,
    // Nothing is kept at the provider; reasoning travels with the conversation, encrypted.
    store: false,
    // The caller's `include` is added to what we need; `null` turns both off.
    include:
      include === null || (include === undefined && !reasons && includes.length === 0)
        ? undefined
        : [...new Set([...(reasons ? ["reasoning.encrypted_content"] : []), ...includes, ...(include ?? [])])],
    ...rest,
    ...options.body
  })
}
