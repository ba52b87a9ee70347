/** Answers as bytes come: server-sent events, line by line, or one document in their place. */
import { parseJson } from "../../../internal/json.ts"
import { malformed, ofErrorObject, isHtml, pageWords, type Problem, quote } from "../../internal/model/problems.ts"
import { isFields } from "../../internal/model/wire.ts"

/** A whole answer where events were asked for. */
export class Document {
  readonly json: unknown
  constructor(json: unknown) {
    this.json = json
  }
}

/** The server's word that its answer is complete: `[DONE]`. */
export const done: unique symbol = Symbol.for("troupe/OpenAi/done")

/** A part of an answer: a parsed event, {@link done}, or a {@link Document}. */
export type Event = unknown

/** Lines of a text that comes in pieces, by any of the three line ends. Each character is looked at once. */
class Lines {
  #unfinished: Array<string> = []
  #afterReturn = false
  readonly #take: (line: string) => void

  constructor(take: (line: string) => void) {
    this.#take = take
  }

  push(piece: string): void {
    let text = piece
    if (this.#afterReturn && text.startsWith("\n")) text = text.slice(1)
    if (text === "") return
    this.#afterReturn = text.endsWith("\r")
    if (text.includes("\r")) text = text.replace(/\r\n?/g, "\n")
    let start = 0
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n", start)) {
      const line = text.slice(start, end)
      start = end + 1
      if (this.#unfinished.length === 0) this.#take(line)
      else {
        this.#unfinished.push(line)
        const whole = this.#unfinished.join("")
        this.#unfinished = []
        this.#take(whole)
      }
    }
    if (start < text.length) this.#unfinished.push(start === 0 ? text : text.slice(start))
  }

  end(): void {
    if (this.#unfinished.length > 0) this.#take(this.#unfinished.join(""))
    this.#unfinished = []
  }
}

/** Reads the text of an event; `undefined` for one that is not JSON. */
type Parse = (data: string) => Event | undefined

/** Server-sent events, parsed as JSON. `[DONE]` ends them; so does one that is not JSON, or is named `error`. */
export class EventReader {
  readonly #lines: Lines
  #data: string | undefined
  #name = ""
  #out: Array<Event> = []
  /** Set when nothing more is read. */
  ended: Problem | "done" | undefined
  /** The last text that was passed over, since it is not part of an answer. */
  odd: string | undefined
  readonly #parse: Parse

  constructor(parse: Parse) {
    this.#parse = parse
    this.#lines = new Lines((line) => this.#line(line))
  }

  push(text: string, out: Array<Event>): void {
    this.#out = out
    this.#lines.push(text)
  }

  /** The last event may have no blank line after it. One that was cut off is not an event. */
  end(out: Array<Event>): void {
    this.#out = out
    this.#lines.end()
    const cut = this.#data !== undefined && !this.#data.startsWith("[DONE]") && parseJson(this.#data) === undefined
    if (!cut) this.#dispatch()
  }

  #line(line: string): void {
    if (this.ended !== undefined) return
    if (line === "") return this.#dispatch()
    if (line.startsWith("data:")) return this.#add(line.slice(line.startsWith(" ", 5) ? 6 : 5))
    const colon = line.indexOf(":")
    const field = colon < 0 ? line : line.slice(0, colon)
    const value = colon < 0 ? "" : line.slice(line.startsWith(" ", colon + 1) ? colon + 2 : colon + 1)
    if (field === "data") this.#add(value)
    else if (field === "event") this.#name = value
    else if (field === "error") {
      // One server has an `error` field of its own.
      this.#name = "error"
      this.#add(value)
    }
  }

  #add(value: string): void {
    this.#data = this.#data === undefined ? value : `${this.#data}\n${value}`
  }

  #dispatch(): void {
    const data = this.#data
    const isError = this.#name === "error"
    this.#data = undefined
    this.#name = ""
    if (data === undefined || this.ended !== undefined) return
    if (data.startsWith("[DONE]")) {
      this.ended = "done"
      this.#out.push(done)
      return
    }
    // Some servers keep a connection alive with events that say nothing.
    if (data.trim() === "" && !isError) return
    if (isError) {
      this.ended = namedError(parseJson(data) ?? data)
      return
    }
    const json = this.#parse(data)
    if (json === undefined) this.#unreadable(data)
    else this.#out.push(json)
  }

  #unreadable(data: string): void {
    const lines = data.split("\n").filter((line) => line.trim() !== "")
    // Some servers leave out the blank lines between their events.
    const events = lines.map((line) => (line.startsWith("[DONE]") ? done : parseJson(line)))
    if (lines.length > 1 && !events.includes(undefined)) {
      for (const event of events) {
        if (this.ended === undefined) this.#out.push(event)
        if (event === done) this.ended = "done"
      }
    } else if (/^\s*[{["]/.test(data)) {
      this.ended = malformed(`the server sent an event that is not JSON: ${quote(data)}`)
    } else {
      this.odd = data
    }
  }
}

/** An event named `error` is an error even if its data does not look like one. */
const namedError = (data: unknown): Problem => {
  const inner = isFields(data) && data["error"] !== undefined && data["error"] !== null ? data["error"] : data
  return ofErrorObject(inner)
}

const eventStart = /^(data|event|id|retry|error)?:/
const documentStart = /^[{[<]/
/** How many characters are needed to distinguish events from a document. */
const startLength = 6

const isOtherType = (contentType: string): boolean => /^\s*(application\/json|text\/html)\b/i.test(contentType)

/** The kind of a body, by its beginning, or else by its content type. `undefined` while more is needed. */
const kindOf = (start: string, contentType: string, isAll: boolean): "events" | "document" | undefined => {
  if (eventStart.test(start)) return "events"
  if (documentStart.test(start)) return "document"
  if (start.length < startLength && !start.includes("\n") && !isAll) return undefined
  return isOtherType(contentType) ? "document" : "events"
}

/** A document that says `[DONE]` at its end is one without it. */
const documentOf = (text: string, contentType: string): Document | Problem => {
  const json = parseJson(text) ?? parseJson(text.replace(/\s*(data:)?\s*\[DONE\]\s*$/, ""))
  if (json !== undefined) return new Document(json)
  if (isHtml(text)) {
    const type = contentType.split(";")[0]?.trim() || "text/html"
    return malformed(`the server answered with a web page (${type}): ${pageWords(text)}`, { isPage: true })
  }
  return malformed(`the server sent something that is not JSON: ${quote(text)}`)
}

/** Reads a body as it comes. */
export class AnswerReader {
  readonly #contentType: string
  readonly #decoder = new TextDecoder()
  readonly #events: EventReader
  #kind: "events" | "document" | undefined
  #held: Array<string> = []
  #problem: Problem | undefined

  /** `parse` reads the text of an event. */
  constructor(contentType: string, parse: Parse = parseJson) {
    this.#contentType = contentType
    this.#events = new EventReader(parse)
  }

  /** Set when nothing more is read. */
  get ended(): Problem | "done" | undefined {
    return this.#problem ?? this.#events.ended
  }

  /** Skipped data that is not part of an answer. */
  get odd(): string | undefined {
    return this.#events.odd
  }

  push(chunk: Uint8Array, out: Array<Event>): void {
    this.#read(this.#decoder.decode(chunk, { stream: true }), out, false)
  }

  /** The same, for what is text already. */
  pushText(text: string, out: Array<Event>): void {
    this.#read(text, out, false)
  }

  end(out: Array<Event>): void {
    this.#read(this.#decoder.decode(), out, true)
    if (this.#kind === "events") return this.#events.end(out)
    const text = this.#held.join("")
    if (text.trim() === "") return
    const document = documentOf(text, this.#contentType)
    if (document instanceof Document) out.push(document)
    else this.#problem = document
  }

  #read(text: string, out: Array<Event>, isAll: boolean): void {
    if (this.#kind === "events") return this.#events.push(text, out)
    if (this.#kind === "document") return void this.#held.push(text)
    // Servers send blank lines while a model thinks.
    const begun = (this.#held.join("") + text).trimStart()
    this.#held = [begun]
    this.#kind = kindOf(begun, this.#contentType, isAll)
    if (this.#kind !== "events") return
    this.#held = []
    this.#events.push(begun, out)
  }
}

/** The events of a whole body, of most one {@link Document}, and what is wrong with the rest of it. */
export const read = (
  body: string,
  contentType: string
): { readonly events: ReadonlyArray<Event>; readonly problem: Problem | undefined } => {
  const reader = new AnswerReader(contentType)
  const events: Array<Event> = []
  reader.pushText(body, events)
  reader.end(events)
  if (reader.ended !== undefined && reader.ended !== "done") return { events, problem: reader.ended }
  if (events.length > 0) return { events, problem: undefined }
  const words =
    reader.odd === undefined ? "the server's answer is empty" : `the server's answer is not JSON: ${quote(reader.odd)}`
  return { events, problem: malformed(words) }
}
