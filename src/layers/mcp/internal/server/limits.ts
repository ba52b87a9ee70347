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

const subject = "an MCP server"

/** The limit of a batch. Throws `InvalidDefinition` for what is not a count. */
export const maxBatchOf = (value: number | undefined): number => countOf(subject, "maxBatch", value ?? 100)

/** The limit of a line. Throws `InvalidDefinition` for what is not a count. */
export const maxLineSizeOf = (value: number | undefined): number =>
  countOf(subject, "maxLineSize", value ?? 4 * 1024 * 1024)

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

/** The limits of runs. Throws `InvalidDefinition` for what is not a count. */
export const checkRuns = (limits: RunLimits): { readonly maxRuns: number; readonly maxWaiting: number } => ({
  maxRuns: countOf(subject, "maxRuns", limits.maxRuns ?? 64),
  maxWaiting: countOf(subject, "maxWaiting", limits.maxWaiting ?? 256, 0)
})

/**
 * Places for runs. A call without one waits, and a call that would be one too many to wait is answered with an error that
 * says so.
 */
export const places = (limits: RunLimits): Admit => {
  const { maxRuns, maxWaiting } = checkRuns(limits)
  const free = Semaphore.makeUnsafe(maxRuns)
  const busy = errorResult(
    `The server is busy: ${maxRuns} calls run and ${maxWaiting} wait. This call was not run. Call the tool again later.`
  )
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
