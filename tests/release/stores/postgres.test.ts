/** The stores on PostgreSQL keep the laws that they keep in memory and on SQLite. */
import { describe } from "@effect/vitest"
import { Layer } from "effect"
import { SessionStore } from "troupe"
import { postgres } from "../../support/postgres.ts"
import { sessionLaws } from "../../support/sessionLaws.ts"
import { storedSessions } from "../../support/storedSessions.ts"

const { database } = postgres()

describe("sessions", () => {
  const connect = () => SessionStore.layerSql.pipe(Layer.provide(database("sessions")))
  sessionLaws(connect(), connect)
  storedSessions(database("stored"))
})
