/**
 * Memories in a PostgreSQL that has pgvector keep the laws of memories. The server of the other tests has no extensions, so this one
 * is PGlite, PostgreSQL in WebAssembly, behind a socket.
 */
import { describe, it } from "@effect/vitest"
import { afterAll, assert, beforeAll } from "vitest"
import { PGlite } from "@electric-sql/pglite"
import { vector } from "@electric-sql/pglite-pgvector"
import { PGLiteSocketServer } from "@electric-sql/pglite-socket"
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, Redacted } from "effect"
import { SqlClient } from "effect/sql"
import * as MemoryStore from "troupe/MemoryStore"
import { vectorLaws } from "../../support/memoryLaws.ts"
import { freePort } from "../../support/mcpEverything.ts"

let database: PGlite
let server: PGLiteSocketServer
let url = ""
beforeAll(async () => {
  const port = await freePort()
  database = await PGlite.create({ extensions: { vector } })
  await database.exec("CREATE EXTENSION vector")
  server = new PGLiteSocketServer({ db: database, port, host: "127.0.0.1", maxConnections: 10 })
  await server.start()
  url = `postgresql://postgres:postgres@127.0.0.1:${port}/postgres?sslmode=disable`
}, 60_000)
afterAll(async () => {
  await server.stop()
  await database.close()
})

describe("with pgvector", () => {
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
