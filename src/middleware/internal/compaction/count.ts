/** How many tokens messages have: by a tokenizer, or by their bytes when none is installed. */
import * as Effect from "effect/Effect"
import type * as Prompt from "effect/ai/Prompt"
import { memoize } from "effect/Function"
import { textOfJson, toJson } from "../../../internal/json.ts"
import { isSync } from "../../../services/SyncBridge.ts"

/** Counts the tokens of a text. */
export type Tokenizer = (text: string) => number

/** Counts the tokens of messages, each of which it looks at once. */
export interface Counter {
  readonly text: (text: string) => number
  readonly message: (message: Prompt.Message) => number
  readonly messages: (messages: ReadonlyArray<Prompt.Message>) => number
}

const utf8 = new TextEncoder()

/** Four bytes are one token: about right for English and code, and too many for most other languages. */
const byBytes: Tokenizer = (text) => Math.ceil(utf8.encode(text).length / 4)

/** Tokenizers take time by the square of a text without spaces, so they are given pieces. */
const piece = 256
/** Texts up to here are counted in full, and longer ones by samples. */
const whole = 1024
/** A sample stands for so many characters. */
const perSample = 2048
const maxSamples = 8

/** Counts a text in pieces: a long one by samples, which cost the same however long it is. */
const inPieces =
  (tokenizer: Tokenizer): Tokenizer =>
  (text) => {
    const { length } = text
    if (length <= piece) return tokenizer(text)
    const isWhole = length <= whole
    const size = isWhole ? piece : piece / 2
    const count = isWhole ? Math.ceil(length / piece) : Math.min(maxSamples, Math.ceil(length / perSample))
    let tokens = 0
    let seen = 0
    for (let n = 0; n < count; n++) {
      const from = isWhole ? n * piece : Math.floor(((n + 0.5) * (length - size)) / count)
      const sample = text.slice(from, from + size)
      tokens += tokenizer(sample)
      seen += sample.length
    }
    return Math.ceil((tokens * length) / seen)
  }

/** What an image costs, about: providers count it by its tiles. */
const imageTokens = 1200
/** What a message costs in addition to its content. */
const messageTokens = 4

/** The tool result as a text, as a model is about to see it. */
export const resultText = (part: Prompt.ToolResultPart): string => textOfJson(toJson(part.result))

/** Makes a counter. Without a tokenizer it counts by bytes. */
export const counter = (tokenizer?: Tokenizer): Counter => {
  const text = tokenizer === undefined ? byBytes : inPieces(tokenizer)
  const part = (one: Prompt.Part): number => {
    switch (one.type) {
      case "text":
      case "reasoning":
        return text(one.text)
      case "tool-call":
        return text(one.name) + text(JSON.stringify(toJson(one.params)))
      case "tool-result":
        return text(resultText(one))
      case "file":
        if (one.mediaType.startsWith("image/")) return imageTokens
        return Math.ceil(sizeOf(one.data) / 4)
      default:
        return 0
    }
  }
  const message = memoize(({ content }: Prompt.Message): number => {
    if (typeof content === "string") return messageTokens + text(content)
    return content.reduce<number>((sum, one) => sum + part(one), messageTokens)
  })
  return { text, message, messages: (all) => all.reduce((sum, one) => sum + message(one), 0) }
}

const sizeOf = (data: Prompt.FilePart["data"]): number => (data instanceof URL ? 0 : data.length)

const estimating = counter()
let counting: Counter | undefined
let loading: Promise<Counter | undefined> | undefined

/** Shared, because what it knows of messages is true for every run. */
export const estimate: Counter = estimating

const tokenizer = async (): Promise<Counter | undefined> => {
  // In this form bundlers leave out what is not installed.
  try {
    const { countTokens } = await import("gpt-tokenizer")
    return (counting = counter(countTokens))
  } catch {
    return undefined
  }
}

/**
 * The counter of `gpt-tokenizer`, loaded when it is first asked for; that of bytes where it is not installed, or where
 * `Effect.runSync` cannot wait for it.
 */
export const exact: Effect.Effect<Counter> = Effect.suspend(() => {
  if (counting !== undefined) return Effect.succeed(counting)
  return Effect.flatMap(isSync, (sync) => {
    if (sync) return Effect.succeed(estimating)
    loading ??= tokenizer()
    const loaded = loading
    return Effect.map(
      Effect.promise(() => loaded),
      (one) => one ?? estimating
    )
  })
})
