/** MCP servers that are processes leave nothing behind, however the program ends. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import * as path from "node:path"
import { it } from "@effect/vitest"
import { Effect, Exit, Fiber } from "effect"
import type * as AgentTool from "troupe/AgentTool"
import * as Mcp from "troupe/Mcp"
import { describe, expect } from "vitest"
import { call } from "../../support/mcpCall.ts"
import { failure, leavesNothing, temporary } from "../../support/mcpChecks.ts"
import { children, everything, isAlive, script, toolsServer, until } from "../../support/mcpEverything.ts"

const { newLog } = temporary()
const connect = (servers: Mcp.Options["servers"]) => Mcp.connect({ servers })

describe("nothing stays behind", () => {
  const using = (
    log: string,
    use: (tools: ReadonlyArray<AgentTool.AgentTool<string, never>>) => Effect.Effect<unknown, unknown>,
    more: { readonly timeout?: "1500 millis" } = {}
  ) =>
    leavesNothing(
      Effect.scoped(
        Effect.gen(function* () {
          const server: Mcp.ServerOptions = { ...toolsServer({ LOG: log }), ...more }
          const tools = yield* (yield* connect({ tools: server, everything })).tools()
          return yield* use(tools)
        })
      )
    )

  it.live("after success and after a failure", () =>
    Effect.gen(function* () {
      expect(Exit.isSuccess(yield* using("/dev/null", (tools) => call(tools, "tools_pid")))).toBe(true)
      expect(Exit.isFailure(yield* using("/dev/null", (tools) => call(tools, "tools_fail")))).toBe(true)
    })
  )

  it.live("after a timeout, which the server learns of", () =>
    Effect.gen(function* () {
      const { file, lines } = newLog()
      const exit = yield* using(
        file,
        (tools) =>
          Effect.tapError(call(tools, "tools_hang"), () =>
            Effect.promise(() => until(() => lines().includes("cancelled: timeout")))
          ),
        // Also the list of its tools has to come within this.
        { timeout: "1500 millis" }
      )
      expect(failure(exit)).toMatchObject({
        reason: "timeout",
        message: expect.stringContaining("did not answer in time")
      })
    })
  )

  it.live("after an interruption, which the server learns of", () =>
    Effect.gen(function* () {
      const { file, lines } = newLog()
      const exit = yield* using(file, (tools) =>
        Effect.gen(function* () {
          const fiber = yield* Effect.forkChild(call(tools, "tools_hang"))
          yield* Effect.promise(() => until(() => lines().includes("hang")))
          yield* Fiber.interrupt(fiber)
          yield* Effect.promise(() => until(() => lines().includes("cancelled: interrupted")))
        })
      )
      expect(Exit.isSuccess(exit)).toBe(true)
    })
  )

  it.live("after the Layer is interrupted while it connects", () =>
    Effect.gen(function* () {
      const hangs: Mcp.ServerOptions = { ...script("setInterval(() => {}, 1000)"), grace: "100 millis" }
      const exit = yield* leavesNothing(
        Effect.gen(function* () {
          const fiber = yield* Effect.forkChild(Effect.scoped(connect({ hangs, everything })))
          yield* Effect.promise(() => until(() => children().length >= 4))
          yield* Fiber.interrupt(fiber)
        })
      )
      expect(Exit.isSuccess(exit)).toBe(true)
    })
  )

  it.live("of a server that refuses to end, nor of what it has started", () =>
    Effect.gen(function* () {
      const { file, lines } = newLog()
      let started: ReadonlyArray<number> = []
      yield* leavesNothing(
        Effect.scoped(
          Effect.gen(function* () {
            const tools = yield* (yield* connect({ tools: toolsServer({ LOG: file, STUBBORN: "1" }) })).tools()
            started = [Number(yield* call(tools, "fork")), Number(yield* call(tools, "daemon"))]
            expect(started.map(isAlive)).toEqual([true, true])
          })
        )
      )
      expect(started.map(isAlive)).toEqual([false, false])
      expect(lines()).toContain("SIGTERM")
    })
  )

  it.live("of a server that was killed, nor of what it had started", () =>
    Effect.gen(function* () {
      let started: ReadonlyArray<number> = []
      yield* leavesNothing(
        Effect.scoped(
          Effect.gen(function* () {
            const mcp = yield* connect({ tools: { ...toolsServer(), reconnect: "none" } })
            const tools = yield* mcp.tools()
            started = [Number(yield* call(tools, "fork")), Number(yield* call(tools, "daemon"))]
            const [{ pid } = { pid: undefined }] = yield* mcp.servers
            process.kill(pid!, "SIGKILL")
            yield* Effect.promise(() => until(() => !started.some(isAlive)))
          })
        )
      )
      expect(started.every((pid) => pid > 0)).toBe(true)
    })
  )

  it.live("whenever the program is interrupted", () =>
    Effect.gen(function* () {
      const program = Effect.scoped(
        Effect.gen(function* () {
          const tools = yield* (yield* connect({ one: toolsServer(), two: toolsServer() })).tools()
          yield* call(tools, "one_fork")
          yield* Effect.exit(call(tools, "two_die"))
          yield* call(tools, "two_hang")
        })
      )
      for (const ms of [0, 30, 100, 200, 300, 400, 600]) {
        yield* leavesNothing(
          Effect.gen(function* () {
            const fiber = yield* Effect.forkChild(program, { startImmediately: true })
            yield* Effect.sleep(ms)
            yield* Fiber.interrupt(fiber)
          })
        )
      }
    })
  )

  for (const [signal, edge] of [
    ["SIGKILL", "async"],
    ["SIGTERM", "async"],
    ["SIGKILL", "sync"]
  ] as const) {
    it.live(`when our own process is ended by ${signal}, on the ${edge} edge`, () =>
      Effect.promise(async () => {
        const main = path.join(import.meta.dirname, "../../support/mcpParentMain.ts")
        const parent = spawn(process.execPath, ["--conditions=troupe-source", main], {
          env: { ...process.env, EDGE: edge },
          stdio: ["ignore", "pipe", "inherit"]
        })
        const [said] = (await once(parent.stdout, "data")) as [Buffer]
        const pids = JSON.parse(said.toString()) as ReadonlyArray<number>
        expect(pids.map(isAlive)).toEqual([true, true, true])
        parent.kill(signal)
        await until(() => !pids.some(isAlive))
      })
    )
  }
})
