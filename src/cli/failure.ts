/** How the command line fails: one line for the person at the terminal, and an exit code. */
import * as Cause from "effect/Cause"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import { messageOf } from "../internal/message.ts"

/** 0 done, 1 the run failed, 2 bad input or usage, 130 interrupted (143 by SIGTERM). */
export class CliFailure extends Schema.TaggedError<CliFailure>()("CliFailure", {
  message: Schema.String,
  code: Schema.Literals([1, 2])
}) {}

/** A refusal of what was typed. */
export const badInput = (message: string): CliFailure => new CliFailure({ message, code: 2 })

/** A run that did not work out, in one line. */
export const failed = (error: unknown): CliFailure => new CliFailure({ message: oneLine(error), code: 1 })

const missing = /OPENAI_API_KEY/

const oneLine = (error: unknown): string => {
  const text = messageOf(error)
  if (Predicate.isTagged(error, "ConfigError") && missing.test(text)) {
    return "OPENAI_API_KEY is not set. Set it, set OPENAI_BASE_URL to a server that needs no key, or use --model offline."
  }
  const line = text.replace(/\s*\n\s*/g, " ").trim()
  // Only a file that was loaded can need what its types would have asked for.
  return /^Service not found: \S+$/.test(line) ? `${line}. Provide it in the file, with Runner.provide` : line
}

/** The failure of a whole run; `undefined` when it was interrupted. */
export const ofCause = (cause: Cause.Cause<unknown>): CliFailure | undefined =>
  Cause.hasInterruptsOnly(cause) ? undefined : failed(Cause.squash(cause))
