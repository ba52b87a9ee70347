/** The I/O thread when it crashes, hangs and ends: cases run in processes that a watchdog may kill. */
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { delayServer, isolated } from "../../support/isolated.ts"
import { cases, slow } from "./worker.cases.ts"

const names = Object.keys(cases)
let server: Awaited<ReturnType<typeof delayServer>>
let ends: Record<string, string>
beforeAll(async () => {
  server = await delayServer()
  const groups = [names.filter((name) => slow[name] === undefined), ...Object.keys(slow).map((name) => [name])]
  const options = { env: { BASE: server.base }, watchdogMs: 90_000 }
  const all = groups.map((group) => isolated(new URL("./worker.cases.ts", import.meta.url), group, options))
  ends = Object.assign({}, ...(await Promise.all(all))) as Record<string, string>
}, 180_000)
afterAll(() => {
  server.child.kill("SIGKILL")
})

describe("the I/O thread", () => {
  it.each(names)("%s", (name) => assert.strictEqual(ends[name], ""))
})
