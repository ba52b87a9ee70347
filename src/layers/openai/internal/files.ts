/** Converts files of a prompt to the form of the APIs. */
import * as Prompt from "effect/ai/Prompt"
import * as Base64 from "effect/encoding/Base64"
import * as Predicate from "effect/Predicate"
import { inWords, knownType, locate, textOf } from "../../internal/model/files.ts"

/** A file by where its bytes are. */
export interface FileRef {
  readonly mediaType: string
  readonly name: string
  /** An `https:` or `data:` URL; `undefined` for text that came as bytes. */
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
  const known = knownType(part.mediaType)
  const mediaType = known === "image/*" ? "image/jpeg" : known
  const found = locate(part)
  const text = textOf({ ...found, mediaType })
  const base64 = text === undefined && typeof found.data === "object" ? Base64.encode(found.data) : found.data
  const dataType = found.mediaType === known ? mediaType : found.mediaType
  return {
    mediaType,
    name: part.fileName ?? `file.${(mediaType.split("/")[1] ?? "bin").split("+")[0]}`,
    url: typeof base64 === "string" ? `data:${dataType};base64,${base64}` : found.url,
    base64: typeof base64 === "string" ? base64 : undefined,
    fileId: typeof fileId === "string" ? fileId : undefined,
    text,
    detail: detail === "low" || detail === "high" || detail === "original" ? detail : "auto"
  }
}

/** Audio by the name that the API has for its format. */
export const audioFormat = (mediaType: string): string => {
  const format = (mediaType.split("/")[1] ?? "").replace(/^x-/, "")
  return format === "mpeg" ? "mp3" : format === "wave" || format === "vnd.wave" ? "wav" : format
}

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

/** False also for data that cannot be read. */
const isShown = (part: Prompt.FilePart, api: "chat" | "responses"): boolean => {
  try {
    return isTaken(read(part), api)
  } catch {
    return false
  }
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
    return isShown(output, api) ? output : Prompt.textPart({ text: inWords(output) })
  })
  return { ...part, modelOutput: taken }
}
