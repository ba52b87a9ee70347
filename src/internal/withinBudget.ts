/**
 * Does the work of a run within a budget. A run that is made again counts on: a journal keeps when it began, and how its budget was
 * exceeded; what its kept steps have used is counted as they are given.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Prompt from "effect/ai/Prompt"
import * as Schema from "effect/Schema"
import { BudgetExceeded } from "../RunError.ts"
import type { Journal } from "../services/Journal.ts"
import { Ledger, type Limits } from "./budget.ts"
import { restored, thereAgain } from "./compensation.ts"
import { time } from "./decided.ts"
import { withInterruptFailures } from "./interruptFailures.ts"
import { decide, formOf, journalOf, keptOf, note } from "./journaled.ts"
import { CurrentPlace, type Place, placeIn } from "./place.ts"
import { carriedOf } from "./resumption.ts"
import type { RunState } from "./runState.ts"
import { chargedLeft, UsedForm, usedSince } from "./stepAccount.ts"
import { describeReason } from "./timeLimit.ts"

/** Does the work of a run within a budget; fails with `BudgetExceeded` once everything that it has started is over. */
export const within = <A, E, R>(
  state: RunState,
  limits: Limits,
  work: Effect.Effect<A, E, R>
): Effect.Effect<A, E | BudgetExceeded, R> =>
  Effect.withFiber((fiber) => {
    const now = fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()
    const journal = journalOf(fiber)
    if (journal === undefined) {
      const begun = begin(state, (ms) => {
        const times = { now, startedAt: now - ms, wasInTime: false }
        return new Ledger(state.budget, state.info, limits, times)
      })
      return Effect.flatMap(begun, (ledger) => Effect.flatten(limited(state, ledger, work)))
    }
    return keptWithin(journal, { place: placeIn(state, fiber.getRef(CurrentPlace)), now }, state, limits, work)
  })

/** Makes a ledger of a run, which has what the run had used where it goes on, `ms` of time among that. */
export const begin = (state: RunState, make: (ms: number) => Ledger): Effect.Effect<Ledger> =>
  Effect.map(carriedOf(state, nthOf(state)), (carried) => {
    const ledger = make(carried?.ms ?? 0)
    if (carried !== undefined) ledger.carry(carried)
    return ledger
  })

const nthOf = ({ budget, info }: RunState): number => (budget?.owner === info ? budget.nth + 1 : 0)

/** Returns how the work ended: with a value, or, where it failed by its budget, with that failure. */
const limited = <A, E, R>(
  state: RunState,
  ledger: Ledger,
  work: Effect.Effect<A, E, R>
): Effect.Effect<Effect.Effect<A, BudgetExceeded>, E | BudgetExceeded, R> =>
  Effect.suspend(() => {
    state.record()
    return withInterruptFailures(state.within(ledger, work), (effect, late) =>
      Effect.map(
        Effect.raceFirst(
          Effect.asSome(effect),
          Effect.as(Effect.andThen(ledger.failed, thereAgain([state.place])), Option.none())
        ),
        (done): Effect.Effect<A, BudgetExceeded> =>
          Option.isSome(done) && !ledger.hasFailed
            ? Effect.succeed(done.value)
            : Effect.fail(exceeded(state, ledger, late()?.reasons.map(describeReason)))
      )
    )
  })

const exceeded = (
  { bill, info, transcript }: RunState,
  ledger: Ledger,
  failures: ReadonlyArray<string> | undefined
): BudgetExceeded => {
  const { allowed, by, limit, unpriced, used } = ledger.hit!
  return new BudgetExceeded({
    path: info.path,
    by,
    limit,
    allowed,
    used,
    spent: bill.spent(),
    transcript: transcript?.soFar ?? Prompt.empty,
    ...(ledger.cost === undefined ? {} : { cost: ledger.cost }),
    ...(unpriced === undefined ? {} : { unpriced }),
    ...(ledger.isAnswering ? { wasAsked: true } : {}),
    ...(failures === undefined ? {} : { failures })
  })
}

/** How the work ended: by its budget, with what it had used until then, or otherwise. */
const outcomes = formOf(
  Schema.Struct({ exceeded: Schema.optionalKey(Schema.Struct({ error: BudgetExceeded, used: UsedForm })) })
)

/** As {@link within}, in a run that can be made again. */
const keptWithin = <A, E, R>(
  journal: Journal,
  { now, place }: { readonly place: Place; readonly now: number },
  state: RunState,
  limits: Limits,
  work: Effect.Effect<A, E, R>
): Effect.Effect<A, E | BudgetExceeded, R> => {
  const key = place.key("budget")
  const step = { key, name: "budget" }
  const { bill } = state
  const isTimed = limits.time !== undefined
  // An agent that answers decides from step to step.
  const isDecided = isTimed && limits.onExceeded === "fail"
  const run = Effect.fnUntraced(function* (wasInTime: boolean): Effect.fn.Return<A, E | BudgetExceeded, R> {
    const began = { key: `${key}/began`, name: step.name }
    const carried = yield* carriedOf(state, nthOf(state))
    const since = now - (carried?.ms ?? 0)
    const startedAt = isTimed ? yield* decide(journal, began, Effect.succeed(since), time) : since
    const ledger = new Ledger(state.budget, state.info, limits, { now, startedAt, wasInTime })
    if (carried !== undefined) ledger.carry(carried)
    const before = bill.moment
    const ended = yield* limited(state, ledger, work)
    if (!ledger.hasFailed) {
      if (isDecided && !wasInTime) yield* note(journal, step, outcomes.encode({}))
      return yield* ended
    }
    const error = yield* Effect.flip(ended as Effect.Effect<never, BudgetExceeded>)
    // The budgets around it have what was carried.
    const used = usedSince(bill, before, chargedLeft(ledger.used, carried))
    yield* note(journal, step, outcomes.encode({ exceeded: { error, used } }))
    return yield* Effect.fail(error)
  })
  return Effect.flatMap(keptOf(journal, step), (json) => {
    const kept = json === undefined ? undefined : outcomes.decode(json)
    if (kept?.exceeded === undefined) return run(kept !== undefined)
    const { error, used } = kept.exceeded
    // What had finished is to be undone, so it has to be there again.
    return Effect.andThen(restored(journal, place, state, used, work), Effect.fail(error))
  })
}
