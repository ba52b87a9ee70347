/**
 * Stores of memories, for `Memory` and `Rag`: in memory, or in a SQLite or PostgreSQL database, searched by words and, with an
 * embedding model, by meaning.
 */
import * as Effect from "effect/Effect"
import * as EmbeddingModel from "effect/ai/EmbeddingModel"
import * as Layer from "effect/Layer"
import type * as SqlClient from "effect/sql/SqlClient"
import type * as SqlError from "effect/sql/SqlError"
import type { StoreError } from "../../RunError.ts"
import { MemoryStore } from "../../services/MemoryStore.ts"
import { checkedMemories } from "./internal/checkedIds.ts"
import * as InMemory from "./internal/memoryInMemory.ts"
import { make } from "./internal/memorySql.ts"
import { SqlClientTag } from "./internal/sqlClient.ts"

export { type Found, type Item, type Kept, MemoryStore, type Service } from "../../services/MemoryStore.ts"

/** Keeps memories in the memory of this process, and ranks them by their words (BM25). For tests and small collections. */
export const layerMemory: Layer.Layer<MemoryStore> = Layer.effect(MemoryStore)(
  Effect.sync(() => checkedMemories(InMemory.make()))
)

/**
 * Keeps memories in a SQLite or PostgreSQL database: that of the `SqlClient` which is provided. They are ranked by their words:
 * in SQLite by FTS5 (BM25), in PostgreSQL by `tsvector`. Both know endings of English words, and take words of any language as
 * they are.
 *
 * Fails with `SqlError` when the database cannot be used as the Layer is built, and with `StoreError` when its tables are of a
 * newer version than this one knows.
 *
 * @example
 * import { Effect, Layer } from "effect"
 * import { Memory, MemoryStore, Sqlite } from "troupe"
 *
 * const Store = MemoryStore.layerSql.pipe(Layer.provide(Sqlite.layer({ filename: "troupe.db" })))
 * const program = Effect.gen(function* () {
 *   yield* Memory.put({ namespace: "user-42", key: "name", text: "The user's name is Ada." })
 *   return yield* Memory.search("What is my name?", { namespace: "user-42" })
 * }).pipe(Effect.provide(Store))
 */
export const layerSql: Layer.Layer<MemoryStore, SqlError.SqlError | StoreError, SqlClient.SqlClient> = Layer.effect(
  MemoryStore
)(
  Effect.map(
    Effect.flatMap(SqlClientTag, (sql) => make(sql, undefined)),
    checkedMemories
  )
)

/**
 * As {@link layerSql}, and finds memories also by their meaning: a vector of each text, made by the `EmbeddingModel`, is kept with
 * it. A search ranks by words and by vectors and joins both. Every vector of the namespace is compared: in the database where
 * it has the extension `sqlite-vec` (give its file to `Sqlite.layer` as `extensions`) or `vector`, else by plain SQL or here.
 *
 * Texts that were put without a model, or with one whose vectors have another length, are found by their words only. A failure
 * of the embedding model is a `StoreError`.
 */
export const layerSqlVectors: Layer.Layer<
  MemoryStore,
  SqlError.SqlError | StoreError,
  SqlClient.SqlClient | EmbeddingModel.EmbeddingModel
> = Layer.effect(MemoryStore)(
  Effect.gen(function* () {
    const sql = yield* SqlClientTag
    return checkedMemories(yield* make(sql, yield* EmbeddingModel.EmbeddingModel))
  })
)
