/**
 * Durable runs at rest: what 100,000 runs that wait for a signal, and as many that sleep for days, take of the storage, of a worker and
 * of the database server. 100 are run, and their rows copied. `node --conditions=troupe-source bench/durableRest.ts [count]`.
 */
import { chmodSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { PgClient } from "@effect/sql-pg"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as SqlClient from "effect/sql/SqlClient"
import * as Durable from "../src/layers/durable/Durable.ts"
import * as Sqlite from "../src/layers/state/Sqlite.ts"
import * as Runner from "../src/Runner.ts"
import * as Step from "../src/Step.ts"
import { startPostgres } from "./postgres.ts"

const count = Number(process.argv[2] ?? 100_000)
const seed = 100
const watchMillis = 20_000

const waits = Runner.make("waits", {
  run: (name: string) => Effect.as(Effect.orDie(Step.signal("go", Schema.Null)), name)
})
const sleeps = Runner.make("sleeps", { run: (name: string) => Effect.as(Step.sleep("long", "30 days"), name) })
const definitions = {
  "wait for a signal": Durable.make(waits, { name: "waits", version: "1", key: (name) => name }),
  "sleep for days": Durable.make(sleeps, { name: "sleeps", version: "1", key: (name) => name })
}
type Kind = keyof typeof definitions

const say = (text: string): void => void process.stdout.write(`${text}\n`)

interface Place {
  readonly name: string
  readonly engine: Layer.Layer<Durable.Engine, unknown>
  readonly database: Layer.Layer<SqlClient.SqlClient, unknown>
  readonly isPostgres: boolean
}

/** Columns that are another in each copy `k`. */
const copied = (isPostgres: boolean): Readonly<Record<string, Readonly<Record<string, string | undefined>>>> => {
  const ofRun = (column: string) =>
    `substr(${column}, 1, 24) || ${isPostgres ? "lpad(k::text, 8, '0')" : "printf('%08d', k)"}`
  const number = (column: string) => `${column} + k * 1000000000000000`
  const message = {
    id: number("id"),
    request_id: number("request_id"),
    last_reply_id: number("last_reply_id"),
    entity_id: `${ofRun("entity_id")} || '.0'`,
    message_id: "message_id || '.' || k"
  }
  return {
    troupe_runs: { id: ofRun("id"), address: "address || '.' || k", run_key: "run_key || '.' || k" },
    troupe_steps: { run_id: ofRun("run_id") },
    troupe_wakes: { run_id: ofRun("run_id") },
    troupe_events: { run_id: ofRun("run_id") },
    troupe_cluster_messages: message,
    troupe_cluster_replies: { id: number("id"), request_id: number("request_id") }
  }
}

const copy = (isPostgres: boolean) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const last = count / seed - 1
    for (const [table, changed] of Object.entries(copied(isPostgres))) {
      const named = isPostgres
        ? `SELECT column_name AS name FROM information_schema.columns WHERE table_name = '${table}'`
        : `SELECT name FROM pragma_table_info('${table}')`
      const all = yield* sql.unsafe<{ readonly name: string }>(named)
      // The order of rows in PostgreSQL, which it numbers itself.
      const names = all.map(({ name }) => name).filter((name) => name !== "rowid")
      const numbers = isPostgres
        ? `generate_series(1, ${last}) AS k`
        : `(WITH RECURSIVE n(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM n WHERE k < ${last}) SELECT k FROM n)`
      yield* sql.unsafe(
        `INSERT INTO ${table} (${names.join()}) SELECT ${names.map((name) => changed[name] ?? `t.${name}`).join()} FROM ${table} t, ${numbers}`
      )
    }
    if (isPostgres) yield* sql.unsafe("VACUUM ANALYZE")
  })

/** Seconds of processor that this process has had, and, of PostgreSQL, the processes of its connections. */
const processor = (isPostgres: boolean) =>
  Effect.gen(function* () {
    const { system, user } = process.cpuUsage()
    const sql = yield* SqlClient.SqlClient
    const pids = isPostgres
      ? yield* sql.unsafe<{ readonly pid: number }>("SELECT pid FROM pg_stat_activity WHERE datname = 'bench'")
      : []
    let server = 0
    for (const { pid } of pids) {
      const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(" ")
      server += (Number(fields[13]) + Number(fields[14])) / 100
    }
    return { own: (user + system) / 1e6, server }
  })

const bytes = (isPostgres: boolean) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const sized = isPostgres
      ? "SELECT pg_database_size('bench') AS size"
      : "SELECT page_count * page_size AS size FROM pragma_page_count, pragma_page_size"
    return Number((yield* sql.unsafe<{ readonly size: number }>(sized))[0]!.size)
  })

const watch = ({ database, engine, isPostgres, name }: Place, kind: Kind, rows: number) =>
  Effect.gen(function* () {
    yield* Effect.sleep(4000)
    const before = yield* processor(isPostgres)
    yield* Effect.sleep(watchMillis)
    const after = yield* processor(isPostgres)
    const share = (a: number, b: number) => `${(((b - a) / watchMillis) * 100_000).toFixed(1)} %`
    const server = isPostgres ? `, its server ${share(before.server, after.server)}` : ""
    const memory = (process.memoryUsage().rss / 1e6).toFixed(0)
    say(
      `${name}, ${rows} that ${kind}: a worker takes ${share(before.own, after.own)} of a core${server}, ${memory} MB`
    )
  }).pipe(Effect.provide(Durable.worker(definitions[kind])), Effect.provide(engine), Effect.provide(database))

const measure = (place: Place, kind: Kind) =>
  Effect.gen(function* () {
    const definition = definitions[kind]
    yield* Effect.gen(function* () {
      for (let i = 0; i < seed; i++) yield* Durable.submit(definition, `run ${i}`)
      while ((yield* Durable.list({ state: "suspended", limit: seed })).length < seed) yield* Effect.sleep(100)
    }).pipe(Effect.provide(Durable.worker(definition)), Effect.provide(place.engine))
    const small = yield* bytes(place.isPostgres).pipe(Effect.provide(place.database))
    yield* watch(place, kind, seed)
    yield* copy(place.isPostgres).pipe(Effect.provide(place.database))
    const large = yield* bytes(place.isPostgres).pipe(Effect.provide(place.database))
    say(`${place.name}, ${kind}: ${((large - small) / (count - seed)).toFixed(0)} bytes each`)
    yield* watch(place, kind, count)
  })

const folder = mkdtempSync(join(tmpdir(), "troupe-rest-"))
chmodSync(folder, 0o777)
for (const kind of Object.keys(definitions) as ReadonlyArray<Kind>) {
  const filename = join(folder, `${kind}.db`)
  const database = Sqlite.layer({ filename })
  const sqlite = { name: "SQLite", engine: Durable.layerSqlite({ filename }), database, isPostgres: false }
  await Effect.runPromise(measure(sqlite, kind))
  const server = await startPostgres(join(folder, kind.replaceAll(" ", "-")))
  const postgres = {
    name: "PostgreSQL",
    engine: Durable.layerPostgres({ url: server.url }),
    database: PgClient.layer({ url: Redacted.make(server.url), maxConnections: 2 }),
    isPostgres: true
  }
  await Effect.runPromise(measure(postgres, kind))
  await server.stop()
}
rmSync(folder, { recursive: true, force: true })
process.exit(0)
