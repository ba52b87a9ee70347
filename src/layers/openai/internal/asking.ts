/**
 * Requests and answers, for every transport: where they go, redirects within an origin, how much may come, and what is
 * wrong with what came.
 */
import * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Redacted from "effect/Redacted"
import { describe } from "../../../internal/connectionError.ts"
import type {
  Exchange,
  Head,
  HttpRequest,
  HttpTransport,
  Receiver,
  TransportFailure
} from "../../../services/HttpTransport.ts"
import { parseJson } from "../../../internal/json.ts"
import { malformed, ofBody, type Problem, quote } from "../../internal/model/problems.ts"
import { write } from "./written.ts"

/** The settings of a connection. */
export interface Connection {
  readonly baseUrl: string
  readonly apiKey: Redacted.Redacted | undefined
  readonly organization: string | undefined
  readonly project: string | undefined
  readonly headers: Readonly<Record<string, string>>
  readonly timeout: Duration.Duration
  readonly maxAnswerBytes: number
}

/** A query of the address stays at the end. */
const join = (baseUrl: string, path: string): string => {
  const [address = "", query] = baseUrl.split(/[?#]/)
  return `${address.replace(/\/+$/, "")}${path}${baseUrl.includes("?") ? `?${query}` : ""}`
}

const headersOf = (connection: Connection, accept: string): Readonly<Record<string, string>> => ({
  accept,
  "content-type": "application/json",
  ...(connection.apiKey === undefined ? {} : { authorization: `Bearer ${Redacted.value(connection.apiKey)}` }),
  ...(connection.organization === undefined ? {} : { "openai-organization": connection.organization }),
  ...(connection.project === undefined ? {} : { "openai-project": connection.project }),
  ...connection.headers
})

/** A request, and whether its answer is streamed. */
export interface Question {
  readonly path: string
  readonly body: object
  readonly isStreamed: boolean
}

/** Writes requests. What is the same in each is made once. */
export const requests = (connection: Connection): ((question: Question) => HttpRequest) => {
  const urls = new Map<string, string>()
  const whole = headersOf(connection, "application/json")
  const streamed = headersOf(connection, "text/event-stream")
  return ({ body, isStreamed, path }) => {
    let url = urls.get(path)
    if (url === undefined) urls.set(path, (url = join(connection.baseUrl, path)))
    return {
      method: "POST",
      url,
      headers: isStreamed ? streamed : whole,
      body: write(isStreamed ? { ...body, stream: true } : body),
      redirect: "manual"
    }
  }
}

/** Receives an answer, and its end or its problem. */
export interface Listener {
  head(contentType: string): void
  data(chunk: Uint8Array): void
  over(problem: Problem | undefined): void
}

/** How often a request follows a server that has moved within its origin. */
const maxRedirects = 3
/** More of an error answer is not read. */
const maxErrorBytes = 1024 * 1024

/**
 * Sends a request. The listener is called after this has returned, or at once when no request could be sent, and never
 * after `abort`.
 */
export const ask = (transport: HttpTransport, request: HttpRequest, maxBytes: number, to: Listener): Exchange => {
  const answer = new Answer(transport, request, maxBytes, to)
  answer.send(request)
  return answer
}

class Answer implements Receiver, Exchange {
  readonly #transport: HttpTransport
  readonly #request: HttpRequest
  readonly #maxBytes: number
  readonly #to: Listener
  #exchange: Exchange | undefined
  #url: string
  #redirects = 0
  #read = 0
  #isOver = false
  /** Set for an answer that is an error or a redirect, with what it says. */
  #refusal: { readonly head: Head; readonly chunks: Array<Uint8Array> } | undefined

  constructor(transport: HttpTransport, request: HttpRequest, maxBytes: number, to: Listener) {
    this.#transport = transport
    this.#request = request
    this.#maxBytes = maxBytes
    this.#to = to
    this.#url = request.url
  }

  send(request: HttpRequest): void {
    try {
      this.#exchange = this.#transport(request, this)
    } catch (error) {
      this.fail({ _tag: "HttpFailure", ...describe(error) })
    }
  }

  head(head: Head): void {
    if (head.status < 300) this.#listen(() => this.#to.head(head.header("content-type") ?? ""))
    else this.#refusal = { head, chunks: [] }
  }

  data(chunk: Uint8Array): void {
    if (this.#isOver) return
    this.#read += chunk.length
    if (this.#refusal !== undefined) {
      this.#refusal.chunks.push(chunk)
      if (this.#read < maxErrorBytes) return
      this.#exchange?.abort()
      this.#finish(refused(this.#refusal))
    } else if (this.#read > this.#maxBytes) {
      this.#exchange?.abort()
      this.#finish(tooLarge(this.#maxBytes))
    } else this.#listen(() => this.#to.data(chunk))
  }

  end(): void {
    const refusal = this.#refusal
    if (refusal === undefined) return this.#finish(undefined)
    const next = this.#redirects < maxRedirects ? movedTo(refusal.head, this.#url) : undefined
    if (next === undefined) return this.#finish(refused(refusal))
    this.#redirects++
    this.#url = next
    this.#refusal = undefined
    this.#read = 0
    this.send({ ...this.#request, url: next })
  }

  fail(failure: TransportFailure): void {
    this.#finish(lost(failure))
  }

  pause(): void {
    this.#exchange?.pause()
  }

  resume(): void {
    this.#exchange?.resume()
  }

  abort(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#exchange?.abort()
  }

  /** An error thrown here would reach the socket, and end the process. */
  #listen(tell: () => void): void {
    try {
      tell()
    } catch (error) {
      this.#exchange?.abort()
      this.fail({ _tag: "TransportDefect", message: String(error), cause: Cause.die(error) })
    }
  }

  #finish(problem: Problem | undefined): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#to.over(problem)
  }
}

/** Where the same request has to go instead, if that is the same origin: headers and prompt go to no other. */
const movedTo = ({ header, status }: Head, address: string): string | undefined => {
  if (status !== 307 && status !== 308) return undefined
  const location = header("location") ?? ""
  if (!URL.canParse(location, address)) return undefined
  const next = new URL(location, address)
  return next.origin === new URL(address).origin ? next.href : undefined
}

/** The problem of an answer that is not one. */
const refused = ({ chunks, head }: { readonly head: Head; readonly chunks: ReadonlyArray<Uint8Array> }): Problem => {
  const { header, status } = head
  if (status >= 400) {
    const text = textOf(chunks)
    return ofBody(status, parseJson(text) ?? text, header)
  }
  const to = header("location") ?? ""
  const where = URL.canParse(to) ? `${new URL(to).origin}${new URL(to).pathname}` : quote(to.replace(/[?#].*$/s, ""))
  return ofBody(status, `the server redirects to ${where}, which is not followed`, header)
}

/** Chunks as one text. */
export const textOf = (chunks: ReadonlyArray<Uint8Array>): string => {
  const [first] = chunks
  const decoder = new TextDecoder()
  if (chunks.length === 1 && first !== undefined) return decoder.decode(first)
  let text = ""
  for (const chunk of chunks) text += decoder.decode(chunk, { stream: true })
  return text + decoder.decode()
}

const tooLarge = (most: number): Problem =>
  malformed(`the server's answer has more than ${most} bytes`, {
    remedy: "Raise `maxAnswerBytes`, or limit the answer with `options.maxOutputTokens`."
  })

const lost = (failure: TransportFailure): Problem =>
  failure._tag === "HttpFailure" && failure.isFinal !== true
    ? { kind: "network", message: failure.message, code: failure.code }
    : { kind: "unsupported", message: failure.message, failure }
