/** What is sent to runs, and when those that sleep are woken. */
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type { SqlError } from "effect/sql/SqlError"
import type { Step } from "../../../../services/Journal.ts"
import { type Claim, type Database, executionIdOf, json, type Row, type RunRow, signalWake } from "./rows.ts"
import type { writing } from "./steps.ts"

/** What became of taking a signal. */
export type Taken =
  | { readonly _tag: "Taken"; readonly value: Schema.Json; readonly problems: ReadonlyArray<string> }
  | { readonly _tag: "None"; readonly next: number }
  | { readonly _tag: "Fenced" }

/** What wakes a run that sleeps. */
export interface Wake {
  readonly executionId: string
  readonly wake: string
}

/** What wakes a run at a time. */
export interface Due extends Wake {
  readonly runId: string
  readonly at: number
  /** The run has gone on without. */
  readonly isOver: boolean
}

/** What is sent to a run, under a name. */
export const sending = ({ rows, sql, str }: Database) => ({
  /**
   * Adds what was sent to a run under a name; returns its number. Fails where two are sent at once: send it again. With the same token it is
   * the same, so that it is there once also where it was not known whether it was.
   */
  sendSignal: (id: string, name: string, value: Schema.Json, token: string): Effect.Effect<number, SqlError> =>
    Effect.andThen(
      rows(sql`INSERT INTO troupe_signals (run_id, name, seq, taken, value, token)
        SELECT CAST(${id} AS TEXT), CAST(${name} AS TEXT), COALESCE(MAX(seq), -1) + 1, 0, ${str(JSON.stringify(value))},
          ${str(token)}
        FROM troupe_signals WHERE run_id = ${id} AND name = ${name} ON CONFLICT (run_id, token) DO NOTHING`),
      Effect.map(rows(sql`SELECT seq FROM troupe_signals WHERE run_id = ${id} AND token = ${token}`), ([row]) =>
        Number(row!["seq"])
      )
    ),

  /** What was sent to a run under a name and is not taken, the first first. */
  sent: (id: string, name: string) =>
    Effect.map(
      rows(sql`SELECT seq, value FROM troupe_signals WHERE run_id = ${id} AND name = ${name} AND taken = 0
        ORDER BY seq LIMIT 100`),
      (found) => found.map((row) => ({ seq: Number(row["seq"]), value: json(row["value"]) }))
    ),

  isTaken: (id: string, name: string, seq: number) =>
    Effect.map(
      rows(sql`SELECT taken FROM troupe_signals WHERE run_id = ${id} AND name = ${name} AND seq = ${seq}`),
      ([row]): boolean => Number(row?.["taken"]) === 1
    ),

  take: (id: string, name: string, seq: number) =>
    sql`UPDATE troupe_signals SET taken = 1 WHERE run_id = ${id} AND name = ${name} AND seq = ${seq}`
})

const fenced = { _tag: "Fenced" } as const

/** Takes what was sent as the outcome of a step. */
export const taking = ({ rows, sql }: Database, { insertStep }: Pick<ReturnType<typeof writing>, "insertStep">) => ({
  /** Takes the first that was sent under the step's name and that is in order, and keeps it as the step's outcome. */
  takeSignal: (
    claim: Claim,
    step: Step,
    problemWith: (payload: Schema.Json) => string | undefined,
    now: number
  ): Effect.Effect<Taken, SqlError> =>
    sql
      .withTransaction(
        Effect.gen(function* () {
          // Where it was not known whether it was taken it is asked for again, and must not take another one.
          const [before] = yield* rows(sql`SELECT value FROM troupe_steps WHERE run_id = ${claim.run.id}
          AND step_key = ${step.key} AND epoch = ${claim.epoch} AND state = 'done'`)
          if (before !== undefined) return { _tag: "Taken" as const, value: json(before["value"]), problems: [] }
          const sent = yield* rows(sql`SELECT seq, taken, value FROM troupe_signals WHERE run_id = ${claim.run.id}
          AND name = ${step.name} ORDER BY seq`)
          const problems: Array<string> = []
          for (const row of sent) {
            if (Number(row["taken"]) === 1) continue
            const value = json(row["value"])
            yield* sql`UPDATE troupe_signals SET taken = 1 WHERE run_id = ${claim.run.id} AND name = ${step.name}
            AND seq = ${Number(row["seq"])}`
            const problem = problemWith(value)
            if (problem !== undefined) {
              problems.push(problem)
              continue
            }
            const whole = { key: step.key, kind: step.kind, name: step.name, state: "done" as const }
            const written = yield* insertStep(claim, whole, JSON.stringify(value), now)
            // What was taken is given back.
            if (written !== "written") return yield* Effect.fail(fenced)
            return { _tag: "Taken" as const, value, problems }
          }
          return { _tag: "None" as const, next: sent.length }
        })
      )
      .pipe(Effect.catchTag("Fenced", () => Effect.succeed(fenced))),

  /** Takes the first that was sent under a name, each time again; `undefined` where there is none, or a later execution has begun. */
  takeFirst: (claim: Claim, name: string): Effect.Effect<Schema.Json | undefined, SqlError> =>
    Effect.map(
      rows(sql`UPDATE troupe_signals SET taken = 1 WHERE run_id = ${claim.run.id} AND name = ${name} AND seq = 0
        AND EXISTS (SELECT 1 FROM troupe_runs WHERE id = ${claim.run.id} AND epoch = ${claim.epoch}) RETURNING value`),
      ([row]) => (row === undefined ? undefined : json(row["value"]))
    )
})

const executionOf = (row: Row): string =>
  executionIdOf({ id: String(row["id"]), generation: Number(row["generation"]) })

/** Which runs that sleep are to be woken. */
export const waking = ({ rows, sql }: Database) => ({
  /** Has a run woken at a time. */
  wakeAt: ({ fingerprint, id }: Pick<RunRow, "id" | "fingerprint">, wake: string, at: number) =>
    sql`INSERT INTO troupe_wakes (run_id, wake, fingerprint, due_at) VALUES (${id}, ${wake}, ${fingerprint}, ${at})
      ON CONFLICT (run_id, wake) DO NOTHING`,

  /** Runs that sleep and whose time comes before `before`, and those that have ended without. */
  due: (fingerprint: string, before: number): Effect.Effect<ReadonlyArray<Due>, SqlError> =>
    Effect.map(
      rows(sql`SELECT r.id, r.generation, r.state, r.waits, w.wake, w.due_at FROM troupe_wakes w JOIN troupe_runs r ON r.id = w.run_id
        WHERE w.fingerprint = ${fingerprint} AND w.due_at <= ${before} AND r.state NOT IN ('queued', 'running')
        ORDER BY w.due_at LIMIT 500`),
      (found) =>
        found.map((row) => ({
          runId: String(row["id"]),
          executionId: executionOf(row),
          wake: String(row["wake"]),
          at: Number(row["due_at"]),
          isOver: row["state"] !== "suspended" || !String(row["waits"]).includes(JSON.stringify(row["wake"]))
        }))
    ),

  woken: (runId: string, wake: string) => sql`DELETE FROM troupe_wakes WHERE run_id = ${runId} AND wake = ${wake}`,

  /** What was sent to runs that sleep, and was not taken: the process that sent it may have ended before it woke them. */
  unheard: (fingerprint: string): Effect.Effect<ReadonlyArray<Wake>, SqlError> =>
    Effect.map(
      // CROSS JOIN has SQLite begin with the signals, which are few, and not with the runs that sleep.
      rows(sql`SELECT r.id, r.generation, s.name, s.seq FROM troupe_signals s CROSS JOIN troupe_runs r
        WHERE r.id = s.run_id AND s.taken = 0 AND r.state = 'suspended' AND r.fingerprint = ${fingerprint}
          AND r.waits LIKE '%"signal/' || s.name || '/' || s.seq || '"%' LIMIT 500`),
      (found) =>
        found.map((row) => ({
          executionId: executionOf(row),
          wake: signalWake(String(row["name"]), Number(row["seq"]))
        }))
    )
})
