/** Vectors of texts in a database, and the search for the nearest: exact, by comparing all of a namespace. */
import * as Effect from "effect/Effect"
import type * as Client from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { Fragment } from "effect/sql/Statement"
import type { Database, Dialect } from "./database.ts"

/** A vector of length 1. */
export type Vector = Float32Array

/** The vector of length 1 with this direction. */
export const unit = (vector: ReadonlyArray<number>): Vector => {
  const length = Math.hypot(...vector) || 1
  return Float32Array.from(vector, (x) => x / length)
}

const bytesOf = (vector: Vector): Uint8Array => new Uint8Array(vector.buffer, vector.byteOffset, vector.byteLength)

const arrayOf = (vector: Vector): string => `{${[...vector].join(",")}}`

/** The value of the column for a vector. */
export const toColumn = (sql: Client.SqlClient, dialect: Dialect, vector: Vector | undefined): Fragment =>
  vector === undefined ? sql`NULL` : dialect === "pg" ? sql`${arrayOf(vector)}::real[]` : sql`${bytesOf(vector)}`

/** Finds the ids of the texts whose vectors are nearest, the nearest first. */
export type Search = (
  vector: Vector,
  namespace: string,
  limit: number
) => Effect.Effect<ReadonlyArray<number>, SqlError>

interface Id {
  readonly id: number
}

/** The fastest way that the database has. */
export const search = ({ dialect, sql }: Database): Effect.Effect<Search> => {
  if (dialect === "pg") {
    const installed = sql<{
      readonly found: boolean
    }>`SELECT EXISTS (SELECT 1 FROM pg_extension WHERE extname = 'vector') AS found`
    const length = (vector: Vector) => sql`array_length(embedding, 1) = ${vector.length}`
    const byPgvector = ordered(sql, length, (vector) => sql`embedding::vector <=> ${arrayOf(vector)}::real[]::vector`)
    const bySums = ordered(
      sql,
      length,
      (vector) => sql`(SELECT SUM(a * b) FROM unnest(embedding, ${arrayOf(vector)}::real[]) AS pairs (a, b)) DESC`
    )
    return Effect.match(installed, {
      onFailure: () => bySums,
      onSuccess: ([row]) => (row?.found === true ? byPgvector : bySums)
    })
  }
  const bySqliteVec = ordered(
    sql,
    (vector) => sql`LENGTH(embedding) = ${vector.byteLength}`,
    (vector) => sql`vec_distance_cosine(embedding, ${bytesOf(vector)})`
  )
  return Effect.match(sql`SELECT vec_version()`, { onFailure: () => here(sql), onSuccess: () => bySqliteVec })
}

/** The database compares the vectors of one length, and puts the texts in order. */
const ordered =
  (sql: Client.SqlClient, length: (vector: Vector) => Fragment, order: (vector: Vector) => Fragment): Search =>
  (vector, namespace, limit) =>
    Effect.map(
      sql<Id>`SELECT id FROM troupe_memories WHERE namespace = ${namespace} AND ${length(vector)}
        ORDER BY ${order(vector)} LIMIT ${limit}`,
      (rows) => rows.map(({ id }) => Number(id))
    )

/** Vectors that are read at once. */
const atOnce = 2000

/** Without an extension the vectors are compared in this thread, some at a time, so that other fibers go on. */
const here = (sql: Client.SqlClient): Search =>
  Effect.fnUntraced(function* (vector: Vector, namespace: string, limit: number) {
    let best: Array<{ readonly id: number; readonly score: number }> = []
    let after = 0
    for (;;) {
      const rows = yield* sql<Id & { readonly embedding: Uint8Array }>`
        SELECT id, embedding FROM troupe_memories
        WHERE namespace = ${namespace} AND id > ${after} AND LENGTH(embedding) = ${vector.byteLength}
        ORDER BY id LIMIT ${atOnce}`
      for (const { embedding, id } of rows) best.push({ id, score: similarity(vector, embedding) })
      best = best.toSorted((one, other) => other.score - one.score).slice(0, limit)
      if (rows.length < atOnce) return best.map(({ id }) => id)
      after = rows.at(-1)!.id
      yield* Effect.yieldNow
    }
  })

const similarity = (vector: Vector, bytes: Uint8Array): number => {
  const isAligned = bytes.byteOffset % Float32Array.BYTES_PER_ELEMENT === 0
  const { buffer, byteLength, byteOffset } = isAligned ? bytes : Uint8Array.from(bytes)
  const other = new Float32Array(buffer, byteOffset, byteLength / Float32Array.BYTES_PER_ELEMENT)
  let sum = 0
  for (let i = 0; i < vector.length; i++) sum += vector[i]! * other[i]!
  return sum
}
