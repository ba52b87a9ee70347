/**
 * `fetch` for the SDK's transports and its OAuth client, with answers in the form that they read: see `incoming.ts`. It
 */
import type { Incoming } from "./incoming.ts"

/** A `fetch` whose JSON, events and tokens are sound. A larger event than `most` characters is an error. */
export const soundFetch = (inner: typeof fetch, incoming: Incoming, most: number): typeof fetch => {
  const parsed = (text: string): { readonly value: unknown } | undefined => {
    try {
      return { value: JSON.parse(text) }
    } catch {
      return undefined
    }
  }
  /** A value as text; `otherwise` for one that is too deep for it. */
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
  const soundData = (text: string): ReadonlyArray<string> => {
    const whole = parsed(text)
    const messages = whole === undefined ? incoming.unreadable(text) : incoming.messages(whole.value)
    return messages.map((message) => (message === whole?.value ? text : textOf(message, text)))
  }

  /** Reads events, and passes each on once it is whole. */
  const events = () => {
    const decoder = new TextDecoder()
    const encoder = new TextEncoder()
    let begun: Array<string> = []
    let data: Array<string> = []
    let size = 0
    let kind = "message"
    const end = (): string => {
      const text = data.join("\n")
      const said = kind === "message" && text !== "" ? soundData(text) : [text]
      data = []
      size = 0
      kind = "message"
      return said.map((one) => `${one.replace(/^/gm, "data: ")}\n\n`).join("") || "\n"
    }
    const read = (line: string): string => {
      if (line === "") return data.length === 0 ? "\n" : end()
      const [, field, value = ""] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? []
      if (field === "event") kind = value === "" ? "message" : value
      if (field !== "data") return `${line}\n`
      data.push(value)
      size += value.length
      return ""
    }
    return new TransformStream<Uint8Array, Uint8Array>({
      transform: (chunk, controller) => {
        const piece = decoder.decode(chunk, { stream: true })
        begun.push(piece)
        if (!/[\r\n]/.test(piece)) return
        const text = begun.join("")
        // A line break of two characters may be split.
        const held = text.endsWith("\r") ? "\r" : ""
        const lines = (held === "" ? text : text.slice(0, -1)).split(/\r\n|\n|\r/)
        begun = [(lines.pop() ?? "") + held]
        const sound = lines.map(read).join("")
        if (size > most) {
          const error = new Error(`the server sent a message of more than ${most} bytes`)
          return controller.error(Object.assign(error, { code: "TOO_LARGE" }))
        }
        if (sound !== "") controller.enqueue(encoder.encode(sound))
      }
    })
  }

  /** The answer to a request, which it is known to be by where it came. */
  const answer = (text: string, id: string | number): string => {
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

  const idOf = (init: RequestInit | undefined): string | number | undefined => {
    if (init?.method !== "POST" || typeof init.body !== "string") return undefined
    const message = parsed(init.body)?.value as { readonly id?: string | number; readonly method?: string } | undefined
    return message?.method === undefined ? undefined : message.id
  }

  /** Some authorization servers give tokens as a form, and refuse them with the status of a success. */
  const authorization = (response: Response, text: string, document: unknown, isToken: boolean): Response => {
    const fields = incoming.authorization(document, response.url)
    const isRefused = isToken && response.ok && typeof fields === "object" && fields !== null && "error" in fields
    return withBody(response, textOf(fields, text), isRefused ? 400 : response.status)
  }

  return async (input, init) => {
    const response = await inner(input, init)
    if (response.body === null) return response
    const type = (response.headers.get("content-type") ?? "").split(";")[0]?.trim().toLowerCase()
    if (type === "text/event-stream") return withBody(response, response.body.pipeThrough(events()))
    const id = idOf(init)
    const isToken = init?.body instanceof URLSearchParams
    if (type === "application/json") {
      // What a proxy in front says of a failure is shown as it is.
      if (id !== undefined && !response.ok) return response
      const text = await response.text()
      if (id !== undefined) return withBody(response, answer(text, id))
      const whole = parsed(text)
      return whole === undefined ? withBody(response, text) : authorization(response, text, whole.value, isToken)
    }
    if (type === "application/x-www-form-urlencoded" && isToken) {
      const text = await response.text()
      return authorization(response, text, Object.fromEntries(new URLSearchParams(text)), isToken)
    }
    return response
  }
}
