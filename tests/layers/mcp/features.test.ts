/** What MCP servers offer beyond tools, what they ask of us, and how they are defined. */
import * as fs from "node:fs"
import { it } from "@effect/vitest"
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js"
import { Cause, ConfigProvider, Deferred, Effect, Fiber, Layer, Logger, Stream } from "effect"
import { TestClock } from "effect/testing"
import { LanguageModel } from "effect/ai"
import { Agent, Mcp, TestModel } from "troupe"
import { describe, expect } from "vitest"
import { call } from "../../support/mcpCall.ts"
import { failure, temporary } from "../../support/mcpChecks.ts"
import { toolsServer, until } from "../../support/mcpEverything.ts"
import { everythingHere as everything } from "../../support/mcpEverythingHere.ts"
import { startMcpHttp } from "../../support/mcpHttp.ts"
import { inProcess } from "../../support/mcpInProcess.ts"
import { taskServer } from "../../support/mcpTasks.ts"

const files = temporary()

describe("a server's", () => {
  it.live("resources are listed and read, text and bytes", () =>
    Effect.gen(function* () {
      const mcp = yield* Mcp.connect({ servers: { everything, tools: { server: inProcess([]) } } })
      const resources = yield* mcp.resources
      expect(resources.length).toBeGreaterThan(3)
      expect(resources[0]).toMatchObject({ server: "everything", uri: expect.any(String), name: expect.any(String) })
      const [text] = yield* mcp.readResource("everything", "demo://resource/dynamic/text/1")
      expect(text).toMatchObject({ mimeType: "text/plain", text: expect.stringContaining("Resource 1") })
      const [bytes] = yield* mcp.readResource("everything", "demo://resource/dynamic/blob/1")
      expect(bytes?.blob).toMatch(/^[A-Za-z0-9+/=]+$/)
      expect((yield* mcp.resourceTemplates).map(({ uriTemplate }) => uriTemplate)).toContain(
        "demo://resource/dynamic/text/{resourceId}"
      )
      expect(failure(yield* Effect.exit(mcp.readResource("everything", "demo://nothing")))).toMatchObject({
        _tag: "McpCallError",
        reason: "rejected",
        subject: "demo://nothing"
      })
      expect(failure(yield* Effect.exit(mcp.readResource("unknown", "a:b")))).toMatchObject({
        message: expect.stringContaining("the servers are: everything, tools")
      })
    })
  )

  it.live("resources are read by the model itself, with a tool", () =>
    Effect.gen(function* () {
      const agent = Agent.make("agent", { tools: [Mcp.resourceTools()] })
      const read = (uri: string) => ({ name: "read_resource", params: { server: "everything", uri } })
      const { transcript } = yield* agent
        .result("Read")
        .pipe(
          Effect.provide(Mcp.layer({ servers: { everything } })),
          Effect.provide(
            TestModel.layer([
              TestModel.toolCalls(
                { name: "list_resources", params: {} },
                read("demo://resource/dynamic/text/1"),
                read("demo://nothing")
              ),
              "done"
            ])
          )
        )
      const results = transcript.content.flatMap((message) => (message.role === "tool" ? message.content : []))
      expect(results).toMatchObject([
        { result: { resources: expect.any(Array), templates: expect.any(Array) } },
        { result: [{ uri: "demo://resource/dynamic/text/1", text: expect.any(String) }] },
        { result: { tag: "McpCallError" }, isFailure: true }
      ])
    })
  )

  it.live("prompts are the input of an agent", () =>
    Effect.gen(function* () {
      const mcp = yield* Mcp.connect({ servers: { everything } })
      const prompts = yield* mcp.prompts
      expect(prompts.map(({ name }) => name)).toContain("args-prompt")
      const prompt = yield* mcp.prompt("everything", "args-prompt", { city: "Oslo" })
      const agent = Agent.make("agent", {})
      yield* agent.run(prompt).pipe(
        Effect.provide(
          TestModel.layer(({ prompt }) => {
            expect(JSON.stringify(prompt.content)).toContain("Oslo")
            return "rain"
          })
        )
      )
    })
  )

  it.live("other requests and notifications are within reach", () =>
    Effect.gen(function* () {
      const mcp = yield* Mcp.connect({ servers: { everything } })
      const received = yield* mcp.notifications.pipe(
        Stream.filter(({ method }) => method === "notifications/message"),
        Stream.take(1),
        Stream.runCollect,
        Effect.forkChild
      )
      yield* mcp.request("everything", "logging/setLevel", { level: "debug" })
      const completion = yield* mcp.request("everything", "completion/complete", {
        ref: { type: "ref/prompt", name: "completable-prompt" },
        argument: { name: "department", value: "E" }
      })
      expect(completion).toMatchObject({ completion: { values: ["Engineering"] } })
      yield* call(yield* mcp.tools(), "toggle-simulated-logging")
      expect(yield* Fiber.join(received)).toMatchObject([
        { server: "everything", params: { level: expect.any(String) } }
      ])
    })
  )

  it.live("tool that runs only as a task returns its result", () =>
    Effect.gen(function* () {
      const mcp = yield* Mcp.connect({ servers: { tasks: { server: taskServer(async () => "it will rain") } } })
      expect(yield* call(yield* mcp.tools(), "research")).toBe("it will rain")
    })
  )
})

describe("a server's question", () => {
  it.live("is answered by the model", () =>
    Effect.gen(function* () {
      const prompts: Array<string> = []
      const servers = Mcp.layer({ servers: { everything }, sampling: Mcp.sampleWithModel }).pipe(
        Layer.provide(
          TestModel.layer(({ prompt }) => {
            prompts.push(JSON.stringify(prompt.content))
            return "Forty-two."
          })
        )
      )
      const result = yield* Effect.gen(function* () {
        const mcp = yield* Mcp.Mcp
        return yield* call(yield* mcp.tools(), "trigger-sampling-request", { prompt: "What is it?", maxTokens: 50 })
      }).pipe(Effect.provide(servers))
      expect(result).toContain("Forty-two.")
      expect(prompts[0]).toContain("What is it?")
    })
  )

  it.live("is answered by a handler, and gets the message of one that fails", () =>
    Effect.gen(function* () {
      let asked = 0
      const mcp = yield* Mcp.connect({
        servers: { everything },
        sampling: (request, server) =>
          asked++ === 0
            ? Effect.succeed({
                role: "assistant",
                model: "me",
                content: { type: "text", text: `${server} wants ${request.maxTokens}` }
              })
            : Effect.fail(new Error("not today"))
      })
      const tools = yield* mcp.tools()
      const ask = call(tools, "trigger-sampling-request", { prompt: "?", maxTokens: 50 })
      expect(yield* ask).toContain("everything wants 50")
      expect(failure(yield* Effect.exit(ask))).toMatchObject({ message: expect.stringContaining("not today") })
    })
  )

  it.effect("may take longer than the server may be silent", () =>
    Effect.gen(function* () {
      const asked = yield* Deferred.make<void>()
      const mcp = yield* Mcp.connect({
        servers: { everything: { ...everything, timeout: "1500 millis" } },
        sampling: () =>
          Deferred.succeed(asked, undefined).pipe(
            // So that the server has hardly any time left of the turn in which it gets its answer.
            Effect.andThen(Effect.sleep("2950 millis")),
            Effect.as({ role: "assistant", model: "me", content: { type: "text", text: "at last" } } as const)
          )
      })
      const ask = call(yield* mcp.tools(), "trigger-sampling-request", { prompt: "?", maxTokens: 50 })
      const answer = yield* Effect.forkChild(ask)
      yield* Deferred.await(asked)
      yield* TestClock.adjust("2950 millis")
      expect(yield* Fiber.join(answer)).toContain("at last")
    })
  )

  it.live("of a server whose call is interrupted is interrupted too", () =>
    Effect.gen(function* () {
      let interrupted = false
      let asked = false
      const mcp = yield* Mcp.connect({
        servers: { everything },
        sampling: () =>
          Effect.never.pipe(
            Effect.onInterrupt(() => Effect.sync(() => (interrupted = true))),
            (effect) =>
              Effect.andThen(
                Effect.sync(() => (asked = true)),
                effect
              )
          )
      })
      const tools = yield* mcp.tools()
      const fiber = yield* Effect.forkChild(call(tools, "trigger-sampling-request", { prompt: "?", maxTokens: 50 }))
      yield* Effect.promise(() => until(() => asked))
      yield* Fiber.interrupt(fiber)
      // It is the server that says whether its question still stands; closing the connection ends it in any case.
      yield* Effect.sleep("100 millis")
      return () => interrupted
    }).pipe(
      Effect.scoped,
      Effect.map((interrupted) => expect(interrupted()).toBe(true))
    )
  )

  it.live("is a form that a handler fills, or that the model fills or declines", () =>
    Effect.gen(function* () {
      const elicit = <R>(elicitation: NonNullable<Mcp.Answers<R>["elicitation"]>) =>
        Effect.scoped(
          Effect.gen(function* () {
            const mcp = yield* Mcp.connect({ servers: { everything }, elicitation })
            return yield* call(yield* mcp.tools(), "trigger-elicitation-request")
          })
        )
      const byHand = yield* elicit((request) =>
        Effect.succeed({ action: "accept", content: { name: request.message.length > 0 ? "Ada" : "" } })
      )
      expect(JSON.stringify(byHand)).toContain("Ada")
      const model = (answer: object) => TestModel.layer([TestModel.json(answer)])
      const byModel = yield* elicit(Mcp.elicitWithModel).pipe(
        Effect.provide(model({ accept: true, content: { name: "Grace" } }))
      )
      expect(JSON.stringify(byModel)).toContain("Grace")
      const declined = yield* elicit(Mcp.elicitWithModel).pipe(Effect.provide(model({ accept: false, content: null })))
      expect(JSON.stringify(declined)).toMatch(/declined/i)
    })
  )

  it.live("fails at the server when its handler fails, and a defect goes to our log", () =>
    Effect.gen(function* () {
      const logged: Array<string> = []
      const logger = Logger.make(({ cause, message }) => void logged.push(`${String(message)} ${Cause.pretty(cause)}`))
      const elicit = (elicitation: NonNullable<Mcp.Answers["elicitation"]>) =>
        Effect.gen(function* () {
          const mcp = yield* Mcp.connect({ servers: { everything }, elicitation })
          const tools = yield* mcp.tools()
          const first = yield* Effect.flip(call(tools, "trigger-elicitation-request"))
          yield* call(tools, "echo", { message: "still here" })
          const second = yield* Effect.flip(call(tools, "trigger-elicitation-request"))
          return [first.message, second.message]
        }).pipe(Effect.scoped, Effect.provide(Logger.layer([logger])))
      const why = (said: string) => [expect.stringContaining(said), expect.stringContaining(said)]
      expect(yield* elicit(() => Effect.fail(new Error("no one is there")))).toEqual(why("no one is there"))
      expect(logged).toEqual([])
      expect(yield* elicit(() => Effect.die(new Error("my own mistake")))).toEqual(why("it failed unexpectedly"))
      const thrown = elicit(() => {
        throw new Error("my own mistake")
      })
      expect(yield* thrown).toEqual(why("it failed unexpectedly"))
      expect(logged.filter((line) => line.includes("my own mistake"))).toHaveLength(4)
    })
  )

  it.live("that is not a form is declined by the model's own answer", () =>
    Effect.gen(function* () {
      const requestedSchema = { type: "object", properties: { a: { $ref: "#/properties/a" } } }
      const answer = Mcp.elicitWithModel({ message: "Fill", requestedSchema } as unknown as Mcp.ElicitationRequest)
      expect(yield* Effect.provide(answer, TestModel.layer([]))).toEqual({ action: "decline" })
    })
  )

  it.live("about the roots gets those of now", () =>
    Effect.gen(function* () {
      let roots: ReadonlyArray<Mcp.Root> = [{ uri: "file:///one", name: "One" }]
      const mcp = yield* Mcp.connect({ servers: { everything }, roots: Effect.sync(() => roots) })
      const tools = yield* mcp.tools()
      expect(yield* call(tools, "get-roots-list")).toContain("file:///one")
      roots = [{ uri: "file:///two" }]
      yield* mcp.rootsChanged
      let said = ""
      while (!said.includes("file:///two")) said = String(yield* call(tools, "get-roots-list"))
    })
  )

  it.live("without a handler is not offered to the server", () =>
    Effect.gen(function* () {
      const mcp = yield* Mcp.connect({ servers: { everything } })
      const names = (yield* mcp.tools()).map(({ name }) => name)
      expect(names).not.toContain("trigger-sampling-request")
      expect(names).not.toContain("trigger-elicitation-request")
      expect(names).not.toContain("get-roots-list")
    })
  )
})

describe("a server is defined", () => {
  it.live("by an object in this process", () =>
    Effect.gen(function* () {
      const server = () => {
        const made = new McpServer({ name: "here", version: "1.0.0" })
        made.registerTool("hello", {}, () => ({ content: [{ type: "text", text: "Hello!" }] }))
        return made
      }
      const mcp = yield* Mcp.connect({ servers: { once: { server: server() }, each: { server } } })
      const tools = yield* mcp.tools()
      expect(yield* call(tools, "once_hello")).toBe("Hello!")
      expect(yield* call(tools, "each_hello")).toBe("Hello!")
    })
  )

  it.live("in a config file, as other hosts have it", () =>
    Effect.gen(function* () {
      const http = yield* Effect.acquireRelease(
        Effect.promise(() => startMcpHttp({ token: "from-config" })),
        (server) => Effect.promise(() => server.close())
      )
      const file = files.path("mcp.json")
      const { args, command } = toolsServer()
      const content = {
        mcpServers: {
          tools: { command: "${NODE}", args, env: { WHO: "${WHO:-guest}" }, alwaysAllow: ["env"], deny: ["die*"] },
          http: { type: "streamable-http", url: http.url, headers: { Authorization: "Bearer ${env:TOKEN}" } },
          off: { command: "no-such-command", disabled: true }
        }
      }
      fs.writeFileSync(file, JSON.stringify(content))
      const config = ConfigProvider.layer(ConfigProvider.fromUnknown({ NODE: command, TOKEN: "from-config" }))
      yield* Effect.gen(function* () {
        const mcp = yield* Mcp.Mcp
        expect((yield* mcp.servers).map(({ name }) => name)).toEqual(["tools", "http"])
        const tools = yield* mcp.tools()
        expect(tools.map(({ name }) => name)).not.toContain("tools_die")
        expect(JSON.parse(String(yield* call(tools, "tools_env")))).toMatchObject({ WHO: "guest" })
        expect(yield* call(tools, "http_safe")).toBe("safe 1")
      }).pipe(Effect.provide(Mcp.layerFile(file)), Effect.provide(config))
    })
  )

  it.live("in a config file whose variables are keys, and no error shows them", () =>
    Effect.gen(function* () {
      const file = files.path("keys.json")
      const a = { command: "false", args: ["--key", "${KEY}", "plain"] }
      const b = { url: "http://127.0.0.1:1/${KEY}/mcp" }
      const config = ConfigProvider.layer(ConfigProvider.fromUnknown({ KEY: "k3y-of-mine" }))
      for (const [server, target] of [
        [a, "false --key <redacted:${KEY}> plain"],
        [b, "http://127.0.0.1:1/<redacted>"]
      ] as const) {
        // Editors of some systems begin a file with a mark.
        fs.writeFileSync(file, `\ufeff${JSON.stringify({ mcpServers: { server } })}`)
        const error = failure(
          yield* Effect.exit(Effect.scoped(Layer.build(Mcp.layerFile(file))).pipe(Effect.provide(config)))
        )
        expect(error).toMatchObject({ _tag: "McpConnectError", target })
        expect(String(error)).not.toContain("k3y")
      }
    })
  )

  it.live("wrongly in a config file fails with the file and what to do", () =>
    Effect.gen(function* () {
      const problems: ReadonlyArray<readonly [text: string, said: RegExp]> = [
        ["{", /is not JSON: line 1, column 2: expected a key/],
        ["{}", /has no "mcpServers"/],
        ['{"mcpServers":{"a":{}}}', /server "a" has neither a command nor a url/],
        [
          '{"mcpServers":{"a":{"command":"${NOT_SET_ANYWHERE}"}}}',
          /needs the variable NOT_SET_ANYWHERE, which is not set/
        ],
        ['{"mcpServers":{"a":{"url":"nowhere"}}}', /MCP server "a": its url is /]
      ]
      for (const [text, said] of problems) {
        const file = files.path("wrong.json")
        fs.writeFileSync(file, text)
        const error = failure(yield* Effect.exit(Effect.scoped(Layer.build(Mcp.layerFile(file)))))
        expect(error).toMatchObject({ _tag: "McpConfigError", file, message: expect.stringMatching(said) })
      }
      const missing = files.path("missing.json")
      expect(failure(yield* Effect.exit(Mcp.fromFile(missing)))).toMatchObject({
        message: expect.stringContaining("ENOENT")
      })
    })
  )
})

describe("tools of now", () => {
  it.live("are a toolkit for programs without an agent", () =>
    Effect.gen(function* () {
      const toolkit = yield* Mcp.toolkit({ allow: ["get-*"] })
      const response = yield* LanguageModel.generateText({ prompt: "Look", toolkit })
      // They come as they are done.
      const results = response.toolResults.toSorted((a, b) => a.id.localeCompare(b.id))
      expect(results).toMatchObject([
        { result: "The sum of 1 and 2 is 3.", isFailure: false },
        { isFailure: false },
        { result: { tag: "McpCallError" }, isFailure: true }
      ])
      expect(results[1]?.modelOutput?.map(({ type }) => type)).toEqual(["text", "file", "text"])
    }).pipe(
      Effect.provide(Mcp.layer({ servers: { everything } })),
      Effect.provide(
        TestModel.layer([
          TestModel.toolCalls(
            { name: "get-sum", params: { a: 1, b: 2 } },
            { name: "get-tiny-image", params: {} },
            { name: "get-sum", params: { a: 1 } }
          )
        ])
      )
    )
  )
})
