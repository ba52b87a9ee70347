/** Events of runs: a row for each batch. */
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type { SqlError } from "effect/sql/SqlError"
import { type Claim, type Database, json } from "./rows.ts"

/** What is kept of events. */
export const make = ({ rows, share, sql, str }: Database) => {
  /** Events from number `from` on. */
  const events = (id: string, from: number): Effect.Effect<ReadonlyArray<Schema.Json>, SqlError> =>
    Effect.map(
      rows(sql`SELECT first, events FROM troupe_events WHERE run_id = ${id} AND last >= ${from}
        ORDER BY first LIMIT 200`),
      (found) =>
        found.flatMap((row) =>
          (json(row["events"]) as ReadonlyArray<Schema.Json>).slice(Math.max(0, from - Number(row["first"])))
        )
    )
  return {
    events,

    /** All events, or those up to number `last`. */
    allEvents: Effect.fnUntraced(function* (id: string, last = Infinity) {
      const all: Array<Schema.Json> = []
      while (all.length <= last) {
        const more = yield* events(id, all.length)
        if (more.length === 0) break
        all.push(...more)
      }
      return all
    }),

    /** Adds events, and what the run has used by then; a batch is one row. False when a later execution has begun. */
    addEvents: (claim: Claim, first: number, events: ReadonlyArray<Schema.Json>, used?: Schema.Json) =>
      Effect.map(
        rows(sql`INSERT INTO troupe_events (run_id, first, last, events, used)
        SELECT id, CAST(${first} AS INTEGER), CAST(${first + events.length - 1} AS INTEGER),
          ${str(JSON.stringify(events))}, ${used === undefined ? sql`NULL` : str(JSON.stringify(used))}
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

    /** What a run has used so far; `undefined` for one that has used nothing. */
    used: (id: string): Effect.Effect<Schema.Json | undefined, SqlError> =>
      Effect.map(
        rows(sql`SELECT used FROM troupe_events WHERE run_id = ${id} AND used IS NOT NULL ORDER BY first DESC LIMIT 1`),
        ([row]) => (row === undefined ? undefined : json(row["used"]))
      ),

    lastSeqOf: (id: string): Effect.Effect<number, SqlError> =>
      Effect.map(rows(sql`SELECT COALESCE(MAX(last), -1) AS last FROM troupe_events WHERE run_id = ${id}`), ([row]) =>
        Number(row!["last"])
      )
  }
}
