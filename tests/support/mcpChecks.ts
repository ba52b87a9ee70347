/** What the tests of MCP share: logs of servers, typed failures, and whether something was left behind. */
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { Cause, Effect, Exit } from "effect"
import { afterAll, beforeAll, expect } from "vitest"
import { children, until } from "./mcpEverything.ts"

/** A directory for the tests of a file. */
export const temporary = () => {
  let directory = ""
  let logs = 0
  beforeAll(() => {
    directory = fs.mkdtempSync(path.join(os.tmpdir(), "troupe-mcp-"))
  })
  afterAll(() => fs.rmSync(directory, { recursive: true, force: true }))
  return {
    path: (name: string) => path.join(directory, name),
    /** A log file for a server, and what is in it. */
    newLog: () => {
      const file = path.join(directory, `log-${logs++}`)
      return { file, lines: () => (fs.existsSync(file) ? fs.readFileSync(file, "utf8").trim().split("\n") : []) }
    }
  }
}

/** What a program failed with. */
export const failure = <A, E>(exit: Exit.Exit<A, E>): unknown => {
  if (Exit.isSuccess(exit)) throw new Error("it succeeded")
  return Cause.squash(exit.cause)
}

/** What this process has open that a connection could leave behind. */
const open = () => ({
  children: children().map(({ args }) => args),
  handles: process.getActiveResourcesInfo().filter((kind) => /Process|TCP|Pipe/.test(kind)).length,
  listeners: process.eventNames().reduce((count, name) => count + process.listenerCount(name), 0)
})

/** Runs a program and holds what is open after it against what was before. */
export const leavesNothing = <A, E, R>(program: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    // Node opens it when a module is loaded that imports `node:process`, as the SDK's do; it stays for good.
    void process.stdin
    const before = open()
    const exit = yield* Effect.exit(program)
    yield* Effect.promise(() => until(() => open().handles <= before.handles))
    const { children, listeners } = open()
    expect({ children, listeners }).toEqual({ children: before.children, listeners: before.listeners })
    return exit
  })
