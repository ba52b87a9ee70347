/** Converts files of a prompt to the form of the APIs. */
import * as Prompt from "effect/ai/Prompt"
import * as Base64 from "effect/encoding/Base64"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import { isText, knownSpelling, typeOf } from "../../internal/model/mediaType.ts"

/** A file by where its bytes are. */
export interface FileRef {
  readonly mediaType: string
  readonly name: string
  /** An `https:` or `data:` URL; `undefined` for a file known to the provider by id, and for text that came as bytes. */
  readonly url: string | undefined
  readonly base64: string | undefined
  readonly fileId: string | undefined
  /** The content of a text file that did not come by its address. */
  readonly text: string | undefined
  /** How closely an image is looked at. */
  readonly detail: "auto" | "low" | "high" | "original"
}

/** Reads a file part: bytes, base64, a data URL or a link; `options.openai` may hold `fileId` and `imageDetail`. */
export const read = (part: Prompt.FilePart): FileRef => {
  const own: unknown = part.options["openai"]
  const option = (key: string): unknown => (Predicate.hasProperty(own, key) ? own[key] : undefined)
  const fileId = option("fileId")
  const detail = option("imageDetail")
  const given = typeOf(part.mediaType)
  const mediaType = given === "image/*" ? "image/jpeg" : given
  const { url, base64, text } = locate(part.data, mediaType)
  return {
    mediaType,
    name: part.fileName ?? `file.${(mediaType.split("/")[1] ?? "bin").split("+")[0]}`,
    url,
    base64,
    fileId: typeof fileId === "string" ? fileId : undefined,
    text: text ?? (isText(mediaType) && base64 !== undefined ? textOf(base64) : undefined),
    detail: detail === "low" || detail === "high" || detail === "original" ? detail : "auto"
  }
}

/** Audio by the name that the API has for its format. */
export const audioFormat = (mediaType: string): string => {
  const format = (mediaType.split("/")[1] ?? "").replace(/^x-/, "")
  return format === "mpeg" ? "mp3" : format === "wave" || format === "vnd.wave" ? "wav" : format
}

type Located = Pick<FileRef, "url" | "base64"> & { readonly text?: string }

const locate = (data: Prompt.FilePart["data"], mediaType: string): Located => {
  if (data instanceof Uint8Array) {
    // Text is sent as text: encoding it would be for nothing.
    if (isText(mediaType)) return { url: undefined, base64: undefined, text: new TextDecoder().decode(data) }
    return ofBase64(Base64.encode(data), mediaType)
  }
  const text = data instanceof URL ? data.href : data
  if (/^https?:\/\//i.test(text)) return { url: text, base64: undefined }
  const match = /^data:([^,]*),(.*)$/s.exec(text)
  if (match === null) return inline(text, mediaType)
  const [, head = "", body = ""] = match
  return /;base64$/i.test(head)
    ? inline(body, typeOf(head) || mediaType)
    : inline(Base64.encode(decodeURIComponent(body)), mediaType)
}

const textOf = (base64: string): string | undefined =>
  Result.getOrUndefined(Result.map(Base64.decode(base64), (bytes) => new TextDecoder().decode(bytes)))

/** Base64 often comes in lines, which no server takes. */
const inline = (text: string, mediaType: string): Located => ofBase64(text.replace(/\s+/g, ""), mediaType)

const ofBase64 = (base64: string, mediaType: string): Located => ({
  url: `data:${mediaType};base64,${base64}`,
  base64
})

// -- files of tool results --------------------------------------------------------------------------------------------

const images = new Set(["image/png", "image/jpeg", "image/gif", "image/webp"])

/** The documents that the Responses API reads; Chat Completions reads PDF only. */
const documents = new Set([
  "application/pdf",
  "application/msword",
  "application/rtf",
  "application/vnd.ms-excel",
  "application/vnd.ms-powerpoint",
  "application/vnd.oasis.opendocument.text",
  "application/vnd.openxmlformats-officedocument.presentationml.presentation",
  "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
  "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
])

const isBase64 = (text: string): boolean => /^[A-Za-z0-9+/]+={0,2}$/.test(text) && text.length % 4 !== 1

const isTaken = (file: FileRef, api: "chat" | "responses"): boolean => {
  if (file.fileId !== undefined) return true
  if (file.base64 !== undefined && !isBase64(file.base64)) return false
  if (images.has(file.mediaType) || file.text !== undefined) return true
  if (api === "responses") return documents.has(file.mediaType)
  const isAudio = /^audio\/(x-)?(wav|wave|vnd\.wave|mp3|mpeg)$/.test(file.mediaType)
  return file.base64 !== undefined && (isAudio || file.mediaType === "application/pdf")
}

const description = (part: Prompt.FilePart, file: FileRef): string => {
  const bytes = file.base64 === undefined ? undefined : Math.floor((file.base64.replace(/=+$/, "").length * 3) / 4)
  const where = bytes === undefined ? ` at ${file.url}` : `, ${bytes} bytes`
  const name = part.fileName === undefined ? "" : ` ${JSON.stringify(part.fileName)}`
  return `[file${name}: ${file.mediaType}${where}; it cannot be shown here]`
}

/**
 * A tool's result with a description in place of each file that the API does not take: a tool, unlike a prompt, is not the
 * program's to correct, and a refused request would end the run.
 */
export const ofResult = (part: Prompt.ToolResultPart, api: "chat" | "responses"): Prompt.ToolResultPart => {
  const { modelOutput } = part
  if (modelOutput?.some(({ type }) => type === "file") !== true) return part
  const taken = modelOutput.map((output) => {
    if (output.type === "text") return output
    const mediaType = typeOf(output.mediaType)
    const known = knownSpelling(mediaType)
    const named = known === mediaType ? output : { ...output, mediaType: known }
    try {
      const file = read(named)
      return isTaken(file, api) ? named : Prompt.textPart({ text: description(output, file) })
    } catch {
      return Prompt.textPart({ text: `[file: ${mediaType}; its data cannot be read]` })
    }
  })
  return { ...part, modelOutput: taken }
}
