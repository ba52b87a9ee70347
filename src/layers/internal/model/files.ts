/** Files of a prompt: their types, where their bytes are, and what is said of those that a model cannot be shown. */
import * as Base64 from "effect/encoding/Base64"
import type * as Prompt from "effect/ai/Prompt"
import * as Result from "effect/Result"

/**
 * A media type in lower case, without its parameters: `IMAGE/PNG` is `image/png`, and `application/json; charset=utf-8`
 * is `application/json`.
 */
export const typeOf = (text: string): string => (text.split(";")[0] ?? "").trim().toLowerCase()

/** Other spellings of a media type that the APIs know by one. */
const spellings: Readonly<Record<string, string>> = {
  "image/jpg": "image/jpeg",
  "image/pjpeg": "image/jpeg",
  "image/x-png": "image/png"
}

/** {@link typeOf}, in the spelling that the APIs know. */
export const knownType = (text: string): string => {
  const type = typeOf(text)
  return Object.hasOwn(spellings, type) ? spellings[type]! : type
}

/** True for the content of files that is text. */
export const isText = (mediaType: string): boolean =>
  /^(text\/.*|application\/(.*\+)?(json|xml|(x-)?yaml|x-ndjson|javascript))$/.test(mediaType)

/** A file by its bytes, which may be in base64, or by its address. */
export type Located = { readonly mediaType: string } & (
  | { readonly data: string | Uint8Array; readonly url?: undefined }
  | { readonly data?: undefined; readonly url: string }
)

/** Reads bytes, base64, a `data:` URL or an address. Throws for a `data:` URL that is not encoded as one. */
export const locate = ({ data: given, mediaType: type }: Prompt.FilePart): Located => {
  const mediaType = knownType(type)
  if (given instanceof Uint8Array) return { mediaType, data: given }
  const text = given instanceof URL ? given.href : given
  const match = /^data:([^,]*),(.*)$/s.exec(text)
  if (match !== null) {
    const [, head = "", body = ""] = match
    const data = /;base64$/i.test(head) ? inOneLine(body) : new TextEncoder().encode(decodeURIComponent(body))
    return { mediaType: knownType(head) || mediaType, data }
  }
  return /^[a-z][a-z0-9+.-]+:\/\//i.test(text) && URL.canParse(text)
    ? { mediaType, url: text }
    : { mediaType, data: inOneLine(text) }
}

/** Base64 often comes in lines, which no server takes. */
const inOneLine = (base64: string): string => base64.replace(/\s+/g, "")

/** Base64 of a file that a model gives, which may be in lines, without its end or in a `data:` URL; `undefined` for what is not base64. */
export const answeredBase64 = (given: string): string | undefined => {
  const text = inOneLine(given.replace(/^data:[^,]*;base64,/i, ""))
  const padded = text.padEnd(Math.ceil(text.length / 4) * 4, "=")
  return padded !== "" && Result.isSuccess(Base64.decode(padded)) ? padded : undefined
}

/** The bytes of a file; `undefined` for an address, and for what is not base64. */
export const bytesOf = ({ data }: Located): Uint8Array | undefined =>
  typeof data === "string" ? Result.getOrUndefined(Base64.decode(data)) : data

/** The content of a file that is text; `undefined` for any other. */
export const textOf = (found: Located): string | undefined => {
  const bytes = isText(found.mediaType) ? bytesOf(found) : undefined
  return bytes === undefined ? undefined : new TextDecoder().decode(bytes)
}

/** A file in words, for where it cannot be shown: its text, or else what is known of it. Never throws. */
export const inWords = (part: Prompt.FilePart): string => {
  try {
    return described(part, locate(part))
  } catch {
    return `[file: ${knownType(part.mediaType)}; its data cannot be read]`
  }
}

const described = ({ fileName }: Prompt.FilePart, found: Located): string => {
  const text = textOf(found)
  if (text !== undefined) return `${fileName ?? "file"}:\n${text}`
  const bytes = bytesOf(found)
  const name = fileName === undefined ? "" : ` ${JSON.stringify(fileName)}`
  const where = found.url === undefined ? (bytes === undefined ? "" : `, ${bytes.length} bytes`) : ` at ${found.url}`
  return `[file${name}: ${found.mediaType}${where}; it cannot be shown here]`
}
