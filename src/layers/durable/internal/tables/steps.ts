/** Steps: their intents, their outcomes, and questions about them. */
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type { SqlError } from "effect/sql/SqlError"
import type { Answer, KeptStep } from "../engine.ts"
import { type Claim, type Database, type RunRow, stepOf, type Written } from "./rows.ts"

/** The loop keeps the result of a tool alongside what the model is shown of it. */
const keptResult = (kind: string, result: Schema.Json): Schema.Json => (kind === "tool" ? { result } : result)

/** What an execution writes of its steps. */
export const writing = (
  { rows, share, sql, str }: Database,
  find: (id: string) => Effect.Effect<RunRow | undefined, SqlError>
) => {
  /** Tells a fence from a step of the same key. */
  const whyNot = (claim: Claim): Effect.Effect<Written, SqlError> =>
    Effect.map(find(claim.run.id), (run) =>
      run?.epoch === claim.epoch && run.state === "running" ? "taken" : "fenced"
    )
  /** Whether this execution has written just that, where it was not known whether it had. */
  const isOurs = (
    claim: Claim,
    { key, state }: Pick<KeptStep, "key" | "state">,
    value: string | null
  ): Effect.Effect<boolean, SqlError> =>
    Effect.map(
      rows(sql`SELECT value FROM troupe_steps WHERE run_id = ${claim.run.id} AND step_key = ${key}
        AND state = ${state} AND epoch = ${claim.epoch}`),
      ([row]): boolean => row !== undefined && row["value"] === value
    )
  return {
    insertStep: (
      claim: Claim,
      step: Pick<KeptStep, "key" | "kind" | "name" | "state">,
      value: string | null,
      now: number
    ): Effect.Effect<Written, SqlError> =>
      Effect.flatMap(
        rows(sql`INSERT INTO troupe_steps (run_id, step_key, kind, name, state, value, epoch, updated_at)
          SELECT id, ${str(step.key)}, ${str(step.kind)}, ${str(step.name)}, ${str(step.state)},
            ${value === null ? sql`NULL` : str(value)}, epoch, CAST(${now} AS BIGINT)
          FROM troupe_runs WHERE id = ${claim.run.id} AND epoch = ${claim.epoch} AND state = 'running'${share}
          ON CONFLICT (run_id, step_key) DO NOTHING RETURNING step_key`),
        (written) =>
          written.length === 1
            ? Effect.succeed("written" as const)
            : Effect.flatMap(isOurs(claim, step, value), (ours) =>
                ours ? Effect.succeed("written" as const) : whyNot(claim)
              )
      ),

    /** Writes the outcome of a step whose intent this execution has written. */
    finishStep: (claim: Claim, key: string, state: "done" | "failed", value: string, now: number) =>
      Effect.flatMap(
        rows(sql`UPDATE troupe_steps SET state = ${state}, value = ${value}, updated_at = ${now}
          WHERE run_id = ${claim.run.id} AND step_key = ${key} AND state = 'intent' AND epoch = ${claim.epoch}
            AND EXISTS (SELECT 1 FROM troupe_runs WHERE id = ${claim.run.id} AND epoch = ${claim.epoch}
              AND state = 'running') RETURNING step_key`),
        (written): Effect.Effect<Written, SqlError> =>
          written.length === 1 ? Effect.succeed("written") : whyNot(claim)
      )
  }
}

/** What is kept of steps, and what is asked about them. */
export const asking = ({ rows, sql }: Database) => ({
  stepsOf: (id: string): Effect.Effect<ReadonlyArray<KeptStep>, SqlError> =>
    Effect.map(rows(sql`SELECT * FROM troupe_steps WHERE run_id = ${id} ORDER BY updated_at, step_key`), (found) =>
      found.map(stepOf)
    ),

  /** Turns an intent that an earlier execution left into a question. Returns the step as it is then. */
  askStep: (claim: Claim, key: string, now: number): Effect.Effect<KeptStep | undefined, SqlError> =>
    Effect.andThen(
      rows(sql`UPDATE troupe_steps SET state = 'unknown', updated_at = ${now}
        WHERE run_id = ${claim.run.id} AND step_key = ${key} AND state = 'intent' AND epoch < ${claim.epoch}
        RETURNING step_key`),
      Effect.map(rows(sql`SELECT * FROM troupe_steps WHERE run_id = ${claim.run.id} AND step_key = ${key}`), ([row]) =>
        row === undefined ? undefined : stepOf(row)
      )
    ),

  /** Answers a question. False when the step does not wait for an answer. */
  answerStep: (id: string, { key, kind }: Pick<KeptStep, "key" | "kind">, answer: Answer, now: number) => {
    const value = answer._tag === "Happened" ? keptResult(kind, answer.result) : { givenUp: true }
    const statement =
      answer._tag === "DidNotHappen"
        ? sql`DELETE FROM troupe_steps WHERE run_id = ${id} AND step_key = ${key} AND state = 'unknown'
            RETURNING step_key`
        : sql`UPDATE troupe_steps SET state = ${answer._tag === "Happened" ? "done" : "failed"},
            value = ${JSON.stringify(value)}, updated_at = ${now}
            WHERE run_id = ${id} AND step_key = ${key} AND state = 'unknown' RETURNING step_key`
    return Effect.map(rows(statement), (written): boolean => written.length === 1)
  },

  /** Whether something of a run was undone, or may have been. */
  isUndone: (id: string) =>
    Effect.map(
      rows(sql`SELECT step_key FROM troupe_steps WHERE run_id = ${id} AND kind = 'compensation' LIMIT 1`),
      (found): boolean => found.length > 0
    )
})
