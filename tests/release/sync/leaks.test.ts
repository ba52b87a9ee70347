/** What the sync edge leaves behind is counted, in a process of its own, against a server in another. */
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { delayServer, isolated } from "../../support/isolated.ts"
import { cases } from "./leaks.cases.ts"

const names = Object.keys(cases)
let server: Awaited<ReturnType<typeof delayServer>>
beforeAll(async () => {
  server = await delayServer()
})
afterAll(() => {
  server.child.kill("SIGKILL")
})

describe("the sync edge leaks no thread, port, file or memory", () => {
  it.each(names)(
    "%s",
    async (name) => {
      const options = { env: { BASE: server.base }, flags: ["--expose-gc"], watchdogMs: 110_000 }
      assert.deepStrictEqual(await isolated(new URL("./leaks.cases.ts", import.meta.url), [name], options), {
        [name]: ""
      })
    },
    120_000
  )
})
