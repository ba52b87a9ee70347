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

/** Sets runs going. One that was to be set going in the round before too is roused: what was to do it is lost. */
class Rounds {
  readonly #charge: Charge
  #before = new Set<string>()
  #now = new Set<string>()

  constructor(charge: Charge) {
    this.#charge = charge
  }

  begin(): void {
    this.#before = this.#now
    this.#now = new Set()
  }

  set(executionId: string, going: Cluster.Going, name = ""): Effect.Effect<void, unknown> {
    const { fingerprint, node } = this.#charge
    const id = `${executionId} ${name}`
    this.#now.add(id)
    const set = going(node, fingerprint, executionId)
    return this.#before.has(id) ? Effect.andThen(set, Cluster.rouse(node, fingerprint, executionId)) : set
  }
}

/**
 * Takes over from processes of this machine that are gone, starts what was kept and never started, wakes what has slept
 * enough or was sent something, and removes what is old. Never ends.
 */
export const upkeep = (charge: Charge): Effect.Effect<never> => {
  const { fingerprint, keep, node, sql, tables } = charge
  const rounds = new Rounds(charge)
  const underWay = new Set<string>()
  return Effect.gen(function* () {
    const now = yield* Clock.currentTimeMillis
    rounds.begin()
    const parts = [
      removeGone(sql, Cluster.prefix),
      each(tables.queued(fingerprint, now - 2000), (run) => rounds.set(Tables.executionIdOf(run), Cluster.start)),
      each(tables.due(fingerprint, now + everyMillis), (due) => waking(charge, due, { underWay, now, rounds })),
      // A process that sent something may have ended before it woke the run, and the run may have been about to sleep.
      each(tables.unheard(fingerprint), ({ executionId, wake }) => rounds.set(executionId, Cluster.waking(wake), wake)),
      keep === undefined ? Effect.void : prune(tables, node, now - keep)
    ]
    // One that fails is tried again with the next round, and keeps none of the others from their work.
    for (const part of parts) yield* Effect.ignoreCause(part)
  }).pipe(Effect.andThen(Effect.sleep(everyMillis)), Effect.forever)
}

const each = <A>(found: Effect.Effect<ReadonlyArray<A>, unknown>, f: (one: A) => Effect.Effect<unknown, unknown>) =>
  Effect.flatMap(
    found,
    Effect.forEach((one) => f(one), { discard: true })
  )

/** Wakes, at its time, a run of this node's leases that has slept enough within the next round. */
const waking = (
  { fingerprint, node, tables }: Charge,
  { at, executionId, isOver, runId, wake }: Tables.Due,
  round: { readonly underWay: Set<string>; readonly now: number; readonly rounds: Rounds }
): Effect.Effect<unknown> => {
  const { now, rounds, underWay } = round
  const id = `${runId} ${wake}`
  if (underWay.has(id) || !Cluster.isHeld(node, fingerprint, executionId)) return Effect.void
  underWay.add(id)
  const wakes =
    at <= now
      ? rounds.set(executionId, Cluster.waking(wake), wake)
      : Effect.delay(Cluster.waking(wake)(node, fingerprint, executionId), at - now)
  return (isOver ? tables.woken(runId, wake) : wakes).pipe(
    Effect.ignoreCause,
    Effect.ensuring(Effect.sync(() => underWay.delete(id))),
    Effect.forkChild
  )
}

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
