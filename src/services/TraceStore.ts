/**
 * The port to a store of traces: the events of runs, kept as they happen. `layers/state/TraceStore.ts` is the public module,
 * with the Layers.
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type { StoreError } from "../RunError.ts"
import type { RunEvent } from "../RunEvent.ts"
import type { RunInfo } from "./CurrentRun.ts"

/** How a run ended; `running` for one that has not ended, or whose process has died. */
export type Status = "running" | "completed" | "failed" | "interrupted" | "suspended"

/** A root run that is kept. */
export interface Run {
  readonly runId: string
  /** The name of its runner. */
  readonly runner: string
  /** The session that it was a turn of, or the conversation that the program has named. */
  readonly session: string | undefined
  readonly status: Status
  /** The tag of its error, such as "ModelError". */
  readonly error: string | undefined
  readonly message: string | undefined
  /** In milliseconds since the epoch. */
  readonly startedAt: number
  readonly durationMs: number | undefined
  /** Steps and tokens of the run and of every run nested in it, once it has ended. */
  readonly steps: number
  readonly inputTokens: number
  readonly outputTokens: number
  /** How many events are kept, and their size in bytes. */
  readonly events: number
  readonly bytes: number
}

/** Which runs are asked for. */
export interface Query {
  readonly runner?: string | undefined
  readonly session?: string | undefined
  readonly status?: Status | undefined
  /** The tag of the error, such as "ModelError". */
  readonly error?: string | undefined
  /** Began at this time or later, in milliseconds since the epoch. */
  readonly since?: number | undefined
  /** Began before this time. */
  readonly until?: number | undefined
  /** At most so many. Default 50, at most 1000. */
  readonly limit?: number | undefined
  /** The id of a run: those that began before it. For the next page, the id of the last one. */
  readonly before?: string | undefined
}

/** The names of a query, for what checks one. */
export const queryNames = {
  runner: true,
  session: true,
  status: true,
  error: true,
  since: true,
  until: true,
  limit: true,
  before: true
} as const satisfies Readonly<Record<keyof Query, true>>

/** An event to be kept, with the root run that it belongs to. */
export interface Entry {
  readonly rootId: string
  readonly session: string | undefined
  readonly event: RunEvent
}

/** What is removed. */
export interface Pruning {
  readonly olderThan?: Duration.Duration | undefined
  readonly maxBytes?: number | undefined
}

/** A store of traces. */
export interface Service {
  /** Adds events; those of one root run come in their order. */
  readonly append: (entries: ReadonlyArray<Entry>) => Effect.Effect<void, StoreError>
  /** Runs, the newest first. */
  readonly runs: (query: Query & { readonly limit: number }) => Effect.Effect<ReadonlyArray<Run>, StoreError>
  /** Events of a root run and of the runs nested in it, from number `from` on, at most `limit`. */
  readonly events: (rootId: string, from: number, limit: number) => Effect.Effect<ReadonlyArray<RunEvent>, StoreError>
  readonly remove: (rootId: string) => Effect.Effect<void, StoreError>
  /** Removes the oldest runs, and returns how many. */
  readonly prune: (which: Pruning) => Effect.Effect<number, StoreError>
}

/** The store of traces of the program. Make one with `layerMemory` or `layerSql`. */
export class TraceStore extends Context.Service<TraceStore, Service>()("troupe/TraceStore") {}

/** Receives the events of a root run. It must return at once. */
export type Recorder = (run: RunInfo) => (event: RunEvent) => void

/** Chooses among the root runs that begin here, and scores them. Set by `Eval.sampling`. */
export const CurrentSampler: Context.Reference<Recorder | undefined> = Context.Reference<Recorder | undefined>(
  "troupe/Eval/Sampler",
  { defaultValue: () => undefined }
)

/** Records the root runs that begin here. Set by `TraceStore.record`. */
export const CurrentRecorder: Context.Reference<Recorder | undefined> = Context.Reference<Recorder | undefined>(
  "troupe/TraceStore/Recorder",
  { defaultValue: () => undefined }
)
