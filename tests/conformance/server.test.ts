/** The public MCP conformance suite against a server of ours, for both revisions that it has requirements for. */
import { execFile } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { afterAll, beforeAll, expect, it } from "vitest"
import { start } from "../support/mcpProcess.ts"

const root = path.resolve(import.meta.dirname, "../..")
let server: ReturnType<typeof start>
let directory = ""

beforeAll(async () => {
  directory = fs.mkdtempSync(path.join(os.tmpdir(), "troupe-conformance-"))
  server = start("tests/support/mcpFixtureMain.ts")
  await server.line
}, 60_000)

afterAll(async () => {
  server.child.stdin?.end()
  expect(await server.ended).toBe(0)
  fs.rmSync(directory, { recursive: true })
})

const conformance = (...args: ReadonlyArray<string>) =>
  new Promise<{ readonly code: number; readonly text: string }>((resolve) => {
    const bin = path.join(root, "node_modules/.bin/conformance")
    execFile(process.execPath, [bin, ...args], { cwd: directory, maxBuffer: 64_000_000 }, (error, stdout, stderr) =>
      resolve({ code: typeof error?.code === "number" ? error.code : error === null ? 0 : -1, text: stdout + stderr })
    )
  })

it.each([
  ["2025-11-25", 30],
  ["2026-07-28", 37]
])(
  "every scenario that %s requires passes, but for those that are listed with their reason",
  { timeout: 120_000 },
  async (revision, required) => {
    const { code, text } = await conformance(
      "server",
      "--url",
      await server.line,
      "--requirements",
      revision,
      "--expected-failures",
      path.join(import.meta.dirname, "expected-failures.yml"),
      "-o",
      directory
    )
    const summary = text.slice(text.indexOf("=== SUMMARY ==="))
    expect(code, summary).toBe(0)
    // So that a suite that ran nothing does not look like one that passed.
    expect((summary.match(/^[✓✗] \S+: \d+ passed/gm) ?? []).length).toBeGreaterThanOrEqual(required)
  }
)
