/** `troupe eval`: tables, files, exit codes. The command runs in this process. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { type Input, run } from "../../src/cli/eval.ts"
import * as Command from "../support/commandOutput.ts"
import { temporaryFolder } from "../support/temporaryFolder.ts"

const root = path.resolve(import.meta.dirname, "../..")
const evals = path.join(root, "tests/support/evalMain.ts")
const folder = temporaryFolder()
const none: Omit<Input, "files"> = {
  model: Option.none(),
  json: false,
  junit: Option.none(),
  save: Option.none(),
  compare: Option.none(),
  cache: Option.none(),
  concurrency: Option.none(),
  limit: Option.none()
}

/** Runs the command; gives its exit code, what it wrote to standard output, and its message. */
const troupe = (input: Partial<Input>) => Command.troupe(run({ ...none, files: [evals], ...input }))

describe("troupe eval", () => {
  it.effect("shows tables, writes files, and exits with 1 where a gate does not hold", () =>
    Effect.gen(function* () {
      const [junit, save] = ["junit.xml", "reports.ndjson"].map((name) => path.join(folder(), name))
      const { code, message, stdout } = yield* troupe({ junit: Option.some(junit!), save: Option.some(save!) })
      assert.strictEqual(code, 1)
      assert.strictEqual(message, "not passed: bad")
      assert.include(stdout, "exact   50.0% pass (mean >= 50.0%)")
      assert.include(stdout, "FAILED: exact of echo")
      assert.strictEqual(fs.readFileSync(junit!, "utf8").match(/<testsuite /g)?.length, 2)
      const again = yield* troupe({ compare: Option.some(save!), limit: Option.some(1) })
      assert.strictEqual(again.code, 0)
      assert.include(again.stdout, "- 1 cases are gone")
      const json = yield* troupe({ json: true, limit: Option.some(1) })
      assert.deepStrictEqual(
        json.stdout
          .trim()
          .split("\n")
          .map((line) => JSON.parse(line).passed),
        [true, true]
      )
    })
  )

  it.effect("keeps runs in a folder", () =>
    Effect.gen(function* () {
      const cache = Option.some(path.join(folder(), "evals"))
      assert.notInclude((yield* troupe({ cache })).stdout.split("\n\n")[0]!, "kept")
      assert.include((yield* troupe({ cache })).stdout, "2 (2 kept)")
    })
  )

  it.effect("refuses a file without an evaluation, and a report that is not one", () =>
    Effect.gen(function* () {
      const chat = yield* troupe({ files: [path.join(root, "tests/support/chatAgent.ts")] })
      assert.strictEqual(chat.code, 2)
      assert.include(chat.message, "exports no evaluation")
      const empty = path.join(folder(), "empty.ts")
      fs.writeFileSync(empty, "process.exit(1)")
      const nothing = yield* troupe({ files: [empty] })
      assert.include(nothing.message, "exports no evaluation")
      const wrong = yield* troupe({ compare: Option.some(evals) })
      assert.include(wrong.message, "is not a report. Write one with --save")
      assert.include((yield* troupe({ limit: Option.some(0) })).message, "--limit must be 1 or more")
    })
  )
})
