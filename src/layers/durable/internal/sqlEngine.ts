/**
 * The engine on SQL: our tables hold runs, steps and events; `cluster.ts` decides which process executes a run, and wakes
 * it. Loaded when a Layer of `Durable` is built, and not with `Durable`.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as SqlClient from "effect/sql/SqlClient"
import { DurableError } from "../../../RunError.ts"
import type { NewerTables } from "../../internal/versionedTables.ts"
import * as Cluster from "./cluster.ts"
import type { Service } from "./engine.ts"
import { hosting } from "./hosting.ts"
import * as Nudges from "./nudges.ts"
import { accessOf, reaching } from "./service/access.ts"
import { following } from "./service/following.ts"
import { finding, running } from "./service/running.ts"
import { deciding, mailing } from "./service/telling.ts"
import * as Tables from "./tables.ts"

/** How the engine behaves, in milliseconds. */
export interface Settings extends Cluster.Timing {
  /** How long steps that are under way may take when a run is handed to another process. */
  readonly drain: number
  /** How long runs that have ended are kept; `undefined` keeps them. */
  readonly keep: number | undefined
}

const newer = ({ message }: NewerTables): Effect.Effect<never, DurableError> =>
  Effect.fail(
    new DurableError({
      reason: "engine",
      key: "",
      problem: message,
      remedy: "Update troupe, or use another database"
    })
  )

/** Makes the engine. Everything that it starts ends with the scope. */
export const make = (sql: SqlClient.SqlClient, settings: Settings): Effect.Effect<Service, DurableError, Scope.Scope> =>
  Effect.gen(function* () {
    yield* Effect.catchTag(Tables.migrate(sql), "NewerTables", newer)
    const tables = Tables.make(sql)
    const client = yield* Cluster.build(sql, settings, undefined)
    const nudges = Nudges.make(settings.poll)
    const hosts = yield* hosting(sql, settings, tables, nudges.nudge)
    const access = accessOf({ tables, client, hosts, ...nudges })
    return { ...running(access), ...finding(access), ...following(access), ...deciding(access), ...mailing(access) }
  }).pipe(
    reaching,
    // The clock of a test does not move the leases of other processes.
    Effect.provideService(Clock.Clock, Clock.Clock.defaultValue())
  )
