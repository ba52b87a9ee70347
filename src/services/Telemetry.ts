/** Which content spans and logs may hold. */
import * as Context from "effect/Context"

/**
 * Whether spans carry the content of messages: instructions, inputs, answers, tool arguments and results. Default
 * false. These are the opt-in attributes of the OpenTelemetry GenAI conventions.
 *
 * @example
 * import { Effect } from "effect"
 * import { Telemetry } from "troupe"
 *
 * const program = Effect.void.pipe(Effect.provideService(Telemetry.CaptureContent, true))
 */
export const CaptureContent: Context.Reference<boolean> = Context.Reference<boolean>("troupe/CaptureContent", {
  defaultValue: () => false
})

/**
 * Whether a root run that fails logs one line, with its name, the tag of its error and its id. Default true, so that no
 * consumer of a run hides that it failed. The line is an error of Effect's logger; where the program has set no logger, and
 * only Effect's own would write to standard output, it goes to standard error, as `troupe: run of "clerk" failed: ...`.
 * Set it to false in a program that reports failures itself. Interrupted runs and runs that wait for approval log nothing.
 *
 * @example
 * import { Effect } from "effect"
 * import { Telemetry } from "troupe"
 *
 * const program = Effect.void.pipe(Effect.provideService(Telemetry.LogFailures, false))
 */
export const LogFailures: Context.Reference<boolean> = Context.Reference<boolean>("troupe/LogFailures", {
  defaultValue: () => true
})
