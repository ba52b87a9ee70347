/**
 * The port between `Durable` and what keeps and executes runs. Everything that crosses it is JSON, so that another engine
 * can stand behind it. `sqlEngine.ts` is the one on `effect/workflow`, `effect/cluster` and SQL.
 */
import * as Context from "effect/Context"
import type * as Cron from "effect/Cron"
import type * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { DurableError, OutcomeUnknown } from "../../../RunError.ts"
import type { RunEvent } from "../../../RunEvent.ts"
import type { Journal } from "../../../services/Journal.ts"
import type { Recorder } from "../../../services/TraceStore.ts"

/** A durable definition, as the engine knows it. */
export interface Kind {
  readonly name: string
  /** Equal for definitions of the same name, version, structure and tools. */
  readonly fingerprint: string
}

/** What a run waits for. */
export interface Wait {
  readonly kind: "outcome" | "signal" | "sleep" | "approval" | "client-tool"
  /** The name of the signal, the id of the approval or of the call, or the key of the step. */
  readonly id: string
  /** The name under which the engine wakes the run. */
  readonly wake: string
  /** For people: the tool, the signal. */
  readonly name: string
  /** When a sleep ends, in milliseconds since 1970. */
  readonly until?: number | undefined
  /** The request of an approval, or of a call that the client makes. */
  readonly request?: Schema.Json | undefined
}

/** The state of a run, as it is kept. */
export type State = "queued" | "running" | "suspended" | "completed" | "failed" | "interrupted"

/** How a run ended. */
export type Ended =
  | { readonly _tag: "Output"; readonly output: Schema.Json }
  | { readonly _tag: "Error"; readonly error: Schema.Json }
  | { readonly _tag: "Defect"; readonly message: string }
  | { readonly _tag: "Interrupted" }

/** A run, as it is kept. */
export interface Kept {
  readonly id: string
  readonly name: string
  readonly key: string
  readonly fingerprint: string
  readonly input: Schema.Json
  readonly state: State
  readonly waits: ReadonlyArray<Wait>
  readonly ended: Ended | undefined
  readonly worker: string | undefined
  readonly createdAt: number
  readonly updatedAt: number
}

/** The arguments of one execution. The same run is executed again after each crash and each sleep. */
export interface Start {
  readonly input: Schema.Json
  readonly journal: Journal
  readonly onEvent: (event: RunEvent) => Effect.Effect<void>
  /** Says how what the run has used so far is found out, which is kept with its events. */
  readonly measure: (used: () => Schema.Json | undefined) => void
  /** Hands what is kept of the run's events to those that record it, each once and from the first one on. */
  readonly recordBy: (recorders: ReadonlyArray<ReturnType<Recorder>>) => void
  /** Waits, without a process, for an outside decision on `wait`. */
  readonly decide: (wait: Omit<Wait, "wake">) => Effect.Effect<Schema.Json>
  /** Waits, without a process, for a result from outside. */
  readonly ask: (wait: Omit<Wait, "wake">) => Effect.Effect<Schema.Json>
}

/** Executes a run: succeeds with its output, or fails with its error, both as JSON. */
export type Execute = (start: Start) => Effect.Effect<Schema.Json, Schema.Json>

/** The answer to a step whose outcome is not known. */
export type Answer =
  | { readonly _tag: "Happened"; readonly result: Schema.Json }
  | { readonly _tag: "DidNotHappen" }
  | { readonly _tag: "GiveUp" }

/** Answers a step whose outcome is not known, in the process that executes the run; `undefined` leaves it to others. */
export type OnUnknown = (question: OutcomeUnknown) => Effect.Effect<Answer | undefined>

/** A step, as it is kept. */
export interface KeptStep {
  readonly key: string
  readonly kind: string
  readonly name: string
  readonly state: "intent" | "unknown" | "done" | "failed"
  readonly value: Schema.Json
  /** The execution that wrote it. */
  readonly epoch: number
  readonly updatedAt: number
}

/** Which runs are listed. */
export interface Query {
  readonly name?: string | undefined
  readonly state?: State | undefined
  readonly limit?: number | undefined
}

/** Runs that begin at planned times. */
export interface Planned {
  readonly name: string
  readonly cron: Cron.Cron
  /** How old a time may be, in milliseconds, that passed while no process was there, so that its run is begun late. */
  readonly catchUp: number
  /** Begins the run of a planned time. Called again for one of which it is not known whether it was. */
  readonly run: (at: number) => Effect.Effect<void>
}

/** Names a run. */
export interface Ref {
  readonly name: string
  readonly key: string
}

/** Keeps runs, and executes those whose definitions this process hosts. */
export interface Service {
  /** Keeps a new run, or finds the run of this key; returns its id. */
  readonly submit: (kind: Kind, key: string, input: Schema.Json) => Effect.Effect<string, DurableError>
  /** Executes runs of this definition in this process for as long as the scope is open. */
  readonly host: (kind: Kind, execute: Execute, onUnknown: OnUnknown) => Effect.Effect<void, DurableError, Scope.Scope>
  /** Begins runs of this definition at planned times, in one process of those that host it and do so under this name. */
  readonly schedule: (kind: Kind, planned: Planned) => Effect.Effect<void, DurableError, Scope.Scope>
  readonly find: (run: Ref) => Effect.Effect<Kept | undefined, DurableError>
  /** Finds a run by its id. */
  readonly byId: (id: string) => Effect.Effect<Kept | undefined, DurableError>
  /** The last event of a run that is kept. */
  readonly last: (run: Ref) => Effect.Effect<RunEvent | undefined, DurableError>
  /** Sends a message to a run that is under way; true once it has taken it, false when it has ended without. */
  readonly post: (run: Ref, message: Schema.Json) => Effect.Effect<boolean, DurableError>
  /** Hands each message that is sent to a run to `take`, which says whether it was taken. Never ends. */
  readonly mail: (id: string, take: (message: Schema.Json) => Effect.Effect<boolean>) => Effect.Effect<never>
  /** As `find`, and fails for a run that is not known. */
  readonly get: (run: Ref) => Effect.Effect<Kept, DurableError>
  /** True when some process executes runs of this definition. */
  readonly isServed: (kind: Kind) => Effect.Effect<boolean, DurableError>
  /** Waits for the end of a run. `onUsed` gets what it has used, whenever more of that is kept. */
  readonly ended: (run: Ref, onUsed?: (used: Schema.Json) => void) => Effect.Effect<Ended, DurableError>
  /** What a run has used so far; `undefined` where there is no such run, or it has used nothing. */
  readonly used: (run: Ref) => Effect.Effect<Schema.Json | undefined, DurableError>
  readonly interrupt: (run: Ref) => Effect.Effect<void, DurableError>
  readonly signal: (run: Ref, signal: string, value: Schema.Json) => Effect.Effect<void, DurableError>
  /** Decides on a wait, such as an approval. */
  readonly decide: (run: Ref, id: string, value: Schema.Json) => Effect.Effect<void, DurableError>
  readonly answer: (run: Ref, step: string, answer: Answer) => Effect.Effect<void, DurableError>
  readonly retry: (run: Ref) => Effect.Effect<void, DurableError>
  readonly events: (run: Ref, from: number | "now") => Stream.Stream<RunEvent, DurableError>
  readonly steps: (run: Ref) => Effect.Effect<ReadonlyArray<KeptStep>, DurableError>
  readonly list: (query: Query) => Effect.Effect<ReadonlyArray<Kept>, DurableError>
  /** Removes runs that ended before `before`; returns how many. */
  readonly prune: (before: number) => Effect.Effect<number, DurableError>
}

/** The engine that durable runs need. `Durable.layerSqlite` and `Durable.layerPostgres` provide one. */
export class Engine extends Context.Service<Engine, Service>()("troupe/Durable/Engine") {}
