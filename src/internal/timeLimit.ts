/** Time limits of runs. How one ended is kept by a journal: a run that was in time is so when it is made again. */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Prompt from "effect/ai/Prompt"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { RunTimedOut } from "../RunError.ts"
import { Spent } from "../RunEvent.ts"
import type { Journal } from "../services/Journal.ts"
import { time } from "./decided.ts"
import { withInterruptFailures } from "./interruptFailures.ts"
import { restored, thereAgain } from "./compensation.ts"
import { decide, formOf, journalOf, keptOf, note } from "./journaled.ts"
import { messageOf } from "./message.ts"
import { CurrentPlace, type Place, placeIn } from "./place.ts"
import type { RunState } from "./runState.ts"
import type { Charged } from "./budget.ts"
import { charging, UsedForm, usedSince } from "./stepAccount.ts"

/** Runs a run's work within a time limit. When that is over, everything that it has started is interrupted, and then it fails. */
export const within = <A, E, R>(
  work: Effect.Effect<A, E, R>,
  limit: Duration.Duration,
  state: RunState
): Effect.Effect<A, E | RunTimedOut, R> =>
  Effect.withFiber((fiber) => {
    state.record()
    const journal = journalOf(fiber)
    if (journal === undefined) return limited(work, Effect.sleep(limit), limit, state)
    const place = placeIn(state, fiber.getRef(CurrentPlace))
    return keptWithin(journal, place, work, limit, state)
  })

const limited = <A, E, R>(
  work: Effect.Effect<A, E, R>,
  left: Effect.Effect<void>,
  limit: Duration.Duration,
  state: RunState
): Effect.Effect<A, E | RunTimedOut, R> =>
  withInterruptFailures(work, (effect, late) =>
    Effect.flatMap(Effect.raceFirst(Effect.asSome(effect), Effect.as(left, Option.none())), (done) => {
      if (Option.isSome(done)) return Effect.succeed(done.value)
      const failures = late()?.reasons.map(describeReason)
      const transcript = state.transcript?.soFar ?? Prompt.empty
      return Effect.fail(
        timedOut(limit, state, {
          spent: state.bill.spent(),
          transcript,
          ...(failures === undefined ? {} : { failures })
        })
      )
    })
  )

const timedOut = (limit: Duration.Duration, { info }: RunState, late: Late): RunTimedOut =>
  new RunTimedOut({ path: info.path, durationMs: Duration.toMillis(limit), ...late })

/** What a reason of a cause says. */
export const describeReason = (reason: Cause.Reason<unknown>): string =>
  messageOf(Cause.isFailReason(reason) ? reason.error : Cause.isDieReason(reason) ? reason.defect : reason)

/** What a run had come to when it was too late. */
const Late = Schema.Struct({
  spent: Spent,
  /** What of that is the work's own. */
  used: Schema.optionalKey(UsedForm),
  transcript: Prompt.Prompt,
  failures: Schema.optionalKey(Schema.Array(Schema.String))
})
type Late = typeof Late.Type

/** How a run ended; `late` is absent where it was in time. */
const Outcome = Schema.Struct({ late: Schema.optionalKey(Late) })
type Outcome = typeof Outcome.Type
const outcomes = formOf(Outcome)

/** The time counts from the first time on that the run was made, also while no process works on it. */
const keptWithin = <A, E, R>(
  journal: Journal,
  place: Place,
  work: Effect.Effect<A, E, R>,
  limit: Duration.Duration,
  state: RunState
): Effect.Effect<A, E | RunTimedOut, R> => {
  const key = place.key("timeout")
  const step = { key, name: "timeout" }
  const as = ({ late }: Outcome): Effect.Effect<A, E | RunTimedOut, R> => {
    if (late === undefined) return work
    const { used, ...error } = late
    // What had finished is to be undone, so it has to be there again.
    const again = restored(journal, place, state, used ?? late.spent, work)
    return Effect.andThen(again, Effect.fail(timedOut(limit, state, error)))
  }
  /** Keeps the outcome, unless another is kept, which then counts. */
  const ended = (own: Outcome, exit: Effect.Effect<A, E | RunTimedOut>): Effect.Effect<A, E | RunTimedOut, R> =>
    Effect.flatMap(note(journal, step, outcomes.encode(own)), (json) => {
      const kept = json === undefined ? own : outcomes.decode(json)
      return (kept.late === undefined) === (own.late === undefined) ? exit : as(kept)
    })
  const first = Effect.fnUntraced(function* (charged: () => Charged | undefined) {
    const { bill } = state
    const before = bill.moment
    const now = yield* Clock.currentTimeMillis
    const deadline = Effect.succeed(now + Duration.toMillis(limit))
    const until = yield* decide(journal, { key: `${key}/deadline`, name: "timeout" }, deadline, time)
    // A failure of the work is not one of the limit, also where it is that of a limit within it.
    const ending = Effect.map(Effect.exit(work), (exit) => (isInterrupted(exit) ? exit : Exit.succeed(exit)))
    const left = Effect.andThen(Effect.sleep(Math.max(0, until - now)), thereAgain([place]))
    return yield* Effect.matchCauseEffect(limited(Effect.flatten(ending), left, limit, state), {
      onSuccess: (exit) => ended({}, exit),
      onFailure: (cause) => {
        const late = cause.reasons.find(Cause.isFailReason)?.error
        if (late === undefined) return Effect.failCause(cause)
        const { failures, spent, transcript } = late
        const used = usedSince(bill, before, charged())
        const outcome = { late: { spent, used, transcript, ...(failures === undefined ? {} : { failures }) } }
        return ended(outcome, Effect.fail(late))
      }
    })
  })
  return Effect.flatMap(keptOf(journal, step), (json) =>
    json === undefined ? charging(state, first) : as(outcomes.decode(json))
  )
}

const isInterrupted = (exit: Exit.Exit<unknown, unknown>): exit is Exit.Exit<never> =>
  Exit.isFailure(exit) && Cause.hasInterrupts(exit.cause)
