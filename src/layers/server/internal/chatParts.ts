/** Pieces of users' messages: texts, and files that are in the message or at an address of the web. */
import * as Effect from "effect/Effect"
import type * as Prompt from "effect/ai/Prompt"
import { type Problem, refuse } from "./problem.ts"

/** A piece of a user's message. */
export type UserPart = Prompt.UserMessagePartEncoded

/** The texts of a message; `undefined` where it has anything else. */
export const textsOf = (parts: ReadonlyArray<UserPart>): string | undefined => {
  const texts = parts.map((part) => (part.type === "text" ? part.text : undefined))
  return texts.every((text) => text !== undefined) ? texts.join("\n") : undefined
}

/** A piece. Fails where there is none that is taken: `at` names its place to the client. */
export const taken = (
  part: UserPart | undefined,
  at: string,
  detail = "A message of a user has texts, and files at a data: or an https: address."
): Effect.Effect<UserPart, Problem> =>
  part === undefined ? refuse(400, detail, { part: at, kind: "shape" }) : Effect.succeed(part)

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
