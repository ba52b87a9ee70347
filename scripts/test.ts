/**
 * `npm test`: the checks, then the tests, then the examples; it stops at the first of these that fails. Its last line is
 * always `N passed, N failed`: tests and examples, and what could not be run counts as failed. Arguments are handed to
 * vitest, and then only vitest runs: `npm test -- tests/Runner.test.ts`.
 */
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { check } from "./check.ts"
import { examples } from "./examples.ts"
import { run, seconds } from "./support.ts"

interface Report {
  readonly numPassedTests: number
  readonly numFailedTests: number
  readonly numPendingTests: number
  readonly numTodoTests: number
  readonly testResults: ReadonlyArray<{ readonly status: string; readonly assertionResults: ReadonlyArray<unknown> }>
}

const tests = async (args: ReadonlyArray<string>): Promise<{ readonly passed: number; readonly failed: number }> => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "troupe-test-"))
  const file = path.join(directory, "report.json")
  try {
    const outcome = await run(
      "vitest",
      ["run", "--reporter=default", "--reporter=json", `--outputFile.json=${file}`, ...args],
      { inherit: true }
    )
    if (!fs.existsSync(file)) return { passed: 0, failed: 1 }
    const report = JSON.parse(fs.readFileSync(file, "utf8")) as Report
    const skipped = report.numPendingTests + report.numTodoTests
    if (skipped > 0 && args.length === 0) console.log(`FAIL ${skipped} tests are skipped: run them or remove them`)
    // A file that does not load has no test to fail.
    const broken = report.testResults.filter((r) => r.status === "failed" && r.assertionResults.length === 0).length
    const failed = report.numFailedTests + broken + (args.length === 0 ? skipped : 0)
    // Vitest also fails for what belongs to no test, such as an unhandled rejection.
    return { passed: report.numPassedTests, failed: failed === 0 && !outcome.ok ? 1 : failed }
  } finally {
    fs.rmSync(directory, { recursive: true, force: true })
  }
}

const started = performance.now()
const args = process.argv.slice(2)
let passed = 0
let failed = 0
const stage = async (name: string, count: () => Promise<{ readonly passed: number; readonly failed: number }>) => {
  if (failed > 0) return
  const begun = performance.now()
  console.log(`-- ${name}`)
  const done = await count()
  passed += done.passed
  failed += done.failed
  console.log(`-- ${name}: ${seconds(performance.now() - begun)}`)
}
if (args.length > 0) {
  await stage("tests", () => tests(args))
} else {
  await stage("checks", async () => ({ passed: 0, failed: await check() }))
  await stage("tests", () => tests([]))
  await stage("examples", () => examples())
}
if (failed === 0 && passed === 0) failed = 1
console.log(`in ${seconds(performance.now() - started)}`)
process.exitCode = failed === 0 ? 0 : 1
console.log(`${passed} passed, ${failed} failed`)
