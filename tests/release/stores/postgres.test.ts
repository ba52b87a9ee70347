/** The stores on PostgreSQL keep the laws that they keep in memory and on SQLite. */
import { describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
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
