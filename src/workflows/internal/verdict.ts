/** Which of several judged pieces of work is the best, where none was accepted. It touches nothing of ours. */
import * as Predicate from "effect/Predicate"

/** How good a verdict is when nobody says: its `score` when it has one. */
export const scoreOf = (verdict: unknown): number =>
  Predicate.hasProperty(verdict, "score") && typeof verdict.score === "number" ? verdict.score : 0

/** The one with the highest score, of at least one. Of equals the later one: it knew more. */
export const bestOf = <V, R extends { readonly verdict: V }>(
  rounds: ReadonlyArray<R>,
  score: (verdict: V) => number
): R => {
  // No number is worse than any other score.
  const worth = ({ verdict }: R) => {
    const value = score(verdict)
    return Number.isNaN(value) ? Number.NEGATIVE_INFINITY : value
  }
  return rounds.reduce((best, round) => (worth(round) >= worth(best) ? round : best))
}
