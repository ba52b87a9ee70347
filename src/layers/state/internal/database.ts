/** What the stores on SQL share: the dialects, the versions of their tables, and their errors. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import type * as Client from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { Fragment } from "effect/sql/Statement"
import { messageOf } from "../../../internal/message.ts"
import { StoreError } from "../../../RunError.ts"

/** The databases that stores know. */
export type Dialect = "sqlite" | "pg"

/** A store's database. */
export interface Database {
  readonly sql: Client.SqlClient
  readonly dialect: Dialect
  /** Fails with `StoreError` where the database fails. */
  readonly use: <A, E, R>(
    effect: Effect.Effect<A, E | SqlError, R>,
    subject?: string
  ) => Effect.Effect<A, Exclude<E, SqlError> | StoreError, R>
  /**
   * The time, in milliseconds since the epoch. Of PostgreSQL its own, because programs on several machines do not agree on
   * the time to the second.
   */
  readonly now: Effect.Effect<Fragment>
}

type Store = StoreError["store"]

/** The changes that lead from one version of a store's tables to the next; never changed once they are released. */
export type Migrations = ReadonlyArray<(sql: Client.SqlClient, dialect: Dialect) => ReadonlyArray<Fragment>>

/**
 * Brings the tables of a store to the newest version: in one transaction, so that of several processes which start at once
 * one does it. A database with tables of a newer version is refused.
 */
export const open = (
  sql: Client.SqlClient,
  store: Store,
  migrations: Migrations
): Effect.Effect<Database, SqlError | StoreError> =>
  Effect.suspend(() => {
    const dialect = dialectOf(sql)
    if (dialect === undefined) {
      const problem = "it works on SQLite and PostgreSQL only. Provide Sqlite.layer or PgClient.layer of @effect/sql-pg"
      return Effect.fail(new StoreError({ store, reason: "unreachable", problem }))
    }
    const now =
      dialect === "pg"
        ? Effect.succeed(sql.literal("(EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::bigint"))
        : Effect.map(Clock.currentTimeMillis, (ms) => sql`${ms}`)
    return Effect.as(sql.withTransaction(migrate(sql, dialect, store, migrations)), {
      sql,
      dialect,
      now,
      use: (effect, subject) => Effect.mapError(effect, (error) => asStoreError(store, error, subject))
    } satisfies Database as Database)
  })

const dialectOf = (sql: Client.SqlClient): Dialect | undefined =>
  sql.onDialectOrElse({
    sqlite: (): Dialect | undefined => "sqlite",
    pg: () => "pg",
    orElse: () => undefined
  })

const migrate = Effect.fnUntraced(function* (
  sql: Client.SqlClient,
  dialect: Dialect,
  store: Store,
  migrations: Migrations
): Effect.fn.Return<void, SqlError | StoreError> {
  // SQLite's transaction is exclusive; in PostgreSQL even IF NOT EXISTS fails when two do it at once.
  if (dialect === "pg") yield* sql`SELECT pg_advisory_xact_lock(${migrationLock})`
  yield* sql`CREATE TABLE IF NOT EXISTS troupe_versions (store VARCHAR(64) PRIMARY KEY, version INTEGER NOT NULL)`
  const [row] = yield* sql<{ readonly version: number }>`SELECT version FROM troupe_versions WHERE store = ${store}`
  const version = Number(row?.version ?? 0)
  if (version === migrations.length) return
  if (version > migrations.length) {
    const problem = `its tables have version ${version}, and this version of Troupe knows versions up to ${migrations.length}`
    return yield* new StoreError({ store, reason: "newer", problem })
  }
  for (const migration of migrations.slice(version)) {
    for (const statement of migration(sql, dialect)) yield* sql`${statement}`
  }
  yield* row === undefined
    ? sql`INSERT INTO troupe_versions ${sql.insert({ store, version: migrations.length })}`
    : sql`UPDATE troupe_versions SET version = ${migrations.length} WHERE store = ${store}`
})

/** A number of our own, for PostgreSQL's advisory locks, which programs share. */
const migrationLock = 7_405_301

const isSqlError = (error: unknown): error is SqlError => Predicate.isTagged(error, "SqlError")

const asStoreError = <E>(
  store: Store,
  error: E | SqlError,
  subject: string | undefined
): Exclude<E, SqlError> | StoreError => {
  if (!isSqlError(error)) return error as Exclude<E, SqlError>
  const problem = detailOf(error)
  return new StoreError({ store, reason: "unreachable", problem, ...(subject === undefined ? {} : { subject }) })
}

/** The driver's own words, which say more than those of the client around it. */
const detailOf = ({ message, reason }: SqlError): string => {
  const { cause } = reason
  const said = cause === undefined ? "" : messageOf(cause)
  return said === "" || message.includes(said) ? message : `${message}: ${said}`
}
