/** `fetch` for the SDK's transports and its OAuth client, with answers in the form that they read: see `incoming.ts`. */
import type { Incoming } from "./incoming.ts"

/** What the answers are read by. */
export interface SoundParts {
  readonly incoming: Incoming
  /** Reads a document about authorization, by the address that it came from. */
  readonly metadata: (document: unknown, url: string) => unknown
  /** How many characters an event may have; a longer one is an error. */
  readonly maxChars: number
  /** Gets each question of the server that comes in the answer to a request, with that request. */
  readonly asked: (question: string | number, request: string | number) => void
}

/** Takes the id of each question. */
type Asked = (question: string | number) => void

/** The text as JSON; `undefined` when it is not. */
const parsed = (text: string): { readonly value: unknown } | undefined => {
  try {
    return { value: JSON.parse(text) }
  } catch {
    return undefined
  }
}

/** A value as text; `otherwise` for one that is nested too deeply for it. */
const textOf = (value: unknown, otherwise: string): string => {
  try {
    return JSON.stringify(value)
  } catch {
    return otherwise
  }
}

const withBody = (
  response: Response,
  body: string | ReadableStream<Uint8Array>,
  status = response.status
): Response => {
  const { headers, redirected, statusText, url } = response
  const made = new Response(body, { headers, status, statusText })
  return Object.defineProperties(made, { redirected: { value: redirected }, url: { value: url } })
}

/** An event's data, with a sound message in place of an odd one. */
const soundData = (text: string, incoming: Incoming, asked: Asked): ReadonlyArray<string> => {
  const whole = parsed(text)
  const messages = whole === undefined ? incoming.unreadable(text) : incoming.messages(whole.value)
  for (const message of messages) if ("method" in message && "id" in message) asked(message.id)
  return messages.map((message) => (message === whole?.value ? text : textOf(message, text)))
}

/** Splits text that comes in pieces into whole lines. */
const lineSplitter = () => {
  let begun: Array<string> = []
  return (piece: string): ReadonlyArray<string> => {
    begun.push(piece)
    if (!/[\r\n]/.test(piece)) return []
    const text = begun.join("")
    // A line break of two characters may be split.
    const held = text.endsWith("\r") ? "\r" : ""
    const lines = (held === "" ? text : text.slice(0, -1)).split(/\r\n|\n|\r/)
    begun = [(lines.pop() ?? "") + held]
    return lines
  }
}

/** Reads the lines of events; each gives what is passed on once it is known. */
const eventReader = (incoming: Incoming, asked: Asked) => {
  let data: Array<string> = []
  let size = 0
  let kind = "message"
  const end = (): string => {
    const text = data.join("\n")
    const said = kind === "message" && text !== "" ? soundData(text, incoming, asked) : [text]
    data = []
    size = 0
    kind = "message"
    return said.map((one) => `${one.replace(/^/gm, "data: ")}\n\n`).join("") || "\n"
  }
  return {
    /** How many characters the event has that is being read. */
    size: () => size,
    read: (line: string): string => {
      if (line === "") return data.length === 0 ? "\n" : end()
      const [, field, value = ""] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? []
      if (field === "event") kind = value === "" ? "message" : value
      if (field !== "data") return `${line}\n`
      data.push(value)
      size += value.length
      return ""
    }
  }
}

/** Passes events on, each once it is whole. */
const soundEvents = ({ incoming, maxChars }: SoundParts, asked: Asked) => {
  const decoder = new TextDecoder()
  const encoder = new TextEncoder()
  const split = lineSplitter()
  const { read, size } = eventReader(incoming, asked)
  return new TransformStream<Uint8Array, Uint8Array>({
    transform: (chunk, controller) => {
      const sound = split(decoder.decode(chunk, { stream: true }))
        .map(read)
        .join("")
      if (size() > maxChars) {
        const error = new Error(`the server sent a message of more than ${maxChars} bytes`)
        return controller.error(Object.assign(error, { code: "TOO_LARGE" }))
      }
      if (sound !== "") controller.enqueue(encoder.encode(sound))
    }
  })
}

/** The answer to a request, which it is known to be by where it came. */
const soundAnswer = (text: string, id: string | number, incoming: Incoming): string => {
  const failed = (message: string) => ({ jsonrpc: "2.0", id, error: { code: -32603, message } })
  const whole = parsed(text)
  if (whole === undefined) return textOf(failed(`the server's answer is not JSON: ${text.slice(0, 200)}`), text)
  const { value } = whole
  const fields = typeof value === "object" && value !== null && !Array.isArray(value) ? (value as object) : undefined
  const isBare = fields !== undefined && !("method" in fields) && ((fields as { id?: unknown }).id ?? null) === null
  const messages = incoming.messages(isBare ? { ...fields, id } : value)
  const isAnswered = messages.some((one) => !("method" in one) && "id" in one && String(one.id) === String(id))
  if (isAnswered && messages.length === 1) return messages[0] === value ? text : textOf(messages[0], text)
  const all = isAnswered ? messages : [...messages, failed("the server's answer is not one to this request")]
  return textOf(all, text)
}

/** The id of the request that a `fetch` sends, if it sends one. */
const requestId = (init: RequestInit | undefined): string | number | undefined => {
  if (init?.method !== "POST" || typeof init.body !== "string") return undefined
  const message = parsed(init.body)?.value as { readonly id?: string | number; readonly method?: string } | undefined
  return message?.method === undefined ? undefined : message.id
}

/** A document of an authorization server. Some refuse a token with the status of a success. */
const soundDocument = (
  response: Response,
  text: string,
  document: unknown,
  isToken: boolean,
  { metadata }: SoundParts
) => {
  const fields = metadata(document, response.url)
  const isRefused = isToken && response.ok && typeof fields === "object" && fields !== null && "error" in fields
  return withBody(response, textOf(fields, text), isRefused ? 400 : response.status)
}

/** A `fetch` whose JSON, events and tokens are sound. */
export const soundFetch = (inner: typeof fetch, parts: SoundParts): typeof fetch => {
  const { asked, incoming } = parts
  return async (input, init) => {
    const response = await inner(input, init)
    if (response.body === null) return response
    const type = (response.headers.get("content-type") ?? "").split(";")[0]?.trim().toLowerCase()
    const id = requestId(init)
    if (type === "text/event-stream") {
      const events = soundEvents(parts, (question) => {
        if (id !== undefined) asked(question, id)
      })
      return withBody(response, response.body.pipeThrough(events))
    }
    const isToken = init?.body instanceof URLSearchParams
    if (type === "application/json") {
      // What a proxy in front says of a failure is shown as it is.
      if (id !== undefined && !response.ok) return response
      const text = await response.text()
      if (id !== undefined) return withBody(response, soundAnswer(text, id, incoming))
      const whole = parsed(text)
      if (whole === undefined) return withBody(response, text)
      return soundDocument(response, text, whole.value, isToken, parts)
    }
    // Some authorization servers give tokens as a form.
    if (type === "application/x-www-form-urlencoded" && isToken) {
      const text = await response.text()
      return soundDocument(response, text, Object.fromEntries(new URLSearchParams(text)), isToken, parts)
    }
    return response
  }
}
