/**
 * An agent that fixes a failing test of a small repository, in a sandbox. The model is scripted, so it runs offline: what it
 * calls is what a model would call. It runs in bubblewrap where that is, and says so; elsewhere it says why not, and that it
 * runs on the machine itself.
 */
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { Effect } from "effect"
import { Agent, FileTools, Sandbox, ShellTools, TestModel, Workspace } from "troupe"

const root = fs.mkdtempSync(path.join(os.tmpdir(), "troupe-coding-"))
const git = (...args: ReadonlyArray<string>) =>
  execFileSync("git", ["-c", "user.name=example", "-c", "user.email=example@localhost", ...args], { cwd: root })
fs.writeFileSync(path.join(root, "sum.mjs"), "export const sum = (numbers) => numbers.reduce((a, b) => a - b, 0)\n")
fs.writeFileSync(
  path.join(root, "sum.test.mjs"),
  `import assert from "node:assert"
import { test } from "node:test"
import { sum } from "./sum.mjs"
test("adds", () => assert.strictEqual(sum([1, 2, 3]), 6))
`
)
git("init", "--quiet")
git("add", "--all")
git("commit", "--quiet", "--message", "A sum that is wrong")

const coder = Agent.make("coder", {
  instructions: "Run the tests, read what fails, fix it, and run the tests again.",
  use: [FileTools.feature({ write: true }), ShellTools.feature({ allow: [["node", "--test"]] })]
})
const runTests = TestModel.toolCall("run_command", { command: "node", args: ["--test"] })
const Model = TestModel.layer([
  runTests,
  TestModel.toolCall("search_files", { query: "sum =" }),
  TestModel.toolCall("read_file", { path: "sum.mjs" }),
  TestModel.toolCall("edit_file", { path: "sum.mjs", find: "a - b", replace: "a + b" }),
  runTests,
  "The sum subtracted. It adds now, and the test passes."
])

const work = Effect.gen(function* () {
  const { info } = yield* Sandbox.Sandbox
  console.log(`The agent works in: ${info.name}. ${info.description}`)
  const before = yield* Workspace.snapshot
  const { output, transcript } = yield* coder.result("Fix the failing test.")
  const results = transcript.content.flatMap((message) =>
    message.role !== "tool" ? [] : message.content.flatMap((part) => (part.type === "tool-result" ? [part] : []))
  )
  const tests = results.filter(({ name }) => name === "run_command").map(({ result }) => result as { exitCode: number })
  console.log(`Exit codes of the tests: ${tests.map(({ exitCode }) => exitCode).join(", then ")}`)
  for (const { patch } of yield* Workspace.diff(before)) console.log(patch)
  console.log(output)
  if (tests[0]?.exitCode === 0 || tests[1]?.exitCode !== 0) throw new Error("the test was not fixed")
})

// The sandbox has the programs of /usr; this Node may be elsewhere.
const node = path.dirname(process.execPath)
const Isolated = Sandbox.layerBubblewrap({
  root,
  limits: { cpu: "30 seconds", file: "10 MB" },
  readOnly: [process.execPath],
  env: { PATH: `${node}:/usr/local/bin:/usr/bin:/bin` }
})
const program = work.pipe(
  Effect.provide(Isolated),
  Effect.catchTag("InvalidDefinition", (error) => {
    console.log(
      `bubblewrap cannot be used here, so the agent works on this machine without a sandbox: ${error.message}`
    )
    return work.pipe(Effect.provide(Sandbox.layerLocal({ root })))
  }),
  Effect.provide(Model),
  Effect.ensuring(Effect.sync(() => fs.rmSync(root, { recursive: true, force: true })))
)

await Effect.runPromise(program)
