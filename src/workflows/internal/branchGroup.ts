/** Runs several pieces of work at once, whose outcomes decide together. Parallel, Router and Gather use it. */
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { invalid, inWords } from "../../internal/definition.ts"
import * as Compensation from "../../internal/compensation.ts"
import { formOf, journalOf, keptOf, note as noteOf } from "../../internal/journaled.ts"
import { at, CurrentPlace, type Place, placeIn } from "../../internal/place.ts"
import type { RunState } from "../../internal/runState.ts"
import { isAsleep, sleep } from "../../internal/sleep.ts"
import { exitOf, unlessLeaving } from "../../internal/trueExit.ts"
import { usageLeft } from "../../internal/bill.ts"
import { chargedLeft, charging, costLeft, usedSince, UsedForm } from "../../internal/stepAccount.ts"
import { RunSuspended } from "../../RunError.ts"
import type { WaitingMember } from "../../internal/workflowSuspension.ts"
import type { Journal, Step } from "../../services/Journal.ts"
import { BranchDefect, type BranchFailure, ParallelError } from "./errors.ts"

export { BranchDefect, type BranchFailure, ParallelError, textOf } from "./errors.ts"

/** Every branch must succeed; the first failure interrupts the others. The default. */
export interface FailFast {
  readonly _tag: "failFast"
}
/** Every branch runs to its end; its success or its failure is the output. */
export interface Settle {
  readonly _tag: "settle"
}
/** The first success wins and interrupts the others. */
export interface Race {
  readonly _tag: "race"
}
/** The first `n` successes win and interrupt the others. */
export interface Quorum {
  readonly _tag: "quorum"
  readonly n: number
}
/** How branches depend on one another. */
export type Mode = FailFast | Settle | Race | Quorum

export const failFast: FailFast = { _tag: "failFast" }

/** One piece of work, under the name that it has in events and errors, and what it waits for before it begins. */
export type Entry<A = unknown, E = unknown, R = unknown> = readonly [
  key: string,
  work: Effect.Effect<A, E, R>,
  wait?: Effect.Effect<unknown> | undefined
]

export interface Settings {
  /** The workflow, as errors name it. */
  readonly name: string
  readonly mode: Mode
  readonly concurrency: number | "unbounded" | undefined
  readonly state: RunState
  /** What is known of branches that have ended before the run was suspended, by their key; they do not run again. */
  readonly known?: ReadonlyMap<string, Known> | undefined
  /**
   * What happens to a group that its branches have not decided, because some of them wait. Default: it fails as the first of
   * these.
   */
  readonly onWaiting?: ((waiting: Waiting) => Effect.Effect<never, RunSuspended>) | undefined
}

/** How a branch has ended. */
export type Known =
  | { readonly _tag: "output"; readonly output: unknown }
  | { readonly _tag: "failed"; readonly errors: readonly [unknown, ...ReadonlyArray<unknown>] }

/** A group that waits: its branches that are suspended, and those that have ended, in the order of the entries. */
export interface Waiting {
  readonly suspended: readonly [WaitingMember, ...ReadonlyArray<WaitingMember>]
  readonly known: ReadonlyArray<readonly [key: string, known: Known]>
}

const modes: ReadonlySet<string> = new Set(["failFast", "settle", "race", "quorum"] satisfies ReadonlyArray<
  Mode["_tag"]
>)

/** Throws `InvalidDefinition` for a group of `count` that could never be decided. */
export const check = (
  subject: string,
  count: number | undefined,
  mode: Mode,
  concurrency: number | "unbounded" | undefined
): void => {
  if (count === 0) throw invalid(subject, "it has no branches", "Give it at least one")
  // What a program without types gives has any shape.
  const given = (mode as Partial<Mode> | null)?._tag
  if (given === undefined || !modes.has(given)) {
    throw invalid(
      subject,
      `mode is ${inWords(mode)}`,
      "Use Parallel.failFast, Parallel.settle, Parallel.race or Parallel.quorum(n)"
    )
  }
  if (mode._tag === "quorum") {
    const { n } = mode
    if (!(Number.isInteger(n) && n >= 1))
      throw invalid(subject, `a quorum of ${inWords(n)} makes no sense`, "Use a whole number from 1")
    if (count !== undefined && n > count) {
      throw invalid(subject, `a quorum of ${n} cannot be reached by ${count} branches`, `Use 1 to ${count}`)
    }
  }
  if (concurrency === undefined || concurrency === "unbounded") return
  if (!(concurrency >= 1 && (Number.isInteger(concurrency) || concurrency === Infinity)))
    throw invalid(subject, `concurrency is ${inWords(concurrency)}`, "Use a whole number from 1")
}

/**
 * Runs the entries until their outcomes decide. Returns the outputs that count, in the order of the entries: all of them
 * (failFast), a `Result` of each (settle), the first (race), the first `n` (quorum). Fails with `ParallelError`, never in
 * mode settle. What is still running when it is decided has been interrupted, and is over, before the outcome is seen.
 */
export const run = (
  entries: ReadonlyArray<Entry>,
  settings: Settings
): Effect.Effect<
  ReadonlyArray<readonly [key: string, output: unknown]>,
  ParallelError<unknown> | RunSuspended,
  unknown
> =>
  unlessLeaving(
    Effect.withFiber((fiber) => {
      const place = placeIn(settings.state, fiber.getRef(CurrentPlace))
      const placeOf = place.branches()
      const journal = journalOf(fiber)
      const { mode } = settings
      const runOnly = (only?: Winners) => runAll(makeGroup(entries, settings, placeOf, only))
      if (mode._tag !== "race" && mode._tag !== "quorum") return runOnly()
      const counting = (outputs: Outputs) => withoutLosers(outputs, { entries, placeOf, settings })
      if (journal === undefined) return Effect.tap(runOnly(), counting)
      const once = decidedOnce(journal, { key: place.key(mode._tag), name: mode._tag }, settings.state, runOnly)
      return Effect.tap(once, counting)
    })
  )

/** What the losers of a race or a quorum had done does not count for the run. */
const withoutLosers = (
  outputs: Outputs,
  { entries, placeOf, settings: { mode } }: Pick<Group, "entries" | "placeOf" | "settings">
): Effect.Effect<void> => {
  if (mode._tag !== "race" && mode._tag !== "quorum") return Effect.void
  const winners = new Set(outputs.map(([key]) => key))
  return Compensation.forget(entries.flatMap(([key]) => (winners.has(key) ? [] : [placeOf(key)])))
}

/**
 * Runs the entries in mode race, and gives the output of the first that succeeds. One that is suspended ends the race: the
 * others, which do the same, would only wait for the same.
 */
export const first = <A, E, R>(
  entries: ReadonlyArray<Entry<A, E, R>>,
  settings: Pick<Settings, "concurrency" | "name" | "state">
): Effect.Effect<A, ParallelError<E> | RunSuspended, R> => {
  const racing = entries.map(([key, work, wait]): Entry => [
    key,
    Effect.matchEffect(work as Effect.Effect<unknown, unknown, unknown>, {
      onSuccess: (output) => Effect.succeed(Effect.succeed(output)),
      onFailure: (error) => (error instanceof RunSuspended ? Effect.succeed(Effect.fail(error)) : Effect.fail(error))
    }),
    wait
  ])
  const won = run(racing, { ...settings, mode: { _tag: "race" } })
  return Effect.flatMap(won, (outputs) => outputs[0]![1] as Effect.Effect<unknown>) as Effect.Effect<
    A,
    ParallelError<E> | RunSuspended,
    R
  >
}

type Outcome =
  | { readonly _tag: "output"; readonly value: unknown }
  | { readonly _tag: "failed" }
  | { readonly _tag: "suspended"; readonly error: RunSuspended }
const failedOutcome: Outcome = { _tag: "failed" }

type Outputs = ReadonlyArray<readonly [key: string, output: unknown]>
type Winners = ReadonlySet<string>

/** What is kept of a race or a quorum: who has won, and what all have used. */
const Kept = formOf(Schema.Struct({ winners: Schema.Array(Schema.String), ...UsedForm.fields }))

/**
 * Runs a group whose winners are kept: when the run is made again, they win again, and the others do not begin. What those had
 * used is counted all the same.
 */
const decidedOnce = (
  journal: Journal,
  step: Pick<Step, "key" | "name">,
  state: RunState,
  runOnly: (only?: Winners) => Effect.Effect<Outputs, ParallelError<unknown> | RunSuspended, unknown>
): Effect.Effect<Outputs, ParallelError<unknown> | RunSuspended, unknown> => {
  const { bill } = state
  const counting = (only?: Winners) =>
    charging(state, (charged) => Effect.map(runOnly(only), (outputs) => ({ outputs, charged: charged() })))
  return Effect.suspend(() => {
    const before = bill.moment
    const again = (json: Schema.Json) => {
      const { charged, cost, steps, usage, winners } = Kept.decode(json)
      return Effect.map(counting(new Set(winners)), ({ charged: own, outputs }) => {
        bill.addUsage(usageLeft(usage, bill.usageSince(before.usage)), costLeft(cost, bill.costSince(before.cost)))
        bill.addStep(steps - (bill.steps - before.steps))
        if (charged !== undefined) state.budget?.restore(chargedLeft(charged, own))
        return outputs
      })
    }
    const first = Effect.flatMap(counting(), ({ charged, outputs }) => {
      const winners = outputs.map(([key]) => key)
      const own = Kept.encode({ winners, ...usedSince(bill, before, charged) })!
      return Effect.flatMap(noteOf(journal, step, own), (kept) => {
        const isOurs = kept === undefined || Kept.decode(kept).winners.join("\n") === winners.join("\n")
        return isOurs ? Effect.succeed(outputs) : again(kept)
      })
    })
    return Effect.flatMap(keptOf(journal, step), (kept) => (kept === undefined ? first : again(kept)))
  })
}

/** The branches of one run, and their outcomes so far. */
interface Group {
  readonly entries: ReadonlyArray<Entry>
  readonly settings: Settings
  readonly placeOf: (key: string) => Place
  /** The branches that are run; `undefined` for all. */
  readonly only: Winners | undefined
  readonly settles: boolean
  readonly outcomes: Array<Outcome | undefined>
  readonly failures: Array<BranchFailure<unknown>>
  /** How many must succeed. */
  readonly needed: number
  succeeded: number
  failed: number
  done: number
  /** How many branches sleep. */
  asleep: number
  /** A branch has failed while it was being interrupted. */
  failedLate: boolean
  /** Branches that have succeeded, also when it was decided already. */
  readonly completed: Set<number>
  /** Branches that have failed by being interrupted, and nothing else. */
  readonly interrupted: Set<number>
  /** How many branches have not ended, and how many of them have failed and wait for what others had finished before. */
  open: number
  holding: number
  /** Lets those fail: no other can go on. */
  readonly idle: Deferred.Deferred<void>
}

const makeGroup = (
  entries: ReadonlyArray<Entry>,
  settings: Settings,
  placeOf: Group["placeOf"],
  only: Winners | undefined
): Group => {
  const { known, mode } = settings
  const group: Group = {
    entries,
    settings,
    placeOf,
    only,
    settles: mode._tag === "settle",
    outcomes: Array.from({ length: entries.length }),
    failures: [],
    needed:
      only !== undefined ? only.size : mode._tag === "race" ? 1 : mode._tag === "quorum" ? mode.n : entries.length,
    succeeded: 0,
    failed: 0,
    done: 0,
    asleep: 0,
    failedLate: false,
    completed: new Set(),
    interrupted: new Set(),
    open: only?.size ?? entries.length,
    holding: 0,
    idle: Deferred.makeUnsafe<void>()
  }
  if (known !== undefined) {
    for (const [index, [key]] of entries.entries()) {
      const one = known.get(key)
      if (one === undefined) continue
      note(group, key, index, exitOfKnown(one), false)
      group.done++
      group.open--
    }
  }
  return group
}

const exitOfKnown = (known: Known): Exit.Exit<unknown, unknown> =>
  known._tag === "output"
    ? Exit.succeed(known.output)
    : Exit.failCause(Cause.fromReasons(known.errors.map((error) => Cause.makeFailReason(error))))

const runAll = (
  group: Group
): Effect.Effect<ReadonlyArray<readonly [string, unknown]>, ParallelError<unknown> | RunSuspended, unknown> => {
  const concurrency = group.settings.concurrency ?? "unbounded"
  const decided = Deferred.makeUnsafe<void>()
  const all = Effect.forEach(group.entries, (entry, index) => runBranch(group, entry, index, decided), {
    concurrency,
    discard: true
  })
  // One tick later, so that observers see the branch that decided before those that it interrupts.
  const stop = Effect.andThen(Deferred.await(decided), Effect.yieldNow)
  // A race forgets what fails while it is interrupted from outside; what settles hands it on itself.
  const over = group.settles ? all : Effect.onInterrupt(Effect.raceFirst(all, stop), () => failInterrupted(group))
  return Effect.flatMap(
    over,
    (): Effect.Effect<ReadonlyArray<readonly [string, unknown]>, ParallelError<unknown> | RunSuspended> => {
      if (!group.settles && isReached(group)) return Effect.succeed(outputsOf(group))
      if (isDecided(group)) return fail(group)
      // It goes to sleep once every branch has ended or sleeps.
      if (group.asleep > 0) return sleep
      const waiting = waitingOf(group)
      if (waiting === undefined) return group.settles ? Effect.succeed(outputsOf(group)) : fail(group)
      return group.settings.onWaiting?.(waiting) ?? Effect.fail(waiting.suspended[0].error)
    }
  )
}

/** What a group that is not decided waits for; `undefined` where it waits for nothing. */
const waitingOf = ({ entries, failures, outcomes, settles }: Group): Waiting | undefined => {
  const suspended = entries.flatMap(([key], index): ReadonlyArray<WaitingMember> => {
    const outcome = outcomes[index]
    return outcome?._tag === "suspended" ? [{ key, error: outcome.error }] : []
  })
  if (!Arr.isReadonlyArrayNonEmpty(suspended)) return undefined
  const known = entries.flatMap(([key], index): Waiting["known"] => {
    const outcome = outcomes[index]
    if (outcome === undefined || outcome._tag === "suspended") return []
    const errors = failures.filter(({ branch }) => branch === key).map(({ error }) => error as unknown)
    if (Arr.isReadonlyArrayNonEmpty(errors)) return [[key, { _tag: "failed", errors }]]
    if (outcome._tag === "failed") return []
    const { value } = outcome
    return [[key, { _tag: "output", output: settles && Result.isResult(value) ? Result.getOrThrow(value) : value }]]
  })
  return { suspended, known }
}

const isDecided = (group: Group): boolean =>
  !group.settles && (isReached(group) || group.failed > (group.only?.size ?? group.entries.length) - group.needed)

const isReached = (group: Group): boolean => group.succeeded >= group.needed

const runBranch = (
  group: Group,
  [key, work, wait]: Entry,
  index: number,
  decided: Deferred.Deferred<void>
): Effect.Effect<unknown, never, unknown> => {
  if (group.only?.has(key) === false) return Effect.void
  const end = (exit: Exit.Exit<unknown, unknown>) => Effect.andThen(holding(group, exit), over(exit))
  const over = (exit: Exit.Exit<unknown, unknown>) =>
    Effect.flatMap(isDecided(group) ? Effect.succeed(false) : isAsleep(exit), (asleep) => {
      if (asleep) {
        group.asleep++
        return Effect.void
      }
      const wasDecided = isDecided(group)
      const suspended = wasDecided ? undefined : suspensionIn(exit)
      if (suspended !== undefined) {
        // It has not ended: the others go on, and may decide the group without it.
        group.outcomes[index] = { _tag: "suspended", error: suspended }
        return Effect.void
      }
      const status = note(group, key, index, exit, wasDecided)
      const done = ++group.done
      const total = group.entries.length
      // Interrupt siblings one tick later, so that observers see this branch's `ItemCompleted` first. Do not wait for slow readers.
      if (!wasDecided && isDecided(group)) Deferred.doneUnsafe(decided, Effect.void)
      return group.settings.state.events.emit({ _tag: "ItemCompleted", item: key, status, done, total })
    })
  // A branch that has won once need not wait again.
  const waited = wait === undefined || group.only !== undefined ? work : Effect.andThen(wait, work)
  const begun = Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(restore(exitOf(at(waited, group.placeOf(key)), end)), end)
  )
  // The interruption of a group that is decided comes a moment later, in which the next branch must not begin.
  return Effect.suspend(() => (isDecided(group) || group.outcomes[index] !== undefined ? Effect.void : begun))
}

/** A branch that fails, and so interrupts the others, waits until what they had finished before a crash is there again. */
const holding = (group: Group, exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { entries, idle, placeOf, settings } = group
    group.open--
    const isFailure = Exit.isFailure(exit) && !group.settles && !isDecided(group)
    if (isFailure) group.holding++
    const slots =
      settings.concurrency === undefined || settings.concurrency === "unbounded" ? Infinity : settings.concurrency
    if (group.open === 0 || group.holding >= slots) Deferred.doneUnsafe(idle, Effect.void)
    if (!isFailure || group.open === 0) return Effect.void
    const there = Compensation.thereAgain(entries.map(([key]) => placeOf(key)))
    return Effect.ensuring(
      Effect.raceFirst(there, Deferred.await(idle)),
      Effect.sync(() => {
        group.holding--
      })
    )
  })

/** What a branch is suspended with that has no other failure. */
export const suspensionIn = (exit: Exit.Exit<unknown, unknown>): RunSuspended | undefined => {
  if (Exit.isSuccess(exit)) return undefined
  const [first, ...others] = exit.cause.reasons
  const isSuspended = others.length === 0 && first !== undefined && Cause.isFailReason(first)
  return isSuspended && first.error instanceof RunSuspended ? first.error : undefined
}

const note = (
  group: Group,
  branch: string,
  index: number,
  exit: Exit.Exit<unknown, unknown>,
  wasDecided: boolean
): "completed" | "failed" | "interrupted" => {
  if (Exit.isSuccess(exit)) {
    group.completed.add(index)
    if (!wasDecided) {
      group.succeeded++
      group.outcomes[index] = { _tag: "output", value: group.settles ? Result.succeed(exit.value) : exit.value }
    }
    return "completed"
  }
  const interrupted = Cause.hasInterruptsOnly(exit.cause)
  if (interrupted && wasDecided) return "interrupted"
  const errors = errorsOf(exit.cause)
  if (interrupted) group.interrupted.add(index)
  else if (Cause.hasInterrupts(exit.cause)) group.failedLate = true
  for (const error of errors) group.failures.push({ branch, error })
  group.failed++
  group.outcomes[index] = group.settles ? { _tag: "output", value: Result.fail(errors[0]) } : failedOutcome
  return interrupted ? "interrupted" : "failed"
}

const outputsOf = (group: Group): ReadonlyArray<readonly [string, unknown]> =>
  group.entries.flatMap(([key], index) => {
    const outcome = group.outcomes[index]
    return outcome?._tag === "output" ? [[key, outcome.value] as const] : []
  })

/** The failures of an interrupted group: those before the interruption, and those during it. */
const failInterrupted = (group: Group): Effect.Effect<void, ParallelError<unknown>> => {
  // A branch that was only interrupted was interrupted from outside, which is not a failure of its own.
  const own = group.failed - group.interrupted.size
  if (!group.failedLate && own <= group.entries.length - group.needed) return Effect.void
  for (const index of group.interrupted) group.outcomes[index] = undefined
  const names = new Set([...group.interrupted].map((index) => group.entries[index]![0]))
  group.failures.splice(0, Infinity, ...group.failures.filter(({ branch }) => !names.has(branch)))
  return fail(group)
}

const fail = (group: Group): Effect.Effect<never, ParallelError<unknown>> =>
  Effect.fail(
    new ParallelError({
      name: group.settings.name,
      failures: group.failures,
      interrupted: group.entries.flatMap(([key], index) =>
        (group.outcomes[index] === undefined || group.outcomes[index]?._tag === "suspended") &&
        !group.completed.has(index)
          ? [key]
          : []
      ),
      spent: group.settings.state.bill.spent()
    })
  )

/** Every failure in a cause, at least one: that of the branch, and those of its finalizers. */
export const errorsOf = <E>(cause: Cause.Cause<E>): readonly [E | BranchDefect, ...Array<E | BranchDefect>] => {
  const errors = cause.reasons.flatMap((reason): ReadonlyArray<E | BranchDefect> =>
    Cause.isFailReason(reason)
      ? [reason.error]
      : Cause.isDieReason(reason)
        ? [new BranchDefect({ defect: reason.defect })]
        : []
  )
  // A failure can be any value, null and undefined too.
  return Arr.isReadonlyArrayNonEmpty(errors) ? errors : [new BranchDefect({ defect: "the branch interrupted itself" })]
}
