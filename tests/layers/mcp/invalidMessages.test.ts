/** Messages of servers that do not fit the protocol: what they say is used, logged, or reported to the caller. */
import { once } from "node:events"
import * as http from "node:http"
import type { AddressInfo } from "node:net"
import { it as effectIt } from "@effect/vitest"
import { Effect } from "effect"
import { Mcp } from "troupe"
import { describe, expect, it } from "vitest"
import { call } from "../../support/mcpCall.ts"
import { failure } from "../../support/mcpChecks.ts"
import { collectLogs, edges, type RawAnswers } from "../../support/mcpRaw.ts"

describe.each(edges)("under %s", (_name, run, rawServer) => {
  /** What the calls of all tools come to, in order: a value, or an error. */
  const calledAll = (answers: RawAnswers, options: Mcp.CommonOptions = {}) => {
    const { layer, lines } = collectLogs()
    const program = Effect.gen(function* () {
      const mcp = yield* Mcp.connect({ servers: { raw: rawServer(answers, options) } })
      const tools = yield* mcp.tools()
      return yield* Effect.forEach(tools, ({ name }) =>
        Effect.match(call(tools, name), {
          onSuccess: (value: unknown) => value,
          onFailure: (error) => error as unknown
        })
      )
    })
    return run(program.pipe(Effect.scoped, Effect.provide(layer))).then((all) => ({ all, log: lines.join("\n") }))
  }
  /** The same for the one tool of a server that lists none. */
  const called = (answers: RawAnswers, options: Mcp.CommonOptions = {}) =>
    calledAll(answers, options).then(({ all, log }) => ({ value: all[0], log }))
  /** The same for tools of one server that give these results. */
  const calledEach = (...results: ReadonlyArray<unknown>) =>
    calledAll({ "tools/call": { $byName: Object.fromEntries(results.map((result, at) => [`tool${at}`, result])) } })

  it("what is not odd is not disturbed", async () => {
    expect((await called({})).value).toBe("fine")
  })

  it("a greeting with odd fields is taken", async () => {
    const greetings: ReadonlyArray<object> = [
      { instructions: null },
      { serverInfo: { name: "x" } },
      { serverInfo: null, _meta: null, capabilities: { tools: {}, logging: null, experimental: null } },
      { serverInfo: { name: "x", version: 2, title: 5, icons: "none" }, capabilities: { tools: [], prompts: false } },
      { capabilities: { tools: { listChanged: "yes" } }, protocolVersion: null }
    ]
    for (const initialize of greetings) expect((await called({ initialize })).value).toBe("fine")
  })

  it("an answer with more or other fields than a message has is taken", async () => {
    const result = '{"content":[{"type":"text","text":"fine"}]}'
    const answers = [
      `{"jsonrpc":"2.0","id":$ID,"result":${result},"error":null}`,
      `{"id":$ID,"result":${result}}`,
      `{"jsonrpc":"2.0","id":"$ID","result":${result},"more":1}`,
      `[{"jsonrpc":"2.0","method":"notifications/message","params":null},{"jsonrpc":"2.0","id":$ID,"result":${result}}]`,
      `{"jsonrpc":"2.0","id":$ID,"result":{"content":[{"type":"text","text":"fine"}],"_meta":null}}`
    ]
    expect((await calledEach(...answers)).all).toEqual(answers.map(() => "fine"))
  })

  it("an answer that is spread over several lines is read, and logged", async () => {
    const pretty = JSON.stringify(
      { jsonrpc: "2.0", id: "$ID", result: { content: [{ type: "text", text: "a } { \\ b" }] } },
      null,
      2
    ).replace('"$ID"', "$ID")
    const split = `{"jsonrpc":"2.0","id":$ID,\n"result":{"content":[{"type":"text",\n"text":"fine"}]}}`
    const { all, log } = await calledEach(pretty, split)
    expect(all).toEqual(["a } { \\ b", "fine"])
    expect(log).toContain("does not end on its line")
  })

  it("an error whose code is a text, or that has no message, fails the call with what it says", async () => {
    const errors = [
      { code: "E_FAIL", message: "text code" },
      { code: -32000 },
      { code: -32000, message: null, data: { why: "full" } },
      "just a text"
    ]
    const { all } = await calledEach(...errors.map(($error) => ({ $error })))
    const said = [/E_FAIL: text code/, /the server gave no reason/, /gave no reason: {"why":"full"}/, /just a text/]
    expect(all).toMatchObject(said.map((pattern) => ({ message: expect.stringMatching(pattern) })))
  })

  it("an answer that is not JSON fails its call at once, and is logged", async () => {
    const answer = '{"jsonrpc":"2.0","id":$ID,"result":{"content":[],"structuredContent":{"x":NaN}}}'
    const { log, value } = await called({ "tools/call": answer })
    expect(value).toMatchObject({ _tag: "McpCallError", message: expect.stringContaining("is not JSON") })
    expect(log).toContain("Warn")
    expect(log).toContain("NaN")
  })

  it("what is not a message is logged, and the call times out", async () => {
    const { log, value } = await called(
      { "tools/call": 'Listening on port 80\n{"level":"info"}' },
      { timeout: "500 millis" }
    )
    expect(value).toMatchObject({ reason: "timeout" })
    expect(log).toContain("Listening on port 80")
    expect(log).toContain('{"level":"info"}')
  })

  it("of one that writes noise without end only the beginning is logged", async () => {
    const noise = Array.from({ length: 500 }, (_, line) => `noise ${line}`).join("\n")
    const { log } = await called({ "tools/call": noise }, { timeout: "500 millis" })
    expect(log).toContain("noise 0")
    expect(log).toContain("further reports are left out")
    expect(log).not.toContain("noise 499")
  })

  it("a question with tools is refused, as sampling.tools was not declared", async () => {
    const tools = [{ name: "t", inputSchema: { type: "object" } }]
    const toolResult = { type: "tool_result", toolUseId: "1", content: [] }
    const asked = async (params: object) => {
      let samplings = 0
      const program = Effect.gen(function* () {
        const mcp = yield* Mcp.connect({
          servers: { raw: rawServer({ $ask: { method: "sampling/createMessage", params } }) },
          sampling: () => {
            samplings++
            return Effect.succeed({ role: "assistant", model: "m", content: { type: "text", text: "hi" } } as const)
          }
        })
        return yield* call(yield* mcp.tools(), "good")
      })
      return { answer: String(await run(Effect.scoped(program))), samplings }
    }
    const refused = { answer: expect.stringContaining('"code":-32602'), samplings: 0 }
    expect(await asked({ messages: [], maxTokens: 9, tools })).toEqual(refused)
    expect(await asked({ messages: [], maxTokens: 9, toolChoice: { mode: "auto" } })).toEqual(refused)
    expect(await asked({ messages: [{ role: "user", content: toolResult }], maxTokens: 9 })).toEqual(refused)
    const nothing = { systemPrompt: null, tools: null, metadata: null }
    expect(await asked({ messages: [], maxTokens: 9, ...nothing })).toEqual({
      answer: expect.stringContaining('"result"'),
      samplings: 1
    })
  })
})

describe("over HTTP", () => {
  type Answer = (message: { readonly id?: number; readonly method: string }, response: http.ServerResponse) => void
  /** A server that answers as raw ones do, with a say about each answer to `tools/call`. */
  const serving = (answer: Answer) =>
    Effect.acquireRelease(
      Effect.promise(async () => {
        const server = http.createServer(async (request, response) => {
          const chunks: Array<Buffer> = []
          for await (const chunk of request) chunks.push(chunk as Buffer)
          if (request.method !== "POST") return response.writeHead(405).end()
          const message = JSON.parse(Buffer.concat(chunks).toString()) as {
            readonly id?: number
            readonly method: string
          }
          if (message.id === undefined) return response.writeHead(202).end()
          if (message.method === "tools/call") return answer(message, response)
          const result =
            message.method === "initialize"
              ? {
                  protocolVersion: "2025-06-18",
                  capabilities: { tools: {} },
                  serverInfo: { name: "x" },
                  instructions: null
                }
              : { tools: [{ name: "good", inputSchema: { type: "object" } }], nextCursor: null, _meta: null }
          response.writeHead(200, { "content-type": "application/json" })
          return response.end(JSON.stringify({ jsonrpc: "2.0", id: message.id, result, error: null }))
        })
        server.listen(0, "127.0.0.1")
        await once(server, "listening")
        return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp` }
      }),
      ({ server }) =>
        Effect.promise(async () => {
          server.closeAllConnections()
          server.close()
          await once(server, "close")
        })
    )
  const called = (answer: Answer) =>
    Effect.gen(function* () {
      const { url } = yield* serving(answer)
      const mcp = yield* Mcp.connect({ servers: { odd: { url, timeout: "5 seconds" } } })
      return yield* Effect.match(call(yield* mcp.tools(), "good"), {
        onSuccess: (value: unknown) => value,
        onFailure: (error) => error as unknown
      })
    }).pipe(Effect.scoped)
  const sound = { content: [{ type: "text", text: "fine" }] }
  const json =
    (text: string): Answer =>
    (message, response) => {
      response.writeHead(200, { "content-type": "application/json; charset=utf-8" })
      response.end(text.replaceAll("$ID", String(message.id)))
    }
  const events =
    (text: string): Answer =>
    (message, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" })
      const all = text.replaceAll("$ID", String(message.id))
      // In pieces, so that lines and line breaks are split.
      for (let at = 0; at < all.length; at += 7) response.write(all.slice(at, at + 7))
      response.end()
    }

  effectIt.live("odd answers are read, as JSON and as events", () =>
    Effect.gen(function* () {
      const odd = `{"jsonrpc":"2.0","id":$ID,"result":${JSON.stringify({ ...sound, _meta: null })},"error":null}`
      expect(yield* called(json(odd))).toBe("fine")
      expect(yield* called(json(odd.replace('"id":$ID,', "")))).toBe("fine")
      expect(yield* called(events(`: hello\r\nid: 1\r\ndata: ${odd}\r\n\r\n`))).toBe("fine")
      expect(yield* called(events(`data: ${odd.replaceAll(",", ",\ndata:")}\n\n`))).toBe("fine")
      expect(yield* called(events(`event: message\ndata: [${odd}]\n\n`))).toBe("fine")
      expect(yield* called(events(`event: ping\ndata: x\n\ndata: ${odd}\n\n`))).toBe("fine")
    })
  )

  effectIt.live("errors of odd forms fail the call with what they say", () =>
    Effect.gen(function* () {
      const error = `{"jsonrpc":"2.0","id":$ID,"error":{"code":"E_FAIL","message":"text code"}}`
      const said = { _tag: "McpCallError", reason: "rejected", message: expect.stringContaining("E_FAIL: text code") }
      expect(yield* called(json(error))).toMatchObject(said)
      expect(yield* called(json(error.replace("$ID", "null")))).toMatchObject(said)
      expect(yield* called(events(`data: ${error}\n\n`))).toMatchObject(said)
    })
  )

  effectIt.live("an answer that is not a result fails the call at once", () =>
    Effect.gen(function* () {
      const other = JSON.stringify({ jsonrpc: "2.0", id: 4711, result: sound })
      expect(yield* called(json(other))).toMatchObject({ message: expect.stringContaining("not one to this request") })
      expect(yield* called(json("Hello"))).toMatchObject({ message: expect.stringContaining("is not JSON: Hello") })
      expect(yield* called(json(""))).toMatchObject({ _tag: "McpCallError" })
      expect(yield* called(events("data: Hello\n\n"))).toMatchObject({ reason: "lost" })
    })
  )

  effectIt.live("a wrong path is said with its status and a short text", () =>
    Effect.gen(function* () {
      const page = `<!doctype html><html><head><title>Not here</title><style>a{}</style></head><body>${"<p>x</p>".repeat(500)}</body></html>`
      const pages = [
        [page, "HTTP 404: Not here. "],
        ["<h1>Not\n found</h1><script>1</script>", "HTTP 404: Not found. "],
        ["", "HTTP 404. "],
        [JSON.stringify({ error: { message: "no such path" } }), "HTTP 404: no such path. "],
        ["x".repeat(5000), `HTTP 404: ${"x".repeat(200)}...`]
      ] as const
      for (const [body, said] of pages) {
        const server = http.createServer((_request, response) => void response.writeHead(404).end(body))
        server.listen(0, "127.0.0.1")
        yield* Effect.promise(() => once(server, "listening"))
        const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/wrong`
        for (const transport of ["auto", "http", "sse"] as const) {
          const exit = yield* Effect.exit(Effect.scoped(Mcp.connect({ servers: { wrong: { url, transport } } })))
          const { message } = failure(exit) as Error
          if (transport === "sse") expect(message).toContain("HTTP 404")
          else expect(message).toContain(said)
          expect(message).not.toMatch(/<[a-z]/)
        }
        server.close()
      }
    })
  )
})
