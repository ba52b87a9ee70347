/**
 * Memories in a PostgreSQL that has pgvector keep the laws of memories: that at the address in PGVECTOR_URL, such as PGlite's with
 * `@electric-sql/pglite-pgvector`. The server that the tests bring has no extensions, so without an address this is left out.
 */
import { describe, it } from "@effect/vitest"
import { assert } from "vitest"
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, Redacted } from "effect"
import { SqlClient } from "effect/sql"
import { MemoryStore } from "troupe"
import { vectorLaws } from "../../support/memoryLaws.ts"

const url = process.env["PGVECTOR_URL"] ?? ""

describe.skipIf(url === "")("with pgvector", () => {
  const client = Layer.suspend(() => PgClient.layer({ url: Redacted.make(url), maxConnections: 2 }))

  it.live("the extension is there", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const [row] = yield* sql<{ readonly near: number }>`SELECT '[1,0]'::vector <=> '[1,0]'::vector AS near`
      assert.strictEqual(Number(row!.near), 0)
    }).pipe(Effect.provide(client))
  )
  vectorLaws(MemoryStore.layerSqlVectors.pipe(Layer.provide(client)))
})
