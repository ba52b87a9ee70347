/** What databases of sessions refuse, and how they keep attachments: the same for SQLite and PostgreSQL. */
import { assert, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { Prompt } from "effect/ai"
import { SqlClient, type SqlError } from "effect/sql"
import { Agent, RunError, Session, SessionStore, Telemetry, TestModel } from "troupe"

type Database = Layer.Layer<SqlClient.SqlClient, SqlError.SqlError>

const model = TestModel.layer(() => "Yes.", { unused: "ignore" })
const chatOf = (id: string) => Session.of(Agent.make("clerk", {}), id)
const errorOf = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.flatMap(Effect.flip(effect), (error) =>
    error instanceof RunError.StoreError ? Effect.succeed(error) : Effect.die(error)
  )

/** `database` opens an own connection to one database each time that it is built. */
export const storedSessions = (database: Database): void => {
  const on = <A, E>(
    effect: Effect.Effect<A, E, SqlClient.SqlClient | SessionStore.SessionStore | Layer.Success<typeof model>>
  ) =>
    effect.pipe(
      Effect.provide([SessionStore.layerSql.pipe(Layer.provideMerge(database)), model], { local: true }),
      Effect.provideService(Telemetry.LogFailures, false)
    )

  it.live("a torn, foreign or newer record is an error that names the session, and other sessions go on", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const spoil = (id: string, body: string) =>
        Effect.andThen(chatOf(id).run("x"), sql`UPDATE troupe_session_records SET body = ${body} WHERE session = ${id}`)
      yield* spoil("torn", '{"v":1,"turn":1,"mess')
      yield* spoil("foreign", '{"v":1,"hello":"world"}')
      yield* spoil("newer", '{"v":2,"turn":1}')
      yield* Effect.andThen(chatOf("gap").run("x"), chatOf("gap").run("y"))
      yield* sql`DELETE FROM troupe_session_records WHERE session = 'gap' AND seq = 1`
      for (const [id, reason, words] of [
        ["torn", "unreadable", /"torn".*record 1 is torn/],
        ["foreign", "unreadable", /"foreign".*record 1 is not a record of a session/],
        ["newer", "newer", /"newer".*format 2.*up to format 1.*Update troupe/],
        ["gap", "unreadable", /"gap".*record 1 is missing/]
      ] as const) {
        for (const error of [yield* errorOf(SessionStore.history(id)), yield* errorOf(chatOf(id).run("again"))]) {
          assert.strictEqual(error.reason, reason)
          assert.strictEqual(error.subject, id)
          assert.match(error.message, words)
        }
        yield* SessionStore.remove(id)
        assert.strictEqual(yield* chatOf(id).run("again"), "Yes.")
      }
    }).pipe(on)
  )

  it.live("an attachment is stored once, and for as long as a session has it", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const sizes = Effect.map(
        sql<{ readonly blobs: number; readonly text: number }>`
          SELECT (SELECT COUNT(*) FROM troupe_session_blobs) AS blobs,
            (SELECT MAX(LENGTH(body)) FROM troupe_session_records WHERE session LIKE 'att%') AS text`,
        ([row]) => ({ blobs: Number(row!.blobs), text: Number(row!.text) })
      )
      const before = (yield* sizes).blobs
      const data = new Uint8Array(100_000).fill(7)
      const input = [Prompt.userMessage({ content: [Prompt.filePart({ mediaType: "image/png", data })] })]
      yield* chatOf("att-1").run(input)
      yield* chatOf("att-1").run(input)
      yield* chatOf("att-2").run(input)
      yield* SessionStore.fork("att-1", "att-3")
      const { blobs, text } = yield* sizes
      assert.strictEqual(blobs - before, 1)
      assert.isBelow(text, 1000)
      yield* SessionStore.remove("att-1")
      yield* SessionStore.rename("att-2", "att-4")
      for (const id of ["att-3", "att-4"]) {
        const [message] = (yield* SessionStore.history(id)).content
        assert.deepStrictEqual(
          (message as Prompt.UserMessage).content[0],
          Prompt.filePart({ mediaType: "image/png", data })
        )
        assert.strictEqual((yield* sizes).blobs - before, 1)
        yield* SessionStore.remove(id)
      }
      assert.strictEqual((yield* sizes).blobs - before, 0)
    }).pipe(on)
  )

  it.live("tables of a newer version are refused with their number, and nothing is changed", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      yield* on(chatOf("kept").run("x"))
      const [{ version } = { version: 0 }] = yield* sql<{ readonly version: number }>`
        SELECT version FROM troupe_versions WHERE store = 'sessions'`
      yield* sql`UPDATE troupe_versions SET version = 77 WHERE store = 'sessions'`
      const error = yield* errorOf(on(SessionStore.history("kept")))
      assert.strictEqual(error.reason, "newer")
      assert.match(error.message, /version 77/)
      yield* sql`UPDATE troupe_versions SET version = ${version} WHERE store = 'sessions'`
      assert.strictEqual((yield* on(SessionStore.history("kept"))).content.length, 2)
    }).pipe(Effect.provide(database))
  )

  it.live("several connections that open a new database at once make its tables once", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      for (const table of ["versions", "sessions", "session_records", "session_blobs", "session_files"]) {
        yield* sql`DROP TABLE IF EXISTS ${sql(`troupe_${table}`)}`
      }
      yield* Effect.forEach([1, 2, 3, 4, 5, 6], (i) => on(chatOf(`opened-${i}`).run("x")), { concurrency: "unbounded" })
      assert.strictEqual((yield* on(SessionStore.list())).length, 6)
    }).pipe(Effect.provide(database))
  )
}
