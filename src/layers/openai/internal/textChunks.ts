/**
 * The chunks of a stream that differ from the one before only in the text of their delta, as most of a stream do that is not
 * OpenAI's own. Their text is taken out of them without parsing the rest again, which is half of what reading a token costs.
 */
import { parseJson } from "../../../internal/json.ts"
import { errorIn } from "../../internal/model/problems.ts"
import { isFields, list } from "../../internal/model/wire.ts"

/** A chunk that is the one before it with another text. */
export class TextChunk {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

/** After so many chunks in a row that differ in more than their text, no more are compared. */
const maxMisses = 8

/** Parses the chunks of one stream, in order. */
export class ChunkParser {
  /** What stands before and after the text of the last chunk; `undefined` for one that has more than a text. */
  #frame: { readonly before: string; readonly after: string } | undefined
  #misses = 0

  /** The chunk; `undefined` for a text that is not JSON. */
  parse(data: string): unknown {
    const text = this.#frame === undefined ? undefined : textIn(data, this.#frame)
    if (text !== undefined) {
      this.#misses = 0
      return new TextChunk(text)
    }
    const chunk = parseJson(data)
    this.#frame = this.#misses++ < maxMisses && isTextOnly(chunk) ? frameOf(data) : undefined
    return chunk
  }
}

/** What would end a text in JSON, or stands for another character. */
const special = /["\\\p{Cc}]/u

/** A text without special characters is between its quotes what it is in the chunk. */
const textIn = (
  data: string,
  { after, before }: { readonly before: string; readonly after: string }
): string | undefined => {
  if (data.length < before.length + after.length || !data.startsWith(before) || !data.endsWith(after)) return undefined
  const text = data.slice(before.length, data.length - after.length)
  return special.test(text) ? undefined : text
}

/** Whether the same chunk, read again, would add its text and change nothing else. */
const isTextOnly = (chunk: unknown): boolean => {
  if (!isFields(chunk) || errorIn(chunk) !== undefined) return false
  const choices = list(chunk, "choices")
  const [choice] = choices
  if (choices.length !== 1 || !isFields(choice) || errorIn(choice) !== undefined) return false
  const { delta, finish_reason: reason, index } = choice
  if ((reason ?? null) !== null || (index ?? 0) !== 0) return false
  if (!isFields(delta) || typeof delta["content"] !== "string") return false
  for (const key in delta) if (key !== "content" && key !== "role" && delta[key] !== null) return false
  return true
}

const key = '"content"'
const value = /^"content"\s*:\s*"[^"\\\p{Cc}]*"/u

/** Where the only `content` of a chunk is. */
const frameOf = (data: string): { readonly before: string; readonly after: string } | undefined => {
  const at = data.indexOf(key)
  if (at < 0 || data.lastIndexOf(key) !== at) return undefined
  const found = value.exec(data.slice(at))?.[0]
  if (found === undefined) return undefined
  const start = at + found.indexOf('"', key.length) + 1
  return { before: data.slice(0, start), after: data.slice(at + found.length - 1) }
}
