/**
 * The budgets of runs: each run with a budget has a ledger, and a run inside of it counts in its own and in all those
 * above. What a model call may use is reserved before it begins and settled when it has ended, so that calls at work at
 * once cannot overspend together.
 */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { RunInfo } from "../services/CurrentRun.ts"
import { Changes } from "./changes.ts"
import { type Limit, limitText } from "./limitText.ts"

const Used = Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0))
/** What a ledger had used when a run in it was suspended. */
export const Carried = Schema.Struct({
  /** How many runs the one that has it is above the run that waits. */
  above: Schema.Int,
  /** Which of the ledgers of that run it is, the outermost first. */
  nth: Schema.Int,
  tokens: Used,
  cost: Used,
  steps: Used,
  toolCalls: Used,
  /** How long the run had taken, in milliseconds. */
  ms: Used
})
/** What a ledger had used when a run in it was suspended. */
export type Carried = typeof Carried.Type

/** What a ledger and those above it have used, for a run of this depth that is suspended. */
export const carriedIn = (innermost: Ledger | undefined, depth: number, now: number): ReadonlyArray<Carried> => {
  const carried: Array<Carried> = []
  for (let ledger = innermost; ledger !== undefined; ledger = ledger.parent) {
    carried.push({
      above: depth - ledger.owner.path.length,
      nth: ledger.nth,
      ...ledger.used,
      ms: Math.max(0, now - ledger.startedAt)
    })
  }
  return carried
}

/** The limits of one budget. */
export interface Limits {
  readonly tokens?: number | undefined
  /** In US dollars. */
  readonly cost?: number | undefined
  readonly steps?: number | undefined
  readonly toolCalls?: number | undefined
  readonly time?: Duration.Duration | undefined
  readonly onExceeded: "fail" | "answer"
}

/** Tokens, and what they cost in US dollars. */
export interface Amount {
  readonly tokens: number
  readonly cost: number
  /** Set where the cost is not known, and counted as 0. */
  readonly isUnpriced?: boolean | undefined
}

/** What has been used of each limit but time. */
export interface Charged extends Amount {
  readonly steps: number
  readonly toolCalls: number
}

/** How a budget came to be exceeded. */
export interface Hit {
  readonly limit: Limit
  readonly allowed: number
  /** What was used of it, in its unit. */
  readonly used: number
  /** The run that would have gone beyond it. */
  readonly by: ReadonlyArray<string>
  /** The model without a known price, where that is why. */
  readonly unpriced?: string | undefined
}

/** What a model call may use, as far as that is known before it begins. */
export interface Estimate {
  /** Tokens of the prompt. */
  readonly input: number
  /** Tokens that the answer may have, where that is limited. */
  readonly output: number | undefined
  /** The cost of tokens; `undefined` for a model without a known price. */
  readonly costOf: (tokens: { readonly input: number; readonly output: number }) => number | undefined
  readonly model: string
}

/** How many calls of unknown size are at work at once, until a first one has ended. */
const unknownAtOnce = 4

/** A model call at work. */
interface Reservation extends Amount {
  readonly above: Reservation | undefined
  readonly isKnown: boolean
}

/** The model call that the fiber works for: a model that is itself a run makes calls within its caller's reservation. */
const CurrentReservation: Context.Reference<Reservation | undefined> = Context.Reference<Reservation | undefined>(
  "troupe/internal/Reservation",
  { defaultValue: () => undefined }
)

/** What is left of each limit; `undefined` where none sets it. */
export interface Remaining {
  readonly tokens: number | undefined
  readonly cost: number | undefined
  readonly steps: number | undefined
  readonly toolCalls: number | undefined
  readonly time: Duration.Duration | undefined
}

const least = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined ? b : b === undefined ? a : Math.min(a, b)

/** The least that a ledger and those above it leave. */
export const remainingOf = (innermost: Ledger | undefined, now: number): Remaining => {
  const left: { -readonly [L in Limit]: number | undefined } = {
    tokens: undefined,
    cost: undefined,
    steps: undefined,
    toolCalls: undefined,
    time: undefined
  }
  for (let ledger = innermost; ledger !== undefined; ledger = ledger.parent) {
    for (const limit of limits) left[limit] = least(left[limit], ledger.left(limit, now))
  }
  return { ...left, time: left.time === undefined ? undefined : Duration.millis(left.time) }
}

const limits = ["tokens", "cost", "steps", "toolCalls", "time"] as const

/** That a budget is used up, for a model. */
export const usedUp = (limit: Limit, allowed: number): string => `the budget of ${limitText(limit, allowed)} is used up`

/** How long a run that is made again may take to what is new in it when its time was over before, in milliseconds. */
const grace = 1000

/** When the run of a ledger began. */
export interface Times {
  readonly now: number
  /** When the run was made for the first time. */
  readonly startedAt: number
  /** Whether it is made again and had ended in time, as it then does again. */
  readonly wasInTime: boolean
}

/** The account of one run with a budget. */
export class Ledger {
  readonly parent: Ledger | undefined
  /** The run that has the budget. */
  readonly owner: RunInfo
  readonly limits: Limits
  /** Counts the ledgers of one run. */
  readonly nth: number
  readonly startedAt: number
  /** What was left of the time when the run was made, or made again; `undefined` where it ends nothing. */
  readonly #timeLeft: number | undefined
  /** Whether the time was over when the run was made again. What a journal has kept of it is given all the same. */
  readonly #isOverdue: boolean
  readonly #used = { tokens: 0, cost: 0, steps: 0, toolCalls: 0 }
  readonly #reservations = new Set<Reservation>()
  #isUnpriced = false
  /** The most that one call has used. */
  #largest: Amount | undefined
  /** When a call ends, for those that wait. */
  readonly #ends = new Changes()
  /** Done when the run that has the budget is over. */
  readonly #closed = Deferred.makeUnsafe<void>()
  /** Done when the run has to fail. */
  readonly #failed = Deferred.makeUnsafe<void>()
  /** Done when what the run is doing has to stop, so that it can answer. */
  readonly #stopped = Deferred.makeUnsafe<void>()
  #hit: Hit | undefined
  /** How many pieces of work stop when the run is to answer. */
  #listeners = 0

  constructor(parent: Ledger | undefined, owner: RunInfo, limits: Limits, { now, startedAt, wasInTime }: Times) {
    this.parent = parent
    this.owner = owner
    this.limits = limits
    this.nth = parent?.owner === owner ? parent.nth + 1 : 0
    this.startedAt = startedAt
    this.#timeLeft = wasInTime ? undefined : this.left("time", now)
    this.#isOverdue = startedAt < now && this.#timeLeft === 0
  }

  /** Counts what is used within a ledger from now on, and limits nothing. */
  static tally(parent: Ledger | undefined, owner: RunInfo): Ledger {
    return new Ledger(parent, owner, { onExceeded: "fail" }, { now: 0, startedAt: 0, wasInTime: true })
  }

  /** How the budget was exceeded; `undefined` while it is not. */
  get hit(): Hit | undefined {
    return this.#hit
  }

  /** Dollars spent so far; `undefined` without a limit of cost. */
  get cost(): number | undefined {
    return this.limits.cost === undefined ? undefined : this.#used.cost
  }

  /** Dollars spent so far, with or without a limit; `undefined` where a call had no known price. */
  get metered(): number | undefined {
    return this.#isUnpriced ? undefined : this.#used.cost
  }

  /** Tokens used so far. */
  get tokens(): number {
    return this.#used.tokens
  }

  /** What was used so far. */
  get used(): Charged {
    return { ...this.#used }
  }

  /** Counts what was used before the run was made again, in this ledger and in all above it. */
  restore({ cost, steps, tokens, toolCalls }: Charged): void {
    for (let ledger: Ledger | undefined = this; ledger !== undefined; ledger = ledger.parent) {
      const used = ledger.#used
      used.tokens += tokens
      used.cost += cost
      used.steps += steps
      used.toolCalls += toolCalls
    }
  }

  /** Counts what was used before the run was suspended, in this ledger alone: those above have it too. */
  carry({ cost, steps, tokens, toolCalls }: Charged): void {
    Object.assign(this.#used, { tokens, cost, steps, toolCalls })
  }

  /** Whether the time was over before the run was made again, and it has not been stopped yet. */
  get isLate(): boolean {
    return this.#isOverdue && this.#hit === undefined && !this.isAnswering
  }

  /**
   * Notes that something begins which no journal has kept. A budget whose time was over before the run was made again is exceeded
   * here, and not earlier. Returns the ledger that is about to interrupt the run.
   */
  begins(info: RunInfo, kind: "model" | "tool" | "effect"): Ledger | undefined {
    let failing: Ledger | undefined
    for (let ledger: Ledger | undefined = this; ledger !== undefined; ledger = ledger.parent) {
      if (!ledger.isLate) continue
      // An agent that answers looks itself as a tool begins; its other steps are those of middleware.
      const isOwn = ledger.limits.onExceeded === "answer" && ledger.owner.runId === info.runId
      if (isOwn && kind !== "model") continue
      ledger.exceed("time", info.path)
      if (ledger.hasFailed) failing = ledger
    }
    return failing
  }

  /** What is left of a limit; `undefined` for one that it does not set. */
  left(limit: Limit, now: number): number | undefined {
    if (limit === "time") {
      const { time } = this.limits
      return time === undefined ? undefined : Math.max(0, this.startedAt + Duration.toMillis(time) - now)
    }
    const allowed = this.limits[limit]
    return allowed === undefined ? undefined : Math.max(0, allowed - this.#used[limit])
  }

  /** Notes that a limit is reached: the work of the run is stopped, or the run fails. */
  exceed(limit: Limit, by: ReadonlyArray<string>, unpriced?: string): void {
    const stops = this.limits.onExceeded === "answer" && unpriced === undefined && this.#listeners > 0
    if (this.#note(limit, by, unpriced)) Deferred.doneUnsafe(stops ? this.#stopped : this.#failed, Effect.void)
  }

  /** Notes that a limit is reached, in a run that answers now. */
  stop(limit: Limit, by: ReadonlyArray<string>): void {
    this.#note(limit, by)
  }

  #note(limit: Limit, by: ReadonlyArray<string>, unpriced?: string): boolean {
    if (this.#hit !== undefined) return false
    const { time } = this.limits
    const allowed = limit === "time" ? Duration.toMillis(time!) : this.limits[limit]!
    const used = limit === "time" ? allowed : this.#used[limit]
    this.#hit = { limit, allowed, used, by, unpriced }
    return true
  }

  /** Has the run fail that was to answer, and has not. */
  giveUp(): void {
    Deferred.doneUnsafe(this.#failed, Effect.void)
  }

  /** What went beyond the budget, and what to do about it, for a model. */
  get reason(): string {
    const { allowed, limit } = this.#hit!
    return usedUp(limit, allowed)
  }

  /** Ends the account: a run that outlives its own is interrupted when it comes to a limit. */
  close(): void {
    Deferred.doneUnsafe(this.#closed, Effect.void)
  }

  /** Whether the run has to fail. */
  get hasFailed(): boolean {
    return Deferred.isDoneUnsafe(this.#failed)
  }

  /** Waits until the run has to fail. */
  get failed(): Effect.Effect<void> {
    // A moment later: a run is not interrupted in the midst of what it begins, which could go on then.
    const failed = Effect.andThen(Deferred.await(this.#failed), Effect.yieldNow)
    const left = this.#timeLeft
    if (left === undefined) return failed
    const late = Effect.andThen(Effect.sleep(this.#isOverdue ? grace : left), () => {
      this.exceed("time", this.owner.path)
      return failed
    })
    return Effect.raceFirst(failed, late)
  }

  /** Does a piece of work of a run that answers when its budget is used up: then it is interrupted, and `instead` is done. */
  until<A, E, R, A2, E2, R2>(
    work: Effect.Effect<A, E, R>,
    instead: Effect.Effect<A2, E2, R2>
  ): Effect.Effect<A | A2, E | E2, R | R2> {
    return Effect.suspend(() => {
      if (this.#hit !== undefined) return work
      const listen = (change: number) =>
        Effect.sync(() => {
          this.#listeners += change
        })
      const stopped = Effect.andThen(Deferred.await(this.#stopped), Effect.yieldNow)
      const orStopped = Effect.raceFirst(Effect.asSome(work), Effect.as(stopped, Option.none()))
      return Effect.flatMap(
        Effect.acquireUseRelease(
          listen(1),
          () => orStopped,
          () => listen(-1)
        ),
        (done): Effect.Effect<A | A2, E2, R2> => (done._tag === "Some" ? Effect.succeed(done.value) : instead)
      )
    })
  }

  /** Waits to be interrupted. */
  get halt(): Effect.Effect<never> {
    return Effect.interruptible(Effect.andThen(Deferred.await(this.#closed), Effect.interrupt))
  }

  /** The outermost ledger that is used up, and whose run has not been stopped yet. */
  get over(): Ledger | undefined {
    let found: Ledger | undefined
    for (let ledger: Ledger | undefined = this; ledger !== undefined; ledger = ledger.parent) {
      if (ledger.#hit !== undefined && !ledger.isAnswering) found = ledger
    }
    return found
  }

  /** True once the run gives its last answer, which is on top of the budget. */
  isAnswering = false

  /** Counts one step, or tool calls, in this ledger and in all above it; returns the ledger that has no room for them. */
  take(limit: "steps" | "toolCalls", count: number, by: ReadonlyArray<string>): Ledger | undefined {
    const over = this.over
    if (over !== undefined) return over
    let full: Ledger | undefined
    for (let ledger: Ledger | undefined = this; ledger !== undefined; ledger = ledger.parent) {
      const left = ledger.left(limit, 0)
      if (!ledger.isAnswering && left !== undefined && left < count) full = ledger
    }
    if (full === undefined) this.#add(limit, count)
    else full.exceed(limit, by)
    return full
  }

  /** Gives back what was taken and not used. */
  giveBack(limit: "toolCalls", count: number): void {
    this.#add(limit, -count)
  }

  #add(limit: "steps" | "toolCalls", count: number): void {
    for (let ledger: Ledger | undefined = this; ledger !== undefined; ledger = ledger.parent) {
      ledger.#used[limit] += count
    }
  }

  /** Counts what a model call has used; returns the outermost ledger that it went beyond. */
  charge(amount: Amount, by: ReadonlyArray<string>): Ledger | undefined {
    for (let ledger: Ledger | undefined = this; ledger !== undefined; ledger = ledger.parent) {
      ledger.#used.tokens += amount.tokens
      ledger.#used.cost += amount.cost
      ledger.#isUnpriced ||= amount.isUnpriced === true
      ledger.#largest = {
        tokens: Math.max(amount.tokens, ledger.#largest?.tokens ?? 0),
        cost: Math.max(amount.cost, ledger.#largest?.cost ?? 0)
      }
    }
    return this.exceedBeyond(by)
  }

  /** Notes where more was used than a limit allows; returns the outermost ledger that is used up. */
  exceedBeyond(by: ReadonlyArray<string>): Ledger | undefined {
    let full: readonly [ledger: Ledger, limit: keyof Charged & Limit] | undefined
    for (let ledger: Ledger | undefined = this; ledger !== undefined; ledger = ledger.parent) {
      if (ledger.isAnswering) continue
      for (const limit of ["tokens", "cost", "steps", "toolCalls"] as const) {
        const allowed = ledger.limits[limit]
        if (allowed !== undefined && ledger.#used[limit] > allowed) full = [ledger, limit]
      }
    }
    full?.[0].exceed(full[1], by)
    return this.over
  }

  /**
   * Makes a model call once there is room for it, and settles it by its answer. When the budget is used up, the call waits to be
   * interrupted; so does a call of another run than the one that has the budget, when it went beyond it.
   */
  call<A, E, R>(
    info: RunInfo,
    estimate: Estimate,
    work: Effect.Effect<A, E, R>,
    answer: { readonly amountOf: (answer: A) => Amount; readonly onHalt: (answer: A) => void }
  ): Effect.Effect<A, E, R> {
    return Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(CurrentReservation, (above) => {
        const reservation = this.#reserve(info, estimate, above)
        if (reservation instanceof Ledger) return reservation.halt
        if ("wait" in reservation) {
          // A call that is woken must not begin where what ended was interrupted, as it is about to be itself.
          const waited = Effect.andThen(reservation.wait, Effect.yieldNow)
          return restore(Effect.andThen(waited, () => this.call(info, estimate, work, answer)))
        }
        const own = Effect.provideService(work, CurrentReservation, reservation)
        return Effect.flatMap(Effect.exit(restore(own)), (exit) => {
          this.#release(reservation)
          if (Exit.isFailure(exit)) return exit
          const over = this.charge(answer.amountOf(exit.value), info.path)
          // The run itself has what the call gave, and answers with it.
          if (over === undefined || over.#goesOn(info)) return exit
          answer.onHalt(exit.value)
          return over.halt
        })
      })
    )
  }

  /** Whether the run that has the budget goes on when it is used up. */
  #goesOn(info: RunInfo): boolean {
    return this.limits.onExceeded === "answer" && this.owner === info && this.#listeners > 0
  }

  #reserve(
    info: RunInfo,
    estimate: Estimate,
    above: Reservation | undefined
  ): Reservation | Ledger | { readonly wait: Effect.Effect<void> } {
    const over = this.over ?? this.#full(info, estimate)
    if (over !== undefined) return over
    const within = withAll(above)
    let amount: Amount = { tokens: 0, cost: 0 }
    let isKnown = estimate.output !== undefined
    for (let ledger: Ledger | undefined = this; ledger !== undefined; ledger = ledger.parent) {
      const own = ledger.#sizeOf(estimate)
      isKnown ||= ledger.#largest !== undefined
      amount = { tokens: Math.max(amount.tokens, own.tokens), cost: Math.max(amount.cost, own.cost) }
    }
    for (let ledger: Ledger | undefined = this; ledger !== undefined; ledger = ledger.parent) {
      const hasRoom = ledger.isAnswering || ledger.#hasRoom(amount, isKnown, within)
      if (!hasRoom) return { wait: ledger.#ends.next }
    }
    const reservation: Reservation = { ...amount, isKnown, above }
    for (let ledger: Ledger | undefined = this; ledger !== undefined; ledger = ledger.parent) {
      ledger.#reservations.add(reservation)
    }
    return reservation
  }

  /** The outermost ledger that has nothing left for a call, or cannot tell what it costs. */
  #full({ path }: RunInfo, { costOf, model }: Estimate): Ledger | undefined {
    let full: (() => Ledger) | undefined
    for (let ledger: Ledger | undefined = this; ledger !== undefined; ledger = ledger.parent) {
      const { isAnswering, limits } = ledger
      if (isAnswering) continue
      const exceeded = (limit: Limit, unpriced?: string) => {
        const own = ledger!
        return () => {
          own.exceed(limit, path, unpriced)
          return own
        }
      }
      if (limits.cost !== undefined && costOf({ input: 0, output: 0 }) === undefined) full = exceeded("cost", model)
      for (const limit of ["tokens", "cost"] as const) {
        if (ledger.left(limit, 0) === 0) full = exceeded(limit)
      }
    }
    return full?.()
  }

  /** What a call may use: its prompt and as much as the largest call so far, whichever is more. */
  #sizeOf({ costOf, input, output = 0 }: Estimate): Amount {
    const largest = this.#largest
    return {
      tokens: Math.max(input + output, largest?.tokens ?? 0),
      cost: Math.max(costOf({ input, output }) ?? 0, largest?.cost ?? 0)
    }
  }

  /** A call that is alone begins as long as anything is left. */
  #hasRoom(amount: Amount, isKnown: boolean, within: ReadonlySet<Reservation>): boolean {
    const { cost, tokens } = this.limits
    if (tokens === undefined && cost === undefined) return true
    const others = [...this.#reservations].filter((other) => !within.has(other))
    if (others.length === 0) return true
    if (!isKnown && others.filter((other) => !other.isKnown).length >= unknownAtOnce) return false
    // By now it may be known that a call at work uses more than was set aside for it.
    const fits = (limit: "tokens" | "cost") => {
      const allowed = this.limits[limit]
      if (allowed === undefined) return true
      const least = this.#largest?.[limit] ?? 0
      return (
        others.reduce((sum, one) => sum + Math.max(one[limit], least), this.#used[limit] + amount[limit]) <= allowed
      )
    }
    return fits("tokens") && fits("cost")
  }

  #release(reservation: Reservation): void {
    for (let ledger: Ledger | undefined = this; ledger !== undefined; ledger = ledger.parent) {
      ledger.#reservations.delete(reservation)
      ledger.#ends.notify()
    }
  }
}

/** A reservation and those above it. */
const withAll = (innermost: Reservation | undefined): ReadonlySet<Reservation> => {
  const all = new Set<Reservation>()
  for (let one = innermost; one !== undefined; one = one.above) all.add(one)
  return all
}
