/**
 * Runs that begin at the times of a cron expression. One node serves a schedule: the one that holds the lease of its name. How far it has
 * come is kept, so that the next node goes on from there; as a run has its planned time in its key, a time that two nodes begin is one run.
 */
import * as Clock from "effect/Clock"
import * as Cron from "effect/Cron"
import * as Effect from "effect/Effect"
import type { Planned } from "./engine.ts"
import type { Persist } from "./persist.ts"
import type { Tables } from "./tables.ts"

/** What serving a schedule needs. */
export interface Serving extends Planned {
  readonly tables: Tables
  readonly persist: Persist
  /** Whether this node is the one that serves it. */
  readonly isHeld: Effect.Effect<boolean>
}

/** However little is made up for, a node that serves a schedule may be that late, in milliseconds. */
const maxLate = 60_000

/** How often a node looks at its lease and at its clock, which may jump. */
const lookMillis = 500

/** Serves a schedule whenever this node holds its lease. Never ends. */
export const serve = (schedule: Serving): Effect.Effect<never> => {
  const { isHeld, name, persist, tables } = schedule
  // Written before anything else, so that a process which comes and goes leaves where to go on from.
  const begun = Effect.flatMap(Clock.currentTimeMillis, (now) => persist(tables.beginSchedule(name, now)))
  const turn = Effect.flatMap(isHeld, (held) => (held ? whileHeld(schedule) : Effect.sleep(lookMillis)))
  return Effect.andThen(begun, Effect.forever(turn))
}

/** Begins what is due, from the time that was kept on, until the lease is another node's. */
const whileHeld = ({ catchUp, cron, isHeld, name, persist, run, tables }: Serving): Effect.Effect<void> =>
  Effect.gen(function* () {
    const since = yield* Clock.currentTimeMillis
    // Times that passed before there was a node to serve them are made up for, if they are not too old.
    let last = Math.max(yield* persist(tables.lastOfSchedule(name)), since - catchUp)
    while (yield* isHeld) {
      const now = yield* Clock.currentTimeMillis
      // A clock that jumps by years must not begin all that lies between.
      last = Math.max(last, now - Math.max(catchUp, maxLate))
      const next = Cron.next(cron, last).getTime()
      if (next > now) {
        yield* Effect.sleep(Math.min(next - now, lookMillis))
        continue
      }
      yield* run(next)
      yield* persist(tables.keepSchedule(name, next))
      last = next
    }
  })
