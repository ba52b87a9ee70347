/** How far schedules have come. */
import * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"
import type { Database } from "./rows.ts"

/** What is kept of schedules: the last planned time whose run was begun. */
export const scheduling = ({ rows, sql }: Database) => ({
  /** A schedule that is new begins now. */
  beginSchedule: (name: string, now: number) =>
    sql`INSERT INTO troupe_schedules (name, last) VALUES (${name}, ${now}) ON CONFLICT (name) DO NOTHING`,

  lastOfSchedule: (name: string): Effect.Effect<number, SqlError> =>
    Effect.map(rows(sql`SELECT last FROM troupe_schedules WHERE name = ${name}`), ([row]) =>
      Number(row?.["last"] ?? 0)
    ),

  keepSchedule: (name: string, at: number) =>
    sql`UPDATE troupe_schedules SET last = ${at} WHERE name = ${name} AND last < ${at}`
})
