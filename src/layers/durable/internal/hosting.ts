/** The nodes of this process: one for each definition that it executes, for as long as somebody here wants it executed. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import type * as SqlClient from "effect/sql/SqlClient"
import { Changes } from "../../../internal/changes.ts"
import { type DurableError, InvalidDefinition } from "../../../RunError.ts"
import * as Cluster from "./cluster.ts"
import type { Execute, Kind, OnUnknown, Planned } from "./engine.ts"
import type { Program } from "./execution.ts"
import type { Nudges } from "./nudges.ts"
import * as Persist from "./persist.ts"
import { nodeName, processName, removeGone } from "./processes.ts"
import { serve } from "./schedules.ts"
import type { Settings } from "./sqlEngine.ts"
import type * as Tables from "./tables.ts"
import { upkeep } from "./upkeep.ts"

/** A node, and the programs that it executes: the last that was added, of those that are still there. */
interface Hosted {
  readonly node: Cluster.Node
  readonly scope: Scope.Closeable
  readonly programs: Array<Program>
  readonly changes: Changes
  users: number
}

/** What the nodes of a process share. */
interface Process {
  readonly sql: SqlClient.SqlClient
  readonly settings: Settings
  readonly tables: Tables.Tables
  readonly nudge: Nudges["nudge"]
  readonly persist: Persist.Persist
  readonly scope: Scope.Scope
  readonly lock: Semaphore.Semaphore
  readonly hosted: Map<string, Hosted>
}

/** How long a node stays when no program is left, so that one call after another does not make a node each. */
const idleMillis = 2000

/** Makes the nodes of this process. They end with the scope. */
export const hosting = (sql: SqlClient.SqlClient, settings: Settings, tables: Tables.Tables, nudge: Nudges["nudge"]) =>
  Effect.map(Effect.scope, (scope) => {
    const lock = Semaphore.makeUnsafe(1)
    const names = new Set<string>()
    const persist = Persist.make()
    const process: Process = { sql, settings, tables, nudge, persist, scope, lock, hosted: new Map() }
    return {
      /** Executes runs of a definition for as long as the scope is open. */
      add: ({ fingerprint }: Kind, execute: Execute, onUnknown: OnUnknown): Effect.Effect<void, unknown, Scope.Scope> =>
        Effect.asVoid(
          Effect.acquireRelease(acquire(process, fingerprint, execute, onUnknown), ({ made, program }) =>
            release(process, fingerprint, made, program)
          )
        ),
      /** Serves a schedule of a definition that this process executes, for as long as the scope is open. */
      schedule: ({ fingerprint }: Kind, planned: Planned): Effect.Effect<void, DurableError, Scope.Scope> => {
        const isHeld = Effect.sync(() => {
          const node = process.hosted.get(fingerprint)?.node
          return node !== undefined && Cluster.isHeld(node, fingerprint, planned.name)
        })
        const named = Effect.acquireRelease(
          Effect.suspend(() =>
            names.has(planned.name) ? twice(planned.name) : Effect.sync(() => names.add(planned.name))
          ),
          () => Effect.sync(() => names.delete(planned.name))
        )
        return Effect.andThen(named, Effect.asVoid(Effect.forkScoped(serve({ ...planned, tables, persist, isHeld }))))
      },
      nodeOf: (fingerprint: string) => process.hosted.get(fingerprint)?.node
    }
  })

/** Only one of them would be served. It is a mistake of the program, which trying again does not help. */
const twice = (name: string): Effect.Effect<never> =>
  Effect.die(
    new InvalidDefinition({
      subject: `the schedule "${name}"`,
      problem: "this process has it already, and one of them would begin no runs",
      remedy: "Give one of them another name with the option name of Durable.schedule"
    })
  )

/** Makes the node of a definition. */
const open = (process: Process, fingerprint: string): Effect.Effect<Hosted, unknown> =>
  Effect.gen(function* () {
    const { hosted, nudge, persist, scope, settings, sql, tables } = process
    const own = yield* Scope.fork(scope)
    yield* Effect.ignore(removeGone(sql, Cluster.prefix))
    const node = yield* Cluster.build(sql, settings, {
      address: nodeName(),
      groups: [Cluster.groupOf(fingerprint)]
    }).pipe(Scope.provide(own))
    const made: Hosted = { node, scope: own, programs: [], changes: new Changes(), users: 0 }
    const program: Effect.Effect<Program> = Effect.suspend(() => {
      const last = made.programs.at(-1)
      return last === undefined ? Effect.andThen(made.changes.next, program) : Effect.succeed(last)
    })
    yield* Cluster.register(node, fingerprint, {
      tables,
      worker: processName,
      program,
      nudge,
      persist,
      drainMillis: settings.drain,
      isClosing: () => scope.state._tag === "Closed"
    }).pipe(Scope.provide(own))
    yield* Effect.forkIn(upkeep({ sql, tables, node, fingerprint, keep: settings.keep }), own)
    hosted.set(fingerprint, made)
    return made
  })

const close = ({ hosted, lock }: Process, fingerprint: string, made: Hosted) =>
  Effect.suspend(() => {
    if (made.users > 0 || hosted.get(fingerprint) !== made) return Effect.void
    hosted.delete(fingerprint)
    return Scope.close(made.scope, Exit.void)
  }).pipe(lock.withPermits(1))

const acquire = (process: Process, fingerprint: string, execute: Execute, onUnknown: OnUnknown) =>
  process.lock.withPermits(1)(
    Effect.gen(function* () {
      const made = process.hosted.get(fingerprint) ?? (yield* open(process, fingerprint))
      const program: Program = { execute, onUnknown, closing: Deferred.makeUnsafe(), active: new Set() }
      made.users++
      made.programs.push(program)
      made.changes.notify()
      return { made, program }
    })
  )

/** The program's services end after this: so its executions end first. */
const release = (process: Process, fingerprint: string, made: Hosted, program: Program) =>
  Effect.gen(function* () {
    made.programs.splice(made.programs.indexOf(program), 1)
    Deferred.doneUnsafe(program.closing, Effect.void)
    yield* Effect.forEach(program.active, (ended) => Deferred.await(ended), { discard: true })
    made.users--
    if (made.users > 0) return
    yield* Effect.forkIn(Effect.andThen(Effect.sleep(idleMillis), close(process, fingerprint, made)), process.scope)
  })
