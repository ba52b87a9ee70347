/** What goes wrong with a call beyond what a model's package throws, and the error of any of it. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as AiError from "effect/ai/AiError"
import { messageOf } from "../../../internal/message.ts"
import { malformed, type Problem, quote, Unsupported } from "../../internal/model/problems.ts"
import * as Errors from "./errors.ts"

/** A problem that is known already. */
export class Known extends Error {
  readonly problem: Problem

  constructor(problem: Problem) {
    super(problem.message)
    this.problem = problem
  }
}

/** Reads what a model gave. What it cannot be read as is a fault of the answer, and not of the program. */
export const reading = <A>(read: () => A): Effect.Effect<A, unknown> =>
  Effect.try({
    try: read,
    catch: (error) =>
      error instanceof Known || error instanceof Unsupported
        ? error
        : new Known(malformed(`the model's answer has no form that can be read: ${quote(messageOf(error))}`))
  })

/** Fails with the error of a call that failed in any way. */
export const failWith =
  (failing: Errors.Failing) =>
  (error: unknown): Effect.Effect<never, AiError.AiError> =>
    Effect.flatMap(Clock.currentTimeMillis, (now) =>
      Effect.fail(
        error instanceof Known ? Errors.ofProblem(error.problem, failing, now) : Errors.ofThrown(error, failing, now)
      )
    )
