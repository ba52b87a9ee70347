/** What is written of runs from outside, where others write at the same time. */
import { expect, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import * as Sqlite from "troupe/Sqlite"
import * as Tables from "../../../src/layers/durable/internal/tables.ts"

/** Tables that keep one run, "a". */
const tablesOfOne = Effect.gen(function* () {
  const sql = Context.get(yield* Layer.build(Sqlite.layer({ filename: ":memory:" })), SqlClient.SqlClient)
  yield* Tables.migrate(sql)
  const tables = Tables.make(sql)
  const run = {
    id: "a",
    name: "n",
    key: "k",
    fingerprint: "f",
    input: null,
    inputHash: "h",
    createdAt: 1,
    updatedAt: 1
  }
  yield* tables.create(run)
  return tables
})

it.live("a signal that is sent again with its token is the same one", () =>
  Effect.gen(function* () {
    const sql = Context.get(yield* Layer.build(Sqlite.layer({ filename: ":memory:" })), SqlClient.SqlClient)
    yield* Tables.migrate(sql)
    const tables = Tables.make(sql)
    expect(yield* tables.sendSignal("run", "paid", 1, "a")).toBe(0)
    expect(yield* tables.sendSignal("run", "paid", 1, "a")).toBe(0)
    expect(yield* tables.sendSignal("run", "paid", 2, "b")).toBe(1)
    expect(yield* tables.sendSignal("run", "sent", 3, "c")).toBe(0)
    expect(yield* tables.sendSignal("other", "paid", 4, "a")).toBe(0)
    expect((yield* tables.sent("run", "paid")).map(({ value }) => value)).toEqual([1, 2])
  })
)

it.live("a run that was made to go on after it was found to be old is not removed", () =>
  Effect.gen(function* () {
    const tables = yield* tablesOfOne
    yield* tables.interrupt("a", 2)
    expect((yield* tables.old(3, 10)).map(({ id }) => id)).toEqual(["a"])
    yield* tables.requeue("a", 3)
    expect(yield* tables.remove("a")).toBe(false)
    expect((yield* tables.find("a"))?.state).toBe("queued")
    yield* tables.interrupt("a", 4)
    expect(yield* tables.remove("a")).toBe(true)
    expect(yield* tables.find("a")).toBeUndefined()
  })
)

it.live("what an execution writes again, because it was not known whether it was written, is written once", () =>
  Effect.gen(function* () {
    const tables = yield* tablesOfOne
    const claim = (yield* tables.claim("a", "worker", 2))!
    const done = { key: "s", kind: "effect", name: "s", state: "done" } as const
    expect(yield* tables.insertStep(claim, done, "1", 3)).toBe("written")
    expect(yield* tables.insertStep(claim, done, "1", 4)).toBe("written")
    expect(yield* tables.insertStep(claim, done, "2", 5)).toBe("taken")
    const step = (key: string) => ({ key, kind: "effect", name: "paid", idempotent: true }) as const
    for (const value of ["one", "two"]) yield* tables.sendSignal("a", "paid", value, value)
    const take = (key: string, by = claim) => tables.takeSignal(by, step(key), () => undefined, 6)
    expect(yield* take("first")).toMatchObject({ _tag: "Taken", value: "one" })
    expect(yield* take("first")).toMatchObject({ _tag: "Taken", value: "one" })
    // An execution that has the run no more takes nothing away.
    const next = (yield* tables.claim("a", "other", 7))!
    expect(yield* take("second")).toEqual({ _tag: "Fenced" })
    expect(yield* take("second", next)).toMatchObject({ _tag: "Taken", value: "two" })
    expect(yield* take("third", next)).toEqual({ _tag: "None", next: 2 })
  })
)
