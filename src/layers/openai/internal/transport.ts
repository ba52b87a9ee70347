/**
 * How requests travel: by the `openai` SDK where promises can be awaited, by the sync edge's bridge where they cannot,
 * and through a tape where there is one. All give the same bodies and the same problems.
 */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { describe } from "../../../internal/connectionError.ts"
import type { HttpTape, TapeFailure, TapeResponse } from "../../../services/HttpTape.ts"
import type { BridgeFailure, BridgeRequest, SyncBridge } from "../../../services/SyncBridge.ts"
import { malformed, ofBody, ofErrorObject, type Problem, quote } from "./problems.ts"
import * as Events from "./sse.ts"

/** An answer that has begun. */
export interface Opened {
  readonly contentType: string
  readonly body: Stream.Stream<Uint8Array, Problem>
}

/** Sends a request. Closing the scope before the body has ended aborts it on the wire. */
export interface Transport {
  /** `address` is the whole of it. */
  readonly open: (address: string, body: object, accept: string) => Effect.Effect<Opened, Problem, Scope.Scope>
  /** What made ids begin with, where they have to be the same whenever the same is asked. */
  readonly nameOf?: (path: string, body: object) => string
}

/** How often a request follows a server that has moved within its origin. */
const maxRedirects = 3

/** Opens an answer, also where the server has moved. Headers and prompt go to no other origin. */
const open = (
  transport: Transport,
  address: string,
  body: object,
  accept: string,
  redirects = 0
): Effect.Effect<Opened, Problem, Scope.Scope> =>
  Effect.catch(transport.open(address, body, accept), (problem) => {
    const next = redirects < maxRedirects ? movedTo(problem, address) : undefined
    return next === undefined ? Effect.fail(problem) : open(transport, next, body, accept, redirects + 1)
  })

/** Where the same request has to go instead, if that is the same origin. */
const movedTo = (problem: Problem, address: string): string | undefined => {
  if (problem.kind !== "status" || (problem.status !== 307 && problem.status !== 308)) return undefined
  const location = problem.header("location") ?? ""
  if (!URL.canParse(location, address)) return undefined
  const next = new URL(location, address)
  return next.origin === new URL(address).origin ? next.href : undefined
}

/** Sends a request and reads the whole of its answer. */
export const whole = (
  transport: Transport,
  { baseUrl, maxAnswerBytes, timeout }: Connection,
  path: string,
  body: object
): Effect.Effect<{ readonly contentType: string; readonly bytes: Uint8Array }, Problem> =>
  Effect.scoped(
    Effect.flatMap(open(transport, join(baseUrl, path), body, "application/json"), (opened) =>
      Effect.map(Stream.runCollect(limited(opened.body, maxAnswerBytes)), (chunks) => ({
        contentType: opened.contentType,
        bytes: Buffer.concat(chunks)
      }))
    )
  ).pipe(withTimeout(timeout))

/** Sends a request and reads its answer as it comes. A slow consumer does not count as silence of the server. */
export const streamed = (
  transport: Transport,
  { baseUrl, maxAnswerBytes, timeout }: Connection,
  path: string,
  body: object
): Effect.Effect<Opened, Problem, Scope.Scope> =>
  Effect.map(
    open(transport, join(baseUrl, path), { ...body, stream: true }, "text/event-stream").pipe(withTimeout(timeout)),
    ({ body: bytes, contentType }) => ({
      contentType,
      body: limited(
        Duration.isFinite(timeout)
          ? Stream.timeoutOrElse(bytes, { duration: timeout, orElse: () => Stream.fail(timedOut(timeout)) })
          : bytes,
        maxAnswerBytes
      )
    })
  )

/** Fails when more bytes come than an answer may have. */
const limited = (bytes: Stream.Stream<Uint8Array, Problem>, most: number): Stream.Stream<Uint8Array, Problem> =>
  Stream.suspend(() => {
    let read = 0
    return Stream.mapArrayEffect(bytes, (chunks) => {
      for (const chunk of chunks) read += chunk.length
      return read > most ? Effect.fail(tooLarge(most)) : Effect.succeed(chunks)
    })
  })

const tooLarge = (most: number): Problem =>
  malformed(`the server's answer has more than ${most} bytes`, {
    remedy: "Raise `maxAnswerBytes`, or limit the answer with `options.maxOutputTokens`."
  })

/** What a connection needs to know. */
export interface Connection {
  readonly baseUrl: string
  readonly apiKey: Redacted.Redacted | undefined
  readonly organization: string | undefined
  readonly project: string | undefined
  readonly headers: Readonly<Record<string, string>>
  readonly timeout: Duration.Duration
  readonly maxAnswerBytes: number
}

const timedOut = (timeout: Duration.Duration): Problem => ({
  kind: "timeout",
  message: `no answer within ${Duration.format(timeout)}`
})

const withTimeout =
  (timeout: Duration.Duration) =>
  <A, R>(effect: Effect.Effect<A, Problem, R>): Effect.Effect<A, Problem, R> =>
    Duration.isFinite(timeout)
      ? Effect.timeoutOrElse(effect, { duration: timeout, orElse: () => Effect.fail(timedOut(timeout)) })
      : effect

// -- the SDK ----------------------------------------------------------------------------------------------------------

/** The part of the SDK's client that is used. */
interface Client {
  post(
    path: string,
    options: {
      body: object
      stream?: boolean
      signal: AbortSignal
      timeout?: number
      headers?: Record<string, string>
    }
  ): Promise<unknown> & { asResponse(): Promise<Response> }
}

/** The longest that Node's timers can wait. */
const longest = 2 ** 31 - 1

/** Requests through the SDK, which is loaded when the first one is made. */
export const sdk = (connection: Connection): Transport => {
  let loading: Promise<Client> | undefined
  const { apiKey, headers } = connection
  const client = (): Promise<Client> =>
    (loading ??= import("openai").then(
      ({ default: OpenAI }) =>
        new OpenAI({
          // The SDK insists on a key; a server that needs none is sent none.
          apiKey: apiKey === undefined ? "none" : Redacted.value(apiKey),
          adminAPIKey: null,
          baseURL: connection.baseUrl,
          organization: connection.organization ?? null,
          project: connection.project ?? null,
          defaultHeaders: apiKey === undefined ? { authorization: null, ...headers } : headers,
          maxRetries: 0,
          logLevel: "off",
          timeout: longest,
          // The prompt and our headers are for this server only.
          fetchOptions: { redirect: "manual" }
        })
    ))
  return {
    open: (address, body, accept) =>
      Effect.gen(function* () {
        const controller = yield* Effect.acquireRelease(
          Effect.sync(() => new AbortController()),
          (self) => Effect.sync(() => self.abort())
        )
        const wait = <A>(promise: () => Promise<A>): Effect.Effect<A, Problem> =>
          Effect.tryPromise({ try: promise, catch: problemOf })
        const stream = accept === "text/event-stream"
        const response = yield* wait(async () =>
          (await client()).post(address, { body, stream, signal: controller.signal, headers: { accept } }).asResponse()
        )
        const header = (name: string) => response.headers.get(name)
        if (response.status >= 300) {
          const text = yield* wait(() => response.text())
          return yield* Effect.fail(refused(response.status, text, header))
        }
        const contentType = header("content-type") ?? ""
        const reader = response.body?.getReader()
        if (reader === undefined) return { contentType, body: Stream.empty }
        const read = wait(() => reader.read() as Promise<{ readonly done: boolean; readonly value?: Uint8Array }>)
        const pull = Effect.flatMap(read, ({ done, value }) =>
          done || value === undefined ? Cause.done() : Effect.succeed([value] as const)
        )
        return { contentType, body: Stream.fromPull(Effect.succeed(pull)) }
      })
  }
}

/** The problem of an answer that is not one. */
const refused = (status: number, text: string, header: (name: string) => string | null | undefined): Problem => {
  if (status >= 400) return ofBody(status, Events.parseJson(text) ?? text, header)
  const to = header("location") ?? ""
  const where = URL.canParse(to) ? `${new URL(to).origin}${new URL(to).pathname}` : quote(to.replace(/[?#].*$/s, ""))
  return ofBody(status, `the server redirects to ${where}, which is not followed`, header)
}

/** The SDK's errors by their shape: its classes are not loaded until it is needed. */
const problemOf = (error: unknown): Problem => {
  if (Predicate.hasProperty(error, "status") && typeof error.status === "number") {
    const headers = "headers" in error ? (error.headers as { get?: (name: string) => string | null }) : undefined
    const header = (name: string) => headers?.get?.(name)
    if (error.status < 400) return refused(error.status, "", header)
    // The SDK keeps the `error` of a body, and of any other body only its text, in the message.
    const body =
      "error" in error && error.error !== undefined && error.error !== null
        ? { error: error.error }
        : Events.parseJson(messageOf(error))
    return ofBody(error.status, Predicate.isObject(body) ? body : messageOf(error), header)
  }
  if (error instanceof SyntaxError) return malformed(`the server sent something that is not JSON: ${error.message}`)
  // An error in a good answer has no status.
  if (Predicate.hasProperty(error, "error") && error.error !== undefined && error.error !== null)
    return ofErrorObject(error.error)
  return { kind: "network", ...describe(error) }
}

const messageOf = (error: object): string => {
  const message = "message" in error ? String(error.message).replace(/^\d{3} /, "") : ""
  return message === "status code (no body)" ? "" : message
}

// -- the sync edge ----------------------------------------------------------------------------------------------------

/** More of an error answer is not read. */
const maxErrorBytes = 1024 * 1024

type Send = (request: BridgeRequest) => Effect.Effect<TapeResponse, BridgeFailure | TapeFailure, Scope.Scope>

/** As the SDK does: a query of the address stays at the end. */
const join = (baseUrl: string, path: string): string => {
  const [address = "", query] = baseUrl.split(/[?#]/)
  return `${address.replace(/\/+$/, "")}${path}${baseUrl.includes("?") ? `?${query}` : ""}`
}

const requestOf = (connection: Connection, url: string, body: object, accept: string): BridgeRequest => ({
  method: "POST",
  url,
  headers: {
    accept,
    "content-type": "application/json",
    ...(connection.apiKey === undefined ? {} : { authorization: `Bearer ${Redacted.value(connection.apiKey)}` }),
    ...(connection.organization === undefined ? {} : { "openai-organization": connection.organization }),
    ...(connection.project === undefined ? {} : { "openai-project": connection.project }),
    ...connection.headers
  },
  body: JSON.stringify(body),
  redirect: "manual"
})

/** Requests through the sync edge's I/O thread. */
export const bridged = (connection: Connection, bridge: SyncBridge): Transport =>
  over(connection, (request) => bridge.fetch(request))

/** Requests through a tape, on either edge. */
export const taped = (
  connection: Connection,
  tape: HttpTape,
  bridge: SyncBridge | undefined,
  secrets: ReadonlyArray<string>
): Transport => ({
  ...over(connection, (request) => tape.send(request, secrets, bridge?.fetch)),
  nameOf: (path, body) => tape.nameOf(requestOf(connection, join(connection.baseUrl, path), body, ""), secrets)
})

const over = (connection: Connection, sends: Send): Transport => ({
  open: (address, body, accept) =>
    Effect.mapError(sends(requestOf(connection, address, body, accept)), lost).pipe(
      Effect.flatMap((response): Effect.Effect<Opened, Problem> => {
        const bytes = Stream.mapError(response.body, lost)
        const header = (name: string) => headerOf(response, name)
        if (response.status < 300) return Effect.succeed({ contentType: header("content-type") ?? "", body: bytes })
        let read = 0
        const some = Stream.takeUntil(bytes, (chunk) => (read += chunk.length) >= maxErrorBytes)
        return Effect.flatMap(Stream.runCollect(some), (chunks) =>
          Effect.fail(refused(response.status, Buffer.concat(chunks).toString(), header))
        )
      })
    )
})

const lost = (failure: BridgeFailure | TapeFailure): Problem => {
  if (failure._tag === "BridgeFailure") return { kind: "network", message: failure.message, code: failure.code }
  const problem: TapeProblem = { kind: "unsupported", message: failure.message, tape: failure }
  return problem
}

/** A request that the tape has no answer for: to everybody else, one that cannot be made. */
type TapeProblem = Extract<Problem, { readonly kind: "unsupported" }> & { readonly tape: TapeFailure }

/** The tape's failure, if it is one. */
export const tapeFailureOf = (problem: Problem): TapeFailure | undefined =>
  "tape" in problem ? (problem as TapeProblem).tape : undefined

const headerOf = (response: TapeResponse, name: string): string | undefined =>
  response.headers.find(([key]) => key === name)?.[1]
