/**
 * How requests travel: by the `openai` SDK where promises can be awaited, by the sync edge's bridge where they cannot.
 * Both give the same bodies and the same problems.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Sse from "effect/encoding/Sse"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { SyncBridge } from "../../services/SyncBridge.ts"
import { malformed, ofBody, type Problem } from "./errors.ts"

/** The two ways to ask: for a whole answer, and for its events. */
export interface Transport {
  readonly whole: (path: string, body: object) => Effect.Effect<unknown, Problem>
  readonly events: (path: string, body: object) => Stream.Stream<unknown, Problem>
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
    options: { body: object; stream?: boolean; signal: AbortSignal; timeout?: number }
  ): Promise<unknown>
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
  const client = (): Promise<Client> =>
    (loading ??= import("openai").then(
      ({ default: OpenAI }) =>
        new OpenAI({
          // The SDK insists on a key; servers that need none ignore it.
          apiKey: connection.apiKey === undefined ? "none" : Redacted.value(connection.apiKey),
          baseURL: connection.baseUrl,
          organization: connection.organization ?? null,
          project: connection.project ?? null,
          defaultHeaders: connection.headers,
          maxRetries: 0,
          logLevel: "off",
          timeout: longest
        })
    ))
  return {
    whole: (path, body) =>
      Effect.tryPromise({
        try: async (signal) => (await client()).post(path, { body, signal, timeout: limit }),
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
          const { signal } = controller
          const chunks = yield* Effect.tryPromise({
            try: async () =>
              (await (
                await client()
              ).post(path, {
                body: { ...body, stream: true },
                stream: true,
                signal
              })) as AsyncIterable<unknown>,
            catch: (error) => watch.explain() ?? problemOf(error)
          })
          return Stream.map(
            Stream.fromAsyncIterable(chunks, (error) => watch.explain() ?? problemOf(error)),
            (chunk) => {
              watch.beat()
              return chunk
            }
          )
        })
      )
  }
}

/** Aborts a stream that is silent for longer than `timeout`. */
const watchdog = (
  timeout: Duration.Duration,
  controller: AbortController
): Effect.Effect<{ readonly beat: () => void; readonly explain: () => Problem | undefined }, never, Scope.Scope> =>
  Effect.gen(function* () {
    const clock = yield* Clock.Clock
    const limit = Duration.toMillis(timeout)
    let heardAt = clock.currentTimeMillisUnsafe()
    let expired = false
    if (Duration.isFinite(timeout)) {
      yield* Effect.gen(function* () {
        for (let left = limit; left > 0; left = heardAt + limit - clock.currentTimeMillisUnsafe()) {
          yield* Effect.sleep(left)
        }
        expired = true
        controller.abort()
      }).pipe(Effect.forkScoped)
    }
    return {
      beat: () => {
        heardAt = clock.currentTimeMillisUnsafe()
      },
      explain: () => (expired ? timedOut(timeout) : undefined)
    }
  })

/** The SDK's errors by their shape: its classes are not loaded until it is needed. */
const problemOf = (error: unknown): Problem => {
  if (Predicate.hasProperty(error, "status") && typeof error.status === "number") {
    const headers = "headers" in error ? (error.headers as { get?: (name: string) => string | null }) : undefined
    const header = (name: string) => headers?.get?.(name)
    const own = {
      error: { ...pick(error), ...("error" in error && Predicate.isObject(error.error) ? error.error : {}) }
    }
    return ofBody(error.status, own, header)
  }
  if (error instanceof SyntaxError) return malformed(`the server sent something that is not JSON: ${error.message}`)
  // An error in the middle of a stream has no status.
  if (Predicate.hasProperty(error, "error") && Predicate.isObject(error.error))
    return ofBody(500, error, () => undefined)
  return { kind: "network", ...describe(error) }
}

const pick = (error: object) => ({
  message: "message" in error ? String(error.message).replace(/^\d{3} /, "") : "",
  ...("code" in error && error.code !== null ? { code: error.code } : {}),
  ...("type" in error && error.type !== undefined ? { type: error.type } : {})
})

/** The message and system code of a connection error: the cause says more than the error that wraps it. */
const describe = (error: unknown): { readonly message: string; readonly code: string | undefined } => {
  const messages: Array<string> = []
  let code: string | undefined
  for (let at: unknown = error, depth = 0; Predicate.isObject(at) && depth < 6; depth++) {
    if ("message" in at && typeof at.message === "string" && at.message !== "" && !messages.includes(at.message)) {
      messages.push(at.message)
    }
    if ("code" in at && typeof at.code === "string") code ??= at.code
    const errors: unknown = "errors" in at ? at.errors : undefined
    at =
      "cause" in at && at.cause !== undefined
        ? at.cause
        : Array.isArray(errors)
          ? (errors as Array<unknown>)[0]
          : undefined
  }
  return { message: messages.join(": ") || String(error), code }
}

// -- the sync edge ----------------------------------------------------------------------------------------------------

/** Requests through the sync edge's I/O thread. */
export const bridged = (connection: Connection, bridge: SyncBridge): Transport => {
  const send = (path: string, body: object, accept: string) =>
    Effect.mapError(
      bridge.fetch({
        method: "POST",
        url: `${connection.baseUrl.replace(/\/+$/, "")}${path}`,
        headers: {
          accept,
          "content-type": "application/json",
          ...(connection.apiKey === undefined ? {} : { authorization: `Bearer ${Redacted.value(connection.apiKey)}` }),
          ...(connection.organization === undefined ? {} : { "openai-organization": connection.organization }),
          ...(connection.project === undefined ? {} : { "openai-project": connection.project }),
          ...connection.headers
        },
        body: JSON.stringify(body)
      }),
      (failure): Problem => ({ kind: "network", message: failure.message, code: failure.code })
    )
  type Response = Effect.Success<ReturnType<typeof send>>
  const read = (response: Response): Effect.Effect<string, Problem> =>
    response.body.pipe(
      Stream.decodeText,
      Stream.mkString,
      Effect.mapError((failure): Problem => ({ kind: "network", message: failure.message, code: failure.code }))
    )
  const checked = (response: Response): Effect.Effect<Response, Problem> =>
    response.status < 400
      ? Effect.succeed(response)
      : Effect.flatMap(read(response), (text) => {
          const header = (name: string) => response.headers.find(([key]) => key === name)?.[1]
          return Effect.fail(ofBody(response.status, parsed(text) ?? text, header))
        })
  return {
    whole: (path, body) =>
      Effect.scoped(
        send(path, body, "application/json").pipe(
          Effect.flatMap(checked),
          Effect.flatMap(read),
          Effect.flatMap((text) => {
            const json = parsed(text)
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
          withTimeout(connection),
          Effect.map((response) => sseEvents(response.body, connection.timeout))
        )
      )
  }
}

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}

const sseEvents = (
  body: Stream.Stream<Uint8Array, { readonly message: string; readonly code: string | undefined }>,
  timeout: Duration.Duration
): Stream.Stream<unknown, Problem> =>
  Stream.suspend(() => {
    let events: Array<string> = []
    const parser = Sse.makeParser((event) => {
      if (event._tag === "Event") events.push(event.data)
    })
    const bytes = Duration.isFinite(timeout)
      ? Stream.timeoutOrElse(body, { duration: timeout, orElse: () => Stream.fail(timedOut(timeout)) })
      : body
    return bytes.pipe(
      Stream.mapError((failure): Problem =>
        "kind" in failure ? failure : { kind: "network", message: failure.message, code: failure.code }
      ),
      Stream.decodeText,
      Stream.mapEffect((text) => {
        parser.feed(text)
        const batch = events
        events = []
        const out: Array<unknown> = []
        for (const data of batch) {
          if (data.startsWith("[DONE]")) continue
          const json = parsed(data)
          if (json === undefined) {
            return Effect.fail(malformed(`the server sent an event that is not JSON: ${data.slice(0, 200)}`))
          }
          out.push(json)
        }
        return Effect.succeed(out)
      }),
      Stream.flattenIterable
    )
  })
