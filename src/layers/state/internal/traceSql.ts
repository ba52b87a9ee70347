/** A store of traces on SQLite or PostgreSQL. */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Client from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { messageOf } from "../../../internal/message.ts"
import { storable } from "../../../internal/storable.ts"
import { StoreError } from "../../../RunError.ts"
import { fromJsonLine, type RunEvent, toJsonLine, version } from "../../../RunEvent.ts"
import type { Entry, Query, Run, Service, Status } from "../../../services/TraceStore.ts"
import { type Database, type Migrations, open } from "./database.ts"
import { byRun, changeOf } from "./traceRun.ts"

const migrations: Migrations = [
  (sql) => [
    sql`CREATE TABLE troupe_traces (
      run_id TEXT PRIMARY KEY, runner TEXT NOT NULL, session TEXT, status TEXT NOT NULL, error TEXT, message TEXT,
      started_at BIGINT NOT NULL, duration_ms BIGINT, steps INTEGER NOT NULL, input_tokens BIGINT NOT NULL,
      output_tokens BIGINT NOT NULL, events INTEGER NOT NULL, bytes BIGINT NOT NULL)`,
    sql`CREATE INDEX troupe_traces_started ON troupe_traces (started_at, run_id)`,
    sql`CREATE INDEX troupe_traces_session ON troupe_traces (session, started_at)`,
    sql`CREATE INDEX troupe_traces_runner ON troupe_traces (runner, started_at)`,
    sql`CREATE TABLE troupe_trace_events (
      run_id TEXT NOT NULL, seq INTEGER NOT NULL, v INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (run_id, seq))`
  ]
]

/** Runners and sessions are in indexes, whose rows PostgreSQL limits. Longer ones are cut, as they are when they are asked for. */
const maxName = 512

/** A text as every database keeps it: a batch with another one would be refused, and so would all that come after it. */
const column = (text: string, limit = maxName): string => storable(text.slice(0, limit))
const maxMessage = 10_000

/** A number as every database keeps it. What providers say of tokens may be anything. */
const whole = (n: number): number =>
  Number.isFinite(n) ? Math.trunc(Math.min(Math.max(n, -Number.MAX_SAFE_INTEGER), Number.MAX_SAFE_INTEGER)) : 0

/** Opens the store: its tables are made or brought to the newest version. */
export const make = (sql: Client.SqlClient): Effect.Effect<Service, SqlError | StoreError> =>
  Effect.map(open(sql, "traces", migrations), (database): Service => {
    const { again, use } = database
    return {
      // The recorder tries again by itself, and says so.
      append: (entries) => use(sql.withTransaction(append(sql, entries))),
      runs: (query) => again(runs(sql, query)),
      events: (runId, from, limit) => again(events(sql, column(runId), from, limit), runId),
      remove: (runId) => again(sql.withTransaction(Effect.asVoid(remove(sql, [column(runId)]))), runId),
      prune: ({ maxBytes, olderThan }) => again(prune(database, olderThan, maxBytes))
    }
  })

const append = Effect.fnUntraced(function* (
  sql: Client.SqlClient,
  entries: ReadonlyArray<Entry>
): Effect.fn.Return<void, SqlError> {
  for (const [run_id, own] of byRun(entries)) {
    const { ended, runner, session, startedAt } = changeOf(own)
    const rows = yield* Effect.forEach(own, ({ event }) =>
      Effect.map(toJsonLine(event), (body) => ({ run_id, seq: event.seq, v: event.v, body }))
    )
    // A batch whose outcome was unknown comes again, and so do the events of a durable run that goes on.
    const added = yield* sql<{ readonly size: number }>`
      INSERT INTO troupe_trace_events ${sql.insert(rows)} ON CONFLICT (run_id, seq) DO NOTHING
      RETURNING LENGTH(body) AS size`
    const count = added.length
    const bytes = added.reduce((sum, { size }) => sum + Number(size), 0)
    yield* sql`
      INSERT INTO troupe_traces (run_id, runner, session, status, started_at, steps, input_tokens, output_tokens, events, bytes)
      VALUES (${run_id}, ${column(runner)}, ${session === undefined ? null : column(session)}, 'running',
        ${whole(startedAt)}, 0, 0, 0, ${count}, ${bytes})
      ON CONFLICT (run_id) DO UPDATE SET events = troupe_traces.events + ${count}, bytes = troupe_traces.bytes + ${bytes}`
    if (ended === undefined) continue
    yield* sql`UPDATE troupe_traces SET ${sql.update({
      status: ended.status,
      error: ended.error === undefined ? null : column(ended.error),
      message: ended.message === undefined ? null : column(ended.message, maxMessage),
      duration_ms: whole(Math.round(ended.durationMs ?? 0)),
      steps: whole(ended.steps),
      input_tokens: whole(ended.inputTokens),
      output_tokens: whole(ended.outputTokens)
    })} WHERE run_id = ${run_id}`
  }
})

interface Row {
  readonly run_id: string
  readonly runner: string
  readonly session: string | null
  readonly status: Status
  readonly error: string | null
  readonly message: string | null
  readonly started_at: number
  readonly duration_ms: number | null
  readonly steps: number
  readonly input_tokens: number
  readonly output_tokens: number
  readonly events: number
  readonly bytes: number
}

const runOf = (row: Row): Run => ({
  runId: row.run_id,
  runner: row.runner,
  session: row.session ?? undefined,
  status: row.status,
  error: row.error ?? undefined,
  message: row.message ?? undefined,
  startedAt: Number(row.started_at),
  durationMs: row.duration_ms === null ? undefined : Number(row.duration_ms),
  steps: Number(row.steps),
  inputTokens: Number(row.input_tokens),
  outputTokens: Number(row.output_tokens),
  events: Number(row.events),
  bytes: Number(row.bytes)
})

const runs = (
  sql: Client.SqlClient,
  query: Query & { readonly limit: number }
): Effect.Effect<ReadonlyArray<Run>, SqlError> => {
  const { before, error, limit, runner, session, since, status, until } = query
  const conditions = [
    sql`1 = 1`,
    ...(runner === undefined ? [] : [sql`runner = ${column(runner)}`]),
    ...(session === undefined ? [] : [sql`session = ${column(session)}`]),
    ...(status === undefined ? [] : [sql`status = ${status}`]),
    ...(error === undefined ? [] : [sql`error = ${column(error)}`]),
    ...(since === undefined ? [] : [sql`started_at >= ${whole(since)}`]),
    ...(until === undefined ? [] : [sql`started_at < ${whole(until)}`]),
    ...(before === undefined
      ? []
      : [
          sql`(started_at, run_id) < ((SELECT started_at FROM troupe_traces WHERE run_id = ${column(before)}), ${column(before)})`
        ])
  ]
  const found = sql<Row>`SELECT * FROM troupe_traces WHERE ${sql.and(conditions)}
    ORDER BY started_at DESC, run_id DESC LIMIT ${limit}`
  return Effect.map(found, (rows) => rows.map(runOf))
}

const events = Effect.fnUntraced(function* (
  sql: Client.SqlClient,
  runId: string,
  from: number,
  limit: number
): Effect.fn.Return<ReadonlyArray<RunEvent>, SqlError | StoreError> {
  const rows = yield* sql<{ readonly seq: number; readonly v: number; readonly body: string }>`
    SELECT seq, v, body FROM troupe_trace_events WHERE run_id = ${runId} AND seq >= ${from} ORDER BY seq LIMIT ${limit}`
  const found: Array<RunEvent> = []
  for (const { body, seq, v } of rows) {
    const fail = (reason: StoreError["reason"], problem: string) =>
      new StoreError({ store: "traces", reason, subject: runId, problem: `event ${seq} ${problem}` })
    if (Number(v) > version) {
      return yield* fail("newer", `has format ${v}, and this version of Troupe reads format ${version}`)
    }
    const event = Effect.mapError(fromJsonLine(body), (error) =>
      fail("unreadable", `cannot be read: ${messageOf(error).split("\n")[0]}`)
    )
    found.push(yield* event)
  }
  return found
})

const remove = (sql: Client.SqlClient, runIds: ReadonlyArray<string>): Effect.Effect<void, SqlError> =>
  Effect.andThen(
    sql`DELETE FROM troupe_trace_events WHERE ${sql.in("run_id", runIds)}`,
    Effect.asVoid(sql`DELETE FROM troupe_traces WHERE ${sql.in("run_id", runIds)}`)
  )

/** Runs that one transaction removes: a long one would keep others from writing. */
const removedAtOnce = 200

/** In several transactions, so that runs go on to be recorded meanwhile. */
const prune = Effect.fnUntraced(function* (
  { sql }: Database,
  olderThan: Duration.Duration | undefined,
  maxBytes: number | undefined
): Effect.fn.Return<number, SqlError> {
  const now = yield* Clock.currentTimeMillis
  const cutoff = olderThan === undefined ? undefined : now - Duration.toMillis(olderThan)
  let removed = 0
  for (;;) {
    const [sum] = yield* sql<{ readonly bytes: number | null }>`SELECT SUM(bytes) AS bytes FROM troupe_traces`
    let beyond = maxBytes === undefined ? 0 : Number(sum?.bytes ?? 0) - maxBytes
    const oldest = yield* sql<Row>`SELECT * FROM troupe_traces ORDER BY started_at, run_id LIMIT ${removedAtOnce}`
    const ids: Array<string> = []
    for (const row of oldest) {
      if (!(cutoff !== undefined && Number(row.started_at) < cutoff) && beyond <= 0) break
      ids.push(row.run_id)
      beyond -= Number(row.bytes)
    }
    if (ids.length === 0) return removed
    yield* sql.withTransaction(remove(sql, ids))
    removed += ids.length
    if (ids.length < removedAtOnce) return removed
  }
})
