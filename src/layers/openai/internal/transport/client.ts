/** Requests by a client of the `openai` package, with its own key, headers, hooks and ways to sign in. */
import * as Predicate from "effect/Predicate"
import type { HttpTransport } from "../../../../services/HttpTransport.ts"
import * as Fetch from "./fetch.ts"

/** The part of a client that is used: `OpenAI`, `AzureOpenAI` and what extends them have it. */
export interface Client {
  readonly baseURL: string
  readonly apiKey?: string | null | undefined
  post(
    path: string,
    options: {
      readonly body: object
      readonly stream: boolean
      readonly signal: AbortSignal
      readonly headers: Record<string, string>
      readonly maxRetries: number
      readonly timeout: number
      readonly fetchOptions: { readonly redirect: "manual" }
    }
  ): { asResponse(): Promise<Fetch.FetchResponse> }
}

/** The longest that a timer can wait: time limits are kept above the transport, and retries made. */
const longest = 2 ** 31 - 1

/** A transport on the client. Paths are given to it without its base URL, as some clients change them. */
export const make = (client: Client, baseUrl: string): HttpTransport => {
  const base = baseUrl.replace(/\/+$/, "")
  return Fetch.make((url, { body, headers, signal }) =>
    client
      .post(url.startsWith(`${base}/`) ? url.slice(base.length) : url, {
        body: JSON.parse(String(body)) as object,
        stream: headers["accept"] === "text/event-stream",
        signal,
        headers,
        maxRetries: 0,
        timeout: longest,
        fetchOptions: { redirect: "manual" }
      })
      .asResponse()
      .catch(answerOf)
  )
}

/** The answer behind an error of the package, by its shape: its classes are not loaded. Any other error is thrown. */
const answerOf = (error: unknown): Fetch.FetchResponse => {
  if (!Predicate.hasProperty(error, "status") || typeof error.status !== "number") throw error
  const headers = "headers" in error && error.headers instanceof Headers ? error.headers : new Headers()
  // It keeps the `error` of a body, and of any other body only its text, in the message.
  const inner = "error" in error ? error.error : undefined
  const text = inner === undefined || inner === null ? wordsOf(error) : JSON.stringify({ error: inner })
  return { status: error.status, headers, body: new Response(text).body }
}

const wordsOf = (error: object): string => {
  const message = "message" in error ? String(error.message).replace(/^\d{3} /, "") : ""
  return message === "status code (no body)" ? "" : message
}
