/** Sessions in memory and in a SQLite file keep the laws of sessions; a file also refuses what it cannot read. */
import { describe } from "@effect/vitest"
import { Layer } from "effect"
import * as path from "node:path"
import { SessionStore, Sqlite } from "troupe"
import { sessionLaws } from "../../support/sessionLaws.ts"
import { storedSessions } from "../../support/storedSessions.ts"
import { temporaryFolder } from "../../support/temporaryFolder.ts"

const folder = temporaryFolder()
const database = (name: string) =>
  Layer.suspend(() => Sqlite.layer({ filename: path.join(folder(), name), synchronous: "normal" }))
const connect = () => SessionStore.layerSql.pipe(Layer.provide(database("sessions.db")))

describe("in memory", () => sessionLaws(SessionStore.layerMemory))
describe("in a SQLite file", () => {
  sessionLaws(connect(), connect)
  storedSessions(database("stored.db"))
})
