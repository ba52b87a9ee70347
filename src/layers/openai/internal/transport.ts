/**
 * How requests travel: by the `openai` SDK where promises can be awaited, by the sync edge's bridge where they cannot,
 * and through a tape where there is one. All give the same bodies and the same problems.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { describe } from "../../../internal/connectionError.ts"
import type { HttpTape, TapeFailure, TapeResponse } from "../../../services/HttpTape.ts"
import type { BridgeFailure, BridgeRequest, SyncBridge } from "../../../services/SyncBridge.ts"
import { malformed, ofBody, ofErrorObject, type Problem } from "./errors.ts"
import * as Events from "./sse.ts"

/** The two ways to ask: for a whole answer, and for its events. */
export interface Transport {
  readonly whole: (path: string, body: object) => Effect.Effect<unknown, Problem>
  readonly events: (path: string, body: object) => Stream.Stream<unknown, Problem>
  /** What made ids begin with, where they have to be the same whenever the same is asked. */
  readonly nameOf?: (path: string, body: object) => string
}

/** What a connection needs to know. */
export interface Connection {
  readonly baseUrl: string
  readonly apiKey: Redacted.Redacted | undefined
  readonly organization: string | undefined
  readonly project: string | undefined
  readonly headers: Readonly<Record<string, string>>
  readonly timeout: Duration.Duration
}

const timedOut = (timeout: Duration.Duration): Problem => ({
  kind: "timeout",
  message: `no answer within ${Duration.format(timeout)}`
})

const withTimeout =
  (connection: Connection) =>
  <A, R>(effect: Effect.Effect<A, Problem, R>): Effect.Effect<A, Problem, R> =>
    Duration.isFinite(connection.timeout)
      ? Effect.timeoutOrElse(effect, {
          duration: connection.timeout,
          orElse: () => Effect.fail(timedOut(connection.timeout))
        })
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

/** The SDK's own time-out, by its name: its classes are not loaded until it is needed. */
const isTimeout = (error: unknown): boolean =>
  Predicate.hasProperty(error, "constructor") &&
  Predicate.hasProperty(error.constructor, "name") &&
  error.constructor.name === "APIConnectionTimeoutError"

/** Requests through the SDK, which is loaded when the first one is made. */
export const sdk = (connection: Connection): Transport => {
  let loading: Promise<Client> | undefined
  const limit = Math.min(Duration.toMillis(connection.timeout), longest)
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
          timeout: longest
        })
    ))
  return {
    whole: (path, body) =>
      Effect.tryPromise({
        try: async (signal) => {
          const answer = await (await client()).post(path, { body, signal, timeout: limit })
          // The SDK leaves a body that is not called JSON as the text it is.
          return typeof answer === "string" ? (JSON.parse(answer) as unknown) : answer
        },
        catch: (error) => (isTimeout(error) ? timedOut(connection.timeout) : problemOf(error))
      }),
    events: (path, body) =>
      Stream.unwrap(
        Effect.gen(function* () {
          const controller = yield* Effect.acquireRelease(
            Effect.sync(() => new AbortController()),
            (self) => Effect.sync(() => self.abort())
          )
          const watch = yield* watchdog(connection.timeout, controller)
          const wait = <A>(promise: () => Promise<A>): Effect.Effect<A, Problem> =>
            Effect.suspend(() => {
              watch.waiting()
              return Effect.tryPromise({ try: promise, catch: (error) => watch.explain() ?? problemOf(error) })
            })
          const response = yield* wait(async () => {
            const { signal } = controller
            const accept = { accept: "text/event-stream" }
            return (await client())
              .post(path, { body: { ...body, stream: true }, stream: true, signal, headers: accept })
              .asResponse()
          })
          const type = response.headers.get("content-type")
          if (Events.isOtherType(type)) {
            return yield* Effect.fail(Events.otherType(type ?? "", yield* wait(() => response.text())))
          }
          const reader = response.body?.getReader()
          if (reader === undefined) return Stream.empty
          const read = wait(() => reader.read() as Promise<{ readonly done: boolean; readonly value?: Uint8Array }>)
          const pull = Effect.flatMap(read, ({ done, value }) => {
            watch.heard()
            return done || value === undefined ? Cause.done() : Effect.succeed([value] as const)
          })
          return Events.events(Stream.fromPull(Effect.succeed(pull)))
        })
      )
  }
}

/** Aborts a request whose server is silent for longer than `timeout`. A slow consumer is nobody's silence. */
const watchdog = (
  timeout: Duration.Duration,
  controller: AbortController
): Effect.Effect<
  { readonly waiting: () => void; readonly heard: () => void; readonly explain: () => Problem | undefined },
  never,
  Scope.Scope
> =>
  Effect.gen(function* () {
    const clock = yield* Clock.Clock
    const limit = Duration.toMillis(timeout)
    let since: number | undefined
    let expired = false
    if (Duration.isFinite(timeout)) {
      yield* Effect.gen(function* () {
        while (true) {
          const left = since === undefined ? limit : since + limit - clock.currentTimeMillisUnsafe()
          if (left <= 0) break
          yield* Effect.sleep(left)
        }
        expired = true
        controller.abort()
      }).pipe(Effect.forkScoped)
    }
    return {
      waiting: () => {
        since = clock.currentTimeMillisUnsafe()
      },
      heard: () => {
        since = undefined
      },
      explain: () => (expired ? timedOut(timeout) : undefined)
    }
  })

/** The SDK's errors by their shape: its classes are not loaded until it is needed. */
const problemOf = (error: unknown): Problem => {
  if (Predicate.hasProperty(error, "status") && typeof error.status === "number") {
    const headers = "headers" in error ? (error.headers as { get?: (name: string) => string | null }) : undefined
    const header = (name: string) => headers?.get?.(name)
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

type Send = (request: BridgeRequest) => Effect.Effect<TapeResponse, BridgeFailure | TapeFailure, Scope.Scope>

/** As the SDK does: a query of the address stays at the end. */
const join = (baseUrl: string, path: string): string => {
  const [address = "", query] = baseUrl.split(/[?#]/)
  return `${address.replace(/\/+$/, "")}${path}${baseUrl.includes("?") ? `?${query}` : ""}`
}

const requestOf = (connection: Connection, path: string, body: object, accept: string): BridgeRequest => ({
  method: "POST",
  url: join(connection.baseUrl, path),
  headers: {
    accept,
    "content-type": "application/json",
    ...(connection.apiKey === undefined ? {} : { authorization: `Bearer ${Redacted.value(connection.apiKey)}` }),
    ...(connection.organization === undefined ? {} : { "openai-organization": connection.organization }),
    ...(connection.project === undefined ? {} : { "openai-project": connection.project }),
    ...connection.headers
  },
  body: JSON.stringify(body)
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
  nameOf: (path, body) => tape.nameOf(requestOf(connection, path, body, ""), secrets)
})

const over = (connection: Connection, sends: Send): Transport => {
  const send = (path: string, body: object, accept: string) =>
    Effect.mapError(sends(requestOf(connection, path, body, accept)), lost)
  const read = (response: TapeResponse): Effect.Effect<string, Problem> =>
    response.body.pipe(Stream.decodeText, Stream.mkString, Effect.mapError(lost))
  const checked = (response: TapeResponse): Effect.Effect<TapeResponse, Problem> =>
    response.status < 400
      ? Effect.succeed(response)
      : Effect.flatMap(read(response), (text) =>
          Effect.fail(ofBody(response.status, Events.parseJson(text) ?? text, (name) => headerOf(response, name)))
        )
  return {
    whole: (path, body) =>
      Effect.scoped(
        send(path, body, "application/json").pipe(
          Effect.flatMap(checked),
          Effect.flatMap(read),
          Effect.flatMap((text) => {
            const json = Events.parseJson(text)
            return json === undefined
              ? Effect.fail(malformed(`the server sent something that is not JSON: ${text.slice(0, 200)}`))
              : Effect.succeed(json)
          })
        )
      ).pipe(withTimeout(connection)),
    events: (path, body) =>
      Stream.unwrap(
        send(path, { ...body, stream: true }, "text/event-stream").pipe(
          Effect.flatMap(checked),
          Effect.flatMap((response) => {
            const type = headerOf(response, "content-type")
            return Events.isOtherType(type)
              ? Effect.flatMap(read(response), (text) => Effect.fail(Events.otherType(type ?? "", text)))
              : Effect.succeed(response)
          }),
          withTimeout(connection),
          Effect.map((response) => {
            const bytes: Stream.Stream<Uint8Array, Problem> = Stream.mapError(response.body, lost)
            const { timeout } = connection
            return Events.events(
              Duration.isFinite(timeout)
                ? Stream.timeoutOrElse(bytes, { duration: timeout, orElse: () => Stream.fail(timedOut(timeout)) })
                : bytes
            )
          })
        )
      )
  }
}

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
