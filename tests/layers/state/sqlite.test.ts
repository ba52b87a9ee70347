/** `Sqlite.layer`: effect/sql on node:sqlite, at both edges, with several connections to one file. */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Stream } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import * as fs from "node:fs"
import * as path from "node:path"
import { Sqlite, SyncEdge } from "troupe"
import { temporaryFolder } from "../../support/temporaryFolder.ts"

const folder = temporaryFolder()
const fileOf = (name: string) => path.join(folder(), name)

const on = (filename: string, options: Omit<Sqlite.Options, "filename"> = {}) =>
  Effect.provide(Sqlite.layer({ filename, ...options }), { local: true })

const table = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE)`
  return sql
})

const texts = Effect.flatMap(SqlClient.SqlClient, (sql) =>
  Effect.map(sql<{ readonly text: string }>`SELECT text FROM notes ORDER BY id`, (rows) => rows.map(({ text }) => text))
)

describe("Sqlite.layer", () => {
  it.effect("a file keeps what was committed, and nothing of a transaction that failed", () =>
    Effect.gen(function* () {
      const filename = fileOf("kept.db")
      yield* Effect.gen(function* () {
        const sql = yield* table
        yield* sql`INSERT INTO notes ${sql.insert({ text: "one" })}`
        yield* sql`INSERT INTO notes ${sql.insert({ text: "two" })}`.pipe(
          Effect.andThen(Effect.fail("no")),
          sql.withTransaction,
          Effect.ignore
        )
      }).pipe(on(filename))
      assert.deepStrictEqual(yield* texts.pipe(on(filename)), ["one"])
    })
  )

  it.effect(
    "values come back as they were bound: texts, numbers, bytes, null, large integers, and booleans as 0 and 1",
    () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const bytes = new Uint8Array([0, 255, 7])
        const [row] =
          yield* sql`SELECT ${"ü"} AS t, ${1.5} AS n, ${bytes} AS b, ${null} AS z, ${true} AS yes, ${9007199254740993n} AS big`.pipe(
            Effect.provideService(SqlClient.SafeIntegers, true)
          )
        assert.deepStrictEqual({ ...row }, { t: "ü", n: 1.5, b: bytes, z: null, yes: 1, big: 9007199254740993n })
      }).pipe(on(":memory:"))
  )

  it.effect("a stream reads row by row, more of them than one reading takes", () =>
    Effect.gen(function* () {
      const sql = yield* table
      yield* sql`INSERT INTO notes (text) WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 1000) SELECT i FROM c`
      const all = yield* Stream.runCollect(sql<{ readonly text: string }>`SELECT text FROM notes ORDER BY id`.stream)
      assert.strictEqual(all.length, 1000)
      assert.strictEqual(all[999]?.text, "1000")
      const some = yield* sql`SELECT text FROM notes`.stream.pipe(Stream.take(3), Stream.runCollect)
      assert.strictEqual(some.length, 3)
    }).pipe(on(":memory:"))
  )

  it.effect("a second row with one key is a unique violation", () =>
    Effect.gen(function* () {
      const sql = yield* table
      yield* sql`INSERT INTO notes ${sql.insert({ text: "one" })}`
      const error = yield* Effect.flip(sql`INSERT INTO notes ${sql.insert({ text: "one" })}`)
      assert.strictEqual(error.reason._tag, "UniqueViolation")
    }).pipe(on(":memory:"))
  )

  it.live("a connection waits while another one writes, and its other fibers go on", () =>
    Effect.gen(function* () {
      const filename = fileOf("busy.db")
      yield* table.pipe(on(filename))
      const writing = yield* Deferred.make<void>()
      const done = yield* Deferred.make<void>()
      const first = yield* Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* sql`INSERT INTO notes ${sql.insert({ text: "first" })}`.pipe(
          Effect.andThen(Deferred.succeed(writing, undefined)),
          Effect.andThen(Deferred.await(done)),
          sql.withTransaction
        )
      }).pipe(on(filename), Effect.forkChild)
      yield* Deferred.await(writing)
      const second = yield* Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* sql`INSERT INTO notes ${sql.insert({ text: "second" })}`
      }).pipe(on(filename), Effect.forkChild)
      // Reading needs no lock, so it is not held up by either.
      assert.deepStrictEqual(yield* texts.pipe(on(filename)), [])
      yield* Effect.yieldNow
      yield* Deferred.succeed(done, undefined)
      yield* Fiber.join(first)
      yield* Fiber.join(second)
      assert.deepStrictEqual(yield* texts.pipe(on(filename)), ["first", "second"])
    })
  )

  it.live("a lock that is held for longer than busyTimeout is a lock timeout", () =>
    Effect.gen(function* () {
      const filename = fileOf("locked.db")
      const error = yield* Effect.gen(function* () {
        const sql = yield* table
        return yield* Effect.gen(function* () {
          const other = yield* SqlClient.SqlClient
          return yield* Effect.flip(other`INSERT INTO notes ${other.insert({ text: "second" })}`)
        }).pipe(on(filename, { busyTimeout: 60 }), sql.withTransaction)
      }).pipe(on(filename))
      assert.strictEqual(error.reason._tag, "LockTimeoutError")
    })
  )

  it.effect("a folder that does not exist and a file of another kind are errors that name the file", () =>
    Effect.gen(function* () {
      const missing = path.join(folder(), "none", "x.db")
      fs.writeFileSync(fileOf("text.db"), "This is not a database. ".repeat(100))
      const problem = (filename: string) =>
        Effect.map(Effect.flip(texts.pipe(on(filename))), (error: SqlError.SqlError) => error.message)
      assert.include(yield* problem(missing), missing)
      assert.include(yield* problem(fileOf("text.db")), "file is not a database")
    })
  )

  it("a misspelt option is refused where it is written", () => {
    assert.throws(() => Sqlite.layer({ filename: ":memory:", sync: "full" } as never), /it has no option "sync"/)
  })

  it.each([
    ["without the sync edge", Layer.empty],
    ["on the sync edge", SyncEdge.layer]
  ])("it works under Effect.runSync %s", (_, edge) => {
    const program = Effect.gen(function* () {
      const sql = yield* table
      yield* Effect.forEach(["a", "b"], (text) => sql`INSERT INTO notes ${sql.insert({ text })}`, { concurrency: 2 })
      return yield* texts
    })
    assert.deepStrictEqual(Effect.runSync(program.pipe(on(":memory:"), Effect.provide(edge))), ["a", "b"])
  })
})
