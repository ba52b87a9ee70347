/**
 * Commits the writes that come at once together. SQLite has one writer at a time, and a commit that waits for the disk costs a
 * hundred times what it commits, so that many small transactions one after the other are what limits a store. PostgreSQL
 * joins commits by itself.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Predicate from "effect/Predicate"
import type { SqlError } from "effect/sql/SqlError"
import { isSyncFiber } from "../../../services/SyncBridge.ts"
import type { Database } from "./database.ts"

/**
 * Makes a write, together with those of other fibers where it can; `alone` is how it is made where it cannot. A write that fails
 * with an error of its own must have changed nothing by then, because the others are committed all the same.
 */
export type Together = <A, E>(
  write: Effect.Effect<A, E | SqlError>,
  alone: Effect.Effect<A, E | SqlError>
) => Effect.Effect<A, E | SqlError>

/** Writes of one transaction at most: a long one keeps other processes waiting. */
const maxGroup = 64

interface Waiting {
  /** Makes the write in the transaction of its group; false when that has to be rolled back. */
  readonly inGroup: Effect.Effect<boolean>
  readonly alone: Effect.Effect<void>
  readonly fail: (cause: Cause.Cause<SqlError>) => void
  /** Done when the write has its outcome, or when its fiber has to lead the next group. */
  readonly woken: Deferred.Deferred<void>
}

/** Groups the writes to `database`. Of those that wait, the first one makes them all. */
export const groupCommit = ({ dialect, sql }: Pick<Database, "dialect" | "sql">): Together => {
  if (dialect === "pg") return (_write, alone) => alone
  const queue: Array<Waiting> = []
  const lead = Effect.suspend(() => {
    const group = queue.slice(0, maxGroup)
    return Effect.ensuring(
      commit(sql, group),
      Effect.sync(() => {
        queue.splice(0, group.length)
        for (const { woken } of group) Deferred.doneUnsafe(woken, Effect.void)
        const next = queue[0]
        if (next !== undefined) Deferred.doneUnsafe(next.woken, Effect.void)
      })
    )
  })
  return <A, E>(write: Effect.Effect<A, E | SqlError>, alone: Effect.Effect<A, E | SqlError>) =>
    Effect.withFiber((fiber): Effect.Effect<A, E | SqlError> => {
      const { context } = fiber
      // Within a transaction of the caller it is a part of that one; under `Effect.runSync` no other fiber writes meanwhile.
      const isWithin = Context.getOption(context, sql.transactionService)._tag === "Some"
      if (isWithin || isSyncFiber(fiber)) return alone
      let outcome: Exit.Exit<A, E | SqlError> | undefined
      const keep = (exit: Exit.Exit<A, E | SqlError>) => {
        outcome = exit
        return Exit.isSuccess(exit) || !isOfDatabase(exit.cause)
      }
      const kept = (effect: Effect.Effect<A, E | SqlError>) =>
        Effect.provideContext(Effect.map(Effect.exit(effect), keep), context)
      const waiting: Waiting = {
        inGroup: kept(write),
        alone: Effect.asVoid(kept(alone)),
        fail: (cause) => keep(Exit.failCause(cause)),
        woken: Deferred.makeUnsafe()
      }
      const isFirst = queue.push(waiting) === 1
      const led: Effect.Effect<A, E | SqlError> = Effect.andThen(
        lead,
        Effect.suspend(() => outcome!)
      )
      // Those that are about to write now get their turn first.
      const whole = isFirst
        ? Effect.andThen(Effect.yieldNow, led)
        : Effect.andThen(
            Deferred.await(waiting.woken),
            Effect.suspend(() => outcome ?? led)
          )
      return Effect.uninterruptible(whole)
    })
}

/** What the database fails with, and what no one expects, rolls the transaction back. */
const isOfDatabase = <E>(cause: Cause.Cause<E>): boolean =>
  cause.reasons.some((reason) => reason._tag !== "Fail" || Predicate.isTagged(reason.error, "SqlError"))

const rolledBack = { _tag: "RolledBack" } as const

const commit = (sql: Database["sql"], group: ReadonlyArray<Waiting>): Effect.Effect<void> => {
  const alone = Effect.forEach(group, (one) => one.alone, { discard: true })
  if (group.length === 1) return alone
  const all = Effect.forEach(
    group,
    ({ inGroup }) => Effect.flatMap(inGroup, (isFine) => (isFine ? Effect.void : Effect.fail(rolledBack))),
    { discard: true }
  )
  return Effect.catchCause(sql.withTransaction(all), (cause) => {
    const error = Cause.squash(cause)
    // Only one of them is at fault, so each is made again by itself.
    if (error === rolledBack) return alone
    for (const { fail } of group) fail(cause as Cause.Cause<SqlError>)
    return Effect.void
  })
}
