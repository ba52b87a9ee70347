/** MCP servers that are processes: their tools, their errors, and what happens when they die. */
import { execFile } from "node:child_process"
import * as path from "node:path"
import { promisify } from "node:util"
import { it } from "@effect/vitest"
import { Effect, Fiber, Redacted, Tracer } from "effect"
import { TestClock } from "effect/testing"
import { Agent, AgentTool, Mcp, Runner, TestModel } from "troupe"
import { describe, expect } from "vitest"
import { call } from "../../support/mcpCall.ts"
import { failure, leavesNothing, temporary } from "../../support/mcpChecks.ts"
import { everything, freePort, script, toolsServer, until } from "../../support/mcpEverything.ts"
import { everythingHere } from "../../support/mcpEverythingHere.ts"
import { rawServer } from "../../support/mcpRaw.ts"
import { recording } from "../../support/spans.ts"

const { newLog } = temporary()
const connect = (servers: Mcp.Options["servers"]) => Mcp.connect({ servers })

describe("the tools of a server", () => {
  it.live("are an agent's, with their schemas and results", () =>
    Effect.gen(function* () {
      const agent = Agent.make("agent", { tools: [Mcp.tools({ allow: ["echo", "get-s*"] })] })
      const { transcript } = yield* agent.result("Add and echo").pipe(
        Effect.provide(Mcp.layer({ servers: { everything } })),
        Effect.provide(
          TestModel.layer(({ index, tools }) => {
            expect(tools).toEqual(["echo", "get-structured-content", "get-sum"])
            if (index > 0) return "done"
            return TestModel.toolCalls(
              { name: "get-sum", params: { a: 2, b: 40 } },
              { name: "get-structured-content", params: { location: "Chicago" } },
              { name: "echo", params: { message: 7 } }
            )
          })
        )
      )
      const results = transcript.content.flatMap((message) => (message.role === "tool" ? message.content : []))
      expect(results).toMatchObject([
        { result: "The sum of 2 and 40 is 42.", isFailure: false },
        { result: { temperature: 36, conditions: "Light rain / drizzle", humidity: 82 }, isFailure: false },
        {
          result: { tag: "McpCallError", error: expect.stringMatching(/arguments do not fit.*message/) },
          isFailure: true
        }
      ])
    })
  )

  it.live("give images to the model, and report their progress", () =>
    Effect.gen(function* () {
      const agent = Agent.make("agent", { tools: [Mcp.tools()] })
      const reported: Array<unknown> = []
      const { transcript } = yield* Runner.onEvent(agent, (event) =>
        Effect.sync(() => {
          if (event._tag === "ToolProgress") reported.push(event.result)
        })
      )
        .result("Look")
        .pipe(
          Effect.provide(Mcp.layer({ servers: { everything: everythingHere } })),
          Effect.provide(
            TestModel.layer([
              TestModel.toolCalls(
                { name: "get-tiny-image", params: {} },
                { name: "trigger-long-running-operation", params: { duration: 0.1, steps: 2 } }
              ),
              "done"
            ])
          )
        )
      const [image] = transcript.content.flatMap((message) => (message.role === "tool" ? message.content : []))
      if (image?.type !== "tool-result") throw new Error("no result")
      expect(image.result).toMatchObject([{ type: "text" }, { type: "image", mimeType: "image/png" }, { type: "text" }])
      expect(image.modelOutput?.map((part) => part.type)).toEqual(["text", "file", "text"])
      expect(image.modelOutput?.[1]).toMatchObject({ mediaType: "image/png", data: expect.stringMatching(/^iVBOR/) })
      expect(reported).toContainEqual({ progress: 1, total: 2 })
    })
  )

  it.live("come in pages, and the next step has those that the server adds", () =>
    Effect.gen(function* () {
      const agent = Agent.make("agent", { tools: [Mcp.tools({ deny: ["hang", "die*"] })] })
      const shown: Array<ReadonlyArray<string>> = []
      yield* agent.run("Grow").pipe(
        Effect.provide(Mcp.layer({ servers: { tools: toolsServer() } })),
        Effect.provide(
          TestModel.layer(({ index, tools }) => {
            shown.push(tools)
            return index === 0
              ? TestModel.toolCall("grow", {})
              : index === 1
                ? TestModel.toolCall("grown-9", {})
                : "done"
          })
        )
      )
      expect(shown[0]).toEqual(["pid", "fork", "daemon", "grow", "fail", "wrong", "env"])
      expect(shown[1]).toEqual([...shown[0]!, "grown-10"])
    })
  )

  it.live("fail with what the server said, and with what does not fit its own definition", () =>
    Effect.gen(function* () {
      const tools = yield* (yield* connect({ tools: toolsServer() })).tools()
      expect(failure(yield* Effect.exit(call(tools, "fail")))).toMatchObject({
        _tag: "McpToolFailed",
        message: "the disk is full"
      })
      expect(failure(yield* Effect.exit(call(tools, "wrong")))).toMatchObject({
        _tag: "McpCallError",
        reason: "invalid",
        message: expect.stringMatching(/the tool ran, but its result does not fit its own definition: n: /)
      })
    })
  )

  it.live("of several servers have their server's name, or have it where they collide", () =>
    Effect.gen(function* () {
      const mcp = yield* connect({
        one: { ...toolsServer(), allow: ["p*"] },
        "the other": { ...toolsServer(), allow: ["p*", "env"] }
      })
      const names = (tools: ReadonlyArray<{ readonly name: string }>) => tools.map(({ name }) => name)
      const prefix = "collision"
      expect(names(yield* mcp.tools())).toEqual(["one_pid", "the_other_pid", "the_other_env"])
      expect(names(yield* mcp.tools({ prefix }))).toEqual(["one_pid", "the_other_pid", "env"])
      expect(names(yield* mcp.tools({ servers: ["one"] }))).toEqual(["one_pid"])
      expect(names(yield* mcp.tools({ servers: ["one"], prefix }))).toEqual(["pid"])
      expect(names(yield* mcp.tools({ servers: ["one"], prefix }, new Set(["pid"])))).toEqual(["one_pid"])
      const [marked] = names(yield* mcp.tools({ servers: ["one"] }, new Set(["one_pid"])))
      expect(marked).toMatch(/^one_pid_[0-9a-f]{6}$/)
      expect(names(yield* mcp.tools({ deny: ["*"] }))).toEqual([])
      const tools = yield* mcp.tools()
      expect(yield* call(tools, "one_pid")).not.toEqual(yield* call(tools, "the_other_pid"))
      const own = AgentTool.fromFunction("env", { description: "", execute: () => "mine" })
      const agent = Agent.make("agent", { tools: [own, Mcp.tools({ servers: ["the other"], prefix })] })
      yield* agent.run("Hello").pipe(
        Effect.provideService(Mcp.Mcp, mcp),
        Effect.provide(
          TestModel.layer(({ tools }) => {
            expect(tools).toEqual(["env", "pid", "the_other_env"])
            return "done"
          })
        )
      )
    })
  )

  it.live("of a server that there is not are a defect that says which there are", () =>
    Effect.gen(function* () {
      const mcp = yield* connect({ one: { ...toolsServer(), allow: ["pid"] } })
      const exit = yield* Effect.exit(mcp.tools({ servers: ["on"] }))
      expect(failure(exit)).toMatchObject({
        _tag: "InvalidDefinition",
        message: expect.stringContaining('no MCP server "on"; there are: "one"')
      })
    })
  )

  it.live("are called in spans of their own, which hold no arguments", () =>
    Effect.gen(function* () {
      const { spans, tracer } = recording()
      const mcp = yield* connect({ everything: everythingHere })
      const tools = yield* mcp.tools()
      yield* Effect.all([
        call(tools, "echo", { message: "s3cret" }),
        mcp.readResource("everything", "demo://resource/dynamic/text/1")
      ]).pipe(Effect.provideService(Tracer.Tracer, tracer))
      expect(spans.map(({ attributes, kind, name }) => [name, kind, Object.fromEntries(attributes)])).toEqual([
        ["tools/call echo", "client", { "mcp.method.name": "tools/call", "gen_ai.tool.name": "echo" }],
        [
          "resources/read",
          "client",
          { "mcp.method.name": "resources/read", "mcp.resource.uri": "demo://resource/dynamic/text/1" }
        ]
      ])
    })
  )

  it.live("of one Layer are one connection, however many agents share it", () =>
    Effect.gen(function* () {
      const { file, lines } = newLog()
      const shared = Mcp.layer({ servers: { tools: toolsServer({ LOG: file }) } })
      const agent = (name: string) =>
        Agent.make(name, { tools: [Mcp.tools()] })
          .run("Who?")
          .pipe(Effect.provide(shared), Effect.provide(TestModel.layer([TestModel.toolCall("pid", {}), "done"])))
      yield* Effect.all([agent("a"), agent("b"), agent("c")], { concurrency: "unbounded" })
      expect(lines().filter((line) => line === "started")).toHaveLength(1)
      expect(lines().filter((line) => line === "pid")).toHaveLength(3)
    })
  )

  it.live("know nothing of our environment but what they are given", () =>
    Effect.gen(function* () {
      process.env["TROUPE_SECRET"] = "s3cret"
      const server = { ...toolsServer(), env: { TOKEN: Redacted.make("t0ken") } }
      const tools = yield* (yield* connect({ tools: server })).tools()
      const env = JSON.parse(String(yield* call(tools, "env"))) as Record<string, string>
      expect(env["TOKEN"]).toBe("t0ken")
      expect(env["TROUPE_SECRET"]).toBeUndefined()
      expect(env["PATH"]).toBe(process.env["PATH"])
    }).pipe(Effect.ensuring(Effect.sync(() => delete process.env["TROUPE_SECRET"])))
  )
})

describe("a server that cannot be connected fails the Layer", () => {
  const build = (server: Mcp.ServerOptions) =>
    leavesNothing(Effect.scoped(connect({ good: rawServer(), bad: server }))).pipe(Effect.map(failure))

  it.live("with the command, the exit code and the end of its stderr, secrets taken out", () =>
    Effect.gen(function* () {
      const server = {
        ...script("console.error('no disk for ' + process.env.KEY); process.exit(3)"),
        // One begins with the other.
        env: { OTHER: Redacted.make("k3y-of-mine"), KEY: Redacted.make("k3y-of-mine-too") }
      }
      const error = yield* build(server)
      expect(error).toMatchObject({ _tag: "McpConnectError", server: "bad", transport: "stdio", exitCode: 3 })
      expect(error).toMatchObject({
        target: expect.stringContaining("--input-type=module -e"),
        stderr: "no disk for <redacted>\n",
        message: expect.stringContaining("exit code 3")
      })
    })
  )

  it.live("and of what is cut off no half of a secret stays", () =>
    Effect.gen(function* () {
      const server = {
        ...script("process.stderr.write(process.env.KEY + 'y'.repeat(8180), () => process.exit(3))"),
        env: { KEY: Redacted.make("k3y-of-mine-which-is-long") }
      }
      const { stderr } = (yield* build(server)) as Mcp.McpConnectError
      expect(stderr).toHaveLength(8190)
      expect(stderr).toMatch(/^<redacted>y+$/)
    })
  )

  it.live("in its arguments and its path too, where they are secret", () =>
    Effect.gen(function* () {
      const secret = Redacted.make("s3cret-of-mine")
      const cry = script("console.error('no ' + process.argv[1]); process.exit(3)")
      const dead = yield* build({ ...cry, args: [...cry.args, secret] })
      expect(dead).toMatchObject({ exitCode: 3, stderr: "no <redacted>\n" })
      const port = yield* Effect.promise(freePort)
      const away = yield* build({ url: Redacted.make(`http://127.0.0.1:${port}/s3cret-of-mine/mcp`) })
      expect(away).toMatchObject({ target: `http://127.0.0.1:${port}/<redacted>` })
      expect([String(dead), String(away)].join()).not.toContain("s3cret")
    })
  )

  it.live("when there is no such command, or no such directory", () =>
    Effect.gen(function* () {
      expect(yield* build({ command: "true", cwd: "/no/such/directory" })).toMatchObject({
        problem: "spawn true ENOENT, in /no/such/directory"
      })
      const error = yield* build({ command: "troupe-no-such-command" })
      expect(error).toMatchObject({ _tag: "McpConnectError", message: expect.stringContaining("ENOENT") })
    })
  )

  it.effect("when it does not answer in time", () =>
    Effect.gen(function* () {
      const { file, lines } = newLog()
      const hangs: Mcp.ServerOptions = {
        command: "sh",
        args: ["-c", `echo 'waiting for a key' >&2; echo waits > '${file}'; exec sleep 1000`],
        connectTimeout: "20 seconds",
        grace: "100 millis"
      }
      const building = yield* Effect.forkChild(build(hangs))
      yield* Effect.promise(() => until(() => lines().includes("waits")))
      yield* TestClock.adjust("20 seconds")
      expect(yield* Fiber.join(building)).toMatchObject({
        problem: expect.stringContaining("did not answer within 20s"),
        stderr: "waiting for a key\n"
      })
    })
  )

  it.live("when it speaks something else", () =>
    Effect.gen(function* () {
      const noise = script("console.log('Hello!'); setTimeout(() => process.exit(0), 200)")
      expect(yield* build(noise)).toMatchObject({ _tag: "McpConnectError", exitCode: 0 })
    })
  )

  it.live("when no server listens at its address", () =>
    Effect.gen(function* () {
      const port = yield* Effect.promise(freePort)
      const error = yield* build({ url: `http://user:passw0rd@127.0.0.1:${port}/mcp?key=s3cret` })
      expect(error).toMatchObject({
        target: `http://127.0.0.1:${port}/mcp`,
        message: expect.stringContaining("ECONNREFUSED")
      })
      expect(String(error)).not.toMatch(/passw0rd|s3cret/)
    })
  )

  it("as a defect of the definition when it can never work", () => {
    const problems: ReadonlyArray<readonly [server: object, said: RegExp]> = [
      [{}, /command, url and server/],
      [{ command: "a", url: "http://localhost/" }, /both command and url/],
      [{ command: " " }, /command is empty/],
      [{ command: "a", env: { KEY: Redacted.make("k3y\0of-mine") } }, /a zero byte/],
      [{ command: "a", timeout: "soon" }, /timeout is not a duration/],
      [{ command: "a", grace: "soon" }, /grace is not a duration/],
      [{ url: "not an address" }, /url is not a web address/],
      [{ url: "localhost:3000/mcp" }, /Write it in full/],
      [{ url: "http://localhost/", oauth: {} }, /oauth has no way to authorize/]
    ]
    for (const [server, said] of problems) {
      const make = () => Mcp.layer({ servers: { bad: server as Mcp.ServerOptions } })
      expect(make).toThrow(/MCP server "bad"/)
      expect(make).toThrow(said)
      expect(make).not.toThrow(/k3y/)
    }
  })
})

it("importing troupe/Mcp loads no SDK", { timeout: 30_000 }, async () => {
  const program = `
    import { registerHooks } from "node:module"
    const urls = []
    registerHooks({ load: (url, context, next) => { urls.push(url); return next(url, context) } })
    await import("troupe/Mcp")
    console.log(JSON.stringify(urls))
  `
  const root = path.resolve(import.meta.dirname, "../../..")
  const args = ["--conditions=troupe-source", "--input-type=module", "--eval", program]
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: root, maxBuffer: 16_000_000 })
  const urls = JSON.parse(stdout) as ReadonlyArray<string>
  expect(urls).toContainEqual(expect.stringMatching(/src\/layers\/mcp\/Mcp\.ts$/))
  expect(urls.filter((url) => /modelcontextprotocol|cfworker|\/zod\//.test(url))).toEqual([])
})
