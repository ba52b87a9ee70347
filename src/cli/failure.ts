/** Failures of the command line: one line for the user, and an exit code. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { messageOf } from "../internal/message.ts"
import { InvalidDefinition } from "../RunError.ts"

/** 0 done, 1 the run failed, 2 bad input or usage, 130 interrupted (143 by SIGTERM). */
export class CliFailure extends Schema.TaggedError<CliFailure>()("CliFailure", {
  message: Schema.String,
  code: Schema.Literals([1, 2])
}) {}

/** A refusal of what was typed. */
export const badInput = (message: string): CliFailure => new CliFailure({ message, code: 2 })

/** What a file defines. A definition that is not one is a mistake in the file. */
export const defined = <A>(define: () => A): Effect.Effect<A, CliFailure> =>
  Effect.suspend(() => {
    try {
      return Effect.succeed(define())
    } catch (cause) {
      return cause instanceof InvalidDefinition ? Effect.fail(badInput(cause.message)) : Effect.die(cause)
    }
  })

/** Refuses a port that is not one. */
export const checkPort = (flag: string, port: number): Effect.Effect<void, CliFailure> =>
  port >= 0 && port <= 65535 ? Effect.void : badInput(`${flag} must be 0 to 65535.`)

/** A run that did not work out, in one line. A refusal stays what it is. */
export const failed = (error: unknown): CliFailure =>
  error instanceof CliFailure ? error : new CliFailure({ message: oneLine(error), code: 1 })

/** How to choose a language model. */
export const chooseModel =
  "Set OPENAI_API_KEY; or set OPENAI_BASE_URL to a server that needs no key, such as Ollama's http://localhost:11434/v1, and name a model with --model openai:NAME"

/** How to choose a model. */
export const threeWays = `${chooseModel}; or pass --model demo, which is not a language model and answers only from what the text says.`

/** The message when a model is needed and none is chosen. */
export const noModel = `no model is configured. ${threeWays}`

/** True for the error of a runner that called the model that is not there, wherever it is nested. */
const needsModel = (error: unknown): boolean => messageOf(error).includes("no model is configured. ")

const oneLine = (error: unknown): string => {
  const line = messageOf(error)
    .replace(/\s*\n\s*/g, " ")
    .trim()
  // Only a file that was loaded can need what its types would have asked for.
  return /^Service not found: \S+$/.test(line) ? `${line}. Provide it in the file, with Runner.provide` : line
}

/** The failure of a whole run; `undefined` when it was interrupted. */
export const ofCause = (cause: Cause.Cause<unknown>): CliFailure | undefined => {
  if (Cause.hasInterruptsOnly(cause)) return undefined
  const error = Cause.squash(cause)
  return needsModel(error) ? badInput(noModel) : failed(error)
}
