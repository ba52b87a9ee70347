/** The sync edge's loop where a mistake would make it hang: each case runs in a process that a watchdog may kill. */
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { delayServer, isolated } from "../../support/isolated.ts"
import { cases } from "./loop.cases.ts"

const names = Object.keys(cases)
let server: Awaited<ReturnType<typeof delayServer>>
let ends: Record<string, string>
beforeAll(async () => {
  server = await delayServer()
  ends = await isolated(new URL("./loop.cases.ts", import.meta.url), names, { env: { BASE: server.base } })
}, 180_000)
afterAll(() => {
  server.child.kill("SIGKILL")
})

describe("under Effect.runSync", () => {
  it.each(names)("%s", (name) => assert.strictEqual(ends[name], ""))
})
