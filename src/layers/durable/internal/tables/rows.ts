/** What the tables hold, as it is read, and what their statements are written with. */
import type * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { Fragment } from "effect/sql/Statement"
import type { Ended, Kept, KeptStep, State, Wait } from "../engine.ts"

/** A row of `troupe_runs`, with what the engine alone needs. */
export interface RunRow extends Kept {
  readonly epoch: number
  readonly generation: number
  readonly inputHash: string
}

/** One execution of a run: the token of its writes. */
export interface Claim {
  readonly run: RunRow
  readonly epoch: number
  readonly steps: ReadonlyArray<KeptStep>
  readonly lastSeq: number
}

/** Whether a write took place, met a later execution, or met a step of the same key. */
export type Written = "written" | "fenced" | "taken"

/** What the engine calls a run; a run that is tried again is another one to it. */
export const executionIdOf = ({ generation, id }: { readonly id: string; readonly generation: number }): string =>
  `${id}.${generation}`

/** A row as the driver gives it. */
export type Row = Readonly<Record<string, unknown>>

/** A column of text. */
export const text = (value: unknown): string => String(value)

/** A column of JSON. */
export const json = (value: unknown): Schema.Json => JSON.parse(text(value)) as Schema.Json

/** A run of its row. */
export const runOf = (row: Row): RunRow => ({
  id: text(row["id"]),
  name: text(row["name"]),
  key: text(row["run_key"]),
  fingerprint: text(row["fingerprint"]),
  inputHash: text(row["input_hash"]),
  input: json(row["input"]),
  state: text(row["state"]) as State,
  waits: row["waits"] === null ? [] : (json(row["waits"]) as unknown as ReadonlyArray<Wait>),
  ended: row["ended"] === null ? undefined : (json(row["ended"]) as unknown as Ended),
  worker: row["worker"] === null ? undefined : text(row["worker"]),
  epoch: Number(row["epoch"]),
  generation: Number(row["generation"]),
  createdAt: Number(row["created_at"]),
  updatedAt: Number(row["updated_at"])
})

/** A step of its row. */
export const stepOf = (row: Row): KeptStep => ({
  key: text(row["step_key"]),
  kind: text(row["kind"]),
  name: text(row["name"]),
  state: text(row["state"]) as KeptStep["state"],
  value: row["value"] === null ? null : json(row["value"]),
  epoch: Number(row["epoch"]),
  updatedAt: Number(row["updated_at"])
})

/** A client, and the pieces of statements that both databases take. */
export interface Database {
  readonly sql: SqlClient.SqlClient
  readonly rows: (
    statement: Effect.Effect<ReadonlyArray<unknown>, SqlError>
  ) => Effect.Effect<ReadonlyArray<Row>, SqlError>
  /** A row lock: an execution that begins meanwhile waits for this write, so that it reads all that was written before it. */
  readonly share: Fragment
  readonly big: (n: number) => Fragment
  readonly str: (value: string) => Fragment
}

/** The pieces of statements of one client. */
export const databaseOf = (sql: SqlClient.SqlClient): Database => ({
  sql,
  rows: (statement) => statement as Effect.Effect<ReadonlyArray<Row>, SqlError>,
  share: sql.onDialectOrElse({ pg: () => sql` FOR SHARE`, orElse: () => sql`` }),
  big: (n) => sql`CAST(${n} AS BIGINT)`,
  str: (value) => sql`CAST(${value} AS TEXT)`
})
