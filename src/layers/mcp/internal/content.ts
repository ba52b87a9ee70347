/**
 * MCP content of servers: decoded leniently, described as JSON for events and transcripts, and converted to parts for
 * the model.
 */
import * as Equal from "effect/Equal"
import * as Prompt from "effect/ai/Prompt"
import type * as Schema from "effect/Schema"
import { textOfJson, toJson } from "../../../internal/json.ts"
import { stripControls } from "../../../internal/text.ts"
import { given, isFields, type Fields } from "./fields.ts"

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

// -- bytes ------------------------------------------------------------------------------------------------------------

/** How many bytes a base64 text stands for. */
export const bytesOf = (base64: string): number => Math.floor((base64.replace(/=+$/, "").length * 3) / 4)

/** How base64 of a kind of file begins, for servers that do not name the kind. */
const beginnings: ReadonlyArray<readonly [begin: string, mimeType: string]> = [
  ["iVBORw0KGgo", "image/png"],
  ["/9j/", "image/jpeg"],
  ["R0lGOD", "image/gif"],
  ["JVBERi0", "application/pdf"],
  ["SUQz", "audio/mpeg"],
  ["T2dnUw", "audio/ogg"]
]

const mimeTypeOf = (base64: string): string => {
  // The name of a RIFF file's kind follows its length.
  if (base64.startsWith("UklGR")) {
    const kind = Buffer.from(base64.slice(0, 16), "base64").toString("latin1", 8, 12)
    if (kind === "WAVE") return "audio/wav"
    if (kind === "WEBP") return "image/webp"
  }
  return beginnings.find(([begin]) => base64.startsWith(begin))?.[1] ?? "application/octet-stream"
}

interface Bytes {
  readonly base64: string
  readonly mimeType: string
}

const dataUrl = /^data:([^,;]*)(?:;[^,]*)?;base64,/i

/** Reads bytes: base64, also in lines or for URLs, or a `data:` URL. `undefined` for a text that is neither. */
const readBytes = (text: unknown, mimeType: unknown): Bytes | undefined => {
  if (typeof text !== "string") return undefined
  const url = dataUrl.exec(text)
  const body = url === null ? text : text.slice(url[0].length)
  const base64 = body.replace(/\s+/g, "").replaceAll("-", "+").replaceAll("_", "/")
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(base64) || base64.replace(/=+$/, "").length % 4 === 1) return undefined
  const named = typeof mimeType === "string" && mimeType !== "" ? mimeType : url?.[1]
  return { base64, mimeType: named === undefined || named === "" ? mimeTypeOf(base64) : named }
}

const file = ({ base64, mimeType }: Bytes): Content => ({ type: "file", data: base64, mimeType })

const described = ({ base64, mimeType }: Bytes): string => `[${mimeType}, ${bytesOf(base64)} bytes]`

/**
 * JSON with a description in place of bytes, and the bytes as files. Bytes are `data:` URLs, fields `data` and `blob`
 * alongside the name of a kind of file, and texts of `known`, which are files already.
 */
const withoutBytes = (
  value: unknown,
  known: ReadonlyMap<string, Bytes>
): { readonly json: unknown; readonly files: ReadonlyArray<Content> } => {
  const files = new Map<string, Content>()
  const replace = (bytes: Bytes): string => {
    const isKnown = known.has(bytes.base64)
    if (!isKnown && bytes.base64 !== "") files.set(bytes.base64, file(bytes))
    return described(known.get(bytes.base64) ?? bytes)
  }
  const walk = (one: unknown): unknown => {
    if (typeof one === "string") {
      const isBytes = known.size > 0 && known.has(one.replace(/\s+/g, ""))
      const bytes = isBytes || dataUrl.test(one) ? readBytes(one, undefined) : undefined
      return bytes === undefined ? one : replace(bytes)
    }
    if (Array.isArray(one)) return one.map(walk)
    if (!isFields(one)) return one
    const kind = one["mimeType"] ?? one["media_type"] ?? one["mediaType"] ?? one["mime_type"]
    // A field of this name would set a prototype where the result is copied by assignment.
    const entries = Object.entries(one).filter(([key]) => key !== "__proto__")
    return Object.fromEntries(
      entries.map(([key, inner]) => {
        const mayBeBytes = (key === "data" || key === "blob") && typeof kind === "string"
        const bytes = mayBeBytes ? readBytes(inner, kind) : undefined
        return [key, bytes === undefined ? walk(inner) : replace(bytes)]
      })
    )
  }
  return { json: walk(value), files: [...files.values()] }
}

// -- reading ----------------------------------------------------------------------------------------------------------

/** Content of a form that is not known: as JSON, its bytes as files. */
const unknownContent = (fields: Fields): ReadonlyArray<Content> => {
  const { json, files } = withoutBytes(fields, new Map())
  return [{ type: "text", text: JSON.stringify(json) }, ...files]
}

const readResource = (fields: Fields): ReadonlyArray<Content> => {
  if (!isFields(fields["resource"])) return unknownContent(fields)
  const { blob, mimeType, text, uri, ...rest } = given(fields["resource"])
  const about = { ...rest, uri: typeof uri === "string" ? uri : "" }
  const kind = typeof mimeType === "string" ? { mimeType } : {}
  const bytes = readBytes(blob, mimeType)
  if (bytes !== undefined && bytes.base64 !== "") {
    return [{ type: "resource", resource: { ...about, mimeType: bytes.mimeType, blob: bytes.base64 } }]
  }
  if (text === undefined) {
    const held = bytes === undefined ? (blob === undefined ? {} : { blob: "[not base64]" }) : { bytes: 0 }
    return unknownContent({ type: "resource", ...about, ...kind, ...held })
  }
  return [{ type: "resource", resource: { ...about, ...kind, text: textOfJson(text) } }]
}

const readFile = (fields: Fields): ReadonlyArray<Content> => {
  const { data, ...rest } = fields
  const bytes = readBytes(data, fields["mimeType"])
  if (bytes === undefined) return unknownContent({ ...rest, data: "[not base64]" })
  if (bytes.base64 === "") return unknownContent({ ...rest, bytes: 0 })
  return [{ type: textOfJson(fields["type"] ?? "file"), data: bytes.base64, mimeType: bytes.mimeType }]
}

const readText = (fields: Fields): ReadonlyArray<Content> => {
  const text = textOfJson(fields["text"])
  const bytes = dataUrl.test(text) ? readBytes(text, undefined) : undefined
  return bytes === undefined || bytes.base64 === "" ? [{ type: "text", text }] : [file(bytes)]
}

/** One block of content; more than one where a form that is not known holds files, none where it says nothing. */
const readBlock = (raw: unknown): ReadonlyArray<Content> => {
  if (!isFields(raw)) return raw === null || raw === undefined ? [] : [{ type: "text", text: textOfJson(raw) }]
  const { _meta, annotations: _annotations, ...fields } = given(raw)
  const { type, ...rest } = fields
  if (type === "resource_link") return [fields as unknown as Content]
  if (type === "resource") return readResource(fields)
  const isFile = type === "image" || type === "audio" || typeof fields["mimeType"] === "string"
  if (isFile && typeof fields["data"] === "string") return readFile(fields)
  const keys = Object.keys(rest)
  if (keys.length === 0) return []
  // Servers have types of their own for texts, such as "error".
  const isText = keys.includes("text") && (type === "text" || keys.length === 1)
  return isText ? readText(fields) : unknownContent(fields)
}

/** Content as a server sent it: a list of blocks, or one block. What says nothing is left out. */
export const readContent = (raw: unknown): ReadonlyArray<Content> =>
  Array.isArray(raw) ? raw.flatMap(readBlock) : readBlock(raw)

// -- content ----------------------------------------------------------------------------------------------------------

/** Content without its bytes: those go to the model as a file, and would swell every event. */
const describe = (content: Content): Schema.Json => {
  const { data, resource, type } = content
  if (data !== undefined) return { type, mimeType: content.mimeType ?? null, bytes: bytesOf(data) }
  if (resource?.blob !== undefined) {
    const { blob, ...rest } = resource
    return { type, resource: { ...(toJson(rest) as Schema.JsonObject), bytes: bytesOf(blob) } }
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

// -- results ----------------------------------------------------------------------------------------------------------

/** The result of a tool's call, read. */
export interface CallResult {
  /** Without texts that only repeat the structure. */
  readonly content: ReadonlyArray<Content>
  /** As the server sent it, to be checked; `undefined` if absent. */
  readonly structuredContent: unknown
  /** The structure without its bytes; `undefined` where it says nothing that the content does not say. */
  readonly structure: Schema.Json | undefined
  readonly isError: boolean
  /** The blocks of content that say nothing that can be read, such as `content.0`. */
  readonly unread: ReadonlyArray<string>
}

/** A structure, and what it wraps: frameworks put a value that is not an object into a field, such as `result`. */
const unwrapped = (structure: unknown): ReadonlyArray<unknown> => {
  const fields = isFields(structure) ? Object.values(structure) : []
  return fields.length === 1 ? [structure, fields[0]] : [structure]
}

const says = (text: string, value: unknown): boolean => {
  if (text === value) return true
  try {
    return Equal.equals(JSON.parse(text), value)
  } catch {
    return false
  }
}

const isText = ({ type }: Content): boolean => type === "text"

/** Content without the texts that repeat the structure: as a whole, or as its elements. */
const withoutRepeats = (content: ReadonlyArray<Content>, structure: unknown): ReadonlyArray<Content> => {
  const values = unwrapped(structure)
  const texts = content.filter(isText).map((one) => one.text ?? "")
  const isList = values.some(
    (value) => Array.isArray(value) && value.length === texts.length && texts.every((text, at) => says(text, value[at]))
  )
  return content.filter((one) => !isText(one) || !(isList || values.some((value) => says(one.text ?? "", value))))
}

const isEmpty = (value: unknown): boolean =>
  (Array.isArray(value) || isFields(value)) && Object.keys(value).length === 0

/** What stands for the structure of a result without `structuredContent`. */
const otherFields = (fields: Fields): unknown => {
  const { _meta, content, isError: _isError, structuredContent: _structured, toolResult, ...rest } = given(fields)
  if (toolResult !== undefined) return toolResult
  return content === undefined && !isEmpty(rest) ? rest : undefined
}

/** Reads the result of a tool's call as far as it can be. */
export const readResult = (raw: unknown): CallResult => {
  const fields = isFields(raw) ? raw : {}
  const structuredContent = fields["structuredContent"] ?? undefined
  const structure = structuredContent ?? otherFields(fields)
  const isError = Boolean(fields["isError"]) && fields["isError"] !== "false"
  const sent = fields["content"]
  const blocks = Array.isArray(sent) ? sent.map(readBlock) : undefined
  const content = blocks?.flat() ?? readBlock(sent)
  const unread = (blocks ?? []).flatMap((block, at) => (block.length === 0 ? [`content.${at}`] : []))
  const rest = { structuredContent, isError, unread }
  if (structure === undefined) return { ...rest, content, structure: undefined }
  const known = new Map<string, Bytes>()
  for (const { data, mimeType, resource } of content) {
    const bytes = readBytes(data ?? resource?.blob, mimeType ?? resource?.mimeType)
    if (bytes !== undefined) known.set(bytes.base64, bytes)
  }
  const { files, json } = withoutBytes(structure, known)
  const all = [...content, ...files]
  const isRepeated = unwrapped(structure).some((value) => Equal.equals(value, sent))
  const saysNothing = all.length > 0 && (isEmpty(structure) || isRepeated)
  return saysNothing
    ? { ...rest, content: all, structure: undefined }
    : { ...rest, content: withoutRepeats(all, structure), structure: toJson(json) }
}

/** How long a result is without its bytes. */
export const charsOf = ({ content, structure }: CallResult): number =>
  [...content.map(describe), structure ?? null].reduce<number>((sum, one) => sum + JSON.stringify(one).length, 0)

/** All that a result says, as text; files are described. */
export const textOfResult = ({ content, structure }: CallResult): string =>
  [
    ...content.map((one) => textOf(one) ?? JSON.stringify(describe(one))),
    ...(structure === undefined ? [] : [textOfJson(structure)])
  ].join("\n")

/** The result for transcripts and events: its text, else what it consists of, with its structure if it has one. */
export const toResult = ({ content, structure }: CallResult): Schema.Json => {
  if (structure !== undefined && content.length === 0) return structure
  if (content.length === 0) return null
  const isAllText = content.every((one) => textOf(one) !== undefined)
  const said = isAllText ? content.map(textOf).join("\n") : content.map(describe)
  return structure === undefined ? said : { content: said, structuredContent: structure }
}

/** What the model is given in place of {@link toResult}; `undefined` where there are no files: just that. */
export const toModelOutput = ({
  content,
  structure
}: CallResult): ReadonlyArray<Prompt.ToolModelOutputPart> | undefined => {
  const parts = content.map(toPart)
  if (parts.every((part) => part.type === "text")) return undefined
  return structure === undefined ? parts : [Prompt.textPart({ text: textOfJson(structure) }), ...parts]
}

// -- text --------------------------------------------------------------------------------------------------------------

/** JSON with characters that cannot be seen removed from all of its texts and names. */
export const visible = (value: unknown): unknown => {
  if (typeof value === "string") return stripControls(value)
  if (Array.isArray(value)) return value.map(visible)
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [stripControls(key), visible(inner)]))
}

/** A part for a model; files stay as they are. */
export const visiblePart = <Part extends Prompt.TextPart | Prompt.FilePart | Prompt.ToolModelOutputPart>(
  part: Part
): Part | Prompt.TextPart => (part.type === "text" ? Prompt.textPart({ text: stripControls(part.text) }) : part)
