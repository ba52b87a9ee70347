/** What holds for durable runs on a database that stores use as well: the same for SQLite and PostgreSQL. */
import { expect, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import { Memory, MemoryStore, Runner, SessionStore, TraceStore } from "troupe"
import * as Durable from "troupe/Durable"
import type { DurableError } from "troupe/RunError"

const echo = Runner.make("echo", { run: (text: string) => Effect.succeed(text) })
const echoes = Durable.make(echo, { name: "echoes", version: "1", key: (text) => text })

/** `database` and `engine` are of one database, which is new. */
export const durableStores = (
  database: Layer.Layer<SqlClient.SqlClient, SqlError.SqlError>,
  engine: Layer.Layer<Durable.Engine, DurableError>
): void => {
  it.live("durable runs, traces, sessions and memories share one database", () =>
    Effect.gen(function* () {
      const stores = Layer.mergeAll(SessionStore.layerSql, MemoryStore.layerSql, TraceStore.layerSql)
      const both = Layer.mergeAll(stores.pipe(Layer.provide(database)), engine)
      // Twice: tables that are there already are taken as they are.
      for (const text of ["one", "two"]) {
        yield* Effect.gen(function* () {
          expect(yield* echoes.run(text).pipe(Effect.provide(TraceStore.record, { local: true }))).toBe(text)
          yield* Memory.put({ namespace: "n", key: text, text })
          expect((yield* TraceStore.runs({ limit: 1000 })).filter(({ runner }) => runner === "echoes")).not.toEqual([])
          expect((yield* Durable.find(echoes, text)).state).toBe("completed")
        }).pipe(Effect.provide(both, { local: true }))
      }
    })
  )

  it.live("an engine whose tables are of a newer version is refused with its number, and nothing is changed", () =>
    Effect.gen(function* () {
      const sql = Context.get(yield* Layer.build(database), SqlClient.SqlClient)
      const run = Effect.provide(echoes.run("kept"), engine, { local: true })
      yield* run
      const [{ version } = { version: 0 }] = yield* sql<{ readonly version: number }>`
        SELECT version FROM troupe_versions WHERE store = 'durable'`
      yield* sql`UPDATE troupe_versions SET version = 77 WHERE store = 'durable'`
      const error = yield* Effect.flip(run)
      expect(error.message).toMatch(/version 77, and this version of Troupe knows versions up to \d+\. Update troupe/)
      yield* sql`UPDATE troupe_versions SET version = ${version} WHERE store = 'durable'`
      expect(yield* run).toBe("kept")
    })
  )
}
