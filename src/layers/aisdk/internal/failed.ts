/** What goes wrong with a call beyond what a model's package throws, and the error of any of it. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as AiError from "effect/ai/AiError"
import { messageOf } from "../../../internal/message.ts"
import { malformed, type Problem, quote } from "../../internal/model/problems.ts"
import * as Errors from "./errors.ts"
import { AsksApproval } from "./parts.ts"
import { Late } from "./waiting.ts"

/** A problem that is known already. */
export class Known extends Error {
  readonly problem: Problem

  constructor(problem: Problem) {
    super(problem.message)
    this.problem = problem
  }
}

/** What stands in a stream in place of a part. */
export class InStream extends Error {
  readonly error: unknown

  constructor(error: unknown) {
    super("an error in the stream")
    this.error = error
  }
}

/** Reads what a model gave. What it cannot be read as is a fault of the answer, and not of the program. */
export const reading = <A>(read: () => A): Effect.Effect<A, unknown> =>
  Effect.try({
    try: read,
    catch: (error) =>
      error instanceof Known || error instanceof AsksApproval
        ? error
        : new Known(malformed(`the model's answer has no form that can be read: ${quote(messageOf(error))}`))
  })

/** Fails with the error of a call that failed in any way. */
export const failWith =
  (failing: Errors.Failing) =>
  (error: unknown): Effect.Effect<never, AiError.AiError> =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => Effect.fail(errorOf(error, failing, now)))

const errorOf = (error: unknown, failing: Errors.Failing, now: number): AiError.AiError => {
  if (error instanceof Known) return Errors.ofProblem(error.problem, failing, now)
  if (error instanceof Late) return Errors.ofProblem({ kind: "timeout", message: error.message }, failing, now)
  return error instanceof InStream ? Errors.ofStreamed(error.error, failing, now) : Errors.ofThrown(error, failing, now)
}
