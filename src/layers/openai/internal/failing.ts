/** The `AiError` of a request that failed, for every API of a server. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as AiError from "effect/ai/AiError"
import { toAiError } from "../../internal/model/errors.ts"
import type { Problem } from "../../internal/model/problems.ts"
import type { Connected } from "./connection.ts"
import { type FailedRequest, remedyOf } from "./remedies.ts"

/** Fails with the error of a problem. What a transport threw is a defect of the program. */
export const fail = (
  at: Connected,
  problem: Problem,
  request: FailedRequest
): Effect.Effect<never, AiError.AiError> => {
  const { method } = request
  const failure = problem.kind === "unsupported" ? problem.failure : undefined
  if (failure?._tag === "TransportDefect") return Effect.failCause(failure.cause)
  if (failure?._tag === "TapeFailure") {
    // Metadata is typed by what programs declare of providers.
    const metadata = { cassette: failure.error }
    const reason = new AiError.InvalidRequestError({ description: failure.message, metadata })
    return Effect.fail(AiError.make({ module: "OpenAi", method, reason }))
  }
  const remedy = remedyOf(problem, at, request)
  const asked = { module: "OpenAi", method, url: at.shown, secrets: at.secrets, remedy }
  return Effect.flatMap(Clock.currentTimeMillis, (now) => Effect.fail(toAiError(problem, asked, now)))
}
