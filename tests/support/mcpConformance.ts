/** Runs the public MCP conformance suite, with what is expected to fail. */
import { execFile } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"

const root = path.resolve(import.meta.dirname, "../..")
const bins = path.dirname(process.execPath)

/** Its exit code is 1 for an unexpected failure, and for an expected one that passes. */
export const conformance = async (
  ...args: ReadonlyArray<string>
): Promise<{ readonly code: number; readonly text: string }> => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "troupe-conformance-"))
  const bin = path.join(root, "node_modules/.bin/conformance")
  const failures = path.join(root, "tests/release/conformance/expected-failures.yml")
  try {
    return await new Promise((resolve) => {
      execFile(
        process.execPath,
        [bin, ...args, "--expected-failures", failures, "-o", directory],
        // The suite splits commands at spaces, which paths may have.
        {
          maxBuffer: 64_000_000,
          cwd: root,
          env: { ...process.env, PATH: `${bins}${path.delimiter}${process.env["PATH"]}` }
        },
        (error, stdout) => {
          const code = typeof error?.code === "number" ? error.code : error === null ? 0 : -1
          resolve({ code, text: stdout.replace(/^[^]*?(?====.*SUMMARY)/, "") })
        }
      )
    })
  } finally {
    fs.rmSync(directory, { recursive: true })
  }
}

/** The scenarios of a summary, so that a suite that ran nothing does not look like one that passed. */
export const summaryOf = (text: string): ReadonlyArray<string> => text.match(/^[✓✗] \S+: \d+ passed/gm) ?? []
