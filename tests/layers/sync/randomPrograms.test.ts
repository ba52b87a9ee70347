import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "vitest"

const main = fileURLToPath(new URL("../../support/randomPrograms.ts", import.meta.url))
const programs = 2000
const watchdogMs = 30_000

/** Runs programs in a child, and kills it when one takes too long: a deadlock would never say so itself. */
const run = (from: number, count: number): Promise<string> =>
  new Promise((resolve) => {
    const child = spawn(process.execPath, ["--conditions=troupe-source", main, String(from), String(count)])
    let last = ""
    let said = ""
    const kill = () => {
      said = `program ${last} hangs`
      child.kill("SIGKILL")
    }
    let watchdog = setTimeout(kill, watchdogMs)
    child.stdout.on("data", (chunk: Buffer) => {
      last = chunk.toString().trim().split("\n").at(-1) ?? last
      clearTimeout(watchdog)
      watchdog = setTimeout(kill, watchdogMs)
    })
    child.stderr.on("data", (chunk: Buffer) => (said += chunk.toString()))
    child.on("close", (code) => {
      clearTimeout(watchdog)
      resolve(code === 0 ? "" : said || `ended with ${code} at ${last}`)
    })
  })

describe("random programs", () => {
  it("never hang under runSync, and end as under runPromise", async () => {
    const halves = await Promise.all([run(1, programs / 2), run(1 + programs / 2, programs / 2)])
    assert.deepStrictEqual(halves, ["", ""])
  }, 120_000)
})
