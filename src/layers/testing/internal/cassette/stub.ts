/** Answers requests from a function instead of a server or a file. */
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { HttpTape, TapeResponse } from "../../../../services/HttpTape.ts"
import type { HttpRequest } from "../../../../services/HttpTransport.ts"
import { hash } from "./match.ts"

/** A request as a stub sees it. */
export interface StubRequest {
  readonly method: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  /** The body as text; empty without a body. */
  readonly body: string
}

/** The answer of a stub. */
export interface StubResponse {
  /** Default: 200. */
  readonly status?: number | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** A text as it is, a list of texts as the chunks of a stream, any other JSON value as JSON. Default: no body. */
  readonly body?: string | ReadonlyArray<string> | Schema.JsonObject | undefined
}

const encoder = new TextEncoder()

const requestOf = ({ body, headers, method, url }: HttpRequest): StubRequest => ({
  method,
  url,
  headers,
  body: body === undefined ? "" : typeof body === "string" ? body : new TextDecoder().decode(body)
})

const chunksOf = (body: NonNullable<StubResponse["body"]>): ReadonlyArray<string> =>
  typeof body === "string" ? [body] : isList(body) ? body : [JSON.stringify(body)]

const isList = (body: object): body is ReadonlyArray<string> => Array.isArray(body)

const responseOf = (url: string, { body = "", headers, status = 200 }: StubResponse): TapeResponse => {
  const type = typeof body === "string" || isList(body) ? {} : { "content-type": "application/json" }
  return {
    status,
    url,
    headers: Object.entries({ ...type, ...headers }).map(([name, value]) => [name.toLowerCase(), value] as const),
    body: Stream.fromIterable(chunksOf(body).map((chunk) => encoder.encode(chunk)))
  }
}

/** A tape that answers each request by `respond`, and sends nothing. */
export const make = (respond: (request: StubRequest) => StubResponse | Effect.Effect<StubResponse>): HttpTape => ({
  replays: true,
  send: (request) =>
    Effect.map(
      Effect.suspend(() => {
        const answer = respond(requestOf(request))
        return Effect.isEffect(answer) ? answer : Effect.succeed(answer)
      }),
      (answer) => responseOf(request.url, answer)
    ),
  nameOf: (request) => hash(`${request.method} ${request.url} ${requestOf(request).body}`)
})
