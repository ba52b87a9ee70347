/**
 * Which workers of one run may begin. Tokens are reserved before a worker begins and settled when it ends, so that none begins
 * that has no room to end. What is used is limited by the run's own budget, see `Runner.withBudget`.
 */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { RunState } from "../../internal/runState.ts"
import * as Runner from "../../Runner.ts"

/** What is set aside for the workers of one run. */
export interface Limits {
  /** How many times workers may be called, at all depths. */
  readonly runs?: number | undefined
  /** How many tokens the run may use in all. */
  readonly tokens?: number | undefined
  /** How many tokens are set aside for a worker before it begins. */
  readonly reserve?: number | undefined
}

/** What a running worker may use of the budget. */
interface Reservation {
  readonly kind: string
  /** The worker that it works for. */
  readonly above: Reservation | undefined
  /** `undefined`: its cost was unknown when it began. */
  readonly reserve: number | undefined
  /** Its run. */
  state: RunState | undefined
}

const CurrentReservation: Context.Reference<Reservation | undefined> = Context.Reference<Reservation | undefined>(
  "troupe/Orchestrator/Reservation",
  { defaultValue: () => undefined }
)

/** The same runner, whose usage is known to the budget that it works within. */
export const metered = <I, A, E, R>(runner: Runner.Runner<I, A, E, R>): Runner.Runner<I, A, E, R> =>
  Runner.fromDefinition(runner.name, runner.description, {
    ...runner.definition,
    body: (input: I, state) =>
      Effect.flatMap(CurrentReservation, (reservation) => {
        if (reservation !== undefined) reservation.state ??= state
        return runner.definition.body(input, state)
      })
  })

const answer = "answer with what you have"

/** The budget of one run. */
export class Budget {
  readonly #state: RunState
  readonly #limits: Limits
  #runs = 0
  readonly #reservations = new Set<Reservation>()
  /** The most that a worker has used, by name. */
  readonly #costs = new Map<string, number>()
  /** Done when a worker has ended, for those that wait. */
  #settled = Deferred.makeUnsafe<void>()

  constructor(state: RunState, limits: Limits) {
    this.#state = state
    this.#limits = limits
  }

  /**
   * Does the work of a worker called `kind` when there is room for it; fails with a text for the model when there is
   * none, or none any more.
   */
  within<A, E, R>(kind: string, work: Effect.Effect<A, E, R>): Effect.Effect<A, E | string, R> {
    return Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(CurrentReservation, (above): Effect.Effect<A, E | string, R> => {
        const reservation = this.#begin(kind, above)
        if (typeof reservation === "string") return Effect.fail(reservation)
        if (reservation === undefined) {
          // Who waits is woken at once, and must not begin when what ended was interrupted, as it is about to be
          // itself.
          const waited = Effect.andThen(Deferred.await(this.#settled), Effect.yieldNow)
          return restore(Effect.andThen(waited, () => this.within(kind, work)))
        }
        const own = Effect.provideService(work, CurrentReservation, reservation)
        return Effect.onExit(restore(own), (exit) => Effect.sync(() => this.#settle(reservation, exit)))
      })
    )
  }

  /** Where it works; why it cannot; or nothing, when it has to wait until it is known what a worker costs. */
  #begin(kind: string, above: Reservation | undefined): Reservation | string | undefined {
    const { runs, tokens } = this.#limits
    if (runs !== undefined && this.#runs >= runs) {
      return `not executed: the budget of ${runs} worker runs is used up; ${answer}`
    }
    const reserve = this.#limits.reserve ?? this.#costOf(kind)
    if (tokens !== undefined) {
      const spent = tokensOf(this.#state)
      if (spent >= tokens) return `not executed: the budget of ${tokens} tokens is used up; ${answer}`
      const others = this.#others(above)
      if (reserve === undefined && others.some((reservation) => reservation.reserve === undefined)) return undefined
      const left = others.reduce((sum, reservation) => sum - this.#open(reservation), tokens - spent)
      if (left < (reserve ?? 0)) {
        return `not executed: of the budget of ${tokens} tokens ${Math.max(0, left)} are left after what others at work may need, and this may need ${reserve}; ${answer}, or call fewer at once`
      }
    }
    this.#runs++
    const reservation: Reservation = { kind, above, reserve, state: undefined }
    this.#reservations.add(reservation)
    return reservation
  }

  /** Those at work but the worker that asks and those it works for, whose share its own is part of. */
  #others(above: Reservation | undefined): ReadonlyArray<Reservation> {
    const others = new Set(this.#reservations)
    for (let reservation = above; reservation !== undefined; reservation = reservation.above) others.delete(reservation)
    return [...others]
  }

  /** The unused part of a reservation. */
  #open({ kind, reserve, state }: Reservation): number {
    return Math.max(0, (reserve ?? this.#costOf(kind) ?? 0) - tokensOf(state))
  }

  #costOf(kind: string): number | undefined {
    const known = this.#costs.get(kind)
    if (known !== undefined) return known
    const most = Math.max(0, ...this.#costs.values())
    // A worker without a model cost nothing, which does not predict another one's cost.
    return most === 0 ? undefined : most
  }

  #settle(reservation: Reservation, exit: Exit.Exit<unknown, unknown>): void {
    const { kind, state } = reservation
    this.#reservations.delete(reservation)
    const used = tokensOf(state)
    // A worker that failed before it used anything does not predict another one's cost.
    if (used > 0 || Exit.isSuccess(exit)) this.#costs.set(kind, Math.max(used, this.#costs.get(kind) ?? 0))
    const settled = this.#settled
    this.#settled = Deferred.makeUnsafe()
    Deferred.doneUnsafe(settled, Effect.void)
  }
}

const tokensOf = (state: RunState | undefined): number => state?.bill.tokens ?? 0
