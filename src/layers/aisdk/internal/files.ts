/** Converts files of a prompt to the form of the AI SDK. */
import type { LanguageModelV4FilePart, LanguageModelV4TextPart, SharedV4FileData } from "@ai-sdk/provider"
import * as Base64 from "effect/encoding/Base64"
import type * as Prompt from "effect/ai/Prompt"
import * as Result from "effect/Result"
import { isText, knownSpelling, typeOf } from "../../internal/model/mediaType.ts"
import { isFields } from "../../internal/model/wire.ts"
import { Unsupported } from "../../internal/model/problems.ts"
import { back } from "./tags.ts"

/** Where files go. */
export interface FileTarget {
  readonly provider: string
  readonly key: string
  /** The addresses that the model reads itself, by media type. */
  readonly urls: Readonly<Record<string, ReadonlyArray<RegExp>>>
}

const mediaTypeOf = (given: string): string => knownSpelling(typeOf(given))

interface Located {
  readonly mediaType: string
  readonly data: SharedV4FileData
}

/** Bytes, base64, a `data:` URL or a link. */
const locate = (given: Prompt.FilePart["data"], mediaType: string): Located => {
  if (given instanceof Uint8Array) return { mediaType, data: { type: "data", data: given } }
  const text = given instanceof URL ? given.href : given
  const match = /^data:([^,]*),(.*)$/s.exec(text)
  if (match !== null) {
    const [, head = "", body = ""] = match
    const data = /;base64$/i.test(head) ? plain(body) : new TextEncoder().encode(decodeURIComponent(body))
    return { mediaType: mediaTypeOf(head.replace(/;base64$/i, "")) || mediaType, data: { type: "data", data } }
  }
  if (/^[a-z][a-z0-9+.-]+:\/\//i.test(text) && URL.canParse(text)) {
    return { mediaType, data: { type: "url", url: new URL(text), originalUrl: text } }
  }
  return { mediaType, data: { type: "data", data: plain(text) } }
}

/** Base64 often comes in lines, which no server takes. */
const plain = (base64: string): string => base64.replace(/\s+/g, "")

const takesUrl = (url: string, mediaType: string, urls: FileTarget["urls"]): boolean =>
  Object.entries(urls).some(
    ([type, patterns]) =>
      (type === "*" ||
        type === "*/*" ||
        type === mediaType ||
        (type.endsWith("/*") && mediaType.startsWith(type.slice(0, -1)))) &&
      patterns.some((pattern) => new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, "")).test(url))
  )

const bytesOf = (data: string | Uint8Array): Uint8Array | undefined =>
  typeof data === "string" ? Result.getOrUndefined(Base64.decode(data)) : data

/** The id under which the provider knows the file, if the program gave one. */
const fileIdOf = (options: Prompt.ProviderOptions, key: string): string | undefined => {
  const own: unknown = options[key]
  const id = isFields(own) ? own["fileId"] : undefined
  return typeof id === "string" ? id : undefined
}

/** A file of a user's message. Throws `Unsupported` for an address that the model does not read. */
export const ofUser = (part: Prompt.FilePart, to: FileTarget): LanguageModelV4FilePart | LanguageModelV4TextPart => {
  const { data, mediaType } = locate(part.data, mediaTypeOf(part.mediaType))
  const own = back(part.options, to.provider, false)
  const named = part.fileName === undefined ? {} : { filename: part.fileName }
  const fileId = fileIdOf(part.options, to.key)
  if (fileId !== undefined) {
    return { type: "file", mediaType, data: { type: "reference", reference: { [to.key]: fileId } }, ...named, ...own }
  }
  if (data.type === "url" && !takesUrl(data.url.href, mediaType, to.urls)) {
    throw new Unsupported(
      `${to.provider} does not read ${mediaType} from ${data.url.protocol}//${data.url.host}: give the file's bytes as \`data\``
    )
  }
  // Few APIs take a text as a file. One that has options of its own, such as citations, is meant to be one.
  if (data.type === "data" && isText(mediaType) && own.providerOptions === undefined) {
    const bytes = bytesOf(data.data)
    if (bytes !== undefined) {
      return { type: "text", text: `${part.fileName ?? "file"}:\n${new TextDecoder().decode(bytes)}` }
    }
  }
  return { type: "file", mediaType, data, ...named, ...own }
}

const shown = new Set(["image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf"])

/** A file in a model's answer or a tool's result; `undefined` for one that no model can be shown. */
export const ofAnswer = (part: Prompt.FilePart): LanguageModelV4FilePart | undefined => {
  const { data, mediaType } = locate(part.data, mediaTypeOf(part.mediaType))
  if (!shown.has(mediaType) || data.type !== "data" || bytesOf(data.data) === undefined) return undefined
  return { type: "file", mediaType, data }
}

/** A file in words, for where it cannot be shown. */
export const inWords = (part: Prompt.FilePart): string => {
  const { data, mediaType } = locate(part.data, mediaTypeOf(part.mediaType))
  const bytes = data.type === "data" ? bytesOf(data.data) : undefined
  if (bytes !== undefined && isText(mediaType)) return `${part.fileName ?? "file"}:\n${new TextDecoder().decode(bytes)}`
  const name = part.fileName === undefined ? "" : ` ${JSON.stringify(part.fileName)}`
  const where = data.type === "url" ? ` at ${data.url.href}` : bytes === undefined ? "" : `, ${bytes.byteLength} bytes`
  return `[file${name}: ${mediaType}${where}; it cannot be shown here]`
}
