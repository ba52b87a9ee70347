/** Judged rounds without an accepted one: which one is the best, and which failures end them. */
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import { isPassedOn } from "../../internal/resumption.ts"

/** How good a verdict is without a `score` option: the verdict where it is a number, or its `score`. */
export const scoreOf = (verdict: unknown): number => {
  if (typeof verdict === "number") return verdict
  return Predicate.hasProperty(verdict, "score") && typeof verdict.score === "number" ? verdict.score : 0
}

/**
 * A round, whose failure ends the rounds where an earlier one was judged, so that what was reached counts. Before the
 * first verdict the failure is that of the run. A run that waits has not failed, and one that
 * cannot go on with its answers is not a draft that was not good enough.
 */
export const settledRound = <A, E, R>(
  work: Effect.Effect<A, E, R>,
  isFirst: boolean
): Effect.Effect<Result.Result<A, E>, E, R> =>
  Effect.catchIf(
    Effect.map(work, (made): Result.Result<A, E> => Result.succeed(made)),
    (error: E) => !isFirst && !isPassedOn(error),
    (error: E): Effect.Effect<Result.Result<A, E>> => Effect.succeed(Result.fail(error))
  )

/** The round with the highest score. Of equal ones the later round, which knew more. */
export const bestOf = <V, R extends { readonly verdict: V }>(
  rounds: ReadonlyArray<R>,
  score: (verdict: V) => number
): R => {
  // NaN is worse than any other score.
  const worth = ({ verdict }: R) => {
    const value = score(verdict)
    return Number.isNaN(value) ? Number.NEGATIVE_INFINITY : value
  }
  return rounds.reduce((best, round) => (worth(round) >= worth(best) ? round : best))
}
