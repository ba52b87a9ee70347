/** Servers that are processes, and end while they are used: by themselves, with a signal, or with the thread that holds them. */
import { it as effectIt } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import * as Mcp from "troupe/Mcp"
import * as SyncEdge from "troupe/SyncEdge"
import { describe, expect, it } from "vitest"
import * as IoWorker from "../../../src/layers/internal/io/ioWorker.ts"
import { call } from "../../support/mcpCall.ts"
import { failure, temporary } from "../../support/mcpChecks.ts"
import { children, isAlive, toolsServer } from "../../support/mcpEverything.ts"

const { newLog } = temporary()
const connect = (servers: Mcp.Options["servers"]) => Mcp.connect({ servers })

const runSync = <A, E>(program: Effect.Effect<A, E>): A => Effect.runSync(Effect.provide(program, SyncEdge.layer))
/** Waits on either edge until a log has a line. */
const logged = (lines: () => ReadonlyArray<string>, line: string) =>
  Effect.gen(function* () {
    while (!lines().includes(line)) yield* Effect.sleep("20 millis")
  }).pipe(Effect.timeout("20 seconds"))

describe("a server that dies later", () => {
  effectIt.live("fails the calls in flight, and is there again for the next", () =>
    Effect.gen(function* () {
      const mcp = yield* connect({ tools: toolsServer() })
      const tools = yield* mcp.tools()
      const before = yield* call(tools, "pid")
      const [hang, die] = yield* Effect.all([Effect.exit(call(tools, "hang")), Effect.exit(call(tools, "die"))], {
        concurrency: "unbounded"
      })
      for (const exit of [hang, die]) {
        expect(failure(exit)).toMatchObject({
          _tag: "McpCallError",
          reason: "lost",
          executed: "unknown",
          message: expect.stringContaining("it was not executed again")
        })
      }
      const after = yield* call(tools, "pid")
      expect(after).not.toEqual(before)
      expect(yield* mcp.servers).toMatchObject([{ connected: true, pid: Number(after) }])
    })
  )

  effectIt.live("gets a lost call again only for a tool that may run twice", () =>
    Effect.gen(function* () {
      const { file, lines } = newLog()
      const trusted = { ...toolsServer({ LOG: file }), trustHints: true }
      const tools = yield* (yield* connect({ tools: trusted })).tools()
      expect(yield* call(tools, "die-once")).toBe("lived, call 2")
      yield* Effect.exit(call(tools, "die"))
      yield* call(tools, "pid")
      expect(lines().filter((line) => line === "die")).toHaveLength(1)
    })
  )

  effectIt.live("and does not come back fails calls as not executed", () =>
    Effect.gen(function* () {
      const mcp = yield* connect({ tools: { ...toolsServer(), reconnect: "none" } })
      const tools = yield* mcp.tools()
      yield* Effect.exit(call(tools, "die"))
      expect(failure(yield* Effect.exit(call(tools, "pid")))).toMatchObject({
        reason: "unavailable",
        executed: "no",
        message: expect.stringMatching(/not executed: .*exit code 9.*ended on request/s)
      })
      expect((yield* mcp.tools()).map(({ name }) => name)).toContain("pid")
    })
  )
})

describe("under runSync", () => {
  it("a server that dies is there again for the next call", () => {
    const { file, lines } = newLog()
    runSync(
      Effect.gen(function* () {
        const mcp = yield* Mcp.connect({ servers: { tools: { ...toolsServer({ LOG: file }), trustHints: true } } })
        const tools = yield* mcp.tools()
        expect(failure(yield* Effect.exit(call(tools, "die")))).toMatchObject({ reason: "lost", executed: "unknown" })
        expect(yield* call(tools, "die-once")).toBe("lived, call 2")
        expect(lines().filter((line) => line === "die")).toHaveLength(1)
      }).pipe(Effect.scoped)
    )
    expect(children()).toEqual([])
  })

  it("a timeout and an interruption reach the server, and nothing stays behind", () => {
    const { file, lines } = newLog()
    const patient = newLog()
    let pids: ReadonlyArray<number> = []
    runSync(
      Effect.gen(function* () {
        const mcp = yield* Mcp.connect({
          servers: {
            // All other requests have to be answered within this, too.
            strict: { ...toolsServer({ LOG: file }), timeout: "1500 millis" },
            patient: toolsServer({ LOG: patient.file })
          }
        })
        const tools = yield* mcp.tools()
        pids = [Number(yield* call(tools, "strict_pid")), Number(yield* call(tools, "patient_pid"))]
        expect(failure(yield* Effect.exit(call(tools, "strict_hang")))).toMatchObject({ reason: "timeout" })
        yield* logged(lines, "cancelled: timeout")
        const fiber = yield* Effect.forkChild(call(tools, "patient_hang"), { startImmediately: true })
        yield* logged(patient.lines, "hang")
        yield* Fiber.interrupt(fiber)
        yield* logged(patient.lines, "cancelled: interrupted")
      }).pipe(Effect.scoped)
    )
    expect(pids.map(isAlive)).toEqual([false, false])
    expect(children()).toEqual([])
  })

  it("the end of the I/O thread fails what is under way, and ends the processes", async () => {
    const { file, lines } = newLog()
    let pid = 0
    const exit = runSync(
      Effect.gen(function* () {
        const mcp = yield* Mcp.connect({ servers: { tools: toolsServer({ LOG: file }) } })
        const tools = yield* mcp.tools()
        pid = Number(yield* call(tools, "pid"))
        const fiber = yield* Effect.forkChild(Effect.exit(call(tools, "hang")), { startImmediately: true })
        yield* logged(lines, "hang")
        IoWorker.get().tell("crash")
        const exit = yield* Fiber.join(fiber)
        expect(Number(yield* call(tools, "pid"))).not.toBe(pid)
        return exit
      }).pipe(Effect.scoped)
    )
    expect(failure(exit)).toMatchObject({ reason: "lost", message: expect.stringContaining("I/O thread") })
    for (let looks = 0; isAlive(pid) && looks < 100; looks++) await new Promise((resolve) => setTimeout(resolve, 50))
    expect(isAlive(pid)).toBe(false)
  })
})
