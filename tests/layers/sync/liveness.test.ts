/** What the sync edge waits for, and when it gives up: each case runs in a process that a watchdog may kill. */
import { assert, beforeAll, describe, it } from "vitest"
import { isolated } from "../../support/isolated.ts"
import { cases } from "./liveness.cases.ts"

const names = Object.keys(cases)
let ends: Record<string, string>
beforeAll(async () => {
  ends = await isolated(new URL("./liveness.cases.ts", import.meta.url), names)
}, 180_000)

describe("under Effect.runSync", () => {
  it.each(names)("%s", (name) => assert.strictEqual(ends[name], ""))
})
