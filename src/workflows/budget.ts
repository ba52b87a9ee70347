/**
 * What the workers of one run may cost. It is reserved before a worker begins and settled when it ends, so that workers
 * at work at once cannot overspend together. It touches the run's bookkeeping only.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type { RunState } from "../internal/RunState.ts"

/** The limits of one run. */
export interface Limits {
  /** How many times workers may be called, at all depths. */
  readonly runs?: number | undefined
  /** How many tokens the run may use in all, input and output, the orchestrator's own included. */
  readonly tokens?: number | undefined
  /**
   * How many tokens are set aside for a worker before it begins; what it does not use is given back. Default: what the
   * workers that have ended used on average.
   */
  readonly reserve?: number | undefined
}

/** The budget of one run. */
export class Budget {
  readonly #state: RunState
  readonly #limits: Limits
  readonly #spent = Deferred.makeUnsafe<void>()
  #runs = 0
  #reserved = 0
  #ended = 0
  #used = 0

  constructor(state: RunState, limits: Limits) {
    this.#state = state
    this.#limits = limits
    if (limits.tokens !== undefined) {
      state.onUsage = () => {
        if (this.#tokens >= limits.tokens!) Deferred.doneUnsafe(this.#spent, Effect.void)
      }
    }
  }

  /** Does `work` when there is room for it; fails with a text for the model when there is none, or none any more. */
  within<A, E, R>(work: Effect.Effect<A, E, R>): Effect.Effect<A, E | string, R> {
    return Effect.suspend(() => {
      const { runs, tokens } = this.#limits
      if (runs !== undefined && this.#runs >= runs) {
        return Effect.fail(`not executed: the budget of ${runs} worker runs is used up; answer with what you have`)
      }
      const reserve = this.#limits.reserve ?? (this.#ended === 0 ? 0 : this.#used / this.#ended)
      if (tokens === undefined) {
        this.#runs++
        return work
      }
      if (this.#tokens >= tokens || this.#tokens + this.#reserved + reserve > tokens) {
        return Effect.fail(`not executed: the budget of ${tokens} tokens is used up; answer with what you have`)
      }
      this.#runs++
      this.#reserved += reserve
      const before = this.#tokens
      const over = Effect.andThen(
        Deferred.await(this.#spent),
        Effect.fail(`interrupted: the budget of ${tokens} tokens is used up; answer with what you have`)
      )
      return Effect.raceFirst(work, over).pipe(
        Effect.ensuring(
          Effect.sync(() => {
            this.#reserved -= reserve
            this.#ended++
            // Workers at work at once count one another's tokens too: too much is set aside rather than too little.
            this.#used += this.#tokens - before
          })
        )
      )
    })
  }

  get #tokens(): number {
    const { inputTokens, outputTokens } = this.#state.usage
    return (inputTokens.total ?? 0) + (outputTokens.total ?? 0)
  }
}
