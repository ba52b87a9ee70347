/**
 * Resumes a run from the transcript of a suspended run, at the agent that waits, anywhere in the workflow; or rejects
 * the transcript.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Prompt from "effect/ai/Prompt"
import * as Predicate from "effect/Predicate"
import type * as Fiber from "effect/Fiber"
import { type Blocked, CannotResume, InvalidApproval } from "../RunError.ts"
import { CurrentSigning } from "../services/Approver.ts"
import { type Carried, carriedIn } from "./budget.ts"
import { toPrompt } from "./input.ts"
import type { Count, RunState } from "./runState.ts"
import { blockedIn, type By, countIn, memberNamed, type UsedBefore, usedIn, waitingAt } from "./suspension.ts"

type Path = ReadonlyArray<string>

/** A suspended run that is to go on. */
export interface Resumption {
  /** The path of the agent that goes on, in the tree of runs of now. */
  readonly target: Path
  readonly transcript: Prompt.Prompt
  /** True once the agent has begun to go on: a second run of it, in a later round, gets its own input. */
  taken: boolean
}

/** The suspended run that the runs in here are to go on with. */
export const Resuming: Context.Reference<Resumption | undefined> = Context.Reference<Resumption | undefined>(
  "troupe/Resuming",
  { defaultValue: () => undefined }
)

/** What around this fiber cannot be resumed in its middle, and why: the innermost of those. */
export const Blocking: Context.Reference<Blocked | undefined> = Context.Reference<Blocked | undefined>(
  "troupe/Blocking",
  { defaultValue: () => undefined }
)

/** Why a run that waits here cannot go on where it waits; `undefined` where it can. */
export const blockedHere = (fiber: Fiber.Fiber<unknown, unknown>, state: RunState): Blocked | undefined => {
  const [repeated, blocking] = [repeatedIn(state), fiber.getRef(Blocking)]
  return repeated !== undefined && repeated.path.length > (blocking?.path.length ?? 0) ? repeated : blocking
}

/** What is noted of a run that waits. `own`: what it has used of its own limits. */
export const notedBy = (
  fiber: Fiber.Fiber<unknown, unknown>,
  state: RunState,
  own: { readonly steps: number; readonly toolCalls: number } = { steps: 0, toolCalls: 0 }
): By => {
  const { path } = state.info
  const now = fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()
  const counts = countsIn(state)
  const used = {
    ...own,
    budgets: carriedIn(state.budget, path.length, now),
    ...(counts.length === 0 ? {} : { counts })
  }
  return { at: path, within: blockedHere(fiber, state), used, signing: fiber.getRef(CurrentSigning) }
}

/** What the run and those around it have counted. */
const countsIn = (state: RunState): Exclude<UsedBefore["counts"], undefined> => {
  const counts: Array<{ readonly above: number; readonly name: string; readonly value: number }> = []
  const depth = state.info.path.length
  for (let one: RunState | undefined = state; one !== undefined; one = one.parent) {
    for (const [name, { value }] of one.counts) {
      if (value > 0) counts.push({ above: depth - one.info.path.length, name, value })
    }
  }
  return counts
}

/** A function begins again when it goes on: of two runs of one name in it, the first would take the place of the second. */
export const repeatedIn = (state: RunState): Blocked | undefined => {
  for (let inner: RunState = state; inner.parent !== undefined; inner = inner.parent) {
    const { info, parent } = inner
    if (inner.ordinal === 1) continue
    const reason = `it has run "${info.path.at(-1)}" ${inner.ordinal} times, and begins again when it goes on: give each a name of its own with Runner.named`
    return { path: parent.info.path, reason }
  }
  return undefined
}

/** A resumption that concerns a run, and the way from the run to the agent that goes on; empty for that agent itself. */
export interface Found {
  readonly resumption: Resumption
  readonly rest: Path
}

/**
 * What the run with this input is to go on with: what the workflow around it says, or its input when that is the transcript
 * of a suspended run. Fails with `CannotResume` for a transcript in which another runner waits.
 */
export const find = (input: unknown, state: RunState): Effect.Effect<Found | undefined, CannotResume> =>
  Effect.withFiber((fiber): Effect.Effect<Found | undefined, CannotResume> => {
    const { path } = state.info
    const around = fiber.getRef(Resuming)
    if (around !== undefined && !around.taken && beginsWith(around.target, path)) {
      return unlessBlocked(state, { resumption: around, rest: around.target.slice(path.length) })
    }
    const waiting = waitingAt(input)
    if (waiting === undefined) return Effect.succeed(undefined)
    const rest = below(waiting, path)
    const transcript = toPrompt(input as Prompt.RawInput)
    if (rest === undefined) {
      const member = memberNamed(path.at(-1) ?? "", transcript.content)
      if (member !== undefined) {
        const own = below(member.path, path) ?? []
        const resumption = { target: [...path, ...own], transcript: member.transcript, taken: false }
        return unlessBlocked(state, { resumption, rest: own })
      }
      return Effect.fail(new CannotResume({ path, waiting, problem: "it is another runner" }))
    }
    return unlessBlocked(state, { resumption: { target: [...path, ...rest], transcript, taken: false }, rest })
  })

/** Notes that a run went on, of which a journal has kept how it failed: nothing in it begins again. */
export const wentOn = (state: RunState): Effect.Effect<void> =>
  Effect.match(find(state.input, state), {
    onFailure: () => {},
    onSuccess: (found) => {
      if (found !== undefined) found.resumption.taken = true
    }
  })

/** What a run had used that was suspended, and how many runs above the one that waits it is. */
interface Before {
  readonly used: UsedBefore
  readonly above: number
}

/** What the run with this input had used before it was suspended; `undefined` for one that begins. */
const beforeOf = (input: unknown, state: RunState): Effect.Effect<Before | undefined> =>
  Effect.match(find(input, state), {
    onFailure: () => undefined,
    onSuccess: (found) => {
      const used = found && usedIn(found.resumption.transcript.content)
      return used && { used, above: found.rest.length }
    }
  })

/** What a run that goes on had used of its `nth` budget before it was suspended; `undefined` for one that begins. */
export const carriedOf = (state: RunState, nth: number): Effect.Effect<Carried | undefined> =>
  Effect.map(beforeOf(state.input, state), (before) =>
    before?.used.budgets.find((one) => one.above === before.above && one.nth === nth)
  )

/** Begins the counts of a run, by their names: each goes on from what it was, where the run with this input was suspended. */
export const countsOf = (input: unknown, state: RunState): Effect.Effect<(name: string) => Count> =>
  Effect.map(
    beforeOf(input, state),
    (before) => (name) => state.count(name, countIn(before?.used, before?.above ?? 0, name))
  )

/** What the parts of a run count that the fiber works in, such as its attempts. */
const CurrentCounts = Context.Reference<
  { readonly state: RunState; readonly names: ReadonlyArray<string> } | undefined
>("troupe/internal/Counts", { defaultValue: () => undefined })

/**
 * Does a part of a run that counts something for itself, as a middleware does. `input` is what the part was given. Of several counts of
 * one name, one within the other, each has its own.
 */
export const counting = <A, E, R>(
  name: string,
  input: unknown,
  state: RunState,
  work: (count: Count) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.withFiber((fiber) => {
    const around = fiber.getRef(CurrentCounts)
    const names = around?.state === state ? around.names : []
    const nth = names.filter((one) => one === name).length + 1
    return Effect.flatMap(countsOf(input, state), (countOf) =>
      Effect.provideService(work(countOf(nth === 1 ? name : `${name} ${nth}`)), CurrentCounts, {
        state,
        names: [...names, name]
      })
    )
  })

/** The name of the run that goes on in what the run has begun here; `undefined` where none does. */
export const nextIn = (fiber: Fiber.Fiber<unknown, unknown>, { info: { path } }: RunState): string | undefined => {
  const around = fiber.getRef(Resuming)
  return around !== undefined && !around.taken && beginsWith(around.target, path)
    ? around.target[path.length]
    : undefined
}

/** Why the run of a function cannot go on with what waits in it; `undefined` for one that begins. */
export const refusalIn = (state: RunState): Effect.Effect<CannotResume | undefined> =>
  Effect.match(find(state.input, state), {
    onFailure: (refusal) => refusal,
    onSuccess: (found) => {
      const blocked = found && blockedIn(found.resumption.transcript.content)
      return blocked?.path.at(-1) === state.info.path.at(-1)
        ? refused(state.info.path, found!.resumption.target, blocked!)
        : undefined
    }
  })

const refused = (path: Path, waiting: Path, blocked: Blocked): CannotResume => {
  const problem = `"${blocked.path.at(-1)}" cannot be resumed in its middle: ${blocked.reason}`
  return new CannotResume({ path, waiting, problem })
}

/** Refuses a run in a function that cannot go on. Any other one is by itself. */
const unlessBlocked = ({ info: { path }, parent }: RunState, found: Found): Effect.Effect<Found, CannotResume> => {
  const { target, transcript } = found.resumption
  const blocked = blockedIn(transcript.content)
  if (blocked === undefined || parent?.isFunction !== true || parent.info.path.at(-1) !== blocked.path.at(-1)) {
    return Effect.succeed(found)
  }
  return Effect.fail(refused(path, target, blocked))
}

const beginsWith = (path: Path, start: Path): boolean =>
  path.length >= start.length && start.every((name, index) => name === path[index])

/**
 * The way from the runner at `path` to the agent that waits. A transcript can be given to the runner that was run, to a
 * member of it, or to the same runner within another one: the runner has to stand on the way to the agent, by its name.
 */
const below = (waiting: Path, path: Path): Path | undefined => {
  if (beginsWith(waiting, path)) return waiting.slice(path.length)
  const at = waiting.indexOf(path.at(-1) ?? "")
  return at === -1 ? undefined : waiting.slice(at + 1)
}

/** Runs `effect` so that the agent which waits goes on in it. Fails with `CannotResume` when it ended without doing so. */
export const within = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  resumption: Resumption,
  path: Path
): Effect.Effect<A, E | CannotResume, R> =>
  Effect.flatMap(Effect.provideService(effect, Resuming, resumption), (output) =>
    resumption.taken
      ? Effect.succeed(output)
      : Effect.fail(
          new CannotResume({ path, waiting: resumption.target, problem: "the run ended without asking it to go on" })
        )
  )

/** True for an error of a run that waits, or that cannot go on with its answers: nothing else takes its place. */
export const isPassedOn = (error: unknown): boolean =>
  isWaiting(error) || error instanceof InvalidApproval || error instanceof CannotResume

/** True for an error that says that a run waits. Another attempt at the run would only ask again. */
export const isWaiting = (error: unknown): boolean =>
  Predicate.isTagged(error, "RunSuspended") ||
  Predicate.isTagged(error, "RoomSuspension") ||
  (Predicate.hasProperty(error, "failures") &&
    Array.isArray(error.failures) &&
    error.failures.some(
      (failure) =>
        (Predicate.hasProperty(failure, "error") && isWaiting(failure.error)) ||
        (Predicate.hasProperty(failure, "cause") && isWaiting(failure.cause))
    ))
