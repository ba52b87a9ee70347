/**
 * SQLite as a `SqlClient` of effect/sql, on Node's own `node:sqlite`: for the stores, for durable runs, and for your own
 * queries. It needs no package, and works at both edges.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as SqlClient from "effect/sql/SqlClient"
import type * as SqlError from "effect/sql/SqlError"
import { assertOneOf, assertOptions, assertText, durationOf, namesOf } from "../../internal/definition.ts"
import { SqlClientTag } from "./internal/sqlClient.ts"
import { make } from "./internal/sqliteClient.ts"
import { load } from "./internal/sqlModules.ts"

/** Options of {@link layer}. */
export interface Options {
  /** The file of the database, which is made if it does not exist; its folder has to exist. `:memory:` keeps nothing. */
  readonly filename: string
  /** How long a statement waits for other processes that write. Default: 30 seconds. */
  readonly busyTimeout?: Duration.Input | undefined
  /**
   * When a commit counts as kept. `full`, the default: it is on the disk, also after a power failure. `normal`: it is
   * with the operating system, so the end of the process loses nothing, but a power failure can take the last commits.
   */
  readonly synchronous?: "full" | "normal" | undefined
  /** The files of SQLite extensions to load, such as that of the package `sqlite-vec`. */
  readonly extensions?: ReadonlyArray<string> | undefined
}

const known = namesOf<Options>({ busyTimeout: true, extensions: true, filename: true, synchronous: true })

/**
 * A SQLite database as `SqlClient`. It is opened when the Layer is built and closed when it is released.
 *
 * Any number of processes on one machine can use the file at once: it is in WAL mode, a transaction takes the lock for
 * writing as it begins, and a statement that finds the file locked tries again for `busyTimeout`, while other fibers go on.
 * The file must be on a local disk. Statements of one Layer run one after the other, each in place: it blocks the thread
 * until it is done.
 *
 * Fails with `SqlError` when the file cannot be opened or is not a database, and where there is no `node:sqlite`. Throws
 * `InvalidDefinition` for options that are not valid.
 *
 * @example
 * import { Effect } from "effect"
 * import { SqlClient } from "effect/sql"
 * import { Sqlite } from "troupe"
 *
 * const program = Effect.gen(function* () {
 *   const sql = yield* SqlClient.SqlClient
 *   yield* sql`CREATE TABLE IF NOT EXISTS notes (text TEXT NOT NULL)`
 *   yield* sql`INSERT INTO notes ${sql.insert({ text: "Hello" })}`
 *   return yield* sql<{ readonly text: string }>`SELECT text FROM notes`
 * }).pipe(Effect.provide(Sqlite.layer({ filename: "notes.db" })))
 */
export const layer = (options: Options): Layer.Layer<SqlClient.SqlClient, SqlError.SqlError> => {
  const subject = "Sqlite.layer"
  assertOptions(subject, options, known)
  assertText(subject, "filename", options.filename)
  assertOneOf(subject, "synchronous", options.synchronous, ["full", "normal"])
  const settings = {
    filename: options.filename,
    busyTimeout: durationOf(subject, "busyTimeout", options.busyTimeout ?? "30 seconds"),
    synchronous: options.synchronous ?? "full",
    extensions: options.extensions ?? []
  }
  return Layer.effect(SqlClientTag)(Effect.flatMap(load, (modules) => make(modules, settings)))
}
