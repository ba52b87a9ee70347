/** `fetch` for the SDK's transports and its OAuth client, with answers in the form that they read: see `incoming.ts`. */
import { eventStream } from "./eventStream.ts"
import { isFields, parsed, textOf } from "./fields.ts"
import type { Incoming } from "./incoming.ts"
import { withParts } from "./response.ts"

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

/** The answer to a request, which it is known to be by where it came. */
const soundAnswer = (text: string, id: string | number, incoming: Incoming): string => {
  const failed = (message: string) => ({ jsonrpc: "2.0", id, error: { code: -32603, message } })
  const value = parsed(text)
  if (value === undefined) return textOf(failed(`the server's answer is not JSON: ${text.slice(0, 200)}`), text)
  const isBare = isFields(value) && !("method" in value) && (value["id"] ?? null) === null
  const messages = incoming.messages(isBare ? { ...value, id } : value)
  const isAnswered = messages.some((one) => !("method" in one) && "id" in one && String(one.id) === String(id))
  if (isAnswered && messages.length === 1) return messages[0] === value ? text : textOf(messages[0], text)
  const all = isAnswered ? messages : [...messages, failed("the server's answer is not one to this request")]
  return textOf(all, text)
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
  const isRefused = isToken && response.ok && isFields(fields) && "error" in fields
  return withParts(response, { body: textOf(fields, text), ...(isRefused ? { status: 400 } : {}) })
}

interface Rpc {
  readonly id?: string | number
  readonly method?: string
  readonly params?: { readonly requestId?: string | number }
}

/** The message that a `fetch` sends, if it sends one. */
const messageOf = (init: RequestInit | undefined): Rpc => {
  const isMessage = init?.method === "POST" && typeof init.body === "string"
  return ((isMessage ? parsed(init.body as string) : undefined) ?? {}) as Rpc
}

/** An answer in JSON: to a message, or a document about authorization. */
const soundJson = async (response: Response, id: string | number | undefined, isToken: boolean, parts: SoundParts) => {
  // What a proxy in front says of a failure is shown as it is.
  if (id !== undefined && !response.ok) return response
  const text = await response.text()
  if (id !== undefined) return withParts(response, { body: soundAnswer(text, id, parts.incoming) })
  const whole = parsed(text)
  if (whole === undefined) return withParts(response, { body: text })
  return soundDocument(response, text, whole, isToken, parts)
}

/** A `fetch` whose JSON, events and tokens are sound, and whose streams end with an answer to their request. */
export const soundFetch = (inner: typeof fetch, parts: SoundParts): typeof fetch => {
  /** Gives up requests that are not answered to their end, by their ids. */
  const open = new Map<string | number, () => void>()
  const soundEvents = (response: Response, body: ReadableStream<Uint8Array>, id: string | number | undefined) => {
    const asked = (question: string | number) => {
      if (id !== undefined) parts.asked(question, id)
    }
    const { body: events, leave } = eventStream(body, { ...parts, asked }, id, () => {
      if (id !== undefined) open.delete(id)
    })
    if (id !== undefined) open.set(id, leave)
    return withParts(response, { body: events })
  }
  const sound = async (response: Response, init: RequestInit | undefined, id: string | number | undefined) => {
    if (response.body === null) return response
    const type = (response.headers.get("content-type") ?? "").split(";")[0]?.trim().toLowerCase()
    if (type === "text/event-stream") return soundEvents(response, response.body, id)
    const isToken = init?.body instanceof URLSearchParams
    if (type === "application/json") return soundJson(response, id, isToken, parts)
    // Some authorization servers give tokens as a form.
    if (type === "application/x-www-form-urlencoded" && isToken) {
      const text = await response.text()
      return soundDocument(response, text, Object.fromEntries(new URLSearchParams(text)), isToken, parts)
    }
    return response
  }
  return async (input, init) => {
    const { id, method, params } = messageOf(init)
    if (method === "notifications/cancelled" && params?.requestId !== undefined) open.get(params.requestId)?.()
    if (method === undefined || id === undefined) return sound(await inner(input, init), init, undefined)
    const controller = new AbortController()
    const giveUp = () => controller.abort()
    open.set(id, giveUp)
    try {
      const signal = init?.signal ? AbortSignal.any([init.signal, controller.signal]) : controller.signal
      return await sound(await inner(input, { ...init, signal }), init, id)
    } finally {
      if (open.get(id) === giveUp) open.delete(id)
    }
  }
}
