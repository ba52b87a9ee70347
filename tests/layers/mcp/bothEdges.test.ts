/** MCP under `Effect.runSync`: the same programs, on the I/O thread. */
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js"
import { Effect, Fiber, Layer, ManagedRuntime } from "effect"
import { Agent, Mcp, SyncEdge, TestModel } from "troupe"
import { describe, expect, it } from "vitest"
import { call } from "../../support/mcpCall.ts"
import { failure, temporary } from "../../support/mcpChecks.ts"
import { children, everything, script, startEverything, toolsServer } from "../../support/mcpEverything.ts"
import { rawServer } from "../../support/mcpRaw.ts"

const { newLog } = temporary()

const runSync = <A, E>(program: Effect.Effect<A, E>): A => Effect.runSync(Effect.provide(program, SyncEdge.layer))

describe("under runSync", () => {
  it("an agent calls tools at once, with progress, images and questions, as it does under runPromise", async () => {
    const agent = Agent.make("agent", { tools: [Mcp.tools()] })
    const program = Effect.gen(function* () {
      const { transcript } = yield* agent.result("Go")
      const parts = transcript.content.flatMap((message) => (message.role === "tool" ? message.content : []))
      return parts.map((part) =>
        part.type === "tool-result" ? [part.result, part.isFailure, part.modelOutput?.length] : part
      )
    }).pipe(
      Effect.provide(Mcp.layer({ servers: { everything }, sampling: Mcp.sampleWithModel })),
      Effect.provide(
        TestModel.layer(({ tools, prompt }) => {
          if (tools.length === 0) return "sampled"
          if (prompt.content.some(({ role }) => role === "tool")) return "done"
          return TestModel.toolCalls(
            { name: "trigger-long-running-operation", params: { duration: 0.2, steps: 2 } },
            { name: "trigger-long-running-operation", params: { duration: 0.4, steps: 4 } },
            { name: "get-tiny-image", params: {} },
            { name: "trigger-sampling-request", params: { prompt: "?", maxTokens: 9 } },
            { name: "get-sum", params: { a: 1 } }
          )
        })
      )
    )
    const sync = runSync(program)
    expect(sync[3]?.toString()).toContain("sampled")
    expect(sync).toEqual(await Effect.runPromise(program))
    expect(children()).toEqual([])
  })

  it("waits overlap, and others work meanwhile", () => {
    const logs = { one: newLog(), two: newLog() }
    const hangs = () => Object.values(logs).map(({ lines }) => lines().filter((line) => line === "hang").length)
    const left = runSync(
      Effect.gen(function* () {
        const server = ({ file }: { readonly file: string }) => toolsServer({ LOG: file })
        const mcp = yield* Mcp.connect({ servers: { one: server(logs.one), two: server(logs.two) } })
        const tools = yield* mcp.tools()
        // None of these ends by itself: the servers have all three at once, or never.
        const three = yield* Effect.forEach(["one_hang", "one_hang", "two_hang"], (name) =>
          Effect.forkChild(call(tools, name))
        )
        while (hangs().join() !== "2,1") yield* Effect.sleep("20 millis")
        expect(yield* call(tools, "one_pid")).not.toBe(yield* call(tools, "two_pid"))
        yield* Fiber.interruptAll(three)
        return hangs()
      }).pipe(Effect.scoped, Effect.timeout("25 seconds"))
    )
    expect(left).toEqual([2, 1])
  })

  for (const transport of ["streamableHttp", "sse"] as const) {
    it(`a server behind ${transport} works`, async () => {
      const server = await startEverything(transport)
      try {
        const said = runSync(
          Effect.gen(function* () {
            const mcp = yield* Mcp.connect({ servers: { everything: { url: server.url } } })
            const reported: Array<unknown> = []
            const tools = yield* mcp.tools()
            yield* call(tools, "trigger-long-running-operation", { duration: 0.2, steps: 2 }, (one) =>
              reported.push(one)
            )
            const [text] = yield* mcp.readResource("everything", "demo://resource/dynamic/text/1")
            return [yield* call(tools, "echo", { message: "hi" }), reported.length > 0, text?.mimeType]
          }).pipe(Effect.scoped)
        )
        expect(said).toEqual(["Echo: hi", true, "text/plain"])
      } finally {
        await server.stop()
      }
    })
  }

  it("a dead server fails with its exit code and stderr, and one that hangs with its timeout", () => {
    const connect = (server: Mcp.ServerOptions) =>
      runSync(Effect.exit(Effect.scoped(Mcp.connect({ servers: { good: rawServer(), bad: server } }))))
    expect(failure(connect(script("console.error('sick'); process.exit(4)")))).toMatchObject({
      _tag: "McpConnectError",
      exitCode: 4,
      stderr: "sick\n"
    })
    const hangs: Mcp.ServerOptions = {
      ...script("setInterval(() => {}, 1000)"),
      connectTimeout: "300 millis",
      grace: "100 millis"
    }
    expect(failure(connect(hangs))).toMatchObject({ problem: expect.stringContaining("did not answer within 300ms") })
    expect(failure(connect({ command: "troupe-no-such-command" }))).toMatchObject({
      message: expect.stringContaining("ENOENT")
    })
    expect(children()).toEqual([])
  })

  it("a connection lives on between runs of one runtime", async () => {
    const { file, lines } = newLog()
    const servers = Mcp.layer({ servers: { tools: toolsServer({ LOG: file }) } })
    const runtime = ManagedRuntime.make(servers.pipe(Layer.provideMerge(SyncEdge.layer)))
    const pid = Effect.gen(function* () {
      const mcp = yield* Mcp.Mcp
      return yield* call(yield* mcp.tools(), "pid")
    })
    expect(runtime.runSync(pid)).toBe(runtime.runSync(pid))
    expect(lines().filter((line) => line === "started")).toHaveLength(1)
    await runtime.dispose()
    expect(children()).toEqual([])
  })

  it("a server object is refused, and so is a run without the sync edge, each with the way out", () => {
    const server = () => new McpServer({ name: "here", version: "1.0.0" })
    const inProcess = runSync(Effect.exit(Effect.scoped(Mcp.connect({ servers: { here: { server } } }))))
    expect(failure(inProcess)).toMatchObject({ reason: "usage", message: expect.stringContaining("Effect.runPromise") })
    const without = Effect.runSyncExit(Effect.scoped(Mcp.connect({ servers: { everything } })))
    expect(failure(without)).toMatchObject({ reason: "usage", message: expect.stringContaining("SyncEdge.layer") })
  })
})
