/** How much a server takes on at once: runs, calls that wait for one, messages of a batch, sessions. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import { countOf, positiveDurationOf } from "../../../../internal/definition.ts"
import { type Answer, errorResult } from "./tool.ts"

/** Limits of the runs of a server. */
export interface RunLimits {
  readonly maxRuns?: number | undefined
  readonly maxWaiting?: number | undefined
}

/** What errors of the definition name. */
export const subject = "an MCP server"

/** The limits of sessions. Throws `InvalidDefinition` for what is not a count or a duration. */
export const sessionLimits = (options: {
  readonly maxSessions?: number | undefined
  readonly sessionIdle?: Duration.Input | undefined
}): { readonly max: number; readonly idleMs: number } => {
  const max = countOf(subject, "http.maxSessions", options.maxSessions ?? 1000)
  const idle = positiveDurationOf(subject, "http.sessionIdle", options.sessionIdle ?? "30 minutes")
  return { max, idleMs: Duration.toMillis(idle) }
}

/** Runs a call when there is a place for it. */
export type Admit = <E, R>(call: Effect.Effect<Answer, E, R>) => Effect.Effect<Answer, E, R>

/**
 * Makes places for runs. A call without one waits, and a call that would be one too many to wait is answered with an error that
 * says so. Throws `InvalidDefinition` for what is not a count.
 */
export const placesOf = (limits: RunLimits): (() => Admit) => {
  const maxRuns = countOf(subject, "maxRuns", limits.maxRuns ?? 64)
  const maxWaiting = countOf(subject, "maxWaiting", limits.maxWaiting ?? 256, 0)
  const busy = errorResult(
    `The server is busy: ${maxRuns} calls run and ${maxWaiting} wait. This call was not run. Call the tool again later.`
  )
  return () => {
    const free = Semaphore.makeUnsafe(maxRuns)
    let held = 0
    return (call) =>
      Effect.suspend(() => {
        if (held >= maxRuns + maxWaiting) return Effect.succeed(busy)
        held++
        return Effect.ensuring(
          free.withPermits(1)(call),
          Effect.sync(() => {
            held--
          })
        )
      })
  }
}
