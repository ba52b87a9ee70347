/** The public MCP conformance suite against a server of ours, for both revisions that it has requirements for. */
import { afterAll, beforeAll, expect, it } from "vitest"
import { conformance, summaryOf } from "../../support/mcpConformance.ts"
import { start } from "../../support/mcpProcess.ts"

let server: ReturnType<typeof start>

beforeAll(async () => {
  server = start("tests/support/mcpFixtureMain.ts")
  await server.line
}, 60_000)

afterAll(async () => {
  server.child.stdin?.end()
  expect(await server.ended).toBe(0)
})

it.each([
  ["2025-11-25", 30],
  ["2026-07-28", 37]
])(
  "every scenario that %s requires passes, but for those that are listed with their reason",
  { timeout: 120_000 },
  async (revision, required) => {
    const { code, text } = await conformance("server", "--url", await server.line, "--requirements", revision)
    expect(code, text).toBe(0)
    expect(summaryOf(text).length).toBeGreaterThanOrEqual(required)
  }
)
