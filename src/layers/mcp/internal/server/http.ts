/** The streamable HTTP transport: who may call, how much they may send, and how the sockets end. */
import { createServer, type Server } from "node:http"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as NodeHttpServerRequest from "@effect/platform-node/NodeHttpServerRequest"
import * as ByteSize from "effect/ByteSize"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Headers from "effect/http/Headers"
import * as HttpEffect from "effect/http/HttpEffect"
import * as HttpIncomingMessage from "effect/http/HttpIncomingMessage"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as McpServer from "effect/ai/McpServer"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import { Changes } from "../../../../internal/changes.ts"
import { errorCodeOf } from "../../../internal/http/errorCode.ts"
import { bodyText, unreadableAs } from "../../../internal/jsonBody.ts"
import type { HttpOptions } from "../../McpServer.ts"
import type { Closing } from "./closing.ts"
import { protocols } from "./register.ts"
import { batchProblem, depthProblem, read } from "./requests.ts"
import * as Sessions from "./sessions.ts"

/** How it listens, and what it bears. */
interface Options extends Omit<HttpOptions, "maxSessions" | "sessionIdle"> {
  readonly maxBatch: number
  readonly sessions: { readonly max: number; readonly idleMs: number }
}

/** How long answers may still be written once the scope closes. */
const grace = "2 seconds"

/** Listens until the scope closes. Returns the address of the endpoint. */
export const serveHttp = <E, R>(
  info: { readonly name: string; readonly version: string; readonly instructions?: string },
  registrations: Layer.Layer<never, E, R>,
  closing: Closing,
  options: Options
): Effect.Effect<
  string,
  { readonly host: string; readonly port: number; readonly code: string },
  Exclude<R, McpServer.McpServer> | Scope.Scope
> =>
  Effect.gen(function* () {
    const host = options.host ?? "127.0.0.1"
    const port = options.port ?? 0
    const path = options.path ?? "/mcp"
    // Clients that offer another protocol, such as those of Java do HTTP/2, are answered as all others. Node knows the option from 24.9 on.
    const node = createServer({ shouldUpgradeCallback: () => false })
    const answers = inFlight(node)
    const server = yield* NodeHttpServer.make(() => node, { host, port, gracefulShutdownTimeout: grace }).pipe(
      Effect.mapError(({ cause }) => ({ host, port, code: errorCodeOf(cause) }))
    )
    const app = McpServer.layerHttp({
      ...info,
      path,
      protocols,
      registrations,
      allowSessionTermination: true
    }) as unknown as Layer.Layer<McpServer.McpServer, never, HttpRouter.HttpRouter | Exclude<R, McpServer.McpServer>>
    const context = yield* Layer.build(Layer.provideMerge(app, HttpRouter.layer))
    const routes = Context.get(context, HttpRouter.HttpRouter).asHttpEffect()
    const sessions = yield* Sessions.make(options.sessions, (id) => endSession(routes, path, id))
    yield* Effect.forkScoped(Effect.forever(Effect.delay(sessions.expire, options.sessions.idleMs / 2)))
    yield* server.serve(guarded(routes, options, host, sessions))
    // Registered last, so it runs first: calls are interrupted and answered before the sockets close.
    yield* Effect.addFinalizer(() =>
      Deferred.succeed(closing, undefined).pipe(
        Effect.andThen(answers.none),
        Effect.timeoutOrElse({ duration: grace, orElse: () => Effect.void }),
        Effect.andThen(Effect.sync(() => node.closeAllConnections()))
      )
    )
    const address = node.address()
    const bound = typeof address === "object" && address !== null ? address.port : port
    return `http://${host.includes(":") ? `[${host}]` : host}:${bound}${path}`
  })

/** Ends a session in the server behind, as its client would. */
const endSession = <E, R>(
  routes: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>,
  path: string,
  id: string
): Effect.Effect<void> => {
  const request = new Request(`http://localhost${path}`, { method: "DELETE", headers: { [sessionHeader]: id } })
  return routes.pipe(
    Effect.provideService(HttpServerRequest.HttpServerRequest, HttpServerRequest.fromWeb(request)),
    Effect.scoped,
    Effect.ignore
  ) as Effect.Effect<void>
}

const sessionHeader = "mcp-session-id"

/** Counts the answers that are not written yet. */
const inFlight = (node: Server) => {
  let count = 0
  const ends = new Changes()
  node.on("request", (_request, response) => {
    count++
    response.on("close", () => {
      count--
      ends.notify()
    })
  })
  /** Waits until no request is open. */
  const none: Effect.Effect<void> = Effect.suspend(() => (count === 0 ? Effect.void : Effect.andThen(ends.next, none)))
  return { none }
}

const refusal = (status: number, message: string, headers: Headers.Input = {}) =>
  HttpServerResponse.jsonUnsafe({ jsonrpc: "2.0", id: null, error: { code: -32000, message } }, { status, headers })
const refuse = (...given: Parameters<typeof refusal>) => Effect.succeed(refusal(...given))

/**
 * Answers only who may call. The server behind it knows a list of exact origins, which cannot say "the same host and
 * port"; so origins are judged here, and those that may call are not shown to it.
 */
const guarded = <E, R>(
  app: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>,
  options: Options,
  host: string,
  sessions: Sessions.Sessions
) => {
  const path = options.path ?? "/mcp"
  const allowed = options.allowedHosts ?? ["localhost", "127.0.0.1", "[::1]", host]
  const hosts = new Set(allowed.map((name) => name.toLowerCase()))
  const origins = new Set(options.allowedOrigins ?? [])
  const maxBodySize = options.maxBodySize ?? 4 * 1024 * 1024
  return Effect.gen(function* () {
    const original = yield* HttpServerRequest.HttpServerRequest
    const asked = (original.headers["host"] ?? "").toLowerCase()
    if (!hosts.has(asked.replace(/:\d+$/, ""))) return yield* refuse(403, "This Host is not allowed")
    const origin = original.headers["origin"]
    if (origin !== undefined && !origins.has(origin) && origin !== `http://${asked}`) {
      return yield* refuse(403, "This Origin is not allowed")
    }
    if (original.url.replace(/[?#].*$/s, "") !== path) {
      return yield* refuse(404, `Nothing is served here. The address of the server ends in ${path}`)
    }
    const request = original.modify({ headers: Headers.remove(original.headers, "origin") })
    if (Number(request.headers["content-length"] ?? 0) > maxBodySize) return yield* tooLarge
    if (request.method !== "POST") return yield* inSession(app, request, sessions)
    // Kept by the request, so that the server behind reads the same text.
    const unreadable = unreadableAs(request.headers)
    if (unreadable !== undefined) return yield* refuse(415, `The body is ${unreadable}`)
    const body = yield* Effect.result(bodyText(request))
    if (Result.isFailure(body) && body.failure === "too large") return yield* tooLarge
    if (Result.isFailure(body) && body.failure === "not in UTF-8") {
      return yield* refuse(400, "The body is not in UTF-8, as JSON is")
    }
    const tooDeep = Result.isSuccess(body) ? depthProblem(body.success) : undefined
    if (tooDeep !== undefined) return yield* refuse(400, tooDeep)
    const sent = Result.isSuccess(body) ? read(body.success) : undefined
    if (sent !== undefined && sent.messages > options.maxBatch) {
      return yield* refuse(413, batchProblem(sent.messages, options.maxBatch))
    }
    if (sent !== undefined) Object.defineProperty(request, "text", { value: Effect.succeed(sent.text) })
    if (sent?.isInitialize === true) return yield* beginSession(app, request, sessions)
    const response = yield* inSession(app, request, sessions)
    return sent !== undefined || response.status !== 200 ? response : HttpServerResponse.setStatus(response, 400)
  }).pipe(Effect.provideService(HttpIncomingMessage.MaxBodySize, ByteSize.fromInputUnsafe(maxBodySize)))
}

/** Answers a request of a session, which is not idle until the last of the answer is written. */
const inSession = <E, R>(
  app: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>,
  request: HttpServerRequest.HttpServerRequest,
  sessions: Sessions.Sessions
) =>
  Effect.gen(function* () {
    const id = request.headers[sessionHeader]
    if (id !== undefined) {
      const leave = yield* sessions.enter(id)
      const outgoing = NodeHttpServerRequest.toServerResponse(request)
      if (outgoing.closed) leave()
      else outgoing.once("close", leave)
    }
    const response = yield* Effect.provideService(app, HttpServerRequest.HttpServerRequest, request)
    // The server behind decides on sessions in handlers of its own, which run before this one.
    yield* HttpEffect.appendPreResponseHandler((_, last) =>
      Effect.sync(() => {
        if (id !== undefined && (last.status === 404 || (request.method === "DELETE" && last.status === 204))) {
          sessions.forget(id)
        }
        return explained(last)
      })
    )
    return response
  })

/** Answers an `initialize` when there is a place for its session. */
const beginSession = <E, R>(
  app: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>,
  request: HttpServerRequest.HttpServerRequest,
  sessions: Sessions.Sessions
) =>
  Effect.gen(function* () {
    const reserved = yield* sessions.reserve
    if ("retryAfter" in reserved) {
      const after = { "retry-after": String(reserved.retryAfter) }
      return yield* refuse(503, "The server has as many sessions as it may. Try again later", after)
    }
    const { place } = reserved
    yield* Effect.addFinalizer(() => Effect.sync(place.free))
    const response = yield* Effect.provideService(app, HttpServerRequest.HttpServerRequest, request)
    yield* HttpEffect.appendPreResponseHandler((_, last) =>
      Effect.sync(() => {
        const id = last.headers[sessionHeader]
        if (id === undefined) place.free()
        else place.take(id)
        return explained(last)
      })
    )
    return response
    // A client that hangs up must not leave a session that nothing here knows of.
  }).pipe(Effect.uninterruptible)

const reasons: Readonly<Record<number, string>> = {
  400: "There is no session. Begin one with initialize, and send its Mcp-Session-Id",
  404: "The session is not known or has ended. Begin a new one with initialize",
  405: "This method is not answered here. Send messages with POST, and end a session with DELETE",
  406: "The header Accept has to name application/json and text/event-stream",
  415: "The header Content-Type has to be application/json"
}

/** A refusal with its reason, which the server behind leaves out. */
const explained = (response: HttpServerResponse.HttpServerResponse): HttpServerResponse.HttpServerResponse => {
  const message = reasons[response.status]
  const { body, headers, status } = response
  const isEmpty = body._tag === "Empty" || (body._tag === "Uint8Array" && body.body.length === 0)
  if (message === undefined || !isEmpty) return response
  const kept = Headers.remove(Headers.remove(headers, "content-type"), "content-length")
  return HttpServerResponse.setHeaders(refusal(status, message), kept)
}

const tooLarge = refuse(413, "The request is too large")
