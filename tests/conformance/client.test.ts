/** The public MCP conformance suite against our client. */
import { execFile } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { expect, it } from "vitest"

const root = path.resolve(import.meta.dirname, "../..")

it(
  "every scenario of the core suite passes: tools, elicitation, resumed streams, authorization",
  { timeout: 180_000 },
  async () => {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), "troupe-conformance-"))
    const main = path.join(root, "tests/support/mcpConformanceMain.ts")
    const bin = path.join(root, "node_modules/.bin/conformance")
    const command = `${process.execPath} --conditions=troupe-source ${main}`
    const args = [bin, "client", "--suite", "core", "--command", command, "--timeout", "120000", "-o", directory]
    const { code, text } = await new Promise<{ readonly code: number; readonly text: string }>((resolve) => {
      execFile(process.execPath, args, { cwd: directory, maxBuffer: 64_000_000 }, (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : -1, text: stdout + stderr })
      )
    })
    fs.rmSync(directory, { recursive: true })
    const summary = text.slice(text.indexOf("=== SUITE SUMMARY ==="))
    expect(code, summary).toBe(0)
    // So that a suite that ran nothing does not look like one that passed.
    expect((summary.match(/^✓ \S+: \d+ passed, 0 failed/gm) ?? []).length).toBeGreaterThanOrEqual(18)
  }
)
