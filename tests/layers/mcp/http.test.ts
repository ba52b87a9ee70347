/** MCP servers behind an address: streamable HTTP and SSE, tokens, lost sessions and connections, sockets. */
import type * as http from "node:http"
import { it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Redacted } from "effect"
import { TestClock } from "effect/testing"
import { Mcp } from "troupe"
import { afterAll, beforeAll, describe, expect, vi } from "vitest"
import { call } from "../../support/mcpCall.ts"
import { failure } from "../../support/mcpChecks.ts"
import { startEverything, until } from "../../support/mcpEverything.ts"
import { startMcpHttp } from "../../support/mcpHttp.ts"
import { browse, startMcpOAuth } from "../../support/mcpOAuth.ts"
import { tcpProxy } from "../../support/tcpProxy.ts"

const resource = <A>(start: () => Promise<A>, stop: (started: A) => Promise<unknown>) =>
  Effect.acquireRelease(Effect.promise(start), (started) => Effect.promise(() => stop(started)))

const proxied = (port: number) =>
  resource(
    () => tcpProxy(port),
    (proxy) => proxy.close()
  )
const httpServer = (options: Parameters<typeof startMcpHttp>[0] = {}) =>
  resource(
    () => startMcpHttp(options),
    (server) => server.close()
  )
const eventually = (done: () => boolean) => Effect.promise(() => until(done))

/**
 * Gives `fetch` connections of its own for one program, and closes them after it: that waits for those in use, and does not
 * keep the others open for seconds as `fetch` does.
 */
const ownConnections = resource(
  async () => {
    const key = Symbol.for("undici.globalDispatcher.1")
    interface Dispatcher {
      readonly close: () => Promise<void>
    }
    const global = globalThis as { [key]?: Dispatcher & { readonly constructor: new () => Dispatcher } }
    // It is there from the first use on.
    if (global[key] === undefined) await fetch("data:,")
    const before = global[key]!
    const own = new before.constructor()
    global[key] = own as typeof before
    return { close: () => own.close(), restore: () => (global[key] = before) }
  },
  async ({ restore }) => restore()
)

describe.each(["streamableHttp", "sse"] as const)("the everything server by %s", (transport) => {
  let server: Awaited<ReturnType<typeof startEverything>>
  beforeAll(async () => {
    server = await startEverything(transport)
  })
  afterAll(() => server.stop())

  const direct = transport === "sse" ? "sse" : "http"
  for (const wanted of ["auto", direct] as const) {
    it.live(`gives tools, progress and images, and no socket stays in use; asked for as "${wanted}"`, () =>
      Effect.gen(function* () {
        const proxy = yield* proxied(server.port)
        const connections = yield* ownConnections
        const url = server.url.replace(String(server.port), String(proxy.port))
        yield* Effect.scoped(
          Effect.gen(function* () {
            const mcp = yield* Mcp.connect({ servers: { everything: { url, transport: wanted } } })
            const tools = yield* mcp.tools()
            expect(yield* call(tools, "echo", { message: "hi" })).toBe("Echo: hi")
            const reported: Array<unknown> = []
            const operation = (duration: number, steps: number) =>
              call(tools, "trigger-long-running-operation", { duration, steps }, (one) => reported.push(one))
            yield* operation(0.2, 2)
            expect(reported).toContainEqual({ progress: 1, total: 2 })
            expect(yield* call(tools, "get-tiny-image")).toMatchObject([{}, { type: "image" }, {}])
            expect(failure(yield* Effect.exit(call(tools, "get-sum", { a: "x" })))).toMatchObject({ reason: "invalid" })
            const before = reported.length
            const fiber = yield* Effect.forkChild(operation(60, 600))
            yield* eventually(() => reported.length > before)
            yield* Fiber.interrupt(fiber)
            expect(yield* call(tools, "echo", { message: "again" })).toBe("Echo: again")
          })
        )
        expect(proxy.total()).toBeGreaterThan(0)
        yield* Effect.promise(connections.close)
        yield* eventually(() => proxy.open() === 0)
      })
    )
  }
})

describe("streamable HTTP", () => {
  it.live("leaves no timer that would ask for the streams again of a session that is over", () =>
    Effect.gen(function* () {
      const server = yield* resource(
        () => startEverything("streamableHttp"),
        (server) => server.stop()
      )
      const pending = new Set<unknown>()
      const later = globalThis.setTimeout
      vi.spyOn(globalThis, "clearTimeout").mockImplementation((timer) => {
        pending.delete(timer)
        if (typeof timer === "object") timer[Symbol.dispose]()
      })
      vi.spyOn(globalThis, "setTimeout").mockImplementation(((run: () => void, ms: number) => {
        const timer = later(() => {
          pending.delete(timer)
          run()
        }, ms)
        if (new Error("where").stack?.includes("_scheduleReconnection") === true) pending.add(timer)
        return timer
      }) as typeof setTimeout)
      for (let round = 0; round < 3; round++) {
        yield* Effect.scoped(
          Effect.gen(function* () {
            const mcp = yield* Mcp.connect({ servers: { everything: { url: server.url } } })
            const tools = yield* mcp.tools()
            let reported = 0
            yield* Effect.forkChild(
              call(tools, "trigger-long-running-operation", { duration: 60, steps: 600 }, () => void reported++)
            )
            yield* eventually(() => reported > 0)
          })
        )
        expect(pending.size).toBe(0)
      }
    }).pipe(Effect.ensuring(Effect.sync(() => vi.restoreAllMocks())))
  )

  for (const json of [false, true]) {
    it.live(`works where answers come as ${json ? "JSON" : "streams"}, and ends its session`, () =>
      Effect.gen(function* () {
        const server = yield* httpServer({ json })
        yield* Effect.scoped(
          Effect.gen(function* () {
            const tools = yield* (yield* Mcp.connect({ servers: { http: { url: server.url } } })).tools()
            expect(yield* call(tools, "safe")).toBe("safe 1")
            expect(server.sessions.size).toBe(1)
          })
        )
        expect(server.sessions.size).toBe(0)
        expect(server.seen.at(-1)).toMatchObject({ method: "DELETE" })
      })
    )
  }

  it.live("sends its token with every request, and never shows it", () =>
    Effect.gen(function* () {
      const server = yield* httpServer({ token: "t0p-secret" })
      const connect = (token: string) =>
        Mcp.connect({ servers: { http: { url: server.url, token: Redacted.make(token) } } })
      yield* Effect.scoped(Effect.flatMap(connect("t0p-secret"), (mcp) => mcp.tools()))
      expect(server.seen.every(({ authorization }) => authorization === "Bearer t0p-secret")).toBe(true)
      const error = failure(yield* Effect.exit(Effect.scoped(connect("wr0ng-secret"))))
      expect(error).toMatchObject({
        _tag: "McpConnectError",
        reason: "unauthorized",
        message: expect.stringContaining("token")
      })
      expect(JSON.stringify(error) + String(error)).not.toContain("wr0ng-secret")
    })
  )

  it.live("opens a new session when the server has forgotten the old one, and makes the refused call once more", () =>
    Effect.gen(function* () {
      const server = yield* httpServer()
      const tools = yield* (yield* Mcp.connect({ servers: { http: { url: server.url } } })).tools()
      server.forget()
      expect(yield* call(tools, "safe")).toBe("safe 1")
      server.forget()
      // The server has not acted on it, with any hints of the tool.
      expect(yield* call(tools, "unsafe")).toBe("unsafe 2")
      expect(server.calls).toEqual(["safe", "unsafe"])
    })
  )

  it.live("makes a call that every session refuses once more only", () =>
    Effect.gen(function* () {
      let refused = 0
      const server = yield* httpServer({
        front: (_request, response, body) => {
          if (!body.includes("tools/call")) return false
          refused++
          response.writeHead(404).end("Session not found")
          return true
        }
      })
      const tools = yield* (yield* Mcp.connect({ servers: { http: { url: server.url } } })).tools()
      expect(failure(yield* Effect.exit(call(tools, "unsafe")))).toMatchObject({
        reason: "unavailable",
        executed: "no",
        message: expect.stringContaining("not executed: HTTP 404: Session not found")
      })
      expect(refused).toBe(2)
    })
  )

  it.live("fails a call whose answer's stream ends without the answer", () =>
    Effect.gen(function* () {
      const server = yield* httpServer()
      const tools = yield* (yield* Mcp.connect({ servers: { http: { url: server.url } } })).tools()
      const fiber = yield* Effect.forkChild(Effect.exit(call(tools, "hang")))
      yield* eventually(() => server.calls.includes("hang"))
      server.dropHanging()
      expect(failure(yield* Fiber.join(fiber))).toMatchObject({ reason: "lost", executed: "unknown" })
    })
  )

  it.live("notifies the server of an interruption, and releases the connection of the call", () =>
    Effect.gen(function* () {
      const server = yield* httpServer()
      const tools = yield* (yield* Mcp.connect({ servers: { http: { url: server.url } } })).tools()
      const fibers = yield* Effect.forEach([1, 2, 3, 4, 5], () => Effect.forkChild(call(tools, "hang")))
      yield* eventually(() => server.calls.filter((name) => name === "hang").length === 5)
      expect(server.hanging()).toBe(5)
      yield* Fiber.interruptAll(fibers)
      yield* eventually(() => server.calls.filter((name) => name === "cancelled").length === 5)
      yield* eventually(() => server.hanging() === 0)
    })
  )

  it.live("releases the connection of an interrupted call that the server does not begin to answer", () =>
    Effect.gen(function* () {
      const silent: Array<http.ServerResponse> = []
      const server = yield* httpServer({
        front: (_, response, body) => /"tools\/call"|"notifications\/cancelled"/.test(body) && silent.push(response) > 0
      })
      const tools = yield* (yield* Mcp.connect({ servers: { http: { url: server.url } } })).tools()
      const fiber = yield* Effect.forkChild(call(tools, "safe"))
      yield* eventually(() => silent.length === 1)
      yield* Fiber.interrupt(fiber)
      yield* eventually(() => silent.length === 2 && silent[0]!.closed)
    })
  )

  it.live("reports an error of the server's front as it is", () =>
    Effect.gen(function* () {
      const server = yield* httpServer()
      const tools = yield* (yield* Mcp.connect({ servers: { http: { url: server.url } } })).tools()
      server.failCalls(503)
      expect(failure(yield* Effect.exit(call(tools, "safe")))).toMatchObject({
        reason: "rejected",
        code: "503",
        message: expect.stringContaining("try later")
      })
      server.failCalls(undefined)
      expect(yield* call(tools, "safe")).toBe("safe 1")
    })
  )

  it.live("gives up one call for one lost connection, and none for a server's own error", () =>
    Effect.gen(function* () {
      const server = yield* httpServer()
      const tools = yield* (yield* Mcp.connect({ servers: { http: { url: server.url } } })).tools()
      const fiber = yield* Effect.forkChild(call(tools, "hang"))
      yield* eventually(() => server.calls.includes("hang"))
      expect(failure(yield* Effect.exit(call(tools, "drop")))).toMatchObject({ reason: "lost", executed: "unknown" })
      expect(failure(yield* Effect.exit(call(tools, "refuse")))).toMatchObject({
        reason: "rejected",
        message: expect.stringContaining("I would rather not")
      })
      expect(server.calls.filter((name) => name === "refuse")).toHaveLength(1)
      expect(fiber.pollUnsafe()).toBeUndefined()
      expect(server.sessions.size).toBe(1)
    })
  )

  it.live("goes on after its connections were cut", () =>
    Effect.gen(function* () {
      const server = yield* httpServer()
      const proxy = yield* proxied(server.port)
      const url = server.url.replace(String(server.port), String(proxy.port))
      const tools = yield* (yield* Mcp.connect({ servers: { http: { url } } })).tools()
      const fiber = yield* Effect.forkChild(Effect.exit(call(tools, "hang")))
      yield* eventually(() => server.calls.includes("hang"))
      proxy.cut()
      expect(failure(yield* Fiber.join(fiber))).toMatchObject({ reason: "lost" })
      expect(yield* call(tools, "safe")).toMatch(/^safe/)
    })
  )
})

describe("authorization", () => {
  const oauthServer = resource(startMcpOAuth, (server) => server.close())
  const redirectUrl = "http://localhost:9/callback"

  for (const transport of ["http", "auto"] as const) {
    it.live(`asks the user once, keeps the tokens, and refreshes them; asked for as "${transport}"`, () =>
      Effect.gen(function* () {
        const server = yield* oauthServer
        let kept: Redacted.Redacted | undefined
        let users = 0
        const oauth: Mcp.OAuthOptions = {
          redirectUrl,
          authorize: (url) => {
            users++
            return Effect.promise(() => browse(url))
          },
          store: {
            load: Effect.sync(() => kept),
            save: (state) =>
              Effect.sync(() => {
                kept = state
              })
          }
        }
        const connect = Mcp.connect({ servers: { safe: { url: server.url, transport, oauth } } })
        const use = Effect.scoped(
          Effect.flatMap(connect, (mcp) => Effect.flatMap(mcp.tools(), (tools) => call(tools, "safe")))
        )
        expect(yield* use).toBe("safe 1")
        expect(server.asked).toEqual(["register", "authorize", "authorization_code"])
        expect(yield* use).toBe("safe 2")
        expect(server.asked).toHaveLength(3)
        server.expire(false)
        expect(yield* use).toBe("safe 3")
        expect(server.asked.slice(3)).toEqual(["refresh_token"])
        expect(users).toBe(1)
        expect(String(kept)).not.toContain("access_token")
      })
    )
  }

  it.live("is asked for again in the middle, once for all calls, and none of them is lost", () =>
    Effect.gen(function* () {
      const server = yield* oauthServer
      let users = 0
      const oauth: Mcp.OAuthOptions = {
        redirectUrl,
        authorize: (url) => {
          users++
          return Effect.delay(
            Effect.promise(() => browse(url)),
            "100 millis"
          )
        }
      }
      const mcp = yield* Mcp.connect({ servers: { safe: { url: server.url, oauth } } })
      const tools = yield* mcp.tools()
      server.expire(true)
      const calls = yield* Effect.all(
        [1, 2, 3].map(() => call(tools, "unsafe")),
        { concurrency: "unbounded" }
      )
      expect(calls).toHaveLength(3)
      expect(users).toBe(2)
    })
  )

  it.effect("may take the user longer than connecting may", () =>
    Effect.gen(function* () {
      const server = yield* oauthServer
      const asked = yield* Deferred.make<void>()
      const oauth: Mcp.OAuthOptions = {
        redirectUrl,
        authorize: (url) =>
          Deferred.succeed(asked, undefined).pipe(
            Effect.andThen(Effect.sleep("3 minutes")),
            Effect.andThen(Effect.promise(() => browse(url)))
          )
      }
      const connect = Mcp.connect({ servers: { safe: { url: server.url, oauth, connectTimeout: "2 minutes" } } })
      const connecting = yield* Effect.forkChild(connect)
      yield* Deferred.await(asked)
      yield* TestClock.adjust("3 minutes")
      expect(yield* call(yield* (yield* Fiber.join(connecting)).tools(), "safe")).toBe("safe 1")
    })
  )

  it.live("with client credentials asks no user", () =>
    Effect.gen(function* () {
      const server = yield* oauthServer
      const connect = (secret: string) =>
        Mcp.connect({
          servers: { safe: { url: server.url, oauth: { clientId: "me", clientSecret: Redacted.make(secret) } } }
        })
      const tools = yield* (yield* connect(server.secret)).tools()
      expect(yield* call(tools, "safe")).toBe("safe 1")
      expect(server.asked).toEqual(["client_credentials"])
      const error = failure(yield* Effect.exit(connect("wr0ng-secret")))
      expect(error).toMatchObject({ _tag: "McpConnectError" })
      expect(JSON.stringify(error) + String(error)).not.toContain("wr0ng-secret")
    })
  )

  it.live("that the user refuses fails the Layer", () =>
    Effect.gen(function* () {
      const server = yield* oauthServer
      const oauth: Mcp.OAuthOptions = { redirectUrl, authorize: () => Effect.fail(new Error("the user said no")) }
      const error = failure(yield* Effect.exit(Mcp.connect({ servers: { safe: { url: server.url, oauth } } })))
      expect(error).toMatchObject({ reason: "unauthorized", message: expect.stringContaining("the user said no") })
    })
  )
})
