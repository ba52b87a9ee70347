/**
 * The tables of durable runs: what is written, and on which condition. Each write of an execution carries its epoch, and
 * changes nothing once a later execution has begun: that is the fence.
 */
import * as Effect from "effect/Effect"
import type * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import * as Events from "./tables/events.ts"
import type { Answer, KeptStep } from "./engine.ts"
import { type Claim, databaseOf, runOf, type RunRow } from "./tables/rows.ts"
import * as Runs from "./tables/runs.ts"
import { scheduling } from "./tables/schedules.ts"
import * as Signals from "./tables/signals.ts"
import * as Steps from "./tables/steps.ts"

export { migrate } from "./tables/migrate.ts"
export { type Claim, executionIdOf, keyText, type RunRow, signalText, signalWake, type Written } from "./tables/rows.ts"
export type { Due, Taken } from "./tables/signals.ts"

/** The tables behind one SQL client. */
export type Tables = ReturnType<typeof make>

/** The statements. */
export const make = (sql: SqlClient.SqlClient) => {
  const database = databaseOf(sql)
  const runs = Runs.reading(database)
  const steps = { ...Steps.asking(database), ...Steps.writing(database, runs.find) }
  const events = Events.make(database)
  const waking = Signals.waking(database)
  return {
    ...runs,
    ...Runs.writing(database),
    ...steps,
    ...events,
    ...Signals.sending(database),
    ...Signals.taking(database, steps),
    ...waking,
    ...scheduling(database),

    /** Answers a question, and has the run woken, also where the process that answered ends before it could wake it. */
    answerAndWake: (
      run: RunRow,
      step: Pick<KeptStep, "key" | "kind">,
      answer: Answer,
      { at, wake }: { readonly wake: string; readonly at: number }
    ): Effect.Effect<boolean, SqlError> =>
      sql.withTransaction(
        Effect.flatMap(steps.answerStep(run.id, step, answer, at), (isAnswered) =>
          isAnswered ? Effect.as(waking.wakeAt(run, wake, at), true) : Effect.succeed(false)
        )
      ),

    /** Begins an execution: every earlier one can write nothing more. `undefined` for a run that has ended. */
    claim: (id: string, worker: string, now: number): Effect.Effect<Claim | undefined, SqlError> =>
      Effect.flatMap(
        database.rows(sql`UPDATE troupe_runs SET epoch = epoch + 1, state = 'running', waits = NULL, worker = ${worker},
            updated_at = ${now}
          WHERE id = ${id} AND state IN ('queued', 'running', 'suspended') RETURNING *`),
        ([row]) =>
          row === undefined
            ? Effect.succeed(undefined)
            : Effect.map(Effect.all([steps.stepsOf(id), events.lastSeqOf(id)]), ([kept, lastSeq]) => {
                const run = runOf(row)
                return { run, epoch: run.epoch, steps: kept, lastSeq }
              })
      )
  }
}
