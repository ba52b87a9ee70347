/** What middleware notes on answers: it is kept in the messages of a transcript, where later steps and runs find it. */
import type * as Prompt from "effect/ai/Prompt"
import * as Predicate from "effect/Predicate"

/** The key of our own options of a message. */
export const key = "troupe"

/** What is noted on a message under a name; `undefined` where nothing is. It is as untrusted as the message. */
export const noteOf = (message: Prompt.Message, name: string): unknown => {
  const own = (message.options as Readonly<Record<string, unknown>>)[key]
  return Predicate.isObject(own) ? (own as Readonly<Record<string, unknown>>)[name] : undefined
}
