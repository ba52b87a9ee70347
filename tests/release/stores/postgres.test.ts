/** The stores on PostgreSQL keep the laws that they keep in memory and on SQLite. */
import { assert, describe, it } from "@effect/vitest"
import { PgClient } from "@effect/sql-pg"
import { Cause, Context, Deferred, Effect, Exit, Fiber, Layer, Random, Redacted } from "effect"
import { SqlClient } from "effect/sql"
import { Agent, RunError, Session, Telemetry, TestModel, Transcript } from "troupe"
import * as Durable from "troupe/Durable"
import * as MemoryStore from "troupe/MemoryStore"
import * as SessionStore from "troupe/SessionStore"
import * as TraceStore from "troupe/TraceStore"
import { eventually } from "../../support/durable.ts"
import { memoryLaws, vectorLaws } from "../../support/memoryLaws.ts"
import { oneDatabase } from "../../support/oneDatabase.ts"
import { postgres } from "../../support/postgres.ts"
import { keepsFile, recordOf, sessionLaws } from "../../support/sessionLaws.ts"
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

it.live("a session that is removed or pruned as a turn is being added leaves nothing of it behind", () =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const store = yield* SessionStore.SessionStore
    for (const [id, removing] of [
      ["removed", SessionStore.remove("removed")],
      ["pruned", SessionStore.prune({ idle: 0 })]
    ] as const) {
      const add = (seq: number) => store.append(id, { expectedSeq: seq, records: [recordOf(seq + 1)] })
      yield* add(0)
      const [begun, go] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      // As a process that adds a turn and is slow to commit.
      const adding = yield* Effect.gen(function* () {
        yield* sql`UPDATE troupe_sessions SET seq = 2 WHERE id = ${id}`
        yield* sql`INSERT INTO troupe_session_records (session, seq, turn, status, body)
          SELECT session, 2, 2, status, body FROM troupe_session_records WHERE session = ${id} AND seq = 1`
        yield* Deferred.succeed(begun, undefined)
        yield* Deferred.await(go)
      }).pipe(sql.withTransaction, Effect.forkChild)
      yield* Deferred.await(begun)
      const removed = yield* Effect.forkChild(removing)
      const waiting = sql`SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`
      yield* eventually(Effect.map(waiting, (rows) => rows.length > 0))
      yield* Deferred.succeed(go, undefined)
      yield* Fiber.join(adding)
      yield* Fiber.join(removed)
      assert.isUndefined(yield* store.read(id, 0))
      for (const seq of [0, 1, 2]) assert.strictEqual(yield* add(seq), seq + 1)
      yield* SessionStore.remove(id)
    }
  }).pipe(Effect.provide(SessionStore.layerSql.pipe(Layer.provideMerge(database("leaving")))))
)

describe("connections that are cut at any moment", () => {
  const model = TestModel.layer(
    ({ prompt }) => `answer ${prompt.content.filter(({ role }) => role === "user").length}`,
    { unused: "ignore" }
  )
  const store = SessionStore.layerSql.pipe(Layer.provide(database("cut")))

  it.live("lose no turn, double none and mix none up; a turn that fails says what helps, and is not kept", () =>
    Effect.gen(function* () {
      const admin = Context.get(yield* Layer.build(database("admin")), SqlClient.SqlClient)
      const cut = Effect.andThen(
        Effect.flatMap(Random.nextBetween(5, 60), (ms) => Effect.sleep(ms)),
        admin`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'cut'`
      )
      const ids = ["a", "b", "c", "d"]
      const cutting = yield* Effect.forkChild(Effect.forever(cut))
      const ended = yield* Effect.forEach(
        ids,
        (id) =>
          Effect.forEach(Array.from({ length: 25 }), (_, turn) => {
            const input = `${id} ${turn}`
            const onFailure = turn % 2 === 0 ? "keep" : "discard"
            const chat = Session.of(Agent.make("clerk", {}), id, { onFailure })
            return Effect.map(Effect.exit(chat.run(input)), (exit) => ({ id, input, exit }))
          }),
        { concurrency: 4 }
      )
      yield* Fiber.interrupt(cutting)
      const turns = ended.flat()
      for (const { exit } of turns) {
        if (Exit.isSuccess(exit)) continue
        const error = Cause.squash(exit.cause)
        assert.instanceOf(error, RunError.StoreError)
        assert.match((error as Error).message, /Check that the database is up/)
      }
      for (const id of ids) {
        const kept = Transcript.turns(yield* SessionStore.history(id))
        const done = turns.filter((turn) => turn.id === id && Exit.isSuccess(turn.exit)).map(({ input }) => input)
        assert.deepStrictEqual(
          kept.map(({ user }) => user),
          done
        )
        assert.deepStrictEqual(
          kept.map(({ answer }) => answer),
          done.map((_, index) => `answer ${index + 1}`)
        )
      }
      assert.isAbove(turns.filter(({ exit }) => Exit.isSuccess(exit)).length, turns.length / 2)
    }).pipe(
      Effect.provide([store, model]),
      Effect.provideService(SessionStore.Lease, "2 seconds"),
      Effect.provideService(Telemetry.LogFailures, false)
    )
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
