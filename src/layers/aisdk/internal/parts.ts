/** Makes parts of `effect/ai` of what models of the AI SDK answer. Nothing in an answer is taken to be what its type says. */
import type {
  LanguageModelV4Content,
  LanguageModelV4FinishReason,
  LanguageModelV4StreamPart,
  LanguageModelV4Usage,
  SharedV4ProviderMetadata,
  SharedV4Warning
} from "@ai-sdk/provider"
import * as Base64 from "effect/encoding/Base64"
import type * as Response from "effect/ai/Response"
import { answeredBase64 } from "../../internal/model/files.ts"
import { Unsupported } from "../../internal/model/problems.ts"
import { parse, parseAll, unreadable } from "../../internal/model/toolArguments.ts"
import { isFields, number, text } from "../../internal/model/wire.ts"
import { tagged, thought } from "./tags.ts"

/** The parameters of a call of ours, in each form in which servers write them. Several calls in one text stay a text. */
const ownParamsOf = (input: unknown): unknown => {
  const all = parseAll(input)
  return all.length === 1 ? all[0] : input
}

const paramsOf = (input: unknown): unknown => {
  if (typeof input !== "string") return input
  if (input.trim() === "") return {}
  const params = parse(input)
  return params === unreadable ? input : params
}

const reasons: Readonly<Record<string, Response.FinishReason>> = {
  stop: "stop",
  length: "length",
  "content-filter": "content-filter",
  "tool-calls": "tool-calls",
  error: "error",
  other: "other"
}

/**
 * The reason for which an answer ended; `undefined` for one that was cut off. `isCalling` is true for one that calls tools
 * of ours: some servers have words of their own for it, or none.
 */
export const reasonOf = (
  given: LanguageModelV4FinishReason | undefined,
  isCalling: boolean
): Response.FinishReason | undefined => {
  if (given === undefined || given.unified === "interrupted") return undefined
  if (given.raw === "pause_turn") return "pause"
  const reason = reasons[given.unified] ?? "unknown"
  return isCalling && (reason === "stop" || reason === "other") ? "tool-calls" : reason
}

/** The reason that Chat Completions has for an end. */
export const chatReason = (raw: string | undefined): LanguageModelV4FinishReason | undefined => {
  if (raw === undefined) return undefined
  const unified = raw.replace("_", "-")
  return {
    unified: (Object.hasOwn(reasons, unified) ? unified : "other") as LanguageModelV4FinishReason["unified"],
    raw
  }
}

/** True for a call of a tool of ours. */
export const isOwnCall = (part: { readonly type: string; readonly providerExecuted?: boolean | undefined }): boolean =>
  part.type === "tool-call" && part.providerExecuted !== true

/** Packages make zeros of what a server has not counted. */
const counted = (usage: LanguageModelV4Usage | undefined): LanguageModelV4Usage | undefined =>
  isFields(usage?.raw) && Object.keys(usage.raw).length === 0 ? undefined : usage

/** The part that ends an answer. */
export const finish = (
  reason: Response.FinishReason,
  usage: LanguageModelV4Usage | undefined
): Response.FinishPartEncoded => {
  const { inputTokens, outputTokens, raw } = counted(usage) ?? {}
  const total = number(inputTokens, "total")
  // DeepSeek has a name of its own for it.
  const hits = number(raw, "prompt_cache_hit_tokens")
  const isHidden = hits !== undefined && total !== undefined && (number(inputTokens, "cacheRead") ?? 0) === 0
  return {
    type: "finish",
    reason,
    usage: {
      inputTokens: {
        uncached: isHidden ? Math.max(0, total - hits) : number(inputTokens, "noCache"),
        total,
        cacheRead: isHidden ? hits : number(inputTokens, "cacheRead"),
        cacheWrite: number(inputTokens, "cacheWrite")
      },
      outputTokens: {
        total: number(outputTokens, "total"),
        text: number(outputTokens, "text"),
        reasoning: number(outputTokens, "reasoning")
      }
    }
  }
}

/** The model that answered. */
export const metadata = (
  given: { readonly id?: string; readonly modelId?: string; readonly timestamp?: Date } | undefined
): ReadonlyArray<Response.ResponseMetadataPartEncoded> => {
  if (given === undefined) return []
  const { timestamp } = given
  const [id, modelId] = [text(given, "id"), text(given, "modelId")]
  const isTime = timestamp instanceof Date && !Number.isNaN(timestamp.getTime())
  return [{ type: "response-metadata", id, modelId, ...(isTime ? { timestamp: timestamp.toISOString() } : {}) }]
}

type Kept = Exclude<
  Response.PartEncoded,
  | Response.ReasoningDeltaPartEncoded
  | Response.ReasoningEndPartEncoded
  | Response.TextPartEncoded
  | Response.ReasoningPartEncoded
>

/** The metadata of a part that may have none. */
const noted = (
  provider: string,
  { providerMetadata: given }: { readonly providerMetadata?: SharedV4ProviderMetadata }
) => (given === undefined ? {} : { metadata: tagged(provider, given) })

/** A part that is the same in a whole answer and in a stream. */
const either = (part: LanguageModelV4Content, provider: string): ReadonlyArray<Kept> => {
  switch (part.type) {
    case "tool-call": {
      const call = { type: "tool-call", id: part.toolCallId, name: part.toolName } as const
      if (part.providerExecuted !== true)
        return [{ ...call, params: ownParamsOf(part.input), ...noted(provider, part) }]
      const metadata = tagged(provider, part.providerMetadata)
      return [{ ...call, params: paramsOf(part.input), providerExecuted: true, metadata }]
    }
    case "tool-result":
      // What a tool of the provider has so far: its result follows.
      if (part.preliminary === true) return []
      return [
        {
          type: "tool-result",
          id: part.toolCallId,
          name: part.toolName,
          result: part.result,
          isFailure: part.isError === true,
          providerExecuted: true,
          metadata: tagged(provider, part.providerMetadata)
        }
      ]
    case "file":
      return fileOf(part, noted(provider, part))
    case "reasoning-file":
      return fileOf(part, { metadata: tagged(provider, part.providerMetadata, thought) })
    case "source":
      return sourceOf(part)
    case "tool-approval-request":
      throw new Unsupported(
        "the provider asks for approval of a tool that it runs itself, which is not supported: turn approval off in that tool's options, or give the agent a tool of its own"
      )
    default:
      return []
  }
}

const fileOf = (
  part: Extract<LanguageModelV4Content, { type: "file" | "reasoning-file" }>,
  own: { readonly metadata?: Response.ProviderMetadata }
): ReadonlyArray<Response.FilePartEncoded | Response.UrlSourcePartEncoded> => {
  const { data, mediaType } = part
  if (data.type === "url") {
    const url = data.url.href
    return [{ type: "source", sourceType: "url", id: url, url, title: `${mediaType} file` }]
  }
  const base64 = typeof data.data === "string" ? answeredBase64(data.data) : Base64.encode(data.data)
  if (base64 === undefined) throw new Error(`a file of it (${mediaType}) is not base64`)
  return [{ type: "file", mediaType, data: base64, ...own }]
}

const sourceOf = (
  part: Extract<LanguageModelV4Content, { type: "source" }>
): ReadonlyArray<Response.UrlSourcePartEncoded | Response.DocumentSourcePartEncoded> => {
  if (part.sourceType === "url") {
    if (!URL.canParse(part.url)) return []
    return [{ type: "source", sourceType: "url", id: part.id, url: part.url, title: part.title ?? part.url }]
  }
  const { filename, id, mediaType, title } = part
  const named = filename === undefined ? {} : { fileName: filename }
  return [{ type: "source", sourceType: "document", id, mediaType, title, ...named }]
}

const known: ReadonlySet<string> = new Set<LanguageModelV4Content["type"] | LanguageModelV4StreamPart["type"]>([
  "text",
  "reasoning",
  "custom",
  "tool-call",
  "tool-result",
  "file",
  "reasoning-file",
  "source",
  "tool-approval-request",
  "text-start",
  "text-delta",
  "text-end",
  "reasoning-start",
  "reasoning-delta",
  "reasoning-end",
  "tool-input-start",
  "tool-input-delta",
  "tool-input-end",
  "response-metadata"
])

/** The warning about a part of a kind that is not known here, as a later version of the interface may have it. */
export const unreadIn = ({ type }: { readonly type: string }): ReadonlyArray<SharedV4Warning> =>
  known.has(type)
    ? []
    : [{ type: "unsupported", feature: `the part ${JSON.stringify(type)} of an answer, which is left out` }]

/** Kinds that only tell how an answer goes. */
const isNotice = (kind: string): boolean => kind.endsWith(".message_start")

/** A part of a provider's own kind goes back as it came: it stands in the conversation as a thought without text. */
const custom = (
  part: Extract<LanguageModelV4Content, { type: "custom" }>,
  provider: string
): Response.ReasoningPartEncoded => ({
  type: "reasoning",
  text: "",
  metadata: tagged(provider, part.providerMetadata, { custom: part.kind })
})

/** The parts of one content of a whole answer. */
export const whole = (part: LanguageModelV4Content, provider: string): ReadonlyArray<Response.PartEncoded> => {
  switch (part.type) {
    case "text":
      return [{ type: "text", text: part.text, ...noted(provider, part) }]
    case "reasoning":
      return [{ type: "reasoning", text: part.text, metadata: tagged(provider, part.providerMetadata) }]
    case "custom":
      return isNotice(part.kind) ? [] : [custom(part, provider)]
    default:
      return either(part, provider)
  }
}

/** The parts of one part of a stream; those that say how the stream goes give none. */
export const streamed = (
  part: LanguageModelV4StreamPart,
  provider: string
): ReadonlyArray<Response.StreamPartEncoded> => {
  switch (part.type) {
    case "text-start":
    case "text-end":
    case "reasoning-end":
      return [{ type: part.type, id: part.id, ...noted(provider, part) }]
    case "text-delta":
    case "reasoning-delta":
      return [{ type: part.type, id: part.id, delta: part.delta, ...noted(provider, part) }]
    case "reasoning-start":
      return [{ type: part.type, id: part.id, metadata: tagged(provider, part.providerMetadata) }]
    case "tool-input-start":
      return [
        {
          type: "tool-params-start",
          id: part.id,
          name: part.toolName,
          ...(part.providerExecuted === true ? { providerExecuted: true } : {})
        }
      ]
    case "tool-input-delta":
      return [{ type: "tool-params-delta", id: part.id, delta: part.delta }]
    case "tool-input-end":
      return [{ type: "tool-params-end", id: part.id }]
    case "response-metadata":
      return metadata(part)
    case "custom": {
      if (isNotice(part.kind)) return []
      const { metadata: own = {} } = custom(part, provider)
      const id = `custom:${part.kind}`
      return [
        { type: "reasoning-start", id, metadata: own },
        { type: "reasoning-end", id }
      ]
    }
    case "tool-call":
    case "tool-result":
    case "file":
    case "reasoning-file":
    case "source":
    case "tool-approval-request":
      return either(part, provider)
    default:
      return []
  }
}
