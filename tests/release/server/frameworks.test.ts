/**
 * Handlers of a program's own in other servers, as the guide "Servers" writes them: a stream of a run as a web `Response`. In
 * each a client that hangs up interrupts its run, and a server that ends answers first.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import { createRequire } from "node:module"
import type { AddressInfo } from "node:net"
import { Readable } from "node:stream"
import { pipeline } from "node:stream/promises"
import { getRequestListener, serve as serveHono } from "@hono/node-server"
import { assert, describe, it } from "@effect/vitest"
import { Effect, ManagedRuntime, Stream } from "effect"
import Fastify from "fastify"
import { Hono } from "hono"
import * as Agent from "troupe/Agent"
import * as AgentServer from "troupe/AgentServer"
import * as RunEvent from "troupe/RunEvent"
import * as Serve from "troupe/Serve"
import * as TestModel from "troupe/TestModel"
import { raw, sentIn, until } from "../../support/agentServer.ts"

/** As much of Express as is used here: it has no types of its own. */
interface App {
  (request: IncomingMessage, response: ServerResponse): void
  readonly post: (
    path: string,
    body: unknown,
    handler: (request: IncomingMessage & { readonly body: unknown }, response: ServerResponse) => void
  ) => void
  readonly use: (listener: (request: IncomingMessage, response: ServerResponse) => unknown) => void
}
const express = createRequire(import.meta.url)("express") as (() => App) & {
  readonly text: (options: { readonly type: string }) => unknown
}

const desk = Agent.make("desk", {})

/** A model that hangs after its first word until it is let go. */
const script = () => {
  let release = () => {}
  const gate = new Promise<void>((resolve) => {
    release = resolve
  })
  const state = { interrupted: 0, begun: 0, release }
  const model = TestModel.layer(
    () => {
      state.begun++
      return Effect.as(
        Effect.onInterrupt(
          Effect.promise(() => gate),
          () => Effect.sync(() => state.interrupted++)
        ),
        { text: ["Hello", " there."] }
      )
    },
    { unused: "ignore" }
  )
  return { state, model }
}

type Answer = (question: string, signal: AbortSignal) => Promise<Response>

/** A server of some framework. */
interface Running {
  readonly port: number
  /** Takes nothing more, and waits for the answers under way. */
  readonly close: () => Promise<void>
}

const portOf = (server: Server): number => (server.address() as AddressInfo).port
const closed = (server: Server): Promise<void> =>
  new Promise((resolve) => {
    server.close(() => resolve())
    server.closeIdleConnections()
  })
const listening = (server: Server): Promise<void> => new Promise((resolve) => server.listen(0, "127.0.0.1", resolve))

const textOf = async (request: IncomingMessage): Promise<string> => {
  let text = ""
  for await (const chunk of request) text += String(chunk)
  return text
}

/** The signal of a Node response: it aborts when the client hangs up. */
const hangUp = (response: ServerResponse): AbortSignal => {
  const controller = new AbortController()
  response.on("close", () => controller.abort())
  return controller.signal
}

const send = async (answer: Response, response: ServerResponse): Promise<void> => {
  response.writeHead(answer.status, Object.fromEntries(answer.headers))
  await pipeline(Readable.fromWeb(answer.body as import("node:stream/web").ReadableStream), response).catch(() => {})
}

const frameworks: Readonly<Record<string, (answer: Answer) => Promise<Running>>> = {
  "node:http": async (answer) => {
    const server = createServer(async (request, response) => {
      const signal = hangUp(response)
      await send(await answer(await textOf(request), signal), response)
    })
    await listening(server)
    return { port: portOf(server), close: () => closed(server) }
  },
  Express: async (answer) => {
    const app = express()
    app.post("/chat", express.text({ type: "*/*" }), (request, response) => {
      void answer(String(request.body), hangUp(response)).then((answered) => send(answered, response))
    })
    const server = createServer(app)
    await listening(server)
    return { port: portOf(server), close: () => closed(server) }
  },
  Fastify: async (answer) => {
    const app = Fastify()
    app.addContentTypeParser("*", { parseAs: "string" }, (_request, body, done) => done(null, body))
    app.post("/chat", async (request, reply) => reply.send(await answer(String(request.body), hangUp(reply.raw))))
    await app.listen({ port: 0, host: "127.0.0.1" })
    return { port: portOf(app.server), close: () => app.close() }
  },
  Hono: async (answer) => {
    const app = new Hono()
    app.post("/chat", async (c) => answer(await c.req.text(), c.req.raw.signal))
    const server = serveHono({ fetch: app.fetch, port: 0, hostname: "127.0.0.1" }) as Server
    if (!server.listening) await new Promise((resolve) => server.once("listening", resolve))
    return { port: portOf(server), close: () => closed(server) }
  },
  "a handler like those of Next": async (answer) => {
    const POST = async (request: Request) => answer(await request.text(), request.signal)
    const server = createServer(getRequestListener(POST))
    await listening(server)
    return { port: portOf(server), close: () => closed(server) }
  }
}

for (const [name, start] of Object.entries(frameworks)) {
  describe(name, () => {
    const running = Effect.gen(function* () {
      const { model, state } = script()
      const runtime = ManagedRuntime.make(model)
      const answer: Answer = (question, signal) => {
        const events = desk.stream(question).pipe(
          Stream.map(RunEvent.toClient),
          Stream.filter((event) => event !== undefined)
        )
        return runtime.runPromise(Serve.sse(events, { signal }))
      }
      const server = yield* Effect.acquireRelease(
        Effect.promise(() => start(answer)),
        ({ close }) => Effect.promise(() => Promise.all([close(), runtime.dispose()]))
      )
      return { state, server, runtime, url: new URL(`http://127.0.0.1:${server.port}`) }
    })

    it.live("a client that hangs up interrupts its run", () =>
      Effect.gen(function* () {
        const { state, url } = yield* running
        const client = raw(url, "/chat", "Hi", { headers: { "content-type": "text/plain" } })
        yield* until(() => state.begun === 1 && client.text().includes("Started"))
        assert.strictEqual(state.interrupted, 0)
        client.hangUp()
        yield* until(() => state.interrupted === 1, "the interruption")
      }).pipe(Effect.scoped)
    )

    it.live("a server that ends answers first", () =>
      Effect.gen(function* () {
        const { server, state, url } = yield* running
        const client = raw(url, "/chat", "Hi", { headers: { "content-type": "text/plain" } })
        yield* until(() => client.text().includes("Started"))
        const ended = server.close()
        yield* Effect.sleep("20 millis")
        state.release()
        yield* Effect.promise(() => ended)
        yield* until(client.isEnded)
        assert.isFalse(client.isBroken())
        const last = JSON.parse(sentIn(client.text()).at(-1)!.data)
        assert.deepInclude(last, { _tag: "Completed", output: "Hello there." })
      }).pipe(Effect.scoped)
    )
  })
}

const mounts: Readonly<Record<string, (handler: AgentServer.WebHandler["handler"]) => Promise<Running>>> = {
  "node:http": async (handler) => {
    const server = createServer(getRequestListener(handler))
    await listening(server)
    return { port: portOf(server), close: () => closed(server) }
  },
  Express: async (handler) => {
    const app = express()
    app.use(getRequestListener(handler))
    const server = createServer(app)
    await listening(server)
    return { port: portOf(server), close: () => closed(server) }
  },
  Fastify: async (handler) => {
    const app = Fastify()
    const listener = getRequestListener(handler)
    app.removeAllContentTypeParsers()
    app.addContentTypeParser("*", (_request, _payload, done) => done(null))
    app.all("/*", (request, reply) => {
      reply.hijack()
      void listener(request.raw, reply.raw)
    })
    await app.listen({ port: 0, host: "127.0.0.1" })
    return { port: portOf(app.server), close: () => app.close() }
  },
  Hono: async (handler) => {
    const app = new Hono()
    app.all("/*", (c) => handler(c.req.raw))
    const server = serveHono({ fetch: app.fetch, port: 0, hostname: "127.0.0.1" }) as Server
    if (!server.listening) await new Promise((resolve) => server.once("listening", resolve))
    return { port: portOf(server), close: () => closed(server) }
  }
}

for (const [name, mount] of Object.entries(mounts)) {
  it.live(`AgentServer.toWebHandler in ${name}: runs, streams, and ends with its client`, () =>
    Effect.gen(function* () {
      const { model, state } = script()
      const { dispose, handler } = AgentServer.toWebHandler({ runners: { desk } }, model)
      const server = yield* Effect.acquireRelease(
        Effect.promise(() => mount(handler)),
        ({ close }) => Effect.promise(() => Promise.all([close(), dispose()]))
      )
      const url = new URL(`http://127.0.0.1:${server.port}`)
      const gone = raw(url, "/runners/desk/stream", { input: "Hi" })
      const whole = raw(url, "/runners/desk", { input: "Hi" })
      yield* until(() => gone.text().includes("Started") && state.begun === 2)
      gone.hangUp()
      yield* until(() => state.interrupted === 1, "the interruption")
      state.release()
      yield* until(whole.isEnded)
      assert.deepInclude(JSON.parse(whole.text()), { output: "Hello there." })
    }).pipe(Effect.scoped)
  )
}
