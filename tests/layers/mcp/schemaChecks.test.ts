/** Checks of a server's schemas end in time, for all schemas. */
import { Effect } from "effect"
import { Agent, Mcp, TestModel } from "troupe"
import { describe, expect, it } from "vitest"
import { checker } from "../../../src/layers/mcp/internal/validate.ts"
import { inProcess } from "../../support/mcpInProcess.ts"

/** Doubles the work with each level, without a pattern. */
const doubling = (keyword: "allOf" | "anyOf" | "oneOf", levels = 30) => {
  const $defs: Record<string, unknown> = { [`d${levels}`]: { type: "string" } }
  for (let i = 0; i < levels; i++) {
    const next = { $ref: `#/$defs/d${i + 1}` }
    $defs[`d${i}`] = { [keyword]: keyword === "allOf" ? [next, next] : [{ not: next }, next] }
  }
  return { type: "object", properties: { a: { $ref: "#/$defs/d0" } }, $defs }
}

describe("a schema whose check does not end", () => {
  for (const keyword of ["allOf", "anyOf", "oneOf"] as const) {
    it(`refuses the value in time: ${keyword}`, () => {
      const check = checker(doubling(keyword))
      const start = Date.now()
      expect(check({ a: "x" })).toContain("could not be checked within")
      expect(Date.now() - start).toBeLessThan(5000)
    })
  }

  it("takes less time with each value", () => {
    const check = checker(doubling("allOf"))
    const start = Date.now()
    for (let n = 0; n < 20; n++) expect(check({ a: "x" })).toContain("could not be checked within")
    expect(Date.now() - start).toBeLessThan(8000)
  })

  it("does not count the time in which the machine does other things", () => {
    let looks = 0
    const check = checker({ type: "object", properties: { a: { pattern: "^(b|bb)+$" } } }, () => 150 * looks++)
    expect(check({ a: `${"b".repeat(60)}!` })).toContain("could not be checked within 500 ms")
    // It had worked for 150 ms when it was stopped, and was made again.
    expect(looks).toBe(3)
  })

  it("takes as many steps for a larger value as that needs", () => {
    const items = Array.from({ length: 50_000 }, (_, n) => n)
    const check = checker({ type: "object", properties: { items: { items: { type: "integer" } } } })
    expect(check({ items })).toBeUndefined()
    expect(check({ items: [...items, "x"] })).toBe(
      'items/50000: Instance type "string" is invalid. Expected "integer".'
    )
  })

  it("does not keep a run from its timeout", async () => {
    const evil = { server: inProcess([{ name: "look", inputSchema: doubling("allOf") }]) }
    const Model = TestModel.layer((call) =>
      call.index === 0 ? TestModel.toolCall("look", { a: "x" }) : JSON.stringify(call.prompt.content.at(-1))
    )
    const answer = await Effect.runPromise(
      Agent.make("a", { tools: [Mcp.tools()] })
        .run("x")
        .pipe(Effect.provide([Mcp.layer({ servers: { evil } }), Model]))
    )
    expect(answer).toContain("could not be checked within")
  })
})
