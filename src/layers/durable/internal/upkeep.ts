/** What a node does once a second for the runs of its definition that no process executes. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as SqlClient from "effect/sql/SqlClient"
import * as Cluster from "./cluster.ts"
import { removeGone } from "./processes.ts"
import * as Tables from "./tables.ts"

/** What is looked after. */
export interface Charge {
  readonly sql: SqlClient.SqlClient
  readonly tables: Tables.Tables
  readonly node: Cluster.Node
  readonly fingerprint: string
  /** How long runs that have ended are kept, in milliseconds; `undefined` keeps them. */
  readonly keep: number | undefined
}

const everyMillis = 1000

/** Whether something was found in the round before as well: what was to set it going is lost. */
type IsLate = (id: string) => boolean

const lateness = (): { readonly isLate: IsLate; readonly turn: () => void } => {
  let [before, now] = [new Set<string>(), new Set<string>()]
  return {
    isLate: (id) => {
      now.add(id)
      return before.has(id)
    },
    turn: () => {
      before = now
      now = new Set()
    }
  }
}

/**
 * Takes over from processes of this machine that are gone, starts what was kept and never started, wakes what has slept
 * enough or was sent something, and removes what is old. Never ends.
 */
export const upkeep = (charge: Charge): Effect.Effect<never> => {
  const { keep, node, sql, tables } = charge
  const underWay = new Set<string>()
  const { isLate, turn } = lateness()
  const removal = (now: number) => (keep === undefined ? Effect.void : prune(tables, node, now - keep))
  return Effect.gen(function* () {
    const now = yield* Clock.currentTimeMillis
    const parts = [
      removeGone(sql, Cluster.prefix),
      starting(charge, now - 2000, isLate),
      waking(charge, underWay, now, isLate),
      hearing(charge, isLate),
      removal(now)
    ]
    // One that fails is tried again with the next round, and keeps none of the others from their work.
    for (const part of parts) yield* Effect.ignoreCause(part)
    turn()
  }).pipe(Effect.andThen(Effect.sleep(everyMillis)), Effect.forever)
}

const starting = ({ fingerprint, node, tables }: Charge, before: number, isLate: IsLate) =>
  Effect.flatMap(tables.queued(fingerprint, before), (queued) =>
    Effect.forEach(
      queued,
      (run) => {
        const executionId = Tables.executionIdOf(run)
        const late = isLate(executionId) ? Cluster.rouse(node, fingerprint, executionId) : Effect.void
        return Effect.andThen(Cluster.start(node, fingerprint, executionId), late)
      },
      { discard: true }
    )
  )

/** Wakes, each at its time, the runs of this node's leases that have slept enough within the next round. */
const waking = ({ fingerprint, node, tables }: Charge, underWay: Set<string>, now: number, isLate: IsLate) =>
  Effect.flatMap(tables.due(fingerprint, now + everyMillis), (due) =>
    Effect.forEach(
      due.filter(({ executionId }) => Cluster.isHeld(node, fingerprint, executionId)),
      ({ at, executionId, isOver, runId, wake }) => {
        const id = `${runId} ${wake}`
        if (underWay.has(id)) return Effect.void
        underWay.add(id)
        const late = at <= now && isLate(id) ? Cluster.rouse(node, fingerprint, executionId) : Effect.void
        const give = isOver
          ? tables.woken(runId, wake)
          : Effect.andThen(Cluster.give(node, fingerprint, executionId, wake, null), late)
        return Effect.sleep(Math.max(0, at - now)).pipe(
          Effect.andThen(give),
          Effect.ignoreCause,
          Effect.ensuring(Effect.sync(() => underWay.delete(id))),
          Effect.forkChild
        )
      },
      { discard: true }
    )
  )

/** A process that sent a signal may have ended before it woke the run, and the run may have been about to sleep. */
const hearing = ({ fingerprint, node, tables }: Charge, isLate: IsLate) =>
  Effect.flatMap(tables.unheard(fingerprint), (sent) =>
    Effect.forEach(
      sent,
      ({ executionId, wake }) => {
        const late = isLate(`${executionId} ${wake}`) ? Cluster.rouse(node, fingerprint, executionId) : Effect.void
        return Effect.andThen(Cluster.give(node, fingerprint, executionId, wake, null), late)
      },
      { discard: true }
    )
  )

/** Removes a part of the runs that ended before `before`; returns how many. */
export const prune = (tables: Tables.Tables, node: Cluster.Node, before: number): Effect.Effect<number, unknown> =>
  Effect.gen(function* () {
    const old = yield* tables.old(before, 500)
    for (const run of old) {
      for (let generation = 0; generation <= run.generation; generation++) {
        yield* Cluster.forget(node, run.fingerprint, Tables.executionIdOf({ id: run.id, generation }))
      }
      yield* tables.remove(run.id)
    }
    return old.length
  })
