/**
 * Traces: the events of every run, kept as they happen. {@link record} records what runs below it; the functions here ask for
 * runs and give their events again; a Layer keeps them in memory or in a database.
 *
 * Events hold what was said and what tools were called with. Keep a store of traces as you keep the data itself.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as SqlClient from "effect/sql/SqlClient"
import type * as SqlError from "effect/sql/SqlError"
import * as Stream from "effect/Stream"
import type { StoreError } from "../../RunError.ts"
import { type RunEvent, toJsonLine } from "../../RunEvent.ts"
import { assertOptions, countOf, durationOf, namesOf } from "../../internal/definition.ts"
import { CurrentRecorder, type Query, queryNames, type Run, TraceStore } from "../../services/TraceStore.ts"
import { SqlClientTag } from "./internal/sqlClient.ts"
import * as InMemory from "./internal/traceMemory.ts"
import { recorder, upToDate } from "./internal/traceRecorder.ts"
import { make } from "./internal/traceSql.ts"

export {
  type Entry,
  type Pruning,
  type Query,
  type Run,
  type Service,
  type Status,
  TraceStore
} from "../../services/TraceStore.ts"

/**
 * Records every run below it, with the runs nested in it, in the `TraceStore`.
 *
 * A run does not wait for the store and never fails because of it: events are written in batches, every 100 milliseconds, before
 * this process asks the store, and when the Layer is released. While the store cannot be written, one warning is logged and up to 20,000 events wait; further
 * ones are lost, and another warning says how many. A process that is killed loses what was not written.
 *
 * @example
 * import { Effect, Layer } from "effect"
 * import { Agent, DemoModel, Sqlite, TraceStore } from "troupe"
 *
 * const Traces = TraceStore.record.pipe(
 *   Layer.provideMerge(TraceStore.layerSql),
 *   Layer.provide(Sqlite.layer({ filename: "troupe.db" }))
 * )
 * const program = Agent.make("clerk", {}).run("What is 2 + 40?").pipe(Effect.provide([Traces, DemoModel.layer]))
 */
export const record: Layer.Layer<never, never, TraceStore> = Layer.effect(CurrentRecorder)(
  Effect.flatMap(TraceStore, recorder)
)

/**
 * Root runs that are kept, the newest first: all, or those that `query` names. Fails with `StoreError`.
 *
 * @example
 * import { TraceStore } from "troupe"
 *
 * const failed = TraceStore.runs({ runner: "clerk", status: "failed", limit: 20 })
 */
export const runs = (query: Query = {}): Effect.Effect<ReadonlyArray<Run>, StoreError, TraceStore> => {
  assertOptions("TraceStore.runs", query, knownOfQuery)
  const limit = Math.trunc(query.limit ?? 50)
  return TraceStore.use((store) => store.runs({ ...query, limit: Math.min(Math.max(limit || 0, 0), 1000) }))
}

const knownOfQuery = namesOf<Query>(queryNames)

const atOnce = 500

/**
 * The events of a root run and of the runs nested in it, as they were emitted, in their order; none for a run that is not kept.
 * Read as they are needed. Fails with `StoreError` for an event that cannot be read.
 *
 * @example
 * import { Effect, Stream } from "effect"
 * import { RunEvent, TraceStore } from "troupe"
 *
 * const shown = (runId: string) =>
 *   RunEvent.render(TraceStore.events(runId)).pipe(Stream.runForEach((text) => Effect.sync(() => process.stdout.write(text))))
 */
export const events = (runId: string): Stream.Stream<RunEvent, StoreError, TraceStore> =>
  Stream.paginate(0, (from: number) =>
    TraceStore.use((store) =>
      Effect.map(store.events(runId, from, atOnce), (page) => {
        const last = page.at(-1)
        const next = page.length < atOnce || last === undefined ? Option.none<number>() : Option.some(last.seq + 1)
        return [page, next] as const
      })
    )
  )

/** The events of a run as lines of JSON, each with its newline: what `RunEvent.fromJsonLine` reads. */
export const toNdjson = (runId: string): Stream.Stream<string, StoreError, TraceStore> =>
  Stream.mapEffect(events(runId), (event) => Effect.map(toJsonLine(event), (line) => `${line}\n`))

/** Removes a run with its events; there need not be one. */
export const remove = (runId: string): Effect.Effect<void, StoreError, TraceStore> =>
  TraceStore.use((store) => store.remove(runId))

/**
 * Removes runs, the oldest first, and returns how many: those that began longer ago than `olderThan`, and as many more as it
 * takes until the events that are left have at most `maxBytes` bytes.
 *
 * @example
 * import { TraceStore } from "troupe"
 *
 * const removed = TraceStore.prune({ olderThan: "30 days", maxBytes: 1_000_000_000 })
 */
export const prune = (which: {
  readonly olderThan?: Duration.Input | undefined
  readonly maxBytes?: number | undefined
}): Effect.Effect<number, StoreError, TraceStore> => {
  assertOptions("TraceStore.prune", which, knownOfPrune)
  const { maxBytes, olderThan } = which
  const pruned = {
    maxBytes: maxBytes === undefined ? undefined : countOf("TraceStore.prune", "maxBytes", maxBytes, 0),
    olderThan: olderThan === undefined ? undefined : durationOf("TraceStore.prune", "olderThan", olderThan)
  }
  return TraceStore.use((store) => store.prune(pruned))
}

const knownOfPrune: ReadonlySet<string> = new Set(["olderThan", "maxBytes"])

/** Keeps traces in the memory of this process: the newest 1,000 runs. For tests and for looking at a program at work. */
export const layerMemory: Layer.Layer<TraceStore> = Layer.effect(TraceStore)(
  Effect.sync(() => upToDate(InMemory.make()))
)

/**
 * Keeps traces in a SQLite or PostgreSQL database: that of the `SqlClient` which is provided, by `Sqlite.layer` or by
 * `PgClient.layer` of `@effect/sql-pg`. Its tables are made or brought up to date when the Layer is built. Fails with `SqlError`
 * when the database cannot be used then, and with `StoreError` when its tables are of a newer version than this one knows.
 */
export const layerSql: Layer.Layer<TraceStore, SqlError.SqlError | StoreError, SqlClient.SqlClient> = Layer.effect(
  TraceStore
)(Effect.map(Effect.flatMap(SqlClientTag, make), upToDate))
