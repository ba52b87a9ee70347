/** What the tables hold, as it is read, and what their statements are written with. */
import type * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { Fragment } from "effect/sql/Statement"
import { hash } from "../../../../internal/fingerprint.ts"
import { problemOfKey, storable } from "../../../../internal/storable.ts"
import type { Ended, Kept, KeptStep, Ref, State, Wait } from "../engine.ts"

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

/** What finds a run by its name and its key, which are too long for an index. */
export const addressOf = ({ key, name }: Ref): string => hash([name, key]).slice(0, 32)

/** What the engine calls a run; a run that is tried again is another one to it. */
export const executionIdOf = ({ generation, id }: { readonly id: string; readonly generation: number }): string =>
  `${id}.${generation}`

/** In bytes: a row of an index has at most 2,704 in PostgreSQL. */
const maxKeyText = 1000

const shortened = (text: string): string => `${storable(text.slice(0, 200))}~${hash(text).slice(0, 32)}`

/**
 * A key or a name as both databases keep it, in an index too. One that is long, as of runs in runs, or that has characters which they do not
 * keep, as an id from a model may, is known by its start and its hash.
 */
export const keyText = (text: string): string =>
  problemOfKey("", text, maxKeyText) === undefined ? text : shortened(text)

/** The name of a signal, which is looked for within JSON as well. */
export const signalText = (name: string): string =>
  // oxlint-disable-next-line no-control-regex
  /["\\\u0000-\u001f]/.test(name) ? shortened(name) : keyText(name)

/** What wakes a run that waits for what is sent under a name. */
export const signalWake = (name: string, seq: number): string => `signal/${name}/${seq}`

/** A row as the driver gives it. */
export type Row = Readonly<Record<string, unknown>>

/** A column of JSON. */
export const json = (value: unknown): Schema.Json => JSON.parse(String(value)) as Schema.Json

/** A run of its row. */
export const runOf = (row: Row): RunRow => ({
  id: String(row["id"]),
  name: String(row["name"]),
  key: String(row["run_key"]),
  fingerprint: String(row["fingerprint"]),
  inputHash: String(row["input_hash"]),
  input: json(row["input"]),
  state: String(row["state"]) as State,
  waits: row["waits"] === null ? [] : (json(row["waits"]) as unknown as ReadonlyArray<Wait>),
  ended: row["ended"] === null ? undefined : (json(row["ended"]) as unknown as Ended),
  worker: row["worker"] === null ? undefined : String(row["worker"]),
  epoch: Number(row["epoch"]),
  generation: Number(row["generation"]),
  createdAt: Number(row["created_at"]),
  updatedAt: Number(row["updated_at"])
})

/** A step of its row. */
export const stepOf = (row: Row): KeptStep => ({
  key: String(row["step_key"]),
  kind: String(row["kind"]),
  name: String(row["name"]),
  state: String(row["state"]) as KeptStep["state"],
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
  readonly str: (value: string) => Fragment
}

/** The pieces of statements of one client. */
export const databaseOf = (sql: SqlClient.SqlClient): Database => ({
  sql,
  rows: (statement) => statement as Effect.Effect<ReadonlyArray<Row>, SqlError>,
  share: sql.onDialectOrElse({ pg: () => sql` FOR SHARE`, orElse: () => sql`` }),
  str: (value) => sql`CAST(${value} AS TEXT)`
})
