/** The diagrams of the documentation are what `troupe graph` prints now. */
import { assert, describe, it } from "vitest"
import { drawAll } from "../../scripts/pictures.ts"

describe("the documentation", () => {
  it("shows workflows as they are drawn now", { timeout: 120_000 }, async () => {
    const drawn = await drawAll()
    assert.isAbove(drawn.size, 0)
    for (const [file, { now, should }] of drawn) {
      assert.strictEqual(now, should, `${file} is out of date: npm run pictures`)
    }
  })
})
