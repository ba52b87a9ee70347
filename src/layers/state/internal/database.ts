/** What the stores on SQL share: the dialects, the versions of their tables, and their errors. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Client from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { Fragment } from "effect/sql/Statement"
import { StoreError } from "../../../RunError.ts"
import { asFailures, databaseProblem, isSqlError, isTransient } from "../../internal/databaseProblem.ts"
import { type Dialect, dialectOf, migrate, type Migrations } from "../../internal/versionedTables.ts"

export type { Dialect, Migrations } from "../../internal/versionedTables.ts"

type Use = <A, E, R>(
  effect: Effect.Effect<A, E | SqlError, R>,
  subject?: string
) => Effect.Effect<A, Exclude<E, SqlError> | StoreError, R>

/** How long a connection that was lost is made again: for about three seconds, as a server takes to start again. */
export const reconnecting = { times: 5, schedule: Schedule.exponential(100) }

/** A store's database. */
export interface Database {
  readonly sql: Client.SqlClient
  readonly dialect: Dialect
  /** Fails with `StoreError` where the database fails. */
  readonly use: Use
  /** The same, and tries again where the connection was lost: for what may be done twice. */
  readonly again: Use
  /**
   * The time, in milliseconds since the epoch. Of PostgreSQL its own, because programs on several machines do not agree on
   * the time to the second.
   */
  readonly now: Effect.Effect<Fragment>
}

type Store = StoreError["store"]

/** Brings the tables of a store to the newest version. A database with tables of a newer one is refused. */
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
    const migrated = Effect.mapError(migrate(sql, dialect, store, migrations), (error) =>
      error._tag === "NewerTables" ? new StoreError({ store, reason: "newer", problem: error.message }) : error
    )
    const use: Use = (effect, subject) =>
      Effect.mapError(asFailures(effect), (error) => asStoreError(store, error, subject))
    // SQLite has waited by itself.
    const again: Use = (effect, subject) =>
      use(
        dialect === "pg" ? Effect.retry(asFailures(effect), { ...reconnecting, while: isTransient }) : effect,
        subject
      )
    return Effect.as(migrated, { sql, dialect, now, use, again } satisfies Database as Database)
  })

const asStoreError = <E>(
  store: Store,
  error: E | SqlError,
  subject: string | undefined
): Exclude<E, SqlError> | StoreError => {
  if (!isSqlError(error)) return error as Exclude<E, SqlError>
  const problem = databaseProblem(error)
  return new StoreError({ store, reason: "unreachable", problem, ...(subject === undefined ? {} : { subject }) })
}
