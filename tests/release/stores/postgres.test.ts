/** The stores on PostgreSQL keep the laws that they keep in memory and on SQLite. */
import { assert, describe, it } from "@effect/vitest"
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, Redacted } from "effect"
import { SqlClient } from "effect/sql"
import * as Durable from "troupe/Durable"
import * as MemoryStore from "troupe/MemoryStore"
import * as SessionStore from "troupe/SessionStore"
import * as TraceStore from "troupe/TraceStore"
import { memoryLaws, vectorLaws } from "../../support/memoryLaws.ts"
import { oneDatabase } from "../../support/oneDatabase.ts"
import { postgres } from "../../support/postgres.ts"
import { keepsFile, sessionLaws } from "../../support/sessionLaws.ts"
import { storedSessions } from "../../support/storedSessions.ts"
import { storedVersions } from "../../support/storedVersions.ts"
import { traceLaws } from "../../support/traceLaws.ts"

const { database, urlOf } = postgres()

describe("sessions", () => {
  const connect = () => SessionStore.layerSql.pipe(Layer.provide(database("sessions")))
  sessionLaws(connect(), connect)
  storedSessions(database("stored"))
  it.live("an attachment that is larger than a row that the client takes comes back byte for byte", () =>
    Effect.provide(keepsFile(17_000_003), connect())
  )
})

describe("what the database refuses", () => {
  // One connection, so that what is set in its session counts for the store.
  const single = Layer.unwrap(
    Effect.map(
      Effect.promise(() => urlOf("refusing")),
      (url) => PgClient.layer({ url: Redacted.make(url), maxConnections: 1 })
    )
  )
  for (const [what, before, words] of [
    [
      "prepared statements that are lost, as behind a pooler",
      "DEALLOCATE ALL",
      /pooler in transaction mode.*prepare: false/
    ],
    [
      "a database that may not be written",
      "SET default_transaction_read_only = on",
      /read-only.*may not write it.*may be written/
    ]
  ] as const) {
    it.live(`${what}: the error says what helps`, () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const removed = SessionStore.remove("a")
        yield* removed
        yield* sql.unsafe(before)
        const error = yield* Effect.flip(removed)
        assert.match(error.message, words)
      }).pipe(Effect.provide(SessionStore.layerSql.pipe(Layer.provideMerge(single)), { local: true }))
    )
  }
})

describe("traces", () => {
  traceLaws(TraceStore.layerSql.pipe(Layer.provide(database("traces"))))
  storedVersions(database("versions"))
})
describe("memories", () => memoryLaws(MemoryStore.layerSql.pipe(Layer.provide(database("memories")))))
describe("memories with vectors", () =>
  vectorLaws(MemoryStore.layerSqlVectors.pipe(Layer.provide(database("vectors")))))
describe("one database", () => {
  const url = Effect.promise(() => urlOf("all"))
  oneDatabase(Layer.unwrap(Effect.map(url, (url) => Durable.layerPostgres({ url }))), database("all"))
})
