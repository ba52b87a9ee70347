/** Answers of a model as JSON: whole parts, which are given again whole or as a stream. */
import * as LanguageModel from "effect/ai/LanguageModel"
import * as Response from "effect/ai/Response"
import * as Schema from "effect/Schema"

/** An answer in whole parts, the finish last. */
export type Parts = ReadonlyArray<Response.PartEncoded>

const encodeWhole = Schema.encodeUnknownSync(Response.Part())
const encodePart = Schema.encodeUnknownSync(Response.StreamPart())
const decodePart = Schema.decodeUnknownSync(Response.Part())
const decodeStreamPart = Schema.decodeUnknownSync(Response.StreamPart())

const encoded = (part: unknown): Response.StreamPartEncoded | Response.PartEncoded => {
  if (!Response.isPart(part)) return part as Response.StreamPartEncoded
  return part.type === "text" || part.type === "reasoning" ? encodeWhole(part) : encodePart(part)
}

/** The answer in whole parts, of whole or streamed ones; `undefined` for one that did not come to a good end. */
export const collect = (given: ReadonlyArray<unknown>): Parts | undefined => {
  const parts: Array<Response.PartEncoded> = []
  const open = new Map<
    string,
    { type: "text" | "reasoning"; text: string; metadata?: Response.ProviderMetadata | undefined }
  >()
  let isGood = false
  for (const part of given.map(encoded)) {
    switch (part.type) {
      case "text-start":
      case "reasoning-start":
      case "text-delta":
      case "reasoning-delta":
      case "text-end":
      case "reasoning-end": {
        const type = part.type.startsWith("text") ? "text" : "reasoning"
        const key = `${type}:${part.id}`
        let block = open.get(key)
        if (block === undefined) {
          block = { type, text: "" }
          open.set(key, block)
          parts.push(block)
        }
        if ("delta" in part) block.text += part.delta
        if (part.metadata !== undefined) block.metadata = { ...block.metadata, ...part.metadata }
        break
      }
      case "tool-params-start":
      case "tool-params-delta":
      case "tool-params-end":
        break
      case "error":
        return undefined
      case "finish":
        isGood = part.reason === "stop" || part.reason === "tool-calls"
        parts.push(part)
        break
      default:
        parts.push(part as Response.PartEncoded)
    }
  }
  return isGood ? parts : undefined
}

/** The answer that was kept, with nothing used; `undefined` for what is not one. */
export const fromStored = (stored: Schema.Json): Parts | undefined => {
  if (!Array.isArray(stored)) return undefined
  try {
    const parts = stored as ReadonlyArray<Response.PartEncoded>
    for (const part of parts) decodePart(part)
    return parts.map((part) =>
      part.type === "finish" ? { ...part, usage: { inputTokens: { total: 0 }, outputTokens: { total: 0 } } } : part
    )
  } catch {
    return undefined
  }
}

/** The answer as an answer of `effect/ai`. */
export const toResponse = (parts: Parts): LanguageModel.GenerateTextResponse<{}> =>
  new LanguageModel.GenerateTextResponse<{}>(parts.map((part) => decodePart(part) as Response.Part<{}>))

/** The answer as a stream of a provider. */
export const toStream = (parts: Parts): ReadonlyArray<Response.StreamPartEncoded> =>
  parts.flatMap((part, index): ReadonlyArray<Response.StreamPartEncoded> => {
    if (part.type !== "text" && part.type !== "reasoning") return [part as Response.StreamPartEncoded]
    const id = String(index)
    const metadata = part.metadata === undefined ? {} : { metadata: part.metadata }
    return [
      { type: `${part.type}-start`, id, ...metadata },
      ...(part.text === "" ? [] : [{ type: `${part.type}-delta` as const, id, delta: part.text }]),
      { type: `${part.type}-end`, id }
    ]
  })

/** The answer as a stream of `effect/ai`. */
export const toDecodedStream = (parts: Parts): ReadonlyArray<unknown> =>
  toStream(parts).map((part) => decodeStreamPart(part))
