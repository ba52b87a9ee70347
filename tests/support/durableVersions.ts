/** Versions of the tables of durable runs: the same for SQLite and PostgreSQL. */
import { expect, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import { Runner } from "troupe"
import * as Durable from "troupe/Durable"
import type { DurableError } from "troupe/RunError"

const echo = Runner.make("echo", { run: (text: string) => Effect.succeed(text) })
const echoes = Durable.make(echo, { name: "echoes", version: "1", key: (text) => text })

/** `database` and `engine` are of one database, which is new. */
export const durableVersions = (
  database: Layer.Layer<SqlClient.SqlClient, SqlError.SqlError>,
  engine: Layer.Layer<Durable.Engine, DurableError>
): void => {
  it.live("an engine whose tables are of a newer version is refused with its number, and nothing is changed", () =>
    Effect.gen(function* () {
      const sql = Context.get(yield* Layer.build(database), SqlClient.SqlClient)
      const run = Effect.provide(echoes.run("kept"), engine, { local: true })
      yield* run
      const [{ version } = { version: 0 }] = yield* sql<{ readonly version: number }>`
        SELECT version FROM troupe_versions WHERE store = 'durable'`
      yield* sql`UPDATE troupe_versions SET version = 77 WHERE store = 'durable'`
      const error = yield* Effect.flip(run)
      expect(error.message).toMatch(/version 77, and this version of Troupe knows versions up to \d+\. Update troupe/)
      yield* sql`UPDATE troupe_versions SET version = ${version} WHERE store = 'durable'`
      expect(yield* run).toBe("kept")
    })
  )
}
