/**
 * Turns of sessions per second, what a session adds to a turn, and what a turn takes on disk: in memory, in a SQLite file, and
 * in PostgreSQL, at the address in PGURL or on a server of its own. `npm run sessions`, with the number of turns of each of 1,000
 * sessions. The model answers at once, so that only Troupe and the store are measured.
 */
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { Effect, Layer, Redacted } from "effect"
import { SqlClient } from "effect/sql"
import { startPostgres } from "./postgres.ts"
import { Agent, Session, SessionStore, Sqlite, TestModel } from "../src/index.ts"

const sessions = 1000
const turnsEach = Number(process.argv[2] ?? 5)
const concurrency = 50

const agent = Agent.make("agent", {})
const model = TestModel.layer(() => "Yes, that is so. ".repeat(10), { unused: "ignore" })
const question = "Is it so, and if it is, why? ".repeat(5)

let without = 0

const timed = async <E>(name: string, effect: Effect.Effect<unknown, E>): Promise<void> => {
  const [start, cpu] = [performance.now(), process.cpuUsage()]
  await Effect.runPromise(effect)
  const turns = sessions * turnsEach
  const ms = (performance.now() - start) / turns
  const { system, user } = process.cpuUsage(cpu)
  if (without === 0) without = ms
  const added = Math.round((ms - without) * 1000)
  const perSecond = `${Math.round(1000 / ms)} turns/s`
  console.log(
    `${name.padEnd(28)} ${perSecond.padStart(13)} ${String(Math.round(ms * 1000)).padStart(6)} µs a turn, ${added} more than without; ${Math.round((user + system) / turns)} µs of CPU here`
  )
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
// A server runs as a user of its own where this runs as root.
fs.chmodSync(folder, 0o755)
const sizeOf = (file: string) =>
  ["", "-wal"].reduce((sum, end) => sum + (fs.existsSync(file + end) ? fs.statSync(file + end).size : 0), 0)

const withoutSession = Effect.gen(function* () {
  const context = yield* Effect.context<Layer.Success<typeof model>>()
  yield* turns(() => Effect.provideContext(agent.run(question), context))
}).pipe(Effect.provide(model))

// So that the first one is not the one that compiles.
await Effect.runPromise(withoutSession)
console.log(`${turnsEach} turns of each of ${sessions} sessions, ${concurrency} at once`)
await timed("without a session", withoutSession)
await measure("in memory", SessionStore.layerMemory)
for (const synchronous of ["normal", "full"] as const) {
  const filename = path.join(folder, `${synchronous}.db`)
  await measure(
    `SQLite, synchronous ${synchronous}`,
    SessionStore.layerSql.pipe(Layer.provide(Sqlite.layer({ filename, synchronous })))
  )
  console.log(`  ${Math.round(sizeOf(filename) / (sessions * turnsEach))} bytes on disk a turn`)
}

const started = process.env["PGURL"] === undefined ? await startPostgres(path.join(folder, "pg")) : undefined
const url = process.env["PGURL"] ?? started!.url
const { PgClient } = await import("@effect/sql-pg")
const client = PgClient.layer({ url: Redacted.make(url) })
await measure("PostgreSQL", SessionStore.layerSql.pipe(Layer.provide(client)))
const size = Effect.flatMap(
  SqlClient.SqlClient,
  (sql) => sql<{ readonly bytes: number }>`SELECT SUM(pg_total_relation_size(oid)) AS bytes FROM pg_class
    WHERE relkind = 'r' AND relname LIKE 'troupe_session%'`
)
const [{ bytes } = { bytes: 0 }] = await Effect.runPromise(Effect.provide(size, client))
console.log(`  ${Math.round(Number(bytes) / (sessions * turnsEach))} bytes on disk a turn`)
await started?.stop()
fs.rmSync(folder, { recursive: true, force: true })
