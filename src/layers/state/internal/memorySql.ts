/** A store of memories on SQLite or PostgreSQL: ranked by words, and by vectors where there is an embedding model. */
import * as Effect from "effect/Effect"
import type * as EmbeddingModel from "effect/ai/EmbeddingModel"
import * as Schema from "effect/Schema"
import type * as Client from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { Fragment } from "effect/sql/Statement"
import { messageOf } from "../../../internal/message.ts"
import { StoreError } from "../../../RunError.ts"
import type { Found, Item, Kept, Service } from "../../../services/MemoryStore.ts"
import { type Database, type Migrations, open } from "./database.ts"
import * as Vectors from "./memoryVectors.ts"
import { queryWords } from "./words.ts"

/** How many characters of a text are searched in PostgreSQL, whose index takes a megabyte of words for each. */
const maxSearched = 200_000

const migrations: Migrations = [
  (sql, dialect) => {
    const searched = sql.literal(String(maxSearched))
    return dialect === "pg"
      ? [
          sql`CREATE TABLE troupe_memories (
            id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, namespace TEXT NOT NULL, key TEXT COLLATE "C" NOT NULL,
            text TEXT NOT NULL, metadata TEXT, updated_at BIGINT NOT NULL, embedding REAL[],
            words TSVECTOR GENERATED ALWAYS AS (to_tsvector('english', LEFT(text, ${searched}))) STORED,
            UNIQUE (namespace, key))`,
          sql`CREATE INDEX troupe_memories_words ON troupe_memories USING GIN (words)`
        ]
      : [
          sql`CREATE TABLE troupe_memories (
            id INTEGER PRIMARY KEY, namespace TEXT NOT NULL, key TEXT NOT NULL,
            text TEXT NOT NULL, metadata TEXT, updated_at BIGINT NOT NULL, embedding BLOB, UNIQUE (namespace, key))`,
          sql`CREATE VIRTUAL TABLE troupe_memory_words USING fts5(
            space, text, content='', contentless_delete=1, tokenize='porter unicode61')`
        ]
  }
]

/** Texts of one statement: databases limit how many values a statement has. */
const atOnce = 100
/** Found by words or by vectors, before both are joined. */
const candidates = (limit: number): number => Math.max(limit * 4, 40)

/** Opens the store: its tables are made or brought to the newest version. */
export const make = (
  sql: Client.SqlClient,
  model: EmbeddingModel.EmbeddingModel | undefined
): Effect.Effect<Service, SqlError | StoreError> =>
  Effect.gen(function* () {
    const database = yield* open(sql, "memory", migrations)
    const { again: use } = database
    const nearest = model === undefined ? undefined : yield* Vectors.search(database)
    return {
      put: (items) =>
        Effect.forEach(
          chunksOf(items),
          (chunk) =>
            Effect.flatMap(
              embed(
                model,
                chunk.map(({ text }) => text),
                chunk[0]?.namespace
              ),
              (vectors) => use(sql.withTransaction(put(database, chunk, vectors)), chunk[0]?.namespace)
            ),
          { discard: true }
        ),
      get: (namespace, key) =>
        use(
          Effect.map(sql<Row>`${columns(sql)} WHERE namespace = ${namespace} AND key = ${key}`, ([row]) =>
            row === undefined ? undefined : keptOf(row)
          ),
          namespace
        ),
      search: (query, namespace, limit) =>
        Effect.gen(function* () {
          const byWords = use(searchWords(database, query, namespace, candidates(limit)), namespace)
          if (nearest === undefined || model === undefined) return (yield* byWords).slice(0, limit)
          const [vector] = yield* embed(model, [query], namespace)
          const ids = vector === undefined ? [] : yield* use(nearest(vector, namespace, candidates(limit)), namespace)
          return yield* use(joined(sql, yield* byWords, ids, limit), namespace)
        }),
      list: (namespace, limit, after) =>
        use(
          Effect.map(
            sql<Row>`${columns(sql)} WHERE namespace = ${namespace}
              AND ${after === undefined ? sql`1 = 1` : sql`key > ${after}`} ORDER BY key LIMIT ${limit}`,
            (rows) => rows.map(keptOf)
          ),
          namespace
        ),
      remove: (namespace, keys) => use(sql.withTransaction(remove(database, namespace, keys)), namespace)
    } satisfies Service
  })

const chunksOf = (items: ReadonlyArray<Item>): ReadonlyArray<ReadonlyArray<Item>> =>
  Array.from({ length: Math.ceil(items.length / atOnce) }, (_, i) => items.slice(i * atOnce, (i + 1) * atOnce))

const embed = (
  model: EmbeddingModel.EmbeddingModel | undefined,
  texts: ReadonlyArray<string>,
  subject: string | undefined
): Effect.Effect<ReadonlyArray<Vectors.Vector>, StoreError> =>
  model === undefined
    ? Effect.succeed([])
    : Effect.mapBoth(model.embedMany(texts), {
        onSuccess: ({ embeddings }) => embeddings.map(({ vector }) => Vectors.unit(vector)),
        onFailure: (error) => {
          const problem = `the embedding model failed: ${messageOf(error).split("\n")[0]}`
          return new StoreError({
            store: "memory",
            reason: "unreachable",
            problem,
            ...(subject === undefined ? {} : { subject })
          })
        }
      })

interface Row {
  readonly id: number
  readonly namespace: string
  readonly key: string
  readonly text: string
  readonly metadata: string | null
  readonly updated_at: number
}

const columns = (sql: Client.SqlClient): Fragment =>
  sql`SELECT id, namespace, key, text, metadata, updated_at FROM troupe_memories`

const decodeMetadata = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Record(Schema.String, Schema.Json)))

const keptOf = ({ key, metadata, namespace, text, updated_at }: Row): Kept => {
  // What cannot be read of it is left out: the text is what was asked for.
  const read = metadata === null ? undefined : decodeMetadata(metadata)
  const updatedAt = Number(updated_at)
  return read?._tag === "Some"
    ? { namespace, key, text, metadata: read.value, updatedAt }
    : { namespace, key, text, updatedAt }
}

/** A namespace as one word of the index. */
const spaceOf = (namespace: string): string => `n${Buffer.from(namespace, "utf8").toString("hex")}`

const put = Effect.fnUntraced(function* (
  { dialect, now, sql }: Database,
  items: ReadonlyArray<Item>,
  vectors: ReadonlyArray<Vectors.Vector>
): Effect.fn.Return<void, SqlError> {
  const time = yield* now
  for (const [index, { key, metadata, namespace, text }] of items.entries()) {
    const json = metadata === undefined ? null : JSON.stringify(metadata)
    const vector = Vectors.toColumn(sql, dialect, vectors[index])
    const [row] = yield* sql<{ readonly id: number }>`
      INSERT INTO troupe_memories (namespace, key, text, metadata, updated_at, embedding)
      VALUES (${namespace}, ${key}, ${text}, ${json}, ${time}, ${vector})
      ON CONFLICT (namespace, key) DO UPDATE SET text = excluded.text, metadata = excluded.metadata,
        updated_at = excluded.updated_at, embedding = excluded.embedding RETURNING id`
    if (dialect === "pg") continue
    yield* sql`INSERT OR REPLACE INTO troupe_memory_words (rowid, space, text) VALUES (${row!.id}, ${spaceOf(namespace)}, ${text})`
  }
})

type Ranked = Kept & { readonly id: number; readonly score: number }

const searchWords = (
  { dialect, sql }: Database,
  query: string,
  namespace: string,
  limit: number
): Effect.Effect<ReadonlyArray<Ranked>, SqlError> => {
  const words = queryWords(query)
  if (words.length === 0) return Effect.succeed([])
  const rows =
    dialect === "pg"
      ? sql<Row & { readonly score: number }>`
          SELECT id, namespace, key, text, metadata, updated_at, ts_rank_cd(words, query, 32) AS score
          FROM troupe_memories, to_tsquery('english', ${words.map((word) => `'${word}'`).join(" | ")}) AS query
          WHERE words @@ query AND namespace = ${namespace} ORDER BY score DESC, id LIMIT ${limit}`
      : sql<Row & { readonly score: number }>`
          SELECT id, namespace, key, text, metadata, updated_at, found.score FROM (
            SELECT rowid AS memory, -bm25(troupe_memory_words, 0.0, 1.0) AS score FROM troupe_memory_words
            WHERE troupe_memory_words MATCH ${`space : ${spaceOf(namespace)} AND text : (${words.map((word) => `"${word}"`).join(" OR ")})`}
            ORDER BY score DESC, memory LIMIT ${limit}) AS found
          JOIN troupe_memories ON id = found.memory ORDER BY found.score DESC, id`
  return Effect.map(rows, (found) =>
    found.map((row) => ({ ...keptOf(row), id: Number(row.id), score: Number(row.score) }))
  )
}

/** Joins two rankings by the places in them, because their scores are of different kinds. */
const joined = Effect.fnUntraced(function* (
  sql: Client.SqlClient,
  byWords: ReadonlyArray<Ranked>,
  byVectors: ReadonlyArray<number>,
  limit: number
): Effect.fn.Return<ReadonlyArray<Found>, SqlError> {
  const scores = new Map<number, number>()
  const add = (id: number, place: number) => scores.set(id, (scores.get(id) ?? 0) + 1 / (60 + place))
  for (const [place, { id }] of byWords.entries()) add(id, place)
  for (const [place, id] of byVectors.entries()) add(id, place)
  const best = [...scores].toSorted(([, one], [, other]) => other - one).slice(0, limit)
  if (best.length === 0) return []
  const rows = yield* sql<Row>`${columns(sql)} WHERE ${sql.in(
    "id",
    best.map(([id]) => id)
  )}`
  const byId = new Map(rows.map((row) => [Number(row.id), keptOf(row)]))
  return best.flatMap(([id, score]) => {
    const kept = byId.get(id)
    return kept === undefined ? [] : [{ ...kept, score }]
  })
})

const remove = Effect.fnUntraced(function* (
  { dialect, sql }: Database,
  namespace: string,
  keys: ReadonlyArray<string> | undefined
): Effect.fn.Return<void, SqlError> {
  if (keys !== undefined && keys.length === 0) return
  const which =
    keys === undefined ? sql`namespace = ${namespace}` : sql`namespace = ${namespace} AND ${sql.in("key", keys)}`
  if (dialect === "sqlite") {
    yield* sql`DELETE FROM troupe_memory_words WHERE rowid IN (SELECT id FROM troupe_memories WHERE ${which})`
  }
  yield* sql`DELETE FROM troupe_memories WHERE ${which}`
})
