/**
 * Searches of a memory over 100,000 documents, by words and by vectors: `npm run memory`, with another number of documents as its
 * argument. Vectors have 384 numbers and are random, as is the order of words; one namespace holds all documents. PostgreSQL is that at
 * the address in PGURL, or a server of its own, which has no pgvector.
 */
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { Effect, Layer, Redacted } from "effect"
import { EmbeddingModel } from "effect/ai"
import * as sqliteVec from "sqlite-vec"
import { startPostgres } from "./postgres.ts"
import { Memory, MemoryStore, Sqlite } from "../src/index.ts"

const documents = Number(process.argv[2] ?? 100_000)
const searches = 20
const namespace = "all"

let state = 1
const next = (n: number) => (state = (state * 48271) % 2147483647) % n
const word = () => `w${Math.floor(next(10_000) ** 2 / 10_000)}`
const text = (length: number) => Array.from({ length }, word).join(" ")

const embeddings = Layer.effect(EmbeddingModel.EmbeddingModel)(
  EmbeddingModel.make({
    embedMany: ({ inputs }) =>
      Effect.succeed({
        results: inputs.map(() => Array.from({ length: 384 }, () => next(2000) / 1000 - 1)),
        usage: { inputTokens: undefined }
      })
  })
)

const measure = (name: string, store: Layer.Layer<MemoryStore.MemoryStore, unknown>) =>
  Effect.runPromise(
    Effect.gen(function* () {
      let start = performance.now()
      for (let at = 0; at < documents; at += 1000) {
        const count = Math.min(1000, documents - at)
        yield* Memory.put(Array.from({ length: count }, (_, i) => ({ namespace, key: `d${at + i}`, text: text(50) })))
      }
      const put = ((performance.now() - start) / documents) * 1000
      yield* Memory.search("w1", { namespace })
      start = performance.now()
      for (let i = 0; i < searches; i++) yield* Memory.search(text(6), { namespace, limit: 10 })
      const search = (performance.now() - start) / searches
      console.log(`${name.padEnd(32)} put ${put.toFixed(0)} µs, search ${search.toFixed(1)} ms`)
    }).pipe(Effect.provide(store))
  )

console.log(`${documents} documents of 50 words`)
const sqlite = Sqlite.layer({ filename: ":memory:" })
const withVec = Sqlite.layer({ filename: ":memory:", extensions: [sqliteVec.getLoadablePath()] })
await measure("in memory, words", MemoryStore.layerMemory)
await measure("SQLite, words", MemoryStore.layerSql.pipe(Layer.provide(sqlite)))
await measure("SQLite, words and vectors", MemoryStore.layerSqlVectors.pipe(Layer.provide([sqlite, embeddings])))
await measure("the same with sqlite-vec", MemoryStore.layerSqlVectors.pipe(Layer.provide([withVec, embeddings])))

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "troupe-bench-"))
// A server runs as a user of its own where this runs as root.
fs.chmodSync(folder, 0o755)
const started = process.env["PGURL"] === undefined ? await startPostgres(path.join(folder, "pg")) : undefined
const { PgClient } = await import("@effect/sql-pg")
const postgres = PgClient.layer({ url: Redacted.make(process.env["PGURL"] ?? started!.url) })
await measure("PostgreSQL, words", MemoryStore.layerSql.pipe(Layer.provide(postgres)))
await measure("PostgreSQL, words and vectors", MemoryStore.layerSqlVectors.pipe(Layer.provide([postgres, embeddings])))
await started?.stop()
fs.rmSync(folder, { recursive: true, force: true })
