/** `troupe serve`: the runners of a file behind HTTP, until a signal. */
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { raw, until } from "../../support/agentServer.ts"

const root = fileURLToPath(new URL("../../..", import.meta.url))
const source = `
import { Effect, Schema } from "effect"
import { Agent, Runner } from "troupe"
export default Agent.make("desk", { description: "Answers" })
export const add = Runner.make("sum", {
  input: Schema.Struct({ a: Schema.Finite, b: Schema.Finite }),
  run: ({ a, b }) => Effect.succeed(a + b)
})
`

/** The command on a file with this text, as far as it has come. */
const serving = (text: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      // Within the project, so that its modules are found.
      const folder = mkdtempSync(path.join(root, "tests/release/server/.serve-"))
      const file = path.join(folder, "agents.ts")
      writeFileSync(file, text)
      const args = ["--conditions=troupe-source", "src/bin.ts", "serve", "--model", "demo", "--port", "0", file]
      const child = spawn(process.execPath, args, { cwd: root })
      const state = { child, folder, said: "", code: undefined as number | null | undefined }
      child.stderr.on("data", (piece) => {
        state.said += String(piece)
      })
      child.on("exit", (code) => {
        state.code = code
      })
      return state
    }),
    ({ child, folder }) =>
      Effect.sync(() => {
        child.kill("SIGKILL")
        rmSync(folder, { recursive: true })
      })
  )

/** Processes take long to start where the machine has other things to do. */
const begun = (holds: () => boolean) => until(holds, "it", 50_000)

describe("troupe serve", () => {
  it.live("serves what a file exports, and ends with a signal", () =>
    Effect.gen(function* () {
      const state = yield* serving(source)
      yield* begun(() => /on (http:\S+)/.test(state.said) || state.code !== undefined)
      const url = new URL(/on (http:\S+)/.exec(state.said)![1]!)
      const ask = (name: string, input: unknown) =>
        Effect.gen(function* () {
          const answer = raw(url, `/runners/${name}`, { input })
          yield* begun(answer.isEnded)
          return JSON.parse(answer.text())
        })
      assert.strictEqual((yield* ask("add", { a: 2, b: 40 })).output, 42)
      assert.isString((yield* ask("desk", "What is 2 + 40?")).output)
      state.child.kill("SIGTERM")
      yield* begun(() => state.code !== undefined)
      assert.strictEqual(state.code, 143)
    }).pipe(Effect.scoped)
  )

  it.live("refuses a file without a runner", () =>
    Effect.gen(function* () {
      const state = yield* serving("export const five = 5\n")
      yield* begun(() => state.code !== undefined)
      assert.strictEqual(state.code, 2)
      assert.include(state.said, "exports no runner")
    }).pipe(Effect.scoped)
  )
})
