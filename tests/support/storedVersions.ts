/** What databases of traces and memories refuse: the same for SQLite and PostgreSQL. */
import { assert, it } from "@effect/vitest"
import { Effect, Layer, Stream } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import { Agent, Memory, MemoryStore, RunError, TestModel, TraceStore } from "troupe"

type Database = Layer.Layer<SqlClient.SqlClient, SqlError.SqlError>

const model = TestModel.layer(() => "Yes.", { unused: "ignore" })
const errorOf = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.flatMap(Effect.flip(effect), (error) =>
    error instanceof RunError.StoreError ? Effect.succeed(error) : Effect.die(error)
  )

/** `database` opens an own connection to one database each time that it is built. */
export const storedVersions = (database: Database): void => {
  const on = <A, E>(
    effect: Effect.Effect<A, E, SqlClient.SqlClient | TraceStore.TraceStore | MemoryStore.MemoryStore>
  ) =>
    effect.pipe(
      Effect.provide(Layer.merge(TraceStore.layerSql, MemoryStore.layerSql).pipe(Layer.provideMerge(database)), {
        local: true
      })
    )
  const recorded = Agent.make("clerk", {})
    .result("x")
    .pipe(
      Effect.provide(TraceStore.record, { local: true }),
      Effect.provide(model),
      Effect.map(({ runId }) => runId)
    )

  it.live("tables of traces and of memories of a newer version are refused with their number", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      yield* on(Memory.put({ namespace: "n", key: "k", text: "kept" }))
      for (const store of ["traces", "memory"] as const) {
        const [{ version } = { version: 0 }] = yield* sql<{ readonly version: number }>`
          SELECT version FROM troupe_versions WHERE store = ${store}`
        yield* sql`UPDATE troupe_versions SET version = 77 WHERE store = ${store}`
        const error = yield* errorOf(on(TraceStore.runs()))
        assert.deepInclude(error, { store, reason: "newer" })
        assert.match(error.message, /version 77/)
        yield* sql`UPDATE troupe_versions SET version = ${version} WHERE store = ${store}`
      }
      assert.strictEqual((yield* on(Memory.get("k", { namespace: "n" })))?.text, "kept")
    }).pipe(Effect.provide(database))
  )

  it.live("an event that is torn or newer is an error that names its run, and other runs are read", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const [torn, newer, whole] = [yield* recorded, yield* recorded, yield* recorded]
      yield* sql`UPDATE troupe_trace_events SET body = '{"v":1,"_tag":"Run' WHERE run_id = ${torn} AND seq = 1`
      yield* sql`UPDATE troupe_trace_events SET v = 99 WHERE run_id = ${newer} AND seq = 1`
      for (const [runId, reason, words] of [
        [torn, "unreadable", /event 1 cannot be read/],
        [newer, "newer", /event 1 has format 99/]
      ] as const) {
        const error = yield* errorOf(Stream.runCollect(TraceStore.events(runId)))
        assert.deepInclude(error, { reason, subject: runId })
        assert.match(error.message, words)
      }
      assert.isAbove((yield* Stream.runCollect(TraceStore.events(whole))).length, 2)
      assert.strictEqual((yield* TraceStore.runs()).length, 3)
    }).pipe(on)
  )

  it.live("of a memory whose metadata cannot be read the text is given all the same", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      yield* Memory.put({ namespace: "n", key: "meta", text: "text", metadata: { source: "chat" } })
      yield* sql`UPDATE troupe_memories SET metadata = '{"sou' WHERE key = 'meta'`
      const kept = yield* Memory.get("meta", { namespace: "n" })
      assert.deepStrictEqual([kept?.text, kept?.metadata], ["text", undefined])
    }).pipe(on)
  )

  it.live("several connections that open a new database at once make the tables once", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      for (const table of ["versions", "traces", "trace_events", "memories", "memory_words"]) {
        yield* sql`DROP TABLE IF EXISTS ${sql(`troupe_${table}`)}`
      }
      const put = (i: number) => on(Memory.put({ namespace: "opened", key: `k${i}`, text: "x" }))
      yield* Effect.forEach([1, 2, 3, 4], put, { concurrency: "unbounded" })
      assert.strictEqual((yield* on(Memory.list({ namespace: "opened" }))).length, 4)
    }).pipe(Effect.provide(database))
  )
}
