/** How the service of the engine reaches its tables and its cluster, and the errors that it fails with. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type { SqlError } from "effect/sql/SqlError"
import { DurableError } from "../../../../RunError.ts"
import { asFailures, databaseProblem } from "../../../internal/databaseProblem.ts"
import * as Cluster from "../cluster.ts"
import type { Ref } from "../engine.ts"
import type { hosting } from "../hosting.ts"
import type { Nudges } from "../nudges.ts"
import * as Tables from "../tables.ts"

/** What the service is made of. */
export interface Parts extends Nudges {
  readonly tables: Tables.Tables
  readonly client: Cluster.Node
  readonly hosts: Effect.Success<ReturnType<typeof hosting>>
}

/** The same, with what all functions of the service use. */
export type Access = ReturnType<typeof accessOf>

const attempts = { times: 3, schedule: Schedule.exponential(50) }

/** Makes the access of the parts. */
export const accessOf = (parts: Parts) => {
  const { client, hosts, tables } = parts
  /** With the clock of the machine: that of a test does not move the leases of other processes. */
  const live = Effect.provideService(Clock.Clock, Clock.Clock.defaultValue())
  /** Runs a statement, also where the database is out of reach for a moment. */
  const ask = <A>(key: string, statement: Effect.Effect<A, SqlError>): Effect.Effect<A, DurableError> =>
    live(Effect.mapError(Effect.retry(asFailures(statement), attempts), (cause) => unreachable(key, cause)))
  const find = (ref: Ref) => ask(ref.key, tables.findAt(ref))
  /** Has the engine do something with a run. */
  const on = (run: Tables.RunRow, then: Cluster.Going): Effect.Effect<void, DurableError> => {
    const node = hosts.nodeOf(run.fingerprint) ?? client
    return live(reaching(then(node, run.fingerprint, Tables.executionIdOf(run)), run.key))
  }
  return {
    ...parts,
    live,
    ask,
    find,
    now: live(Clock.currentTimeMillis),
    known: (ref: Ref): Effect.Effect<Tables.RunRow, DurableError> =>
      Effect.flatMap(find(ref), (run) => (run === undefined ? Effect.fail(unknownRun(ref)) : Effect.succeed(run))),
    start: (run: Tables.RunRow) => on(run, Cluster.start),
    stop: (run: Tables.RunRow) => on(run, Cluster.interrupt),
    wake: (run: Tables.RunRow, name: string) => on(run, Cluster.waking(name))
  }
}

/** The database does not do what it is asked for. */
const unreachable = (key: string, cause: unknown): DurableError =>
  new DurableError({
    reason: "engine",
    key,
    problem: `the database failed: ${databaseProblem(cause)}`,
    remedy: "Check that it can be reached, and call again: what was done is not done twice"
  })

/** Fails where the database, or the cluster, which dies of what its storage fails with, does not do what it is asked for. */
export const reaching = <A, R>(effect: Effect.Effect<A, unknown, R>, key = ""): Effect.Effect<A, DurableError, R> =>
  effect.pipe(
    Effect.mapError((cause) => (cause instanceof DurableError ? cause : unreachable(key, cause))),
    Effect.catchDefect((cause) => Effect.fail(unreachable(key, cause)))
  )

const unknownRun = ({ key, name }: Ref): DurableError =>
  new DurableError({
    reason: "unknown-run",
    key,
    problem: `a run of "${name}" with this key is not known`,
    remedy: "Start it with run or submit, or check the key"
  })
