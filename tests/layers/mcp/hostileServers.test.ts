/** What a hostile server can do to its client: a limit for each, with a typed error, on both edges. */
import { once } from "node:events"
import * as http from "node:http"
import type { AddressInfo } from "node:net"
import * as path from "node:path"
import { Server } from "@modelcontextprotocol/sdk/server/index.js"
import {
  CallToolRequestSchema,
  ListResourcesRequestSchema,
  ListToolsRequestSchema
} from "@modelcontextprotocol/sdk/types.js"
import { Effect } from "effect"
import { Agent, Mcp, SyncEdge, TestModel } from "troupe"
import { describe, expect, it } from "vitest"
import { call } from "../../support/mcpCall.ts"
import { failure } from "../../support/mcpChecks.ts"
import { startMcpHttp } from "../../support/mcpHttp.ts"

const hostile = (env: Readonly<Record<string, string>> = {}, more: Mcp.CommonOptions = {}) => ({
  command: process.execPath,
  args: [path.join(import.meta.dirname, "../../support/mcpHostileMain.ts")],
  env,
  grace: "200 millis" as const,
  ...more
})

const edges = [
  ["runPromise", <A, E>(program: Effect.Effect<A, E>) => Effect.runPromise(program)],
  [
    "runSync",
    <A, E>(program: Effect.Effect<A, E>) => Promise.resolve(Effect.runSync(Effect.provide(program, SyncEdge.layer)))
  ]
] as const

describe.each(edges)("under %s", (_name, run) => {
  /** What calls of a server's tools come to, in order; a failure is its error. */
  const calls = (server: Mcp.ServerOptions, ...wanted: ReadonlyArray<readonly [name: string, params?: unknown]>) =>
    run(
      Effect.gen(function* () {
        const mcp = yield* Mcp.connect({ servers: { evil: server } })
        const tools = yield* mcp.tools()
        return yield* Effect.forEach(wanted, ([name, params]) =>
          Effect.match(call(tools, name, params), { onSuccess: (value) => value, onFailure: (error) => error })
        )
      }).pipe(Effect.scoped)
    )
  const invalid = (problem: string) => ({
    _tag: "McpCallError",
    reason: "invalid",
    message: expect.stringContaining(problem)
  })

  it("a result that is too long, too deep or no result fails that call alone", async () => {
    const said = await calls(hostile(), ["long"], ["deep"], ["misfit"], ["noise"], ["bytes"], ["proto"])
    expect(said.slice(0, 3)).toMatchObject([
      invalid("has 2000029 characters, and at most 1000000 are taken"),
      invalid("nested more than 64 levels deep"),
      invalid("does not fit the protocol: content.0")
    ])
    expect(said[3]).toBe("still here")
    expect(said[4]).toBe("a\ufffd\ufffd\ufffd(b")
    expect(JSON.stringify(said[5])).toBe('{"constructor":{"prototype":{"bad":1}}}')
    expect("bad" in {}).toBe(false)
  })

  it("how long a result may be is the user's to say", async () => {
    const said = await calls(hostile({}, { maxChars: 3_000_000 }), ["long"])
    expect(said).toEqual(["x".repeat(2_000_000)])
  })

  it("a message that is too large ends its server, which is there again for the next call", async () => {
    const said = await calls(hostile(), ["oversized"], ["__proto__", { a: 1 }])
    expect(said[0]).toMatchObject({ reason: "lost", message: expect.stringContaining("too large") })
    expect(said[1]).toBe('ran with {"a":1}')
  })

  it("arguments that cannot be checked to an end are not sent", async () => {
    let root = {}
    for (let level = 0; level < 20_000; level++) root = { next: root }
    const deep = expect.stringContaining("nested too deeply to be checked, or the schema refers to itself")
    const said = await calls(
      hostile(),
      ["circle", { a: 1 }],
      ["tree", { root }],
      ["constructor", { root }],
      ["tree", { root: { next: {} } }],
      ["slow-in", { x: `${"a".repeat(40)}!` }],
      ["slow-in", { x: "aaa" }],
      ["slow-out"]
    )
    expect(said).toMatchObject([
      { reason: "invalid", executed: "no", message: deep },
      { reason: "invalid", executed: "no", message: deep },
      { reason: "invalid", executed: "no", message: expect.stringContaining("nested more than 500 levels deep") },
      'ran with {"root":{"next":{}}}',
      { reason: "invalid", executed: "no", message: expect.stringContaining("the schema takes too long to check") },
      'ran with {"x":"aaa"}',
      { reason: "invalid", executed: "unknown", message: expect.stringContaining("the schema takes too long to check") }
    ])
  })

  it("schemas without bottom are refused", async () => {
    const exit = await run(Effect.exit(Effect.scoped(Mcp.connect({ servers: { evil: hostile({ LISTS: "deep" }) } }))))
    expect(failure(exit)).toMatchObject({ message: expect.stringContaining("nested more than 500 levels deep") })
  })

  it("what it says in errors holds nothing that a terminal would obey", async () => {
    const said = await calls(hostile(), ["escapes"])
    expect(said).toMatchObject([{ _tag: "McpToolFailed", message: "no\n" }])
    const dead = await run(Effect.exit(Effect.scoped(Mcp.connect({ servers: { evil: hostile({ CRY: "1" }) } }))))
    expect(failure(dead)).toMatchObject({ exitCode: 1, stderr: "dead\n" })
  })

  it("an agent calls tools whose names objects have anyway", async () => {
    const agent = Agent.make("agent", { tools: [Mcp.tools()] })
    const results = await run(
      Effect.gen(function* () {
        const { transcript } = yield* agent.result("Go")
        return transcript.content.flatMap((message) =>
          message.role === "tool"
            ? message.content.map((part) => (part.type === "tool-result" ? [part.name, part.result] : part))
            : []
        )
      }).pipe(
        Effect.provide(Mcp.layer({ servers: { evil: hostile() } })),
        Effect.provide(
          TestModel.layer([
            TestModel.toolCalls(
              { name: "__proto__", params: {} },
              { name: "constructor", params: JSON.parse('{"__proto__":{"bad":1}}') }
            ),
            "done"
          ])
        )
      )
    )
    expect(results).toEqual([
      ["__proto__", "ran with {}"],
      ["constructor", 'ran with {"__proto__":{"bad":1}}']
    ])
    expect("bad" in {}).toBe(false)
  })
})

describe("lists without end are refused", () => {
  const endless = "has more than 1000 pages"
  const page = (cursor: string | undefined) => Number(cursor ?? 0) + 1
  /** A server whose resources have no end, and whose tools have none from a call of `turn` on, or from the start. */
  const server = (isEndless = false) => {
    const made = new Server(
      { name: "s", version: "1" },
      { capabilities: { tools: { listChanged: true }, resources: {} } }
    )
    const inputSchema = { type: "object" as const }
    made.setRequestHandler(ListResourcesRequestSchema, ({ params }) => {
      const next = page(params?.cursor)
      return { resources: [{ uri: `a://${next}`, name: "a" }], nextCursor: String(next) }
    })
    made.setRequestHandler(ListToolsRequestSchema, ({ params }) => {
      if (!isEndless) return { tools: [{ name: "turn", inputSchema }] }
      const next = page(params?.cursor)
      return { tools: [{ name: `t${next}`, inputSchema }], nextCursor: String(next) }
    })
    made.setRequestHandler(CallToolRequestSchema, async () => {
      isEndless = true
      await made.sendToolListChanged()
      return { content: [] }
    })
    return made
  }

  it("when a server is connected", async () => {
    const exit = await Effect.runPromise(
      Effect.exit(Effect.scoped(Mcp.connect({ servers: { evil: { server: () => server(true) } } })))
    )
    expect(failure(exit)).toMatchObject({ message: expect.stringContaining(endless) })
  })

  it("when resources are asked for", async () => {
    const program = Effect.flatMap(Mcp.connect({ servers: { evil: { server: () => server() } } }), (mcp) =>
      Effect.flip(mcp.resources)
    )
    expect(await Effect.runPromise(Effect.scoped(program))).toMatchObject({
      reason: "invalid",
      message: expect.stringContaining(endless)
    })
  })

  it("when tools change, and those that were there stay", async () => {
    const names = await Effect.runPromise(
      Effect.gen(function* () {
        const mcp = yield* Mcp.connect({ servers: { evil: { server: () => server() } } })
        yield* call(yield* mcp.tools(), "turn")
        return (yield* mcp.tools()).map(({ name }) => name)
      }).pipe(Effect.scoped)
    )
    expect(names).toEqual(["turn"])
  })
})

describe("behind an address", () => {
  const flood = (response: http.ServerResponse, type: string, begin: string) => {
    response.writeHead(200, { "content-type": type }).write(begin)
    const more = () => {
      while (!response.destroyed && response.write("x".repeat(65_536)));
    }
    response.on("drain", more)
    more()
  }
  for (const type of ["application/json", "text/event-stream"]) {
    it(`an answer without end as ${type} fails the call, and is read no further`, { timeout: 20_000 }, async () => {
      let closed: Promise<unknown> | undefined
      const server = await startMcpHttp({
        front: (_request, response, body) => {
          if (!body.includes("tools/call")) return false
          closed = once(response, "close")
          flood(response, type, type === "application/json" ? '{"jsonrpc":"' : 'data: {"jsonrpc":"')
          return true
        }
      })
      try {
        const error = await Effect.runPromise(
          Effect.gen(function* () {
            const mcp = yield* Mcp.connect({ servers: { evil: { url: server.url } } })
            return yield* Effect.flip(call(yield* mcp.tools(), "unsafe"))
          }).pipe(Effect.scoped)
        )
        expect(error).toMatchObject({ message: expect.stringContaining("a message of more than 10485760 bytes") })
        await closed
      } finally {
        await server.close()
      }
    })
  }

  it("a server that is not even one, and sends without end, fails the Layer", { timeout: 20_000 }, async () => {
    const server = http
      .createServer((_request, response) => flood(response, "application/json", ""))
      .listen(0, "127.0.0.1")
    await once(server, "listening")
    try {
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
      const exit = await Effect.runPromise(Effect.exit(Effect.scoped(Mcp.connect({ servers: { evil: { url } } }))))
      expect(failure(exit)).toMatchObject({ message: expect.stringContaining("more than 10485760 bytes") })
    } finally {
      server.closeAllConnections()
      server.close()
    }
  })
})
