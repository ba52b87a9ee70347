/**
 * Which workers of an orchestrator may begin. What they use is counted and limited by the ledgers of the run, as everywhere, see
 * `internal/budget.ts`. Those have room for calls, which wait for it; a worker that has none is refused, before it costs anything.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import { Ledger, usedUp } from "../../internal/budget.ts"
import { Changes } from "../../internal/changes.ts"
import { nextIn } from "../../internal/resumption.ts"
import { type Count, CurrentState, type RunState } from "../../internal/runState.ts"
import { begin } from "../../internal/withinBudget.ts"
import { CurrentAccount, StepAccount } from "../../internal/stepAccount.ts"

/** What limits the workers of one run. */
export interface Limits {
  /** How many times workers may be called, at all depths. */
  readonly runs?: number | undefined
  /** How many tokens the run may use in all. */
  readonly tokens?: number | undefined
  /** How many tokens are set aside for a worker before it begins. */
  readonly reserve?: number | undefined
}

/** The part of the tokens that is a running worker's. */
interface Share {
  readonly kind: string
  /** That of the worker that it works for. */
  readonly above: Share | undefined
  /** `undefined`: its cost was unknown when it began. */
  readonly reserve: number | undefined
  /** Counts what its runs use; `undefined` without a limit of tokens. */
  readonly account: StepAccount | undefined
}

const CurrentShare: Context.Reference<Share | undefined> = Context.Reference<Share | undefined>(
  "troupe/Orchestrator/Share",
  { defaultValue: () => undefined }
)

const answer = "answer with what you have"

/** Does the work of a run whose workers need room. `runs` counts how many times they have begun. */
export const withRoom = <A, E, R>(
  state: RunState,
  limits: Limits,
  runs: Count,
  work: (room: WorkerRoom) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => {
  if (limits.tokens === undefined) return work(new WorkerRoom(limits, runs, undefined))
  const begun = begin(state, () => Ledger.tally(state.budget, state.info))
  return Effect.flatMap(begun, (ledger) => state.within(ledger, work(new WorkerRoom(limits, runs, ledger))))
}

/** Whether the tool call that the fiber makes goes on with a run that it had begun: that was counted. */
const goesOn = (fiber: Fiber.Fiber<unknown, unknown>): boolean => {
  const state = fiber.getRef(CurrentState)
  return state !== undefined && nextIn(fiber, state) !== undefined
}

/** The room for the workers of one run. */
export class WorkerRoom {
  readonly #limits: Limits
  /** Counts what the run uses. */
  readonly #ledger: Ledger | undefined
  /** How many times workers have begun. */
  readonly #runs: Count
  readonly #shares = new Set<Share>()
  /** The most that a worker has used, by name. */
  readonly #costs = new Map<string, number>()
  /** When a worker ends, for those that wait. */
  readonly #ends = new Changes()

  constructor(limits: Limits, runs: Count, ledger: Ledger | undefined) {
    this.#limits = limits
    this.#runs = runs
    this.#ledger = ledger
  }

  /**
   * Does the work of a worker called `kind` when there is room for it; fails with a text for the model when there is
   * none, or none any more.
   */
  within<A, E, R>(kind: string, work: Effect.Effect<A, E, R>): Effect.Effect<A, E | string, R> {
    return Effect.uninterruptibleMask((restore) =>
      Effect.withFiber((fiber): Effect.Effect<A, E | string, R> => {
        const share = this.#begin(kind, fiber)
        if (typeof share === "string") return Effect.fail(share)
        if (share === undefined) {
          // A waiting worker is woken at once, and must not begin when what ended was interrupted, as it is about to be
          // itself.
          const waited = Effect.andThen(this.#ends.next, Effect.yieldNow)
          return restore(Effect.andThen(waited, () => this.within(kind, work)))
        }
        const { account } = share
        const counted = account === undefined ? work : Effect.provideService(work, CurrentAccount, account)
        const own = Effect.provideService(counted, CurrentShare, share)
        return Effect.onExit(restore(own), (exit) => Effect.sync(() => this.#settle(share, exit)))
      })
    )
  }

  /** Its share; why it cannot begin; or nothing, when it has to wait until it is known what a worker costs. */
  #begin(kind: string, fiber: Fiber.Fiber<unknown, unknown>): Share | string | undefined {
    const { runs, tokens } = this.#limits
    const isNew = !goesOn(fiber)
    if (runs !== undefined && isNew && this.#runs.value >= runs) {
      return `not executed: the budget of ${runs} worker runs is used up; ${answer}`
    }
    const above = fiber.getRef(CurrentShare)
    const reserve = this.#limits.reserve ?? this.#costOf(kind)
    if (tokens !== undefined) {
      const left = tokens - (this.#ledger?.tokens ?? 0)
      if (left <= 0) return `not executed: ${usedUp("tokens", tokens)}; ${answer}`
      const others = this.#others(above)
      if (reserve === undefined && others.some((share) => share.reserve === undefined)) return undefined
      const free = others.reduce((sum, share) => sum - this.#open(share), left)
      if (free < (reserve ?? 0)) {
        return `not executed: of the budget of ${tokens} tokens ${Math.max(0, free)} are left after what others at work may need, and this may need ${reserve}; ${answer}, or call fewer at once`
      }
    }
    if (isNew) this.#runs.value++
    const share: Share = { kind, above, reserve, account: tokens === undefined ? undefined : accountIn(fiber) }
    this.#shares.add(share)
    return share
  }

  /** The shares of those at work but the worker that asks and those it works for, whose share its own is part of. */
  #others(above: Share | undefined): ReadonlyArray<Share> {
    const others = new Set(this.#shares)
    for (let share = above; share !== undefined; share = share.above) others.delete(share)
    return [...others]
  }

  /** The unused part of a share. */
  #open({ account, kind, reserve }: Share): number {
    return Math.max(0, (reserve ?? this.#costOf(kind) ?? 0) - usedBy(account))
  }

  #costOf(kind: string): number | undefined {
    const known = this.#costs.get(kind)
    if (known !== undefined) return known
    const most = Math.max(0, ...this.#costs.values())
    // A worker without a model cost nothing, which does not predict another one's cost.
    return most === 0 ? undefined : most
  }

  #settle(share: Share, exit: Exit.Exit<unknown, unknown>): void {
    const { account, kind } = share
    this.#shares.delete(share)
    const used = usedBy(account)
    // A worker that failed before it used anything does not predict another one's cost.
    if (used > 0 || Exit.isSuccess(exit)) this.#costs.set(kind, Math.max(used, this.#costs.get(kind) ?? 0))
    this.#ends.notify()
  }
}

/** An account of what the runs that a fiber begins use, in addition to the one that they count in already. */
const accountIn = (fiber: Fiber.Fiber<unknown, unknown>): StepAccount | undefined => {
  const state = fiber.getRef(CurrentState)
  return state === undefined ? undefined : new StepAccount(state, fiber.getRef(CurrentAccount))
}

const usedBy = (account: StepAccount | undefined): number => account?.ledger?.tokens ?? 0
