/** `troupe serve`: the runners of a file behind HTTP, until a signal; and the page of the runs that it has kept. */
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { fileURLToPath } from "node:url"
import path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { vi } from "vitest"
import { type Raw, raw, until } from "../../support/agentServer.ts"

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

/** The command with these arguments, as far as it has come. */
const starting = (...args: ReadonlyArray<string>) => {
  const child = spawn(process.execPath, ["--conditions=troupe-source", "src/bin.ts", ...args], { cwd: root })
  const state = { child, said: "", code: undefined as number | null | undefined }
  child.stderr.on("data", (piece) => {
    state.said += String(piece)
  })
  child.on("exit", (code) => {
    state.code = code
  })
  return state
}

/** `troupe serve` on a file with this text. `flags`: further ones, with the folder of the file. */
const serving = (text: string, flags: (folder: string) => ReadonlyArray<string> = () => []) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      // Within the project, so that its modules are found.
      const folder = mkdtempSync(path.join(root, "tests/release/server/.serve-"))
      const file = path.join(folder, "agents.ts")
      writeFileSync(file, text)
      return Object.assign(starting("serve", "--model", "demo", "--port", "0", ...flags(folder), file), { folder })
    }),
    ({ child, folder }) =>
      Effect.sync(() => {
        child.kill("SIGKILL")
        rmSync(folder, { recursive: true })
      })
  )

/** Processes take long to start where the machine has other things to do. */
const begun = (holds: () => boolean) => until(holds, "it", 50_000)

/** The address that a command says it listens at. */
const addressOf = (state: ReturnType<typeof starting>): Effect.Effect<URL> =>
  Effect.gen(function* () {
    yield* begun(() => /on (http:\S+)\n/.test(state.said) || state.code !== undefined)
    return new URL(/on (http:\S+)/.exec(state.said)![1]!)
  })

const textOf = (answer: Raw): Effect.Effect<string> => Effect.map(begun(answer.isEnded), answer.text)

const reading = (url: URL, where: string): Effect.Effect<string> =>
  Effect.suspend(() => textOf(raw(url, where, undefined, { method: "GET" })))

describe("troupe serve", () => {
  it.live("serves what a file exports, and ends with a signal", () =>
    Effect.gen(function* () {
      const state = yield* serving(source)
      const url = yield* addressOf(state)
      const ask = (name: string, input: unknown) =>
        Effect.map(textOf(raw(url, `/runners/${name}`, { input })), (text) => JSON.parse(text))
      assert.strictEqual((yield* ask("add", { a: 2, b: 40 })).output, 42)
      assert.isString((yield* ask("desk", "What is 2 + 40?")).output)
      state.child.kill("SIGTERM")
      yield* begun(() => state.code !== undefined)
      assert.strictEqual(state.code, 143)
    }).pipe(Effect.scoped)
  )

  it.live("has a page that shows everything here, and keeps runs that a page of traces shows when it has ended", () =>
    Effect.gen(function* () {
      let db = ""
      const state = yield* serving(source, (folder) => ["--playground", "--db", (db = path.join(folder, "runs.db"))])
      const url = yield* addressOf(state)
      assert.include(yield* reading(url, "/"), '<div id="root">')
      const info = JSON.parse(yield* reading(url, "/playground.json"))
      assert.deepInclude(info, { runners: true, sessions: true, traces: true })
      assert.include(info.expose, "nested")
      const { runId } = JSON.parse(yield* textOf(raw(url, "/runners/desk", { input: "What is 2 + 40?" })))
      state.child.kill("SIGTERM")
      yield* begun(() => state.code !== undefined)

      const traces = starting("trace", "--playground", db)
      yield* Effect.addFinalizer(() => Effect.sync(() => traces.child.kill("SIGKILL")))
      const page = yield* addressOf(traces)
      assert.strictEqual(page.hostname, "127.0.0.1")
      assert.include(yield* reading(page, "/"), '<div id="root">')
      assert.include(yield* reading(page, `/traces/${runId}`), "2 + 40 = 42")
      traces.child.kill("SIGINT")
      yield* begun(() => traces.code !== undefined)
      assert.strictEqual(traces.code, 130)
    }).pipe(Effect.scoped)
  )

  it.live("takes answers to what it asked before it was started again, with a secret of its own", () =>
    Effect.gen(function* () {
      vi.stubEnv("TROUPE_SIGNING_SECRET", "one secret of at least thirty-two characters")
      yield* Effect.addFinalizer(() => Effect.sync(() => vi.unstubAllEnvs()))
      const waiting = `
import { Effect, Schema } from "effect"
import { Agent, AgentTool, Runner, TestModel } from "troupe"
const locate = AgentTool.client("locate", { description: "Locates", parameters: Schema.Struct({}), success: Schema.String })
const model = TestModel.layer(({ prompt }) => {
  const last = prompt.content.at(-1)
  return last.role === "tool" ? "You are in " + JSON.stringify(last.content.at(-1).result) : TestModel.toolCall("locate", {})
}, { unused: "ignore" })
export const guide = Runner.provide(Agent.make("guide", { tools: [locate] }), model)
`
      const folder = mkdtempSync(path.join(tmpdir(), "troupe-serve-"))
      yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(folder, { recursive: true })))
      const flags = () => ["--db", path.join(folder, "kept.db")]
      const ask = (url: URL, body: object) =>
        Effect.map(textOf(raw(url, "/runners/guide", { session: "s", ...body })), (text) => JSON.parse(text))
      const before = yield* serving(waiting, flags)
      const begunTurn = yield* ask(yield* addressOf(before), { input: "Where am I?" })
      before.child.kill("SIGKILL")
      yield* begun(() => before.code !== undefined)

      const url = yield* addressOf(yield* serving(waiting, flags))
      const { waitingFor } = JSON.parse(yield* reading(url, "/sessions/s"))
      assert.deepStrictEqual(waitingFor, begunTurn.waitingFor)
      const { output } = yield* ask(url, { answers: { [waitingFor[0].id]: "Weimar" } })
      assert.strictEqual(output, 'You are in "Weimar"')
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
