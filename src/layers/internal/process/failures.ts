/** What the errors of the port to processes cannot say, as their causes. */
import * as PlatformError from "effect/PlatformError"

/** Why a command was not run. It is the `cause` of the error of the port, whose message is not for models. */
export interface NotStarted {
  readonly _tag: "NotStarted"
  /** `Edge`: `Effect.runSync` cannot wait for it. `Lost`: the thread that ran it is gone, and it was killed. */
  readonly reason: "Edge" | "Unstartable" | "Lost"
  readonly detail: string
}

/** The signal that ended a command, which the port has no field for. It is the `cause` of the error of `exitCode`. */
export interface EndedBySignal {
  readonly _tag: "EndedBySignal"
  readonly signal: string
}

/** The error of the port for a command that was not run. */
export const notStarted = (reason: NotStarted["reason"], detail: string): PlatformError.PlatformError =>
  PlatformError.systemError({
    _tag: reason === "Unstartable" ? "NotFound" : "Unknown",
    module: "ChildProcess",
    method: "spawn",
    description: detail,
    cause: { _tag: "NotStarted", reason, detail } satisfies NotStarted
  })

/** The error of the port for a command that a signal ended. */
export const endedBy = (signal: string): PlatformError.PlatformError =>
  PlatformError.systemError({
    _tag: "Unknown",
    module: "ChildProcess",
    method: "exitCode",
    description: `it was ended by ${signal}`,
    cause: { _tag: "EndedBySignal", signal } satisfies EndedBySignal
  })
