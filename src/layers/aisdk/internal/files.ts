/** Converts files of a prompt to the form of the AI SDK. */
import type { LanguageModelV4FilePart, LanguageModelV4TextPart, SharedV4FileData } from "@ai-sdk/provider"
import type * as Prompt from "effect/ai/Prompt"
import * as Files from "../../internal/model/files.ts"
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

/** As the AI SDK has it: bytes or an address. */
const located = (part: Prompt.FilePart) => {
  const found = Files.locate(part)
  const data: SharedV4FileData =
    found.url === undefined
      ? { type: "data", data: found.data }
      : { type: "url", url: new URL(found.url), originalUrl: found.url }
  return { mediaType: found.mediaType, data, found }
}

const takesUrl = (url: string, mediaType: string, urls: FileTarget["urls"]): boolean =>
  Object.entries(urls).some(
    ([type, patterns]) =>
      (type === "*" ||
        type === "*/*" ||
        type === mediaType ||
        (type.endsWith("/*") && mediaType.startsWith(type.slice(0, -1)))) &&
      patterns.some((pattern) => new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, "")).test(url))
  )

/** The id under which the provider knows the file, if the program gave one. */
const fileIdOf = (options: Prompt.ProviderOptions, key: string): string | undefined => {
  const own: unknown = options[key]
  const id = isFields(own) ? own["fileId"] : undefined
  return typeof id === "string" ? id : undefined
}

/** A file of a user's message. Throws `Unsupported` for an address that the model does not read. */
export const ofUser = (part: Prompt.FilePart, to: FileTarget): LanguageModelV4FilePart | LanguageModelV4TextPart => {
  const { data, found, mediaType } = located(part)
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
  const text = own.providerOptions === undefined ? Files.textOf(found) : undefined
  if (text !== undefined) return { type: "text", text: `${part.fileName ?? "file"}:\n${text}` }
  return { type: "file", mediaType, data, ...named, ...own }
}

const shown = new Set(["image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf"])

/** A file in a model's answer or a tool's result; `undefined` for one that no model can be shown. */
export const ofAnswer = (part: Prompt.FilePart): LanguageModelV4FilePart | undefined => {
  const { data, found, mediaType } = located(part)
  if (!shown.has(mediaType) || data.type !== "data" || Files.bytesOf(found) === undefined) return undefined
  return { type: "file", mediaType, data }
}
