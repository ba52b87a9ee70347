/** How much an engine of runs keeps in memory. */
import * as Duration from "effect/Duration"
import { assertOptions, countOf, durationOf, namesOf } from "../../../internal/definition.ts"

/** What is kept of runs. Default values suit a server with some hundred runs at once. */
export interface MemoryOptions {
  /** How many runs are kept, those that have ended among them. Default 10,000. The oldest that has ended is forgotten first. */
  readonly runs?: number | undefined
  /** How many events are kept of one run. Default 1000. The oldest are dropped first, the terminal event never. */
  readonly events?: number | undefined
  /** How many bytes of events are kept of all runs, about. Default 256 MiB. */
  readonly bytes?: number | undefined
  /** How many events a paced run may be ahead of its slowest reader. Default 64. */
  readonly ahead?: number | undefined
  /** How long a run is kept after its end. Default 10 minutes. */
  readonly expiry?: Duration.Input | undefined
}

/** Limits that are checked. */
export interface Limits {
  readonly runs: number
  readonly events: number
  readonly bytes: number
  readonly ahead: number
  readonly expiryMs: number
}

/** Throws `InvalidDefinition` for a limit that is not a count or a duration. */
export const checked = (options: MemoryOptions): Limits => {
  assertOptions(subject, options, known)
  const events = counted("events", options.events ?? 1000)
  return {
    runs: counted("runs", options.runs ?? 10_000),
    events,
    bytes: counted("bytes", options.bytes ?? 256 * 1024 * 1024),
    // A reader that is waited for must not lose events.
    ahead: Math.min(counted("ahead", options.ahead ?? 64), events),
    expiryMs: durationMs(options.expiry ?? "10 minutes")
  }
}

const subject = "Runs.layerMemory"
const known = namesOf<MemoryOptions>({ runs: true, events: true, bytes: true, ahead: true, expiry: true })

const counted = (name: string, value: number): number => countOf(subject, name, value)

const durationMs = (input: Duration.Input): number => Duration.toMillis(durationOf(subject, "expiry", input))
