/** MCP's content as JSON for events and transcripts, and as parts for the model. Pure. */
import * as Prompt from "effect/ai/Prompt"
import type * as Schema from "effect/Schema"
import { toJson } from "../../../internal/json.ts"

/** Content of a result, a prompt or a message, by its type. */
export interface Content {
  readonly type: string
  readonly text?: string | undefined
  /** Base64. */
  readonly data?: string | undefined
  readonly mimeType?: string | undefined
  readonly uri?: string | undefined
  readonly name?: string | undefined
  readonly description?: string | undefined
  readonly resource?: ResourceContents | undefined
}

/** What a resource holds: text, or bytes in base64. */
export interface ResourceContents {
  readonly uri: string
  readonly mimeType?: string | undefined
  readonly text?: string | undefined
  readonly blob?: string | undefined
}

/** What a tool's call gives. */
export interface CallResult {
  readonly content?: ReadonlyArray<Content> | undefined
  readonly structuredContent?: { readonly [key: string]: unknown } | undefined
  readonly isError?: boolean | undefined
}

const bytes = (base64: string): number => Math.floor((base64.length * 3) / 4)

/** Content without its bytes: those go to the model as a file, and would swell every event. */
const describe = (content: Content): Schema.Json => {
  const { data, resource, type } = content
  if (data !== undefined) return { type, mimeType: content.mimeType ?? null, bytes: bytes(data) }
  if (resource?.blob !== undefined) {
    const { blob, ...rest } = resource
    return { type, resource: { ...(toJson(rest) as Schema.JsonObject), bytes: bytes(blob) } }
  }
  return toJson(content)
}

/** What of content is text. */
const textOf = (content: Content): string | undefined =>
  content.type === "text" ? (content.text ?? "") : content.resource?.text

/** The part that a model is given of content. */
export const toPart = (content: Content): Prompt.TextPart | Prompt.FilePart => {
  const { data, mimeType, resource } = content
  if (data !== undefined) return Prompt.filePart({ mediaType: mimeType ?? "application/octet-stream", data })
  if (resource?.blob !== undefined) {
    return Prompt.filePart({
      mediaType: resource.mimeType ?? "application/octet-stream",
      fileName: resource.uri,
      data: resource.blob
    })
  }
  return Prompt.textPart({ text: textOf(content) ?? JSON.stringify(describe(content)) })
}

/** How long a result is without its bytes. */
export const charsOf = ({ content = [], structuredContent }: CallResult): number =>
  [...content.map(describe), structuredContent ?? null].reduce<number>(
    (sum, one) => sum + (JSON.stringify(one)?.length ?? 0),
    0
  )

/** All text of a result. */
export const textOfResult = ({ content = [] }: CallResult): string =>
  content.flatMap((one) => textOf(one) ?? []).join("\n")

/** The result for transcripts and events: its structure if it has one, else its text, else what it consists of. */
export const toResult = (result: CallResult): Schema.Json => {
  const { content = [], structuredContent } = result
  if (structuredContent !== undefined) return toJson(structuredContent)
  if (content.length === 0) return null
  return content.every((one) => textOf(one) !== undefined) ? textOfResult(result) : content.map(describe)
}

/** What the model is given in place of {@link toResult}; `undefined`: there are no files, so just that. */
export const toModelOutput = (result: CallResult): ReadonlyArray<Prompt.ToolModelOutputPart> | undefined => {
  const { content = [], structuredContent } = result
  const parts = content.map(toPart)
  if (parts.every((part) => part.type === "text")) return undefined
  // The text that goes with a structure repeats it.
  if (structuredContent === undefined) return parts
  const structure = Prompt.textPart({ text: JSON.stringify(structuredContent) })
  return [structure, ...parts.filter((part) => part.type === "file")]
}
