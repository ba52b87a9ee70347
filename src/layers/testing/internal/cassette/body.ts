/** Bodies as the file holds them, made of bytes and made into bytes. */
import type * as Schema from "effect/Schema"
import type { RequestBody, ResponseBody } from "./format.ts"
import type { Scrubber } from "./scrub.ts"

/** The body of a request, scrubbed; `undefined` for none. */
export const ofRequest = (body: string | Uint8Array | undefined, scrubber: Scrubber): RequestBody | undefined => {
  if (body === undefined || body.length === 0) return undefined
  const text = typeof body === "string" ? body : decode([body])?.join("")
  if (text === undefined) return { base64: base64Of(latin1((body as Uint8Array).slice()), scrubber) }
  return ofText(scrubber.text(text), scrubber)
}

/** JSON as such, and any other text as it is. What was escaped in JSON is scrubbed once more when it is not. */
const ofText = (safe: string, scrubber: Scrubber): { readonly json: Schema.Json } | { readonly text: string } => {
  const json = jsonOf(safe)
  if (json === undefined) return { text: safe }
  const written = JSON.stringify(json.value)
  const again = scrubber.bare(written)
  return again === written ? { json: json.value } : ofText(again, scrubber)
}

/** The body of a response from its chunks, scrubbed; `undefined` for none. */
export const ofResponse = (
  chunks: ReadonlyArray<Uint8Array>,
  contentType: string | undefined,
  scrubber: Scrubber
): ResponseBody | undefined => {
  if (chunks.every((chunk) => chunk.length === 0)) return undefined
  const texts = decode(chunks)
  if (texts === undefined) {
    const all = chunks.map(latin1)
    return { base64: rechunk(all, [all.join("")], [scrubber.bare(all.join(""))]).map((text) => toBase64(text)) }
  }
  const whole = texts.join("")
  const isStream = /event-stream|ndjson|jsonl|json-seq/.test(contentType ?? "")
  if (!isStream) {
    const kept = ofText(scrubber.text(whole), scrubber)
    return "json" in kept ? kept : { chunks: pieces(rechunk(texts, [whole], [kept.text])) }
  }
  const lines = whole.split(/(?<=\n)/)
  return { chunks: pieces(rechunk(texts, lines, scrubber.lines(lines))) }
}

/** The chunks that a body is sent in. */
export const chunksOf = (body: ResponseBody | undefined): ReadonlyArray<Uint8Array> => {
  if (body === undefined) return []
  if ("base64" in body) return body.base64.map((text) => new Uint8Array(Buffer.from(text, "base64")))
  const texts = "json" in body ? [JSON.stringify(body.json)] : body.chunks.map((some) => some.join(""))
  return texts.map((text) => new TextEncoder().encode(text))
}

/**
 * The texts of chunks; a character that two chunks share goes to the later one, and one that was cut off at the end is
 * left out. `undefined` when the bytes are not UTF-8.
 */
const decode = (chunks: ReadonlyArray<Uint8Array>): Array<string> | undefined => {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
  try {
    return chunks.map((chunk) => decoder.decode(chunk, { stream: true }))
  } catch {
    return undefined
  }
}

/** Bytes decoded as UTF-8. */
export const textOf = (chunks: ReadonlyArray<Uint8Array>): string => Buffer.concat(chunks).toString()

const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1")
const toBase64 = (text: string): string => Buffer.from(text, "latin1").toString("base64")
const base64Of = (text: string, scrubber: Scrubber): string => toBase64(scrubber.bare(text))

/** The value of a JSON text that loses nothing but its layout when it is read and written again. */
const jsonOf = (text: string): { readonly value: Schema.Json } | undefined => {
  let value: Schema.Json
  try {
    value = JSON.parse(text) as Schema.Json
  } catch {
    return undefined
  }
  const bare = text.replace(/"(?:[^"\\]|\\.)*"/g, "")
  const loses = bare.match(/-?\d[\d.eE+-]*/g)?.some((number) => {
    return (
      Object.is(Number(number), -0) ||
      !Number.isFinite(Number(number)) ||
      (/^-?\d{16,}$/.test(number) && String(Number(number)) !== number)
    )
  })
  return loses === true ? undefined : { value }
}

/**
 * The chunks of a text whose `units` have become `safe`. Where a unit is as it was, the chunks end where they ended; an
 * end inside of a changed one moves to the end of it.
 */
const rechunk = (
  chunks: ReadonlyArray<string>,
  units: ReadonlyArray<string>,
  safe: ReadonlyArray<string>
): ReadonlyArray<string> => {
  const ends: Array<number> = []
  for (const chunk of chunks) ends.push((ends.at(-1) ?? 0) + chunk.length)
  const made: Array<string> = [""]
  const add = (text: string) => {
    made[made.length - 1] += text
  }
  let at = 0
  let next = 0
  units.forEach((unit, index) => {
    const end = at + unit.length
    const same = safe[index] === unit
    const before = next
    let from = at
    for (; next < ends.length && ends[next]! <= end; next++) {
      if (!same) continue
      add(unit.slice(from - at, ends[next]! - at))
      from = ends[next]!
      made.push("")
    }
    add(same ? unit.slice(from - at) : safe[index]!)
    if (!same && next > before) made.push("")
    at = end
  })
  return made.filter((text) => text !== "")
}

/** Each chunk in pieces that a diff shows separately: the events of a stream. */
const pieces = (chunks: ReadonlyArray<string>): ReadonlyArray<ReadonlyArray<string>> =>
  chunks.map((chunk) => chunk.split(/(?<=\n\n)/))
