/** What spans may tell. A port: no I/O, imports nothing of ours. */
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
