/** What is sent to a run is kept once, also where it is not known whether it was kept. */
import { expect, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import * as Sqlite from "troupe/Sqlite"
import * as Tables from "../../../src/layers/durable/internal/tables.ts"

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
