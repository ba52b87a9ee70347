/** Writes that come at once are committed together, and none of them answers for another. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { Sqlite } from "troupe"
import { groupCommit } from "../../../src/layers/state/internal/groupCommit.ts"

const opened = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE)`
  yield* sql`CREATE TABLE parents (id INTEGER PRIMARY KEY)`
  yield* sql`CREATE TABLE children (parent INTEGER NOT NULL REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED)`
  let transactions = 0
  const counting: SqlClient.SqlClient = Object.assign(sql.bind(undefined), sql, {
    withTransaction: <A, E, R>(effect: Effect.Effect<A, E, R>) =>
      Effect.suspend(() => {
        transactions++
        return sql.withTransaction(effect)
      })
  })
  const together = groupCommit({ dialect: "sqlite", sql: counting })
  const write = <A, E>(effect: Effect.Effect<A, E>) => together(effect, counting.withTransaction(effect))
  const texts = Effect.map(sql<{ readonly text: string }>`SELECT text FROM notes ORDER BY text`, (rows) =>
    rows.map(({ text }) => text)
  )
  const insert = (text: string) => Effect.as(sql`INSERT INTO notes ${sql.insert({ text })}`, text)
  return { sql, write, insert, texts, transactions: () => transactions }
})
const on = Effect.provide(Sqlite.layer({ filename: ":memory:" }))
const all = { concurrency: "unbounded" } as const

describe("writes at once", () => {
  it.effect("are one transaction, and each gets its own outcome", () =>
    Effect.gen(function* () {
      const { insert, texts, transactions, write } = yield* opened
      const names = Array.from({ length: 40 }, (_, i) => `n${10 + i}`)
      assert.deepStrictEqual(yield* Effect.forEach(names, (name) => write(insert(name)), all), names)
      assert.strictEqual(transactions(), 1)
      assert.deepStrictEqual(yield* texts, names)
      yield* write(insert("z"))
      assert.strictEqual(transactions(), 2)
    }).pipe(on)
  )

  it.effect("one that fails by itself changes nothing for the others", () =>
    Effect.gen(function* () {
      const { insert, sql, texts, transactions, write } = yield* opened
      const inserts = ["a", "b", "a", "c"].map((text) => Effect.result(write(insert(text))))
      const refused = Effect.result(write(Effect.fail("refused")))
      const dying = Effect.exit(write(Effect.andThen(sql`INSERT INTO notes (text) VALUES ('dead')`, Effect.die("no"))))
      const [results, own, died] = yield* Effect.all([Effect.all(inserts, all), refused, dying], all)
      assert.deepStrictEqual(
        results.map(({ _tag }) => _tag),
        ["Success", "Success", "Failure", "Success"]
      )
      assert.deepInclude(own, { _tag: "Failure", failure: "refused" })
      assert.strictEqual(died._tag, "Failure")
      assert.deepStrictEqual(yield* texts, ["a", "b", "c"])
      // The group, and each of its six by itself.
      assert.strictEqual(transactions(), 7)
    }).pipe(on)
  )

  it.effect("none is reported as kept when the commit fails", () =>
    Effect.gen(function* () {
      const { insert, sql, texts, write } = yield* opened
      const orphan = sql`INSERT INTO children (parent) VALUES (1)`
      const results = yield* Effect.all(
        [insert("a"), orphan, insert("b")].map((one) => Effect.result(write<unknown, unknown>(one))),
        all
      )
      assert.deepStrictEqual(
        results.map(({ _tag }) => _tag),
        ["Failure", "Failure", "Failure"]
      )
      assert.deepStrictEqual(yield* texts, [])
      assert.strictEqual(yield* write(insert("c")), "c")
    }).pipe(on)
  )

  it.effect("one within a transaction of its caller is a part of that one", () =>
    Effect.gen(function* () {
      const { insert, sql, texts, write } = yield* opened
      yield* Effect.ignore(sql.withTransaction(Effect.andThen(write(insert("a")), Effect.fail("no"))))
      assert.deepStrictEqual(yield* texts, [])
    }).pipe(on)
  )

  it("happen under Effect.runSync as well", () => {
    const both = Effect.flatMap(opened, ({ insert, write }) =>
      Effect.forEach(["a", "b"], (text) => write(insert(text)), all)
    )
    assert.deepStrictEqual(Effect.runSync(on(both)), ["a", "b"])
  })
})
