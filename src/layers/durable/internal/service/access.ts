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
export interface Access extends Parts {
  /** With the clock of the machine: that of a test does not move the leases of other processes. */
  readonly live: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  readonly now: Effect.Effect<number>
  /** Runs a statement, also where the database is out of reach for a moment. */
  readonly ask: <A>(key: string, statement: Effect.Effect<A, SqlError>) => Effect.Effect<A, DurableError>
  readonly find: (ref: Ref) => Effect.Effect<Tables.RunRow | undefined, DurableError>
  readonly known: (ref: Ref) => Effect.Effect<Tables.RunRow, DurableError>
  readonly start: (run: Tables.RunRow) => Effect.Effect<void, DurableError>
  readonly stop: (run: Tables.RunRow) => Effect.Effect<void, DurableError>
  readonly wake: (run: Tables.RunRow, name: string) => Effect.Effect<void, DurableError>
}

const attempts = { times: 3, schedule: Schedule.exponential(50) }

/** Makes the access of the parts. */
export const accessOf = (parts: Parts): Access => {
  const { client, hosts, tables } = parts
  const live = Effect.provideService(Clock.Clock, Clock.Clock.defaultValue())
  const ask: Access["ask"] = (key, statement) =>
    live(Effect.mapError(Effect.retry(asFailures(statement), attempts), (cause) => unreachable(key, cause)))
  /** A call of the engine, whose failures are defects. */
  const call = (key: string, effect: Effect.Effect<void>): Effect.Effect<void, DurableError> =>
    live(Effect.catchDefect(effect, (cause) => Effect.fail(unreachable(key, cause))))
  const nodeFor = (fingerprint: string): Cluster.Node => hosts.nodeOf(fingerprint) ?? client
  const find = (ref: Ref) => ask(ref.key, tables.findAt(ref))
  const on =
    (then: (node: Cluster.Node, fingerprint: string, executionId: string) => Effect.Effect<void>) =>
    (run: Tables.RunRow) =>
      call(run.key, then(nodeFor(run.fingerprint), run.fingerprint, Tables.executionIdOf(run)))
  return {
    ...parts,
    live,
    ask,
    find,
    now: live(Clock.currentTimeMillis),
    known: (ref) =>
      Effect.flatMap(find(ref), (run) => (run === undefined ? Effect.fail(unknownRun(ref)) : Effect.succeed(run))),
    start: on(Cluster.start),
    stop: on(Cluster.interrupt),
    wake: (run, name) => on((node, fingerprint, executionId) => Cluster.wake(node, fingerprint, executionId, name))(run)
  }
}

/** The database does not do what it is asked for. */
export const unreachable = (key: string, cause: unknown): DurableError =>
  new DurableError({
    reason: "engine",
    key,
    problem: `the database failed: ${databaseProblem(cause)}`,
    remedy: "Check that it can be reached, and call again: what was done is not done twice"
  })

const unknownRun = ({ key, name }: Ref): DurableError =>
  new DurableError({
    reason: "unknown-run",
    key,
    problem: `a run of "${name}" with this key is not known`,
    remedy: "Start it with run or submit, or check the key"
  })
