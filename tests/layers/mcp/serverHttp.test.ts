/** Who may call a server over HTTP, how much they may send, and what is left when they or it are gone. */
import { type IncomingMessage, request, type RequestOptions } from "node:http"
import { connect } from "node:net"
import { Client } from "@modelcontextprotocol/sdk/client/index.js"
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js"
import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Exit, Fiber, Layer, Redacted, Schema, Scope } from "effect"
import { Agent, McpServer, OpenAi, Runner } from "troupe"
import { make as modelServer } from "../../support/openAiServer.ts"

const echo = Runner.make("echo", { description: "Says it back", run: (text: string) => Effect.succeed(text) })
const agent = Agent.make("agent", { description: "Thinks", instructions: "Think." })

/** Starts a server in this process; it ends with the scope. */
const serve = (http: McpServer.HttpOptions = {}) =>
  Effect.map(Layer.build(McpServer.serve({ tools: [echo], http })), (context) => {
    const { url } = Context.get(context, McpServer.Served)
    return new URL(url!)
  })

/** The same with an agent whose model never answers. */
const serveAgent = Effect.gen(function* () {
  const model = yield* modelServer([{ hang: true }])
  const server = McpServer.serve({ tools: [echo, agent], http: {} }).pipe(
    Layer.provide(OpenAi.layer({ model: "m", baseUrl: model.url, apiKey: Redacted.make("k"), retry: "none" }))
  )
  return { model, server }
})

interface Answer {
  readonly status: number
  readonly headers: IncomingMessage["headers"]
  readonly body: string
}

const send = (url: URL, options: RequestOptions, body: string | Buffer = "", chunked = false) =>
  Effect.callback<Answer, Error>((resume) => {
    const outgoing = request(url, { agent: false, ...options }, (incoming) => {
      let text = ""
      incoming.on("data", (chunk) => (text += chunk))
      incoming.on("end", () =>
        resume(Effect.succeed({ status: incoming.statusCode!, headers: incoming.headers, body: text }))
      )
      incoming.on("error", (error) => resume(Effect.fail(error)))
    })
    outgoing.on("error", (error) => resume(Effect.fail(error)))
    // Without a length, the body is sent in chunks.
    if (chunked) outgoing.write(body.slice(0, 1))
    outgoing.end(chunked ? body.slice(1) : body)
    return Effect.sync(() => outgoing.destroy())
  })

const json = { "content-type": "application/json", accept: "application/json, text/event-stream" }
const initialize = JSON.stringify({
  jsonrpc: "2.0",
  id: 0,
  method: "initialize",
  params: { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "raw", version: "1" } }
})
const post = (url: URL, headers: Record<string, string>, body: string | Buffer, chunked = false) =>
  send(url, { method: "POST", headers: { ...json, ...headers } }, body, chunked)
const calls = (name: string) =>
  JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params: { name, arguments: { input: "hello" } } })

/** The headers of a session that is begun. */
const session = (url: URL) =>
  Effect.map(post(url, {}, initialize), ({ headers, status }) => {
    assert.strictEqual(status, 200)
    return { "mcp-session-id": String(headers["mcp-session-id"]), "mcp-protocol-version": "2025-11-25" }
  })

describe("who may call", () => {
  it.live("this machine by its usual names, and by no other", () =>
    Effect.gen(function* () {
      const url = yield* serve()
      const by = (host: string) => Effect.map(post(url, { host }, initialize), ({ status }) => status)
      for (const host of [`127.0.0.1:${url.port}`, `localhost:${url.port}`, "LocalHost", `[::1]:${url.port}`]) {
        assert.strictEqual(yield* by(host), 200, host)
      }
      for (const host of ["evil.example", `evil.example:${url.port}`, "localhost.evil.example", "127.0.0.1.nip.io"]) {
        assert.strictEqual(yield* by(host), 403, host)
      }
    }).pipe(Effect.scoped)
  )

  it.live("pages of the same host and port, and of origins that are allowed", () =>
    Effect.gen(function* () {
      const url = yield* serve({ allowedOrigins: ["https://app.example"] })
      const from = (origin: string) => Effect.map(post(url, { origin }, initialize), ({ status }) => status)
      assert.strictEqual(yield* from(url.origin), 200)
      assert.strictEqual(yield* from("https://app.example"), 200)
      for (const origin of ["http://evil.example", "http://127.0.0.1:1", "null", "https://app.example.evil.example"]) {
        assert.strictEqual(yield* from(origin), 403, origin)
      }
    }).pipe(Effect.scoped)
  )

  it.live("hosts that are named, instead of the usual ones", () =>
    Effect.gen(function* () {
      const url = yield* serve({ allowedHosts: ["tools.example"] })
      assert.strictEqual((yield* post(url, { host: "tools.example:8080" }, initialize)).status, 200)
      assert.strictEqual((yield* post(url, { host: "localhost" }, initialize)).status, 403)
    }).pipe(Effect.scoped)
  )
})

describe("how much they may send", () => {
  it.live("a body that is too large is refused, whether it says so or not", () =>
    Effect.gen(function* () {
      const url = yield* serve({ maxBodySize: 1000 })
      const large = initialize.replace("raw", "r".repeat(1000))
      assert.strictEqual((yield* post(url, { "content-length": String(large.length) }, large)).status, 413)
      assert.strictEqual((yield* post(url, {}, large, true)).status, 413)
      assert.strictEqual((yield* post(url, {}, initialize, true)).status, 200)
    }).pipe(Effect.scoped)
  )
})

describe("what is refused", () => {
  it.live("says why, with the status that clients expect", () =>
    Effect.gen(function* () {
      const url = yield* serve()
      const refusal = (answer: Answer) => {
        const { error } = JSON.parse(answer.body) as { readonly error: { readonly message: string } }
        return [answer.status, error.message] as const
      }
      const refused = (...expected: readonly [status: number, part: string]) =>
        Effect.map((answer: Answer) => {
          const [status, message] = refusal(answer)
          assert.strictEqual(status, expected[0])
          assert.include(message, expected[1])
        })
      yield* post(url, { accept: "text/html" }, initialize).pipe(refused(406, "Accept"))
      yield* post(url, { "content-type": "text/plain" }, initialize).pipe(refused(415, "Content-Type"))
      yield* post(url, { "mcp-session-id": "none" }, calls("echo")).pipe(refused(404, "session"))
      yield* post(url, {}, calls("echo")).pipe(refused(400, ""))
      yield* post(new URL("/other", url), {}, initialize).pipe(refused(404, "/mcp"))
      yield* send(url, { method: "GET", headers: json }).pipe(refused(405, "POST"))
      yield* post(url, {}, "{").pipe(refused(400, ""))
      yield* post(url, { "content-encoding": "gzip" }, initialize).pipe(refused(415, "compressed"))
      yield* post(url, { "content-type": "application/json; charset=utf-16" }, initialize).pipe(refused(415, "UTF-8"))
      yield* post(url, {}, Buffer.from('{ "method": "caf\xe9" }', "latin1")).pipe(refused(400, "UTF-8"))
      yield* send(url, { method: "GET", path: "//", headers: json }).pipe(refused(404, "/mcp"))
    }).pipe(Effect.scoped)
  )

  it.live("is nested deeper than a tool could read", () =>
    Effect.gen(function* () {
      const url = yield* serve()
      const headers = yield* session(url)
      const nested = (depth: number) => calls("echo").replace('"hello"', `${"[".repeat(depth)}${"]".repeat(depth)}`)
      for (const depth of [600, 400_000]) {
        const { body, status } = yield* post(url, headers, nested(depth))
        assert.strictEqual(status, 400)
        assert.include(body, "deeper than 500 levels")
      }
      assert.strictEqual((yield* post(url, headers, calls("echo"))).status, 200)
    }).pipe(Effect.scoped)
  )

  it.live("is not a request whose optional fields are null", () =>
    Effect.gen(function* () {
      const url = yield* serve()
      const headers = yield* session(url)
      const { params, ...call } = JSON.parse(calls("echo")) as { readonly params: object }
      for (const _meta of [null, { progressToken: null }]) {
        const { body, status } = yield* post(url, headers, JSON.stringify({ ...call, params: { ...params, _meta } }))
        assert.strictEqual(status, 200)
        assert.include(body, "hello")
      }
      const list = { jsonrpc: "2.0", id: 2, method: "tools/list", params: null }
      assert.include((yield* post(url, headers, JSON.stringify(list))).body, "echo")
    }).pipe(Effect.scoped)
  )
})

describe("sessions", () => {
  it.live("end when their client says so, with the runs in them", () =>
    Effect.gen(function* () {
      const { model, server } = yield* serveAgent
      const { url } = Context.get(yield* Layer.build(server), McpServer.Served)
      const at = new URL(url!)
      const mine = yield* session(at)
      const other = yield* session(at)
      yield* Effect.forkChild(post(at, mine, calls("agent")))
      yield* model.untilSeen(1)
      assert.strictEqual((yield* send(at, { method: "DELETE", headers: mine })).status, 204)
      yield* model.untilAborted(1)
      assert.strictEqual((yield* post(at, mine, calls("echo"))).status, 404)
      assert.include((yield* post(at, other, calls("echo"))).body, "hello")
    }).pipe(Effect.scoped)
  )

  it.live("are asked for", () =>
    Effect.gen(function* () {
      const url = yield* serve()
      assert.strictEqual((yield* post(url, {}, calls("echo"))).status, 400)
      assert.strictEqual((yield* post(url, { "mcp-session-id": "made-up" }, calls("echo"))).status, 404)
    }).pipe(Effect.scoped)
  )
})

describe("what is left", () => {
  it.live("nothing of a run whose client has hung up", () =>
    Effect.gen(function* () {
      const { model, server } = yield* serveAgent
      const { url } = Context.get(yield* Layer.build(server), McpServer.Served)
      const at = new URL(url!)
      const mine = yield* session(at)
      const call = yield* Effect.forkChild(post(at, mine, calls("agent")))
      yield* model.untilSeen(1)
      call.interruptUnsafe()
      yield* model.untilAborted(1)
      assert.include((yield* post(at, mine, calls("echo"))).body, "hello")
    }).pipe(Effect.scoped)
  )

  it.live("nothing of a run without a session, in the newest revision, whose client has hung up", () =>
    Effect.gen(function* () {
      const { model, server } = yield* serveAgent
      const { url } = Context.get(yield* Layer.build(server), McpServer.Served)
      const at = new URL(url!)
      const calls = (name: string) => {
        const headers = { "mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": name }
        const _meta = {
          "io.modelcontextprotocol/protocolVersion": "2026-07-28",
          "io.modelcontextprotocol/clientCapabilities": {},
          progressToken: "p"
        }
        const params = { name, arguments: { input: "hello" }, _meta }
        return post(at, headers, JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params }))
      }
      const call = yield* Effect.forkChild(calls("agent"))
      yield* model.untilSeen(1)
      call.interruptUnsafe()
      yield* model.untilAborted(1)
      assert.include((yield* calls("echo")).body, "hello")
    }).pipe(Effect.scoped)
  )

  it.live("no run and no socket when the scope closes; calls are answered first", () =>
    Effect.gen(function* () {
      const { model, server } = yield* serveAgent
      const scope = yield* Scope.make()
      const { url } = Context.get(yield* Layer.buildWithScope(server, scope), McpServer.Served)
      const at = new URL(url!)
      const client = new Client({ name: "tests", version: "1" })
      const transport = new StreamableHTTPClientTransport(at) as Parameters<Client["connect"]>[0]
      yield* Effect.promise(() => client.connect(transport))
      // A connection that never says anything.
      const idle = connect(Number(at.port), "127.0.0.1")
      const idleClosed = yield* Deferred.make<void>()
      idle.on("close", () => Deferred.doneUnsafe(idleClosed, Exit.void))
      idle.on("error", () => {})
      const call = yield* Effect.forkChild(
        Effect.promise(() => client.callTool({ name: "agent", arguments: { input: "hello" } }))
      )
      yield* model.untilSeen(1)
      yield* Scope.close(scope, Exit.void)
      yield* model.untilAborted(1)
      yield* Deferred.await(idleClosed)
      const answer = yield* Fiber.join(call)
      assert.strictEqual(answer["isError"], true)
      const refused = yield* Effect.flip(send(at, { method: "POST", headers: json }, initialize))
      assert.match(String(refused), /ECONNREFUSED/)
    }).pipe(Effect.scoped)
  )
})

it.live("a port that is taken is said so", () =>
  Effect.gen(function* () {
    const url = yield* serve()
    const error = yield* Effect.flip(serve({ port: Number(url.port) }))
    assert.strictEqual(error._tag, "ListenError")
    assert.strictEqual(
      error.message,
      `The MCP server cannot listen on 127.0.0.1:${url.port} (EADDRINUSE). Stop what uses the port, or give it another port or host.`
    )
  }).pipe(Effect.scoped)
)

describe("tools that cannot be shown to a client are refused when they are defined", () => {
  const refused = (make: () => unknown, words: RegExp) => {
    assert.throws(make, words)
  }
  it("without a description", () => {
    const mute = Runner.make("mute", { run: (text: string) => Effect.succeed(text) })
    refused(() => McpServer.serve({ tools: [mute] }), /MCP tool "mute": it has no description\. Describe/)
  })
  it("two of one name", () => {
    refused(() => McpServer.layer({ tools: [echo, echo] }), /two of its tools are called "echo"/)
  })
  it("with a name that clients refuse", () => {
    refused(() => McpServer.tool(echo, { name: "two words" }), /clients may refuse its name/)
    assert.strictEqual(McpServer.tool(Runner.named(echo, "two words")).name, "two_words")
  })
  it("with parameters that are not an object, or have no JSON form", () => {
    const tool = (parameters: Schema.Codec<string>) =>
      McpServer.tool(echo, { parameters, input: (text) => String(text) })
    refused(() => tool(Schema.String), /not an object/)
    refused(
      () => McpServer.tool(echo, { parameters: Schema.Struct({ s: Schema.Symbol }), input: ({ s }) => String(s) }),
      /no JSON form/
    )
  })
})
