/** Files of a prompt as the APIs take them. It touches `effect/ai`'s prompts only. */
import type * as Prompt from "effect/ai/Prompt"
import * as Predicate from "effect/Predicate"

/** A file by where its bytes are. */
export interface FileRef {
  readonly mediaType: string
  readonly name: string
  /** An `https:` or `data:` URL; `undefined` for a file known to the provider by id. */
  readonly url: string | undefined
  readonly base64: string | undefined
  readonly fileId: string | undefined
  /** The content of a text file that came as bytes. */
  readonly text: string | undefined
  /** How closely an image is looked at. */
  readonly detail: "auto" | "low" | "high" | "original"
}

const isText = (mediaType: string): boolean =>
  /^(text\/.*|application\/(.*\+)?(json|xml|(x-)?yaml|x-ndjson|javascript))$/.test(mediaType)

/**
 * A media type without its parameters, in one spelling: `IMAGE/PNG` and `application/json; charset=utf-8` are none
 * else.
 */
const typeOf = (text: string): string => (text.split(";")[0] ?? "").trim().toLowerCase()

/** Reads a file part: bytes, base64, a data URL or a link; `options.openai` may hold `fileId` and `imageDetail`. */
export const read = (part: Prompt.FilePart): FileRef => {
  const own: unknown = part.options["openai"]
  const option = (key: string): unknown => (Predicate.hasProperty(own, key) ? own[key] : undefined)
  const fileId = option("fileId")
  const detail = option("imageDetail")
  const given = typeOf(part.mediaType)
  const mediaType = given === "image/*" ? "image/jpeg" : given
  const { url, base64 } = locate(part.data, mediaType)
  return {
    mediaType,
    name: part.fileName ?? `file.${(mediaType.split("/")[1] ?? "bin").split("+")[0]}`,
    url,
    base64,
    fileId: typeof fileId === "string" ? fileId : undefined,
    text: isText(mediaType) && base64 !== undefined ? Buffer.from(base64, "base64").toString("utf8") : undefined,
    detail: detail === "low" || detail === "high" || detail === "original" ? detail : "auto"
  }
}

/** Audio by the name that the API has for its format. */
export const audioFormat = (mediaType: string): string => {
  const format = (mediaType.split("/")[1] ?? "").replace(/^x-/, "")
  return format === "mpeg" ? "mp3" : format === "wave" || format === "vnd.wave" ? "wav" : format
}

const locate = (
  data: Prompt.FilePart["data"],
  mediaType: string
): { readonly url: string | undefined; readonly base64: string | undefined } => {
  if (data instanceof Uint8Array) {
    return inline(Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("base64"), mediaType)
  }
  const text = data instanceof URL ? data.href : data
  if (/^https?:\/\//i.test(text)) return { url: text, base64: undefined }
  const match = /^data:([^,]*),(.*)$/s.exec(text)
  if (match === null) return inline(text, mediaType)
  const [, head = "", body = ""] = match
  return /;base64$/i.test(head)
    ? inline(body, typeOf(head) || mediaType)
    : inline(Buffer.from(decodeURIComponent(body)).toString("base64"), mediaType)
}

/** Base64 often comes in lines, which no server takes. */
const inline = (text: string, mediaType: string) => {
  const base64 = text.replace(/\s+/g, "")
  return { url: `data:${mediaType};base64,${base64}`, base64 }
}
