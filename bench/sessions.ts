/**
 * Turns of sessions per second, what a session adds to a turn, and what a turn takes on disk: in memory, in a SQLite file, and
 * in PostgreSQL at the address in PGURL. `npm run sessions`, with the number of turns of each of 1,000 sessions. The model answers at once, so that only Troupe and the store are
 * measured.
 */
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { Effect, Layer, Redacted } from "effect"
import { Agent, Session, SessionStore, Sqlite, TestModel } from "../src/index.ts"

const sessions = 1000
const turnsEach = Number(process.argv[2] ?? 5)
const concurrency = 50

const agent = Agent.make("agent", {})
const model = TestModel.layer(() => "Yes, that is so. ".repeat(10), { unused: "ignore" })
const question = "Is it so, and if it is, why? ".repeat(5)

const timed = async <E>(name: string, effect: Effect.Effect<unknown, E>): Promise<number> => {
  const start = performance.now()
  await Effect.runPromise(effect)
  const ms = performance.now() - start
  const turns = sessions * turnsEach
  console.log(
    `${name.padEnd(28)} ${Math.round((turns / ms) * 1000)} turns/s, ${((ms / turns) * 1000).toFixed(0)} µs per turn`
  )
  return ms
}

const turns = (take: (id: string) => Effect.Effect<unknown, unknown, never>) =>
  Effect.forEach(
    Array.from({ length: sessions * turnsEach }, (_, i) => `s${i % sessions}`),
    take,
    { concurrency, discard: true }
  )

const measure = (name: string, store: Layer.Layer<SessionStore.SessionStore, unknown>) =>
  timed(
    name,
    Effect.gen(function* () {
      const context = yield* Effect.context<SessionStore.SessionStore | Layer.Success<typeof model>>()
      yield* turns((id) => Effect.provideContext(Session.of(agent, id).run(question), context))
    }).pipe(Effect.provide([store, model]))
  )

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "troupe-bench-"))
const sizeOf = (file: string) =>
  ["", "-wal"].reduce((sum, end) => sum + (fs.existsSync(file + end) ? fs.statSync(file + end).size : 0), 0)

await timed(
  "without a session",
  Effect.gen(function* () {
    const context = yield* Effect.context<Layer.Success<typeof model>>()
    yield* turns(() => Effect.provideContext(agent.run(question), context))
  }).pipe(Effect.provide(model))
)
await measure("in memory", SessionStore.layerMemory)
for (const synchronous of ["normal", "full"] as const) {
  const filename = path.join(folder, `${synchronous}.db`)
  await measure(
    `SQLite, synchronous ${synchronous}`,
    SessionStore.layerSql.pipe(Layer.provide(Sqlite.layer({ filename, synchronous })))
  )
  console.log(`  ${Math.round(sizeOf(filename) / (sessions * turnsEach))} bytes on disk per turn`)
}
const url = process.env["PGURL"]
if (url !== undefined) {
  const { PgClient } = await import("@effect/sql-pg")
  await measure("PostgreSQL", SessionStore.layerSql.pipe(Layer.provide(PgClient.layer({ url: Redacted.make(url) }))))
}
fs.rmSync(folder, { recursive: true })
