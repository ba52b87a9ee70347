/** Commands of the tool for commands end with the process that runs them, however it ends. */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import * as path from "node:path"
import { Effect } from "effect"
import { afterEach, assert, describe, it } from "vitest"
import { family, isAlive, written } from "../support/commandProcesses.ts"
import { nodeArguments } from "../support/mcpProcess.ts"
import { folderOfEachTest } from "../support/temporaryFolder.ts"

let cwd: string
let ours: ChildProcess | undefined
folderOfEachTest((folder) => {
  cwd = folder
})
afterEach(() => void ours?.kill("SIGKILL"))
const at = (file: string) => path.join(cwd, file)

describe.each(["sync", "async"])("a process of ours that runs a command, %s", (edge) => {
  const another = (script: string, timeout: string) => {
    const args = [cwd, edge, script, timeout]
    ours = spawn(process.execPath, nodeArguments("tests/support/shellToolMain.ts", ...args), { stdio: "inherit" })
    return ours
  }

  it("ends the whole group of the command when it dies", { timeout: 30_000 }, async () => {
    const ours = another(family, "1 minute")
    const both = [at("parent"), at("child")]
    await Effect.runPromise(written(...both))
    assert.deepStrictEqual(both.map(isAlive), [true, true])
    ours.kill("SIGKILL")
    while (both.some(isAlive)) await new Promise((resolve) => setTimeout(resolve, 5))
  })

  it("ends what has left the group when it dies", { timeout: 30_000 }, async () => {
    const leaver = `
      const child = require("child_process").spawn(process.execPath, ["-e", 'require("fs").writeFileSync("child", String(process.pid)); setInterval(() => {}, 1000)'], { stdio: "ignore", detached: true })
      setInterval(() => {}, 1000)`
    const ours = another(leaver, "1 minute")
    await Effect.runPromise(written(at("child")))
    assert.isTrue(isAlive(at("child")))
    ours.kill("SIGKILL")
    while (isAlive(at("child"))) await new Promise((resolve) => setTimeout(resolve, 5))
  })

  it("is not kept from ending by a command that has heeded SIGTERM", { timeout: 30_000 }, async () => {
    const ours = another("setInterval(() => {}, 1000)", "500 millis")
    assert.deepStrictEqual(await once(ours, "exit"), [0, null])
  })
})
