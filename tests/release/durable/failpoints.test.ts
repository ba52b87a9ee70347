/**
 * A failpoint before and after each durable write of a run: the process is killed there, and another goes on. The first write of
 * each name and every ninth write of every scenario are swept, and every write with `SWEEP=all`, which takes minutes.
 */
import { execFile } from "node:child_process"
import { rmSync } from "node:fs"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { temporaryFile } from "../../support/durable.ts"
import { bundled } from "./fleet.ts"
import { finish, lines, type Name, names, outputs } from "./scenarios.ts"

const every = process.env["SWEEP"] === "all" ? 1 : 9

interface Ran {
  readonly output: string
  readonly writes: ReadonlyArray<string>
}

/** Runs the program; `undefined` when it was killed. */
const run = (program: string, args: ReadonlyArray<string>): Effect.Effect<Ran | undefined> =>
  Effect.promise(
    () =>
      new Promise<Ran | undefined>((resolve, reject) => {
        execFile(process.execPath, [program, ...args], { timeout: 60_000 }, (error, stdout) => {
          if (error !== null) return error.signal === "SIGKILL" && !error.killed ? resolve(undefined) : reject(error)
          try {
            resolve(JSON.parse(stdout) as Ran)
          } catch {
            reject(new Error(`its outcome is not JSON: ${stdout}`))
          }
        })
      })
  )

const modelSteps = (file: string): number => {
  const database = new DatabaseSync(file)
  try {
    const row = database.prepare("SELECT COUNT(*) AS n FROM troupe_steps WHERE kind = 'model'").get()
    return Number(row!["n"])
  } catch {
    // Killed before the tables were there.
    return 0
  } finally {
    database.close()
  }
}

/** The failpoints, by their names: every durable write that the engine makes. */
const failpoints = [
  "delete cluster_messages",
  "delete cluster_replies",
  "delete events",
  "delete runs",
  "delete signals",
  "delete steps",
  "delete wakes",
  "insert cluster_messages",
  "insert cluster_replies",
  "insert events",
  "insert runs",
  "insert signals",
  "insert steps done",
  "insert steps intent",
  "insert wakes",
  "update cluster_messages",
  // As the tables are brought to the newest version.
  "update runs",
  "update runs completed",
  "update runs failed",
  "update runs interrupted",
  "update runs queued",
  "update runs running",
  "update runs suspended",
  "update signals",
  "update steps done",
  "update steps failed",
  "update steps unknown"
]
const swept = new Set<string>()

const sweepOf = (name: Name) =>
  Effect.gen(function* () {
    const folder = join(yield* temporaryFile, "..")
    const program = bundled("trapped", folder)
    const at = (where: string) => [join(folder, `${where}.db`), join(folder, `${where}.log`)] as const
    const whole = yield* run(program, [name, ...at("whole"), "0", "never"])
    expect(whole?.output).toBe(outputs[name])
    const once = (write: number, when: string) =>
      Effect.gen(function* () {
        const [file, ledger] = at(`${write}${when}`)
        const first = yield* run(program, [name, file, ledger, String(write), when])
        const requests = lines(ledger, "model").length
        const uncommitted = requests - (first === undefined ? modelSteps(file) : requests)
        const output = yield* finish(name, file, ledger, {})
        const where = `${name}, ${when} write ${write}, ${whole?.writes[write - 1]}`
        expect(output, where).toBe(outputs[name])
        const effects = lines(ledger, "effect")
        expect(effects.length, where).toBe(new Set(effects).size)
        const all = lines(ledger, "model")
        expect(all.length, where).toBeLessThanOrEqual(new Set(all).size + uncommitted)
        for (const suffix of ["", "-wal", "-shm"]) rmSync(file + suffix, { force: true })
        return first === undefined
      })
    const { writes } = whole!
    for (const write of writes) swept.add(write)
    const points = writes.flatMap((write, index) =>
      (index + 1) % every === 0 || writes.indexOf(write) === index ? [index + 1] : []
    )
    const killed = yield* Effect.forEach(
      points.flatMap((write) => [[write, "before"] as const, [write, "after"] as const]),
      ([write, when]) => once(write, when),
      { concurrency: 4 }
    )
    // Events are written in pieces, by time, so that a run can have a few writes less than another.
    expect(killed.filter(Boolean).length).toBeGreaterThanOrEqual(points.length)
  })

for (const name of names) {
  it.live(`${name}: killed at any write, it goes on, and nothing happens twice`, () => sweepOf(name), {
    timeout: process.env["SWEEP"] === "all" ? 1_800_000 : 300_000
  })
}

it("no durable write is left out", () => {
  expect([...swept].toSorted()).toEqual(failpoints)
})
