/** Tables in a database that programs of several versions may use at once. */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type * as Client from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { Fragment } from "effect/sql/Statement"

/** The databases that we know. */
export type Dialect = "sqlite" | "pg"

/** The changes that lead from one version of some tables to the next; never changed once they are released. */
export type Migrations = ReadonlyArray<(sql: Client.SqlClient, dialect: Dialect) => ReadonlyArray<Fragment>>

/** The tables were made by a newer version of Troupe. */
export class NewerTables extends Data.TaggedError("NewerTables")<{ readonly version: number; readonly known: number }> {
  override get message(): string {
    return `its tables have version ${this.version}, and this version of Troupe knows versions up to ${this.known}`
  }
}

/** The dialect of a client; `undefined` for a database that we do not know. */
export const dialectOf = (sql: Client.SqlClient): Dialect | undefined =>
  sql.onDialectOrElse({
    sqlite: (): Dialect | undefined => "sqlite",
    pg: () => "pg",
    orElse: () => undefined
  })

/**
 * Brings the tables of one name to the newest version: in one transaction, so that of several processes which start at once
 * one does it. Fails with {@link NewerTables}, and changes nothing, where they are of a newer one.
 */
export const migrate = (
  sql: Client.SqlClient,
  dialect: Dialect,
  name: string,
  migrations: Migrations
): Effect.Effect<void, SqlError | NewerTables> => sql.withTransaction(within(sql, dialect, name, migrations))

const within = Effect.fnUntraced(function* (
  sql: Client.SqlClient,
  dialect: Dialect,
  name: string,
  migrations: Migrations
): Effect.fn.Return<void, SqlError | NewerTables> {
  // SQLite's transaction is exclusive; in PostgreSQL even IF NOT EXISTS fails when two do it at once.
  if (dialect === "pg") yield* sql`SELECT pg_advisory_xact_lock(${lock})`
  yield* sql`CREATE TABLE IF NOT EXISTS troupe_versions (store VARCHAR(64) PRIMARY KEY, version INTEGER NOT NULL)`
  const [row] = yield* sql<{ readonly version: number }>`SELECT version FROM troupe_versions WHERE store = ${name}`
  const version = Number(row?.version ?? 0)
  if (version === migrations.length) return
  if (version > migrations.length) return yield* new NewerTables({ version, known: migrations.length })
  for (const migration of migrations.slice(version)) {
    for (const statement of migration(sql, dialect)) yield* sql`${statement}`
  }
  yield* row === undefined
    ? sql`INSERT INTO troupe_versions ${sql.insert({ store: name, version: migrations.length })}`
    : sql`UPDATE troupe_versions SET version = ${migrations.length} WHERE store = ${name}`
})

/** A number of our own, for PostgreSQL's advisory locks, which programs share. */
const lock = 7_405_301
