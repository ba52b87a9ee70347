/** The tables of durable runs, which every process that opens them brings to the newest version. */
import type * as Effect from "effect/Effect"
import type * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import {
  dialectOf,
  migrate as bringUpToDate,
  type Migrations,
  type NewerTables
} from "../../../internal/versionedTables.ts"

const migrations: Migrations = [
  (sql) => [
    sql`CREATE TABLE troupe_runs (
      id TEXT PRIMARY KEY, name TEXT NOT NULL, run_key TEXT NOT NULL, fingerprint TEXT NOT NULL,
      input_hash TEXT NOT NULL, input TEXT NOT NULL, state TEXT NOT NULL, waits TEXT, ended TEXT, worker TEXT,
      epoch INTEGER NOT NULL, generation INTEGER NOT NULL, created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL)`,
    sql`CREATE INDEX troupe_runs_state ON troupe_runs (state, updated_at)`,
    sql`CREATE TABLE troupe_steps (
      run_id TEXT NOT NULL, step_key TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, state TEXT NOT NULL,
      value TEXT, epoch INTEGER NOT NULL, updated_at BIGINT NOT NULL, PRIMARY KEY (run_id, step_key))`,
    sql`CREATE TABLE troupe_signals (
      run_id TEXT NOT NULL, name TEXT NOT NULL, seq INTEGER NOT NULL, taken INTEGER NOT NULL, value TEXT NOT NULL,
      PRIMARY KEY (run_id, name, seq))`,
    // Those that are not taken are few, and looked for every second.
    sql`CREATE INDEX troupe_signals_open ON troupe_signals (run_id) WHERE taken = 0`,
    sql`CREATE TABLE troupe_wakes (
      run_id TEXT NOT NULL, wake TEXT NOT NULL, fingerprint TEXT NOT NULL, due_at BIGINT NOT NULL,
      PRIMARY KEY (run_id, wake))`,
    sql`CREATE INDEX troupe_wakes_due ON troupe_wakes (fingerprint, due_at)`,
    sql`CREATE TABLE troupe_events (
      run_id TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, events TEXT NOT NULL,
      PRIMARY KEY (run_id, first))`,
    sql`CREATE TABLE troupe_schedules (name TEXT PRIMARY KEY, last BIGINT NOT NULL)`
  ],
  (sql) => [
    sql`ALTER TABLE troupe_signals ADD COLUMN token TEXT`,
    sql`CREATE UNIQUE INDEX troupe_signals_token ON troupe_signals (run_id, token)`
  ],
  // A run had its address as its id, and nothing was known of what it used.
  (sql) => [
    sql`ALTER TABLE troupe_runs ADD COLUMN address TEXT`,
    sql`UPDATE troupe_runs SET address = id`,
    sql`CREATE UNIQUE INDEX troupe_runs_address ON troupe_runs (address)`,
    sql`ALTER TABLE troupe_events ADD COLUMN used TEXT`
  ]
]

/** Makes the tables, or brings them to the newest version. */
export const migrate = (sql: SqlClient.SqlClient): Effect.Effect<void, SqlError | NewerTables> =>
  bringUpToDate(sql, dialectOf(sql) ?? "sqlite", "durable", migrations)
