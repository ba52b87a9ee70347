/**
 * `npm test`: the checks, then the tests, then the examples; it stops at the first of these that fails.
 * `npm run test:release`: the tests of tests/release, which pack, install, bundle, run conformance suites or wait for
 * processes. A test of these that fails is run once more, a file in which an error came that belongs to no test as well, and
 * the report says so.
 *
 * The last line is always `N passed, N failed`: tests and examples, and what could not be run counts as failed. Arguments
 * are handed to vitest, and then only vitest runs: `npm test -- tests/Runner.test.ts`.
 */
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { check } from "./check.ts"
import { examples } from "./examples.ts"
import type { Report } from "./reporter.ts"
import { env, run, seconds } from "./support.ts"

interface Count {
  readonly passed: number
  readonly failed: number
}

/** Whether the files in which errors came that belong to no test pass when they are run once more, by themselves. */
const passAgain = async (files: ReadonlyArray<string>): Promise<boolean> => {
  if (files.length === 0 || files.includes("")) return false
  const { failed } = await tests(["--project=release", ...files], false)
  for (const file of files) {
    console.log(
      `RETRIED ${file}: an error came outside of its tests, and it ${failed === 0 ? "passed" : "failed"} again`
    )
  }
  return failed === 0
}

/**
 * Runs vitest. `whole` when it runs what there is, so that no test may be skipped; `again` when an error that belongs to no
 * test is tried once more, as a test that fails is.
 */
const tests = async (args: ReadonlyArray<string>, whole: boolean, again = false): Promise<Count> => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "troupe-test-"))
  const file = path.join(directory, "report.json")
  try {
    const outcome = await run("vitest", ["run", "--reporter=default", "--reporter=./scripts/reporter.ts", ...args], {
      inherit: true,
      env: { ...env, TROUPE_TEST_REPORT: file, TROUPE_TEST_FOLDER: directory }
    })
    if (!fs.existsSync(file)) return { passed: 0, failed: 1 }
    const report = JSON.parse(fs.readFileSync(file, "utf8")) as Report
    for (const name of report.flaky) console.log(`RETRIED ${name}: it failed, and passed when it was run again`)
    if (report.skipped > 0 && whole) console.log(`FAIL ${report.skipped} tests are skipped: run them or remove them`)
    const failed = report.failed + report.broken + (whole ? report.skipped : 0)
    // Vitest also fails for what belongs to no test, such as an unhandled rejection.
    const isStray = failed === 0 && !outcome.ok && !(again && (await passAgain([...new Set(report.stray)])))
    return { passed: report.passed, failed: isStray ? 1 : failed }
  } finally {
    fs.rmSync(directory, { recursive: true, force: true })
  }
}

const started = performance.now()
const isRelease = process.argv[2] === "--release"
const args = process.argv.slice(isRelease ? 3 : 2)
let passed = 0
let failed = 0
const stage = async (name: string, count: () => Promise<Count>) => {
  if (failed > 0) return
  const begun = performance.now()
  console.log(`-- ${name}`)
  const done = await count()
  passed += done.passed
  failed += done.failed
  console.log(`-- ${name}: ${seconds(performance.now() - begun)}`)
}
if (args.length > 0) {
  await stage("tests", () => tests(args, false))
} else if (isRelease) {
  await stage("release tests", () => tests(["--project=release", "--retry=1", "--maxWorkers=3"], true, true))
} else {
  await stage("checks", async () => ({ passed: 0, failed: await check() }))
  await stage("tests", () => tests(["--project=shared", "--project=apart"], true))
  await stage("examples", () => examples())
}
if (failed === 0 && passed === 0) failed = 1
console.log(`in ${seconds(performance.now() - started)}`)
process.exitCode = failed === 0 ? 0 : 1
console.log(`${passed} passed, ${failed} failed`)
