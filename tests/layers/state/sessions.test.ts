/** Sessions in memory and in a SQLite file keep the laws of sessions; a file also refuses what it cannot read. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { Prompt } from "effect/ai"
import { SqlClient } from "effect/sql"
import * as path from "node:path"
import { Agent, Session, SessionStore, Sqlite, SyncEdge, Telemetry, TestModel } from "troupe"
import { sessionLaws } from "../../support/sessionLaws.ts"
import { storedSessions } from "../../support/storedSessions.ts"
import { temporaryFolder } from "../../support/temporaryFolder.ts"

const folder = temporaryFolder()
const database = (name: string) =>
  Layer.suspend(() => Sqlite.layer({ filename: path.join(folder(), name), synchronous: "normal" }))
const connect = () => SessionStore.layerSql.pipe(Layer.provide(database("sessions.db")))

describe("in memory", () => {
  sessionLaws(SessionStore.layerMemory)

  it.effect("an attachment is kept once, also when it was read twice", () =>
    Effect.gen(function* () {
      const chat = (id: string) => Session.of(Agent.make("clerk", {}), id)
      const input = () => {
        const data = new Uint8Array(100_000).fill(7)
        return [Prompt.userMessage({ content: [Prompt.filePart({ mediaType: "image/png", data })] })]
      }
      yield* chat("a").run(input())
      yield* chat("a").run(input())
      yield* chat("b").run(input())
      const datas = (yield* Effect.forEach(["a", "b"], SessionStore.history)).flatMap(({ content }) =>
        content.flatMap((message) =>
          message.role === "user" ? message.content.flatMap((part) => (part.type === "file" ? [part.data] : [])) : []
        )
      )
      assert.strictEqual(datas.length, 3)
      assert.strictEqual(new Set(datas).size, 1)
      assert.deepStrictEqual(datas[0], new Uint8Array(100_000).fill(7))
    }).pipe(Effect.provide([SessionStore.layerMemory, TestModel.layer(() => "Yes.", { unused: "ignore" })]))
  )
})
describe("in a SQLite file", () => {
  it.live("a database that may not be written is an error that says so, and what is there is read", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const chat = Session.of(Agent.make("clerk", {}), "readonly")
      yield* chat.run("one")
      yield* sql.unsafe("PRAGMA query_only = 1")
      assert.match((yield* Effect.flip(chat.run("two"))).message, /readonly database.*may not write it/)
      assert.strictEqual((yield* SessionStore.history("readonly")).content.length, 2)
    }).pipe(
      Effect.provideService(Telemetry.LogFailures, false),
      Effect.provide([
        SessionStore.layerSql.pipe(Layer.provideMerge(database("readonly.db"))),
        TestModel.layer(() => "Yes.", { unused: "ignore" })
      ])
    )
  )

  sessionLaws(connect(), connect)
  storedSessions(database("stored.db"))
})

describe("under Effect.runSync", () => {
  const twoTurns = Effect.gen(function* () {
    const chat = Session.of(Agent.make("clerk", {}), "sync")
    yield* chat.run("one")
    yield* chat.run("two")
    return (yield* SessionStore.history("sync")).content.length
  })
  const model = TestModel.layer(["One.", "Two."])
  it.each([
    ["in memory", SessionStore.layerMemory, Layer.empty],
    ["in memory, on the sync edge", SessionStore.layerMemory, SyncEdge.layer],
    ["in SQLite", SessionStore.layerSql.pipe(Layer.provide(database("sync.db"))), Layer.empty],
    ["in SQLite, on the sync edge", SessionStore.layerSql.pipe(Layer.provide(database("edge.db"))), SyncEdge.layer]
  ])("a session keeps its turns %s", (_, store, edge) => {
    const length = Effect.runSync(twoTurns.pipe(Effect.provide([store, model]), Effect.provide(edge)))
    assert.strictEqual(length, 4)
  })
})
