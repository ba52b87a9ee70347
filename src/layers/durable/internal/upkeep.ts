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

/**
 * Takes over from processes of this machine that are gone, starts what was kept and never started, wakes what has slept
 * enough or was sent something, and removes what is old. Never ends.
 */
export const upkeep = (charge: Charge): Effect.Effect<never> => {
  const { keep, node, sql, tables } = charge
  const underWay = new Set<string>()
  const removal = (now: number) => (keep === undefined ? Effect.void : prune(tables, node, now - keep))
  return Effect.gen(function* () {
    const now = yield* Clock.currentTimeMillis
    const parts = [
      removeGone(sql, Cluster.prefix),
      starting(charge, now - 2000),
      waking(charge, underWay, now),
      hearing(charge),
      removal(now)
    ]
    // One that fails is tried again with the next round, and keeps none of the others from their work.
    for (const part of parts) yield* Effect.ignoreCause(part)
  }).pipe(Effect.andThen(Effect.sleep(everyMillis)), Effect.forever)
}

const starting = ({ fingerprint, node, tables }: Charge, before: number) =>
  Effect.flatMap(tables.queued(fingerprint, before), (queued) =>
    Effect.forEach(queued, (run) => Cluster.start(node, fingerprint, Tables.executionIdOf(run)), { discard: true })
  )

/** Wakes, each at its time, the runs of this node's leases that have slept enough within the next round. */
const waking = ({ fingerprint, node, tables }: Charge, underWay: Set<string>, now: number) =>
  Effect.flatMap(tables.due(fingerprint, now + everyMillis), (due) =>
    Effect.forEach(
      due.filter(({ executionId }) => Cluster.isHeld(node, fingerprint, executionId)),
      ({ at, executionId, isOver, runId, wake }) => {
        const id = `${runId} ${wake}`
        if (underWay.has(id)) return Effect.void
        underWay.add(id)
        const give = isOver ? Effect.void : Cluster.give(node, fingerprint, executionId, wake, null)
        return Effect.sleep(Math.max(0, at - now)).pipe(
          Effect.andThen(give),
          Effect.andThen(tables.woken(runId, wake)),
          Effect.ignoreCause,
          Effect.ensuring(Effect.sync(() => underWay.delete(id))),
          Effect.forkChild
        )
      },
      { discard: true }
    )
  )

/** A process that sent a signal may have ended before it woke the run. */
const hearing = ({ fingerprint, node, tables }: Charge) =>
  Effect.flatMap(tables.unheard(fingerprint), (sent) =>
    Effect.forEach(sent, ({ executionId, wake }) => Cluster.give(node, fingerprint, executionId, wake, null), {
      discard: true
    })
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
