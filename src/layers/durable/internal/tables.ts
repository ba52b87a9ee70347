/**
 * The tables of durable runs: what is written, and on which condition. Each write of an execution carries its epoch, and
 * changes nothing once a later execution has begun: that is the fence.
 */
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { Step } from "../../../services/Journal.ts"
import type { Answer, Ended, Kept, KeptStep, Query, State, Wait } from "./engine.ts"

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

/** What the engine calls a run; a run that is tried again is another one to it. */
export const executionIdOf = ({ generation, id }: { readonly id: string; readonly generation: number }): string =>
  `${id}.${generation}`

/** The loop keeps the result of a tool beside what the model is shown of it. */
const keptResult = (kind: string, result: Schema.Json): Schema.Json => (kind === "tool" ? { result } : result)

/** What became of taking a signal. */
export type Taken =
  | { readonly _tag: "Taken"; readonly value: Schema.Json; readonly problems: ReadonlyArray<string> }
  | { readonly _tag: "None"; readonly next: number }
  | { readonly _tag: "Fenced" }

type Row = Readonly<Record<string, unknown>>

const text = (value: unknown): string => String(value)
const json = (value: unknown): Schema.Json => JSON.parse(text(value)) as Schema.Json

const runOf = (row: Row): RunRow => ({
  id: text(row["id"]),
  name: text(row["name"]),
  key: text(row["run_key"]),
  fingerprint: text(row["fingerprint"]),
  inputHash: text(row["input_hash"]),
  input: json(row["input"]),
  state: text(row["state"]) as State,
  waits: row["waits"] === null ? [] : (json(row["waits"]) as unknown as ReadonlyArray<Wait>),
  ended: row["ended"] === null ? undefined : (json(row["ended"]) as unknown as Ended),
  worker: row["worker"] === null ? undefined : text(row["worker"]),
  epoch: Number(row["epoch"]),
  generation: Number(row["generation"]),
  createdAt: Number(row["created_at"]),
  updatedAt: Number(row["updated_at"])
})

const stepOf = (row: Row): KeptStep => ({
  key: text(row["step_key"]),
  kind: text(row["kind"]),
  name: text(row["name"]),
  state: text(row["state"]) as KeptStep["state"],
  value: row["value"] === null ? null : json(row["value"]),
  epoch: Number(row["epoch"]),
  updatedAt: Number(row["updated_at"])
})

/** The tables behind one SQL client. */
export type Tables = ReturnType<typeof make>

/** Creates the tables where they are missing. */
export const migrate = (sql: SqlClient.SqlClient): Effect.Effect<void, SqlError> =>
  Effect.forEach(
    [
      sql`CREATE TABLE IF NOT EXISTS troupe_runs (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, run_key TEXT NOT NULL, fingerprint TEXT NOT NULL,
        input_hash TEXT NOT NULL, input TEXT NOT NULL, state TEXT NOT NULL, waits TEXT, ended TEXT, worker TEXT,
        epoch INTEGER NOT NULL, generation INTEGER NOT NULL, created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL)`,
      sql`CREATE INDEX IF NOT EXISTS troupe_runs_state ON troupe_runs (state, updated_at)`,
      sql`CREATE TABLE IF NOT EXISTS troupe_steps (
        run_id TEXT NOT NULL, step_key TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, state TEXT NOT NULL,
        value TEXT, epoch INTEGER NOT NULL, updated_at BIGINT NOT NULL, PRIMARY KEY (run_id, step_key))`,
      sql`CREATE TABLE IF NOT EXISTS troupe_signals (
        run_id TEXT NOT NULL, name TEXT NOT NULL, seq INTEGER NOT NULL, taken INTEGER NOT NULL, value TEXT NOT NULL,
        PRIMARY KEY (run_id, name, seq))`,
      // Those that are not taken are few, and looked for every second.
      sql`CREATE INDEX IF NOT EXISTS troupe_signals_open ON troupe_signals (run_id) WHERE taken = 0`,
      sql`CREATE TABLE IF NOT EXISTS troupe_events (
        run_id TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, events TEXT NOT NULL,
        PRIMARY KEY (run_id, first))`
    ],
    // Two processes that create a table at once can meet in the catalogue of PostgreSQL.
    (statement) => Effect.retry(statement, { times: 5 }),
    { discard: true }
  )

/** The statements. */
export const make = (sql: SqlClient.SqlClient) => {
  // A row lock: an execution that begins meanwhile waits for this write, so that it reads all that was written before it.
  const share = sql.onDialectOrElse({ pg: () => sql` FOR SHARE`, orElse: () => sql`` })
  const big = (n: number) => sql`CAST(${n} AS BIGINT)`
  const str = (value: string) => sql`CAST(${value} AS TEXT)`
  const rows = (statement: Effect.Effect<ReadonlyArray<unknown>, SqlError>) =>
    statement as Effect.Effect<ReadonlyArray<Row>, SqlError>

  const find = (id: string): Effect.Effect<RunRow | undefined, SqlError> =>
    Effect.map(rows(sql`SELECT * FROM troupe_runs WHERE id = ${id}`), ([row]) =>
      row === undefined ? undefined : runOf(row)
    )

  const stepsOf = (id: string): Effect.Effect<ReadonlyArray<KeptStep>, SqlError> =>
    Effect.map(rows(sql`SELECT * FROM troupe_steps WHERE run_id = ${id} ORDER BY updated_at, step_key`), (found) =>
      found.map(stepOf)
    )

  const lastSeqOf = (id: string): Effect.Effect<number, SqlError> =>
    Effect.map(rows(sql`SELECT COALESCE(MAX(last), -1) AS last FROM troupe_events WHERE run_id = ${id}`), ([row]) =>
      Number(row!["last"])
    )

  /** Tells a fence from a step of the same key. */
  const whyNot = (claim: Claim): Effect.Effect<Written, SqlError> =>
    Effect.map(find(claim.run.id), (run) =>
      run?.epoch === claim.epoch && run.state === "running" ? "taken" : "fenced"
    )

  const insertStep = (
    claim: Claim,
    step: Pick<KeptStep, "key" | "kind" | "name" | "state">,
    value: string | null,
    now: number
  ): Effect.Effect<Written, SqlError> =>
    Effect.flatMap(
      rows(sql`INSERT INTO troupe_steps (run_id, step_key, kind, name, state, value, epoch, updated_at)
        SELECT id, ${str(step.key)}, ${str(step.kind)}, ${str(step.name)}, ${str(step.state)},
          ${value === null ? sql`NULL` : str(value)}, epoch, ${big(now)}
        FROM troupe_runs WHERE id = ${claim.run.id} AND epoch = ${claim.epoch} AND state = 'running'${share}
        ON CONFLICT (run_id, step_key) DO NOTHING RETURNING step_key`),
      (written) => (written.length === 1 ? Effect.succeed("written" as const) : whyNot(claim))
    )

  /** Writes what the execution of `claim` may write of a run, and nothing once another has begun. */
  const setRun = (claim: Claim, fields: { state: State; waits?: string; ended?: string }, now: number) =>
    Effect.map(
      rows(sql`UPDATE troupe_runs SET state = ${fields.state}, waits = ${fields.waits ?? null},
        ended = ${fields.ended ?? null}, updated_at = ${now}
        WHERE id = ${claim.run.id} AND epoch = ${claim.epoch} AND state = 'running' RETURNING id`),
      (written): boolean => written.length === 1
    )

  return {
    find,
    stepsOf,
    insertStep,
    setRun,

    /** Keeps a new run; false when there is one of this id. */
    create: (run: Omit<RunRow, "state" | "waits" | "ended" | "worker" | "epoch" | "generation">) =>
      Effect.map(
        rows(sql`INSERT INTO troupe_runs (id, name, run_key, fingerprint, input_hash, input, state, waits, ended, worker,
            epoch, generation, created_at, updated_at)
          VALUES (${run.id}, ${run.name}, ${run.key}, ${run.fingerprint}, ${run.inputHash}, ${JSON.stringify(run.input)},
            'queued', NULL, NULL, NULL, 0, 0, ${run.createdAt}, ${run.updatedAt})
          ON CONFLICT (id) DO NOTHING RETURNING id`),
        (written): boolean => written.length === 1
      ),

    /** Begins an execution: every earlier one can write nothing more. `undefined` for a run that has ended. */
    claim: (id: string, worker: string, now: number): Effect.Effect<Claim | undefined, SqlError> =>
      Effect.flatMap(
        rows(sql`UPDATE troupe_runs SET epoch = epoch + 1, state = 'running', waits = NULL, worker = ${worker},
            updated_at = ${now}
          WHERE id = ${id} AND state IN ('queued', 'running', 'suspended') RETURNING *`),
        ([row]) =>
          row === undefined
            ? Effect.succeed(undefined)
            : Effect.map(Effect.all([stepsOf(id), lastSeqOf(id)]), ([steps, lastSeq]) => {
                const run = runOf(row)
                return { run, epoch: run.epoch, steps, lastSeq }
              })
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
      ),

    /** Turns an intent that an earlier execution left into a question. Returns the step as it is then. */
    askStep: (claim: Claim, key: string, now: number): Effect.Effect<KeptStep | undefined, SqlError> =>
      Effect.andThen(
        rows(sql`UPDATE troupe_steps SET state = 'unknown', updated_at = ${now}
          WHERE run_id = ${claim.run.id} AND step_key = ${key} AND state = 'intent' AND epoch < ${claim.epoch}
          RETURNING step_key`),
        Effect.map(
          rows(sql`SELECT * FROM troupe_steps WHERE run_id = ${claim.run.id} AND step_key = ${key}`),
          ([row]) => (row === undefined ? undefined : stepOf(row))
        )
      ),

    /** Answers a question. False when the step does not wait for an answer. */
    answerStep: (id: string, { key, kind }: Pick<KeptStep, "key" | "kind">, answer: Answer, now: number) =>
      Effect.map(
        rows(
          answer._tag === "DidNotHappen"
            ? sql`DELETE FROM troupe_steps WHERE run_id = ${id} AND step_key = ${key} AND state = 'unknown'
                RETURNING step_key`
            : sql`UPDATE troupe_steps SET state = ${answer._tag === "Happened" ? "done" : "failed"},
                value = ${answer._tag === "Happened" ? JSON.stringify(keptResult(kind, answer.result)) : JSON.stringify({ givenUp: true })},
                updated_at = ${now}
                WHERE run_id = ${id} AND step_key = ${key} AND state = 'unknown' RETURNING step_key`
        ),
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

    /** Whether something of a run was undone, or may have been. */
    isUndone: (id: string) =>
      Effect.map(
        rows(sql`SELECT step_key FROM troupe_steps WHERE run_id = ${id} AND kind = 'compensation' LIMIT 1`),
        (found): boolean => found.length > 0
      ),

    /** Makes a run that failed or was interrupted one that waits for its execution; what failed of it is forgotten. */
    requeue: (id: string, now: number) =>
      Effect.flatMap(
        rows(sql`UPDATE troupe_runs SET state = 'queued', epoch = epoch + 1, generation = generation + 1, ended = NULL,
            updated_at = ${now} WHERE id = ${id} AND state IN ('failed', 'interrupted') RETURNING id`),
        (written) =>
          written.length === 0
            ? Effect.succeed(false)
            : Effect.as(sql`DELETE FROM troupe_steps WHERE run_id = ${id} AND state = 'failed'`, true)
      ),

    /** Adds events; a batch is one row. False when a later execution has begun. */
    addEvents: (claim: Claim, first: number, events: ReadonlyArray<Schema.Json>) =>
      Effect.map(
        rows(sql`INSERT INTO troupe_events (run_id, first, last, events)
          SELECT id, CAST(${first} AS INTEGER), CAST(${first + events.length - 1} AS INTEGER),
            ${str(JSON.stringify(events))}
          FROM troupe_runs WHERE id = ${claim.run.id}
            AND (epoch = ${claim.epoch} OR (state = 'interrupted' AND epoch = ${claim.epoch + 1}))${share}
          ON CONFLICT (run_id, first) DO NOTHING RETURNING run_id`),
        (written): boolean => written.length === 1
      ),

    /** Adds the last events of a run that no process ends; nothing where others were written meanwhile. */
    closeEvents: (id: string, first: number, events: ReadonlyArray<Schema.Json>) =>
      sql`INSERT INTO troupe_events (run_id, first, last, events)
        VALUES (${id}, ${first}, ${first + events.length - 1}, ${JSON.stringify(events)})
        ON CONFLICT (run_id, first) DO NOTHING`,

    /** Events from number `from` on. */
    events: (id: string, from: number): Effect.Effect<ReadonlyArray<Schema.Json>, SqlError> =>
      Effect.map(
        rows(sql`SELECT first, events FROM troupe_events WHERE run_id = ${id} AND last >= ${from}
          ORDER BY first LIMIT 200`),
        (found) =>
          found.flatMap((row) =>
            (json(row["events"]) as ReadonlyArray<Schema.Json>).slice(Math.max(0, from - Number(row["first"])))
          )
      ),

    lastSeqOf,

    /** Adds what was sent to a run under a name; returns its number. Fails where two are sent at once: send it again. */
    sendSignal: (id: string, name: string, value: Schema.Json): Effect.Effect<number, SqlError> =>
      Effect.map(
        rows(sql`INSERT INTO troupe_signals (run_id, name, seq, taken, value)
          SELECT CAST(${id} AS TEXT), CAST(${name} AS TEXT), COALESCE(MAX(seq), -1) + 1, 0, ${str(JSON.stringify(value))}
          FROM troupe_signals WHERE run_id = ${id} AND name = ${name} RETURNING seq`),
        ([row]) => Number(row!["seq"])
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
      sql`UPDATE troupe_signals SET taken = 1 WHERE run_id = ${id} AND name = ${name} AND seq = ${seq}`,

    /** Takes the first that was sent under the step's name and that is in order, and keeps it as the step's outcome. */
    takeSignal: (
      claim: Claim,
      step: Step,
      problemWith: (payload: Schema.Json) => string | undefined,
      now: number
    ): Effect.Effect<Taken, SqlError> =>
      sql.withTransaction(
        Effect.gen(function* () {
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
            if (written !== "written") return { _tag: "Fenced" as const }
            return { _tag: "Taken" as const, value, problems }
          }
          return { _tag: "None" as const, next: sent.length }
        })
      ),

    /** What was sent to runs that sleep, and was not taken: the process that sent it may have ended before it woke them. */
    unheard: (fingerprint: string) =>
      Effect.map(
        // CROSS JOIN has SQLite begin with the signals, which are few, and not with the runs that sleep.
        rows(sql`SELECT r.id, r.generation, s.name, s.seq FROM troupe_signals s CROSS JOIN troupe_runs r
          WHERE r.id = s.run_id AND s.taken = 0 AND r.state = 'suspended' AND r.fingerprint = ${fingerprint}
            AND r.waits LIKE '%"signal/' || s.name || '/' || s.seq || '"%' LIMIT 500`),
        (found) =>
          found.map((row) => ({
            id: text(row["id"]),
            generation: Number(row["generation"]),
            wake: `signal/${text(row["name"])}/${Number(row["seq"])}`
          }))
      ),

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
          AND updated_at < ${before} ORDER BY updated_at LIMIT ${limit}`),
        (found) => found.map(runOf)
      ),

    remove: (id: string) =>
      sql.withTransaction(
        Effect.all(
          [
            sql`DELETE FROM troupe_steps WHERE run_id = ${id}`,
            sql`DELETE FROM troupe_events WHERE run_id = ${id}`,
            sql`DELETE FROM troupe_signals WHERE run_id = ${id}`,
            sql`DELETE FROM troupe_runs WHERE id = ${id}`
          ],
          { discard: true }
        )
      )
  }
}
