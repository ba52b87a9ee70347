/**
 * Counts tests for `scripts/test.ts`, alongside vitest's own reporter: one JSON object, in the file that
 * `TROUPE_TEST_REPORT` names.
 */
import * as fs from "node:fs"
import type { Reporter, TestModule } from "vitest/node"

/** What {@link default} writes. */
export interface Report {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
  /** Files that fail without a failed test, such as those that do not load. */
  readonly broken: number
  /** The full names of tests that failed and then passed when they were run again. */
  readonly flaky: ReadonlyArray<string>
  /** The files that were running when an error came that belongs to no test, such as one of a socket without a listener. */
  readonly stray: ReadonlyArray<string>
}

export default class Counter implements Reporter {
  onTestRunEnd(modules: ReadonlyArray<TestModule>, unhandled: ReadonlyArray<object>): void {
    const tests = modules.flatMap((module) => [...module.children.allTests()])
    const count = (state: string) => tests.filter((test) => test.result().state === state).length
    const report: Report = {
      passed: count("passed"),
      failed: count("failed"),
      skipped: count("skipped") + count("pending"),
      broken: modules.filter(
        (module) =>
          module.state() === "failed" &&
          ![...module.children.allTests()].some((test) => test.result().state === "failed")
      ).length,
      flaky: tests.filter((test) => test.diagnostic()?.flaky === true).map((test) => test.fullName),
      stray: unhandled.map((error) => ("VITEST_TEST_PATH" in error ? String(error.VITEST_TEST_PATH) : ""))
    }
    fs.writeFileSync(process.env["TROUPE_TEST_REPORT"]!, JSON.stringify(report))
  }
}
