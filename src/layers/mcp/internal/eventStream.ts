/**
 * Streams of events, as the SDK's HTTP transport can use them: bounded, with sound messages, and with an answer for the
 * request that they belong to. The SDK itself lets a call wait without an end when its stream ends without the answer, and
 * leaves the stream of a cancelled call open.
 */
import { parsed, textOf } from "./fields.ts"
import type { Incoming } from "./incoming.ts"

type Id = string | number

/** What events are read by. */
export interface EventParts {
  readonly incoming: Incoming
  /** How many characters an event may have; a longer one is an error. */
  readonly maxChars: number
  /** Gets the id of each question of the server. */
  readonly asked: (question: Id) => void
}

/** A stream of sound events. */
export interface EventStream {
  readonly body: ReadableStream<Uint8Array>
  /** Ends it, as its call has been cancelled. */
  readonly leave: () => void
}

/** Splits text that comes in pieces into whole lines. */
const lineSplitter = () => {
  let begun: Array<string> = []
  let length = 0
  return {
    /** How many characters the line has that has begun. */
    length: () => length,
    read: (piece: string): ReadonlyArray<string> => {
      begun.push(piece)
      length += piece.length
      if (!/[\r\n]/.test(piece)) return []
      const text = begun.join("")
      // A line break of two characters may be split.
      const held = text.endsWith("\r") ? "\r" : ""
      const lines = (held === "" ? text : text.slice(0, -1)).split(/\r\n|\n|\r/)
      begun = [(lines.pop() ?? "") + held]
      length = begun[0]!.length
      return lines
    }
  }
}

/** An event's data, with a sound message in place of an odd one. */
const soundData = (text: string, { asked, incoming }: EventParts): ReadonlyArray<string> => {
  const whole = parsed(text)
  const messages = whole === undefined ? incoming.unreadable(text) : incoming.messages(whole)
  for (const message of messages) if ("method" in message && "id" in message) asked(message.id)
  return messages.map((message) => (message === whole ? text : textOf(message, text)))
}

/** Reads chunks of events; each gives the events that it completes. Throws when one is too long. */
const eventReader = (parts: EventParts) => {
  const decoder = new TextDecoder()
  const lines = lineSplitter()
  let data: Array<string> = []
  let size = 0
  let kind = "message"
  let isResumable = false
  const end = (): string => {
    const text = data.join("\n")
    const said = kind === "message" && text !== "" ? soundData(text, parts) : [text]
    data = []
    size = 0
    kind = "message"
    return said.map((one) => `${one.replace(/^/gm, "data: ")}\n\n`).join("") || "\n"
  }
  const readLine = (line: string): string => {
    if (line === "") return data.length === 0 ? "\n" : end()
    const [, field, value = ""] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? []
    if (field === "event") kind = value === "" ? "message" : value
    if (field === "id") isResumable = true
    if (field !== "data") return `${line}\n`
    data.push(value)
    size += value.length
    return ""
  }
  return {
    /** Whether the events have ids: the SDK asks for the rest of such a stream itself. */
    isResumable: () => isResumable,
    read: (chunk: Uint8Array): string => {
      const sound = lines
        .read(decoder.decode(chunk, { stream: true }))
        .map(readLine)
        .join("")
      if (size + lines.length() <= parts.maxChars) return sound
      const message = `the server sent a message of more than ${parts.maxChars} bytes`
      throw Object.assign(new Error(message), { code: "TOO_LARGE" })
    }
  }
}

/** A call that has its answer already is not disturbed by a second one. */
const lost = { error: { code: -32000, message: "the connection was lost before the answer came" } }

/** The answer that a request gets when its stream fails; `undefined` where the SDK goes on by itself. */
const answerFor = (error: unknown, isResumable: boolean): object | undefined => {
  const { code, message } = error as NodeJS.ErrnoException
  if (code === "TOO_LARGE") return { error: { code: -32000, message } }
  return isResumable ? undefined : lost
}

/** Makes a stream sound. `id` is the request that it answers; without one, it ends and fails as it is. */
export const eventStream = (
  body: ReadableStream<Uint8Array>,
  parts: EventParts,
  id: Id | undefined,
  onEnd: () => void
): EventStream => {
  const reader = body.getReader()
  const encoder = new TextEncoder()
  const { isResumable, read } = eventReader(parts)
  let isOver = false
  let leave = () => {}
  const over = () => {
    isOver = true
    onEnd()
  }
  const end = (controller: ReadableStreamDefaultController<Uint8Array>, answer: object | undefined) => {
    if (isOver) return
    over()
    if (id !== undefined && answer !== undefined) {
      const event = `\n\ndata: ${JSON.stringify({ jsonrpc: "2.0", id, ...answer })}\n\n`
      controller.enqueue(encoder.encode(event))
    }
    controller.close()
  }
  const pull = async (controller: ReadableStreamDefaultController<Uint8Array>) => {
    try {
      // A chunk may complete no event.
      for (let sound = ""; sound === "";) {
        const { done, value } = await reader.read()
        if (isOver) return
        if (done) return end(controller, isResumable() ? undefined : lost)
        sound = read(value)
        if (sound !== "") controller.enqueue(encoder.encode(sound))
      }
    } catch (error) {
      const answer = id === undefined ? undefined : answerFor(error, isResumable())
      void reader.cancel().catch(() => {})
      if (answer !== undefined) return end(controller, answer)
      over()
      controller.error(error)
    }
  }
  const start = (controller: ReadableStreamDefaultController<Uint8Array>) => {
    leave = () => {
      // A result keeps the SDK from resuming the stream of a call that has been given up.
      end(controller, { result: {} })
      void reader.cancel().catch(() => {})
    }
  }
  const cancel = (reason: unknown) => {
    over()
    return reader.cancel(reason)
  }
  return { body: new ReadableStream<Uint8Array>({ start, pull, cancel }), leave: () => leave() }
}
