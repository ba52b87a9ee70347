/** Runs: how they begin, change and end, and how they are found. */
import * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"
import type { Ended, Query, Ref, State } from "../engine.ts"
import { addressOf, type Claim, type Database, type Row, runOf, type RunRow } from "./rows.ts"

/** What an execution may write of its run, and what others write of it. */
export const writing = ({ rows, sql }: Database) => ({
  /** Keeps a new run; false when there is one of its name and key. */
  create: (run: Omit<RunRow, "state" | "waits" | "ended" | "worker" | "epoch" | "generation">) =>
    Effect.map(
      rows(sql`INSERT INTO troupe_runs (id, address, name, run_key, fingerprint, input_hash, input, state, waits, ended, worker,
          epoch, generation, created_at, updated_at)
        VALUES (${run.id}, ${addressOf(run)}, ${run.name}, ${run.key}, ${run.fingerprint}, ${run.inputHash}, ${JSON.stringify(run.input)},
          'queued', NULL, NULL, NULL, 0, 0, ${run.createdAt}, ${run.updatedAt})
        ON CONFLICT (address) DO NOTHING RETURNING id`),
      (written): boolean => written.length === 1
    ),

  /** Writes what the execution of `claim` may write of a run, and nothing once another has begun. */
  setRun: (claim: Claim, fields: { state: State; waits?: string; ended?: string }, now: number) =>
    Effect.map(
      rows(sql`UPDATE troupe_runs SET state = ${fields.state}, waits = ${fields.waits ?? null},
        ended = ${fields.ended ?? null}, updated_at = ${now}
        WHERE id = ${claim.run.id} AND epoch = ${claim.epoch} AND state = 'running' RETURNING id`),
      (written): boolean => written.length === 1
    ),

  /** Ends a run from outside: its execution can write nothing more. False when it had ended. */
  interrupt: (id: string, now: number) =>
    Effect.map(
      rows(sql`UPDATE troupe_runs SET state = 'interrupted', epoch = epoch + 1, waits = NULL,
          ended = ${JSON.stringify({ _tag: "Interrupted" } satisfies Ended)}, updated_at = ${now}
        WHERE id = ${id} AND state IN ('queued', 'running', 'suspended') RETURNING id`),
      (written): boolean => written.length === 1
    ),

  /** Makes a run that failed or was interrupted one that waits for its execution; what failed of it is forgotten. */
  requeue: (id: string, now: number) =>
    sql.withTransaction(
      Effect.flatMap(
        rows(sql`UPDATE troupe_runs SET state = 'queued', epoch = epoch + 1, generation = generation + 1, ended = NULL,
            updated_at = ${now} WHERE id = ${id} AND state IN ('failed', 'interrupted') RETURNING id`),
        (written) =>
          written.length === 0
            ? Effect.succeed(false)
            : Effect.as(sql`DELETE FROM troupe_steps WHERE run_id = ${id} AND state = 'failed'`, true)
      )
    ),

  /** Removes a run that has ended, with all that is kept of it; nothing of one that was made to go on meanwhile. */
  remove: (id: string): Effect.Effect<boolean, SqlError> =>
    sql.withTransaction(
      Effect.flatMap(
        rows(sql`DELETE FROM troupe_runs WHERE id = ${id} AND state IN ('completed', 'failed', 'interrupted')
          RETURNING id`),
        (removed) =>
          removed.length === 0
            ? Effect.succeed(false)
            : Effect.as(
                Effect.all(
                  [
                    sql`DELETE FROM troupe_steps WHERE run_id = ${id}`,
                    sql`DELETE FROM troupe_events WHERE run_id = ${id}`,
                    sql`DELETE FROM troupe_signals WHERE run_id = ${id}`,
                    sql`DELETE FROM troupe_wakes WHERE run_id = ${id}`
                  ],
                  { discard: true }
                ),
                true
              )
      )
    )
})

const firstOf = ([row]: ReadonlyArray<Row>): RunRow | undefined => (row === undefined ? undefined : runOf(row))

/** What is read of runs. */
export const reading = ({ rows, sql }: Database) => ({
  find: (id: string) => Effect.map(rows(sql`SELECT * FROM troupe_runs WHERE id = ${id}`), firstOf),

  /** The run of a name and a key. */
  findAt: (ref: Ref) => Effect.map(rows(sql`SELECT * FROM troupe_runs WHERE address = ${addressOf(ref)}`), firstOf),

  /** Runs that were submitted and that no execution has begun. */
  queued: (fingerprint: string, before: number): Effect.Effect<ReadonlyArray<RunRow>, SqlError> =>
    Effect.map(
      rows(sql`SELECT * FROM troupe_runs WHERE state = 'queued' AND updated_at < ${before}
        AND fingerprint = ${fingerprint} ORDER BY updated_at LIMIT 500`),
      (found) => found.map(runOf)
    ),

  list: ({ limit = 50, name, state }: Query): Effect.Effect<ReadonlyArray<RunRow>, SqlError> =>
    Effect.map(
      rows(
        sql`SELECT * FROM troupe_runs WHERE ${sql.and([
          sql`1 = 1`,
          ...(name === undefined ? [] : [sql`name = ${name}`]),
          ...(state === undefined ? [] : [sql`state = ${state}`])
        ])} ORDER BY updated_at DESC LIMIT ${limit}`
      ),
      (found) => found.map(runOf)
    ),

  /** Runs that ended before `before`. */
  old: (before: number, limit: number): Effect.Effect<ReadonlyArray<RunRow>, SqlError> =>
    Effect.map(
      rows(sql`SELECT * FROM troupe_runs WHERE state IN ('completed', 'failed', 'interrupted')
        AND updated_at <= ${before} ORDER BY updated_at LIMIT ${limit}`),
      (found) => found.map(runOf)
    )
})
