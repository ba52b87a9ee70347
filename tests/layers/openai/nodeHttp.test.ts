/** Node's own transport: kept-alive sockets, proxies, certificates. On real sockets. */
import { spawn } from "node:child_process"
import { createServer, type Server as HttpServer } from "node:http"
import { createServer as createSecureServer } from "node:https"
import { readFileSync } from "node:fs"
import * as net from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as path from "node:path"
import type { HttpTransport, TransportFailure } from "../../../src/services/HttpTransport.ts"
import * as Node from "../../../src/layers/internal/http/nodeTransport.ts"
import { proxyFor } from "../../../src/layers/internal/http/proxy.ts"
import * as Undici from "../../../src/layers/openai/internal/transport/undici.ts"

type Outcome = { readonly status: number; readonly text: string } | { readonly failure: TransportFailure }

/** One request, as its outcome. */
const send = (transport: HttpTransport, url: string, body = "{}") =>
  Effect.callback<Outcome>((resume) => {
    let status = 0
    let text = ""
    const exchange = transport(
      { method: "POST", url, headers: { "x-own": "1" }, body },
      {
        head: (head) => void (status = head.status),
        data: (chunk) => void (text += Buffer.from(chunk).toString()),
        end: () => resume(Effect.succeed({ status, text })),
        fail: (failure) => resume(Effect.succeed({ failure }))
      }
    )
    return Effect.sync(() => exchange.abort())
  })

const listening = <S extends net.Server>(server: S) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly server: S; readonly port: number }>((resume) => {
      server.listen(0, "127.0.0.1", () =>
        resume(Effect.succeed({ server, port: (server.address() as net.AddressInfo).port }))
      )
    }),
    () =>
      Effect.sync(() => {
        if ("closeAllConnections" in server) (server as unknown as HttpServer).closeAllConnections()
        server.close()
      })
  )

/** A server of plain sockets: `on` is called for each request, with its number on its socket and in all. */
const rawServer = (on: (socket: net.Socket, ofSocket: number, all: number) => void) =>
  Effect.suspend(() => {
    let all = 0
    const server = net.createServer((socket) => {
      let ofSocket = 0
      socket.on("error", () => {})
      socket.on("data", () => on(socket, ++ofSocket, ++all))
    })
    return Effect.map(listening(server), ({ port }) => ({ url: `http://127.0.0.1:${port}/`, count: () => all }))
  })

it.live("an answer that cannot be decompressed closes its connection, also where the server goes on", () =>
  Effect.gen(function* () {
    for (const transport of [Node.transport, Undici.transport]) {
      const closed = Promise.withResolvers<void>()
      const { url } = yield* rawServer((socket) => {
        socket.on("close", () => closed.resolve())
        socket.write("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 1000\r\n\r\nnot compressed")
      })
      const outcome = yield* send(transport, url)
      assert.isTrue("failure" in outcome)
      yield* Effect.promise(() => closed.promise)
    }
  })
)

/** undici uses a socket again one turn of the event loop after its answer has ended. */
const aTurn = Effect.callback<void>((resume) => {
  setImmediate(() => setImmediate(() => resume(Effect.void)))
})
const ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

describe("A request on a kept-alive socket", () => {
  for (const [name, transport] of [
    ["node", Node.make({})],
    ["undici", Undici.transport]
  ] as const) {
    it.live(`${name}: is sent once more when the server closed the socket before any byte of an answer`, () =>
      Effect.gen(function* () {
        const { count, url } = yield* rawServer((socket, ofSocket) =>
          ofSocket === 1 ? socket.write(ok) : socket.resetAndDestroy()
        )
        assert.deepStrictEqual(yield* send(transport, url), { status: 200, text: "ok" })
        yield* aTurn
        assert.deepStrictEqual(yield* send(transport, url), { status: 200, text: "ok" })
        assert.strictEqual(count(), 3)
      })
    )

    it.live(`${name}: is not sent again when a part of an answer has come`, () =>
      Effect.gen(function* () {
        const { count, url } = yield* rawServer((socket, ofSocket) => {
          if (ofSocket === 1) return socket.write(ok)
          socket.write("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nsome")
          return setTimeout(() => socket.resetAndDestroy(), 20)
        })
        yield* send(transport, url)
        yield* aTurn
        assert.property(yield* send(transport, url), "failure")
        assert.strictEqual(count(), 2)
      })
    )
  }

  it.live("fails when the new socket is closed as well", () =>
    Effect.gen(function* () {
      const { count, url } = yield* rawServer((socket, _, all) =>
        all === 1 ? socket.write(ok) : socket.resetAndDestroy()
      )
      const transport = Node.make({})
      yield* send(transport, url)
      assert.property(yield* send(transport, url), "failure")
      assert.strictEqual(count(), 3)
    })
  )

  it.live("is not sent again on a socket that was new", () =>
    Effect.gen(function* () {
      const { count, url } = yield* rawServer((socket) => socket.resetAndDestroy())
      assert.property(yield* send(Node.make({}), url), "failure")
      assert.strictEqual(count(), 1)
    })
  )

  it.live("finds one for each of many agents, round after round", () =>
    Effect.gen(function* () {
      let sockets = 0
      let waiting: Array<() => void> = []
      const server = createServer((req, res) => {
        req.resume()
        // Answered when all have come, so that each needs a socket.
        waiting.push(() => res.end("ok"))
        if (waiting.length < 400) return
        for (const go of waiting) go()
        waiting = []
      })
      server.keepAliveTimeout = 60_000
      server.on("connection", () => void sockets++)
      const { port } = yield* listening(server)
      const transport = Node.make({})
      const round = Effect.all(
        Array.from({ length: 400 }, () => send(transport, `http://127.0.0.1:${port}/`)),
        { concurrency: "unbounded" }
      )
      for (let n = 0; n < 3; n++) {
        for (const one of yield* round) assert.deepStrictEqual(one, { status: 200, text: "ok" })
      }
      assert.strictEqual(sockets, 400)
    })
  )
})

describe("proxyFor", () => {
  const env = (more: Record<string, string>) => ({ HTTP_PROXY: "http://p:3128", https_proxy: "s:8080", ...more })
  const of = (url: string, more: Record<string, string> = {}) => proxyFor(new URL(url), env(more))?.host

  it("takes the variable of the address's protocol, in lower case first", () => {
    assert.strictEqual(of("http://a.example/"), "p:3128")
    assert.strictEqual(of("https://a.example/"), "s:8080")
    assert.strictEqual(of("http://a.example/", { http_proxy: "http://lower:1" }), "lower:1")
    assert.isUndefined(of("http://a.example/", { http_proxy: "" }))
    assert.isUndefined(of("http://a.example/", { http_proxy: "ftp://p" }))
    assert.isUndefined(proxyFor(new URL("http://a.example/"), {}))
  })

  it("spares what no_proxy names", () => {
    for (const [list, url, isSpared] of [
      ["*", "http://a.example/", true],
      ["a.example", "http://a.example/", true],
      ["a.example", "http://b.a.example/", true],
      [".a.example", "http://b.a.example/", true],
      ["*.a.example", "http://b.a.example/", true],
      ["A.EXAMPLE", "http://a.example/", true],
      ["a.example", "http://ba.example/", false],
      ["b.example, a.example", "http://a.example/", true],
      ["a.example:80", "http://a.example/", true],
      ["a.example:443", "http://a.example/", false],
      ["a.example:8000", "http://a.example:8000/", true],
      ["127.0.0.1", "http://127.0.0.1:99/", true],
      ["::1", "http://[::1]:99/", true],
      ["[::1]:99", "http://[::1]:99/", true],
      ["[::1]:98", "http://[::1]:99/", false],
      ["", "http://a.example/", false],
      [" , ", "http://a.example/", false]
    ] as const) {
      assert.strictEqual(of(url, { NO_PROXY: list }) === undefined, isSpared, `${list} ${url}`)
    }
  })
})

const tls = path.resolve(import.meta.dirname, "../../support/tls")
const pair = { cert: readFileSync(path.join(tls, "cert.pem")), key: readFileSync(path.join(tls, "key.pem")) }

/** A proxy; `seen` has what it was asked for. */
const proxyServer = (authorization: string | undefined = undefined) =>
  Effect.suspend(() => {
    const seen: Array<string> = []
    const isAllowed = (headers: NodeJS.Dict<unknown>) =>
      authorization === undefined || headers["proxy-authorization"] === authorization
    const server = createServer((req, res) => {
      seen.push(`${req.method} ${req.url} ${req.headers.host} ${req.headers["x-own"]}`)
      res.writeHead(isAllowed(req.headers) ? 200 : 407).end("by the proxy")
    })
    server.on("connect", (req, socket: net.Socket) => {
      seen.push(`CONNECT ${req.url}`)
      socket.on("error", () => {})
      if (!isAllowed(req.headers)) return socket.end("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
      const [host, port] = req.url!.split(":")
      const other = net.connect(Number(port), host!, () => {
        socket.write("HTTP/1.1 200 Connection established\r\n\r\n")
        socket.pipe(other).pipe(socket)
      })
      other.on("error", () => socket.destroy())
      return undefined
    })
    return Effect.map(listening(server), ({ port }) => ({ port, seen }))
  })

const codeOf = (outcome: Outcome): string | undefined =>
  "failure" in outcome && outcome.failure._tag === "HttpFailure" ? outcome.failure.code : assert.fail("it succeeded")

describe("Node's transport", () => {
  it.live(
    "asks a proxy for addresses that are not encrypted, with its credentials and for the host that is meant",
    () =>
      Effect.gen(function* () {
        const { port, seen } = yield* proxyServer(`Basic ${btoa("me:p@ss")}`)
        const good = Node.make({ http_proxy: `http://me:p%40ss@127.0.0.1:${port}` })
        const outcome = yield* send(good, "http://models.example:8000/v1?a=1")
        assert.deepStrictEqual(outcome, { status: 200, text: "by the proxy" })
        assert.deepStrictEqual(seen, ["POST http://models.example:8000/v1?a=1 models.example:8000 1"])
        const bad = yield* send(Node.make({ http_proxy: `http://127.0.0.1:${port}` }), "http://models.example/")
        assert.deepStrictEqual(bad, { status: 407, text: "by the proxy" })
      })
  )

  it.live("goes through a tunnel to addresses that are encrypted, and keeps it for the next request", () =>
    Effect.gen(function* () {
      const bodies: Array<string> = []
      const server = createSecureServer(pair, (req, res) => {
        let body = ""
        req.on("data", (chunk) => (body += chunk))
        req.on("end", () => {
          bodies.push(`${req.headers.host} ${body}`)
          res.end("secure")
        })
      })
      const { port } = yield* listening(server)
      const proxy = yield* proxyServer()
      // Its certificate is not known here; that it is looked at is shown below.
      const child = yield* Effect.promise(
        () =>
          new Promise<string>((resolve) => {
            const program = `
              import * as Node from ${JSON.stringify(path.resolve("src/layers/internal/http/nodeTransport.ts"))}
              const ask = (body) => new Promise((resolve) => {
                let text = ""
                Node.transport({ method: "POST", url: "https://localhost:${port}/", headers: {}, body }, {
                  head: () => {}, data: (chunk) => (text += Buffer.from(chunk)), end: () => resolve(text),
                  fail: (failure) => resolve(failure.code)
                })
              })
              console.log(await ask("one"), await ask("two"))
            `
            const { HTTP_PROXY: _a, NO_PROXY: _b, no_proxy: _c, ...env } = process.env
            const running = spawn(process.execPath, ["--input-type=module", "--eval", program], {
              env: {
                ...env,
                HTTPS_PROXY: `http://127.0.0.1:${proxy.port}`,
                https_proxy: `http://127.0.0.1:${proxy.port}`,
                NODE_EXTRA_CA_CERTS: path.join(tls, "cert.pem")
              },
              stdio: ["ignore", "pipe", "inherit"]
            })
            let out = ""
            running.stdout.on("data", (chunk) => (out += chunk))
            running.on("close", () => resolve(out.trim()))
          })
      )
      assert.strictEqual(child, "secure secure")
      assert.deepStrictEqual(bodies, [`localhost:${port} one`, `localhost:${port} two`])
      assert.deepStrictEqual(proxy.seen, [`CONNECT localhost:${port}`])
    })
  )

  it.live("sends nothing to a server whose certificate is not known, with a proxy or without", () =>
    Effect.gen(function* () {
      let asked = 0
      const { port } = yield* listening(createSecureServer(pair, (_, res) => void (asked++, res.end())))
      const proxy = yield* proxyServer()
      for (const env of [{}, { https_proxy: `http://127.0.0.1:${proxy.port}` }]) {
        const outcome = yield* send(Node.make(env), `https://localhost:${port}/`)
        assert.match(String(codeOf(outcome)), /SELF_SIGNED|UNABLE_TO_VERIFY/)
      }
      assert.strictEqual(asked, 0)
      assert.deepStrictEqual(proxy.seen, [`CONNECT localhost:${port}`])
    })
  )

  it.live("says that a proxy opens no tunnel, or is not there", () =>
    Effect.gen(function* () {
      const { port } = yield* proxyServer("Basic other")
      const refused = yield* send(Node.make({ https_proxy: `http://127.0.0.1:${port}` }), "https://models.example/")
      assert.strictEqual(codeOf(refused), "EPROXY")
      assert.include(JSON.stringify(refused), `the proxy 127.0.0.1:${port} opens no tunnel: HTTP 407`)
      const gone = yield* send(Node.make({ https_proxy: "http://127.0.0.1:1" }), "https://models.example/")
      assert.strictEqual(codeOf(gone), "ECONNREFUSED")
    })
  )
})
