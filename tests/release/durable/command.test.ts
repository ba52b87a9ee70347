/** `troupe worker` and `troupe runs`, as processes. */
import { execFile, spawn } from "node:child_process"
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Durable from "troupe/Durable"
import { until } from "../../support/agentServer.ts"
import { temporaryFile } from "../../support/durable.ts"

const root = fileURLToPath(new URL("../../..", import.meta.url))
const source = `
import { Effect } from "effect"
import { Durable, Runner } from "troupe"
const shout = Runner.make("shout", { run: (text: string) => Effect.succeed(text.toUpperCase() + " " + process.pid) })
export const shouts = Durable.make(shout, { name: "shouts", version: "1", key: (text) => text })
`
const troupe = (...args: ReadonlyArray<string>) => ["--conditions=troupe-source", "src/bin.ts", ...args]

it.live("troupe worker executes what is kept until it is stopped, and troupe runs lists it", () =>
  Effect.gen(function* () {
    const database = yield* temporaryFile
    // Within the project, so that its modules are found.
    const folder = yield* Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(root, "tests/release/durable/.worker-"))),
      (made) => Effect.sync(() => rmSync(made, { recursive: true }))
    )
    const file = join(folder, "orders.ts")
    writeFileSync(file, source)
    const { shouts } = (yield* Effect.promise(() => import(file))) as {
      readonly shouts: Durable.Durable<string, string, never, never>
    }
    const worker = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const child = spawn(process.execPath, troupe("worker", "--database", database, file), { cwd: root })
        const state = { child, said: "", code: undefined as number | null | undefined }
        child.stderr.on("error", () => {})
        child.stderr.on("data", (piece) => {
          state.said += String(piece)
        })
        child.on("exit", (code) => {
          state.code = code
        })
        return state
      }),
      ({ child }) => Effect.sync(() => child.kill("SIGKILL"))
    )
    yield* Effect.gen(function* () {
      yield* Durable.submit(shouts, "hello")
      expect(yield* Durable.result(shouts, "hello")).toBe(`HELLO ${worker.child.pid}`)
    }).pipe(Effect.provide(Durable.layerSqlite({ filename: database, poll: "100 millis" })))
    expect(worker.said).toContain("executes shouts")
    worker.child.kill("SIGTERM")
    const listed = yield* Effect.promise(
      () =>
        new Promise<string>((resolve, reject) => {
          const args = troupe("runs", "list", "--database", database)
          execFile(process.execPath, args, { cwd: root }, (error, stdout) => (error ? reject(error) : resolve(stdout)))
        })
    )
    expect(listed).toMatch(/completed +shouts +hello/)
    yield* until(() => worker.code !== undefined, "the end of the worker", 20_000)
  }).pipe(Effect.scoped)
)

it.live("troupe runs does not make a database that is not there", () =>
  Effect.gen(function* () {
    const database = `${yield* temporaryFile}.none`
    for (const flag of ["--database", "--db"]) {
      const said = yield* Effect.promise(
        () =>
          new Promise<string>((resolve) => {
            const args = troupe("runs", "list", flag, database)
            execFile(process.execPath, args, { cwd: root }, (_error, _stdout, stderr) => resolve(stderr))
          })
      )
      expect(said).toBe(`troupe: there is no database ${database}. Name the one of the workers with --database\n`)
      expect(existsSync(database)).toBe(false)
    }
  }).pipe(Effect.scoped)
)
