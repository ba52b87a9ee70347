/** Pieces of users' messages: texts, and files that are in the message or at an address of the web. */
import type * as Prompt from "effect/ai/Prompt"

/** A piece of a user's message. */
export type UserPart = Prompt.UserMessagePartEncoded

/** The texts of a message; `undefined` where it has anything else. */
export const textsOf = (parts: ReadonlyArray<UserPart>): string | undefined => {
  const texts = parts.map((part) => (part.type === "text" ? part.text : undefined))
  return texts.every((text) => text !== undefined) ? texts.join("\n") : undefined
}

/** A text. */
export const text = (value: string): UserPart => ({ type: "text", text: value })

/** A file, by its `data:` or `https:` address; `undefined` for any other address. */
export const file = (url: string, mediaType?: string, fileName?: string): UserPart | undefined => {
  const named = fileName === undefined ? {} : { fileName }
  const inline = /^data:([\w.+-]+\/[\w.+-]+)(?:;[\w=-]+)*;base64,([A-Za-z0-9+/=_-]*)$/.exec(url)
  if (inline !== null) return { type: "file", mediaType: inline[1]!, data: inline[2]!, ...named }
  if (!/^https:\/\//i.test(url) || !URL.canParse(url)) return undefined
  return { type: "file", mediaType: mediaType ?? "image/*", data: new URL(url), ...named }
}
