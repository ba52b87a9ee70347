/** Parallels: one input to several runners at once. They start together and stop together. */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as LanguageModel from "effect/ai/LanguageModel"
import type * as Prompt from "effect/ai/Prompt"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Agent from "../agents/Agent.ts"
import { assertFunction, assertOptions, countOf, durationOf, namesOf } from "../internal/definition.ts"
import * as Schemas from "../internal/runnerSchemas.ts"
import { inAttempts } from "../internal/attempts.ts"
import { toJson } from "../internal/json.ts"
import { isPassedOn } from "../internal/resumption.ts"
import type { RunState } from "../internal/runState.ts"
import { isAsleep, sleep } from "../internal/sleep.ts"
import type { Structure } from "../internal/structure.ts"
import type { Saved } from "../internal/suspension.ts"
import { goOn } from "../internal/workflowSuspension.ts"
import { unlessLeaving } from "../internal/trueExit.ts"
import { type ErrorIn, type RunnerSlots, type ServicesIn, toEffect, type ValueIn } from "../internal/wiring.ts"
import type { RunSuspended } from "../RunError.ts"
import * as Runner from "../Runner.ts"
import * as Group from "./internal/branchGroup.ts"
import * as Kept from "./internal/keptBranches.ts"
import { kept, restore, saving } from "./internal/keptValues.ts"
import { type Agents, agentsOf, type Prompts } from "./internal/promptAgents.ts"
import { replayable } from "../internal/input.ts"

export {
  BranchDefect,
  type BranchFailure,
  failFast,
  type FailFast,
  type Mode,
  ParallelError,
  type Quorum,
  type Race,
  type Settle
} from "./internal/branchGroup.ts"

type Mode = Group.Mode

/** Every branch runs to its end; its success or its failure is the output. */
export const settle: Group.Settle = { _tag: "settle" }
/** The first success wins and interrupts the others. */
export const race: Group.Race = { _tag: "race" }
/** Needs `n` successes: a majority, a second opinion. */
export const quorum = (n: number): Group.Quorum => ({ _tag: "quorum", n })

/** Branches by name, or in order. */
export type Branches = Readonly<Record<string, Runner.Member>> | ReadonlyArray<Runner.Member>
type AnyRunner = Runner.Runner<never, unknown, unknown, unknown>
/** Any one of the branches. */
type Member<B extends Unchecked> = B extends ReadonlyArray<infer M> ? M : B[keyof B]

/** The input of all branches. */
export type Input<B extends Unchecked> = (
  Member<B> extends infer M ? (M extends unknown ? (input: Runner.Input<M>) => void : never) : never
) extends (input: infer I) => void
  ? I
  : never
/** The services that the branches need. */
export type Services<B extends Branches> = Runner.Services<Member<B>>

/** The output by mode, in the form of the branches. Written out, so that editors show the record. */
export type Output<B extends Branches, M extends Mode> = M extends Group.Settle
  ? { readonly [K in keyof B]: Result.Result<Runner.Output<B[K]>, Runner.Error<B[K]> | Group.BranchDefect> }
  : M extends Group.Race
    ? Runner.Output<Member<B>>
    : M extends Group.Quorum
      ? B extends ReadonlyArray<unknown>
        ? ReadonlyArray<Runner.Output<Member<B>>>
        : { readonly [K in keyof B]?: Runner.Output<B[K]> }
      : { readonly [K in keyof B]: Runner.Output<B[K]> }

/** The error by mode. A branch that waits suspends the parallel, in every mode. */
export type Error<B extends Branches, M extends Mode> = Failure<Runner.Error<Member<B>>, M>
// Conditional, so that an editor shows the errors in place of this type's name. Of a parameter, because a `ParallelError` of
// another alias would be a type of its own, and be listed twice next to one of the same errors.
type Failure<E, M extends Mode> = M extends Group.Settle
  ? Runner.Waiting<E>
  : Runner.Waiting<E> | Group.ParallelError<E>

/** Options of a parallel. */
export interface Options<M extends Mode> {
  readonly description?: string | undefined
  /** {@link failFast} (default), {@link settle}, {@link race} or {@link quorum}. */
  readonly mode?: M | undefined
  /** How many branches run at once. Default: all. */
  readonly concurrency?: number | "unbounded" | undefined
}

/** The compile error for options that do not fit. */
type NoCombine =
  "combine is a function of the outputs, or a runner that takes a text. If it is one, another option does not fit"

/** Unchecked branches. */
type Unchecked = Readonly<Record<string, unknown>> | ReadonlyArray<unknown>

/**
 * Makes a parallel of branches: a record of runners, or an array. All get the same input; each is a nested run, named by
 * its key, and emits an `ItemCompleted` when it ends. When the mode is decided, the other branches are interrupted, their
 * requests aborted, and their finalizers awaited, before the outcome is seen.
 *
 * The output has the form of the branches; in mode `race` it is the winner's, and in mode `quorum` it holds the winners
 * only. `combine` makes one output of it: a function (plain or an Effect), or a runner whose input is it as text,
 * such as an agent that summarises (see {@link asText}).
 *
 * Fails with `ParallelError` (never in mode `settle`). A branch that waits does not stop the others: when they have ended and
 * have not decided without it, the parallel fails with `RunSuspended`, which lists what all branches wait for, and goes on
 * with the answers; branches that have ended are not run again. Throws `InvalidDefinition` for no branches, or a quorum that
 * they cannot reach.
 *
 * @example
 * import { Agent, Parallel } from "troupe"
 *
 * const legal = Agent.make("legal", { instructions: "Look at it as a lawyer." })
 * const finance = Agent.make("finance", { instructions: "Look at it as an accountant." })
 * const chair = Agent.make("chair", { instructions: "Sum up what the panel says." })
 *
 * const panel = Parallel.make("panel", { legal, finance })
 * const verdict = Parallel.make("verdict", { legal, finance }, { combine: chair })
 * const either = Parallel.make("either", [legal, finance], { mode: Parallel.race })
 */
export const make: {
  <const B extends Branches, C, E2, R2, M extends Mode = Group.FailFast>(
    name: string,
    branches: B,
    options: Options<M> & { readonly combine: Runner.Runner<string, C, E2, R2> }
  ): Runner.Runner<Input<B>, C, Error<B, M> | E2, Services<B> | R2>
  <const B extends Branches, Out, M extends Mode = Group.FailFast>(
    name: string,
    branches: B,
    options: Options<M> & { readonly combine: (outputs: Output<B, M>) => Out }
  ): Runner.Runner<Input<B>, ValueIn<Out>, Error<B, M> | ErrorIn<Out>, Services<B> | ServicesIn<Out>>
  <const B extends Branches, M extends Mode = Group.FailFast>(
    name: string,
    branches: B,
    options?: Options<M> & { readonly combine?: undefined }
  ): Runner.Runner<Input<B>, Output<B, M>, Error<B, M>, Services<B>>
  // For its error only: the compiler shows that of the last overload.
  <const B extends Unchecked>(
    name: string,
    branches: B & RunnerSlots<B>,
    options?: Options<Mode> & { readonly combine?: NoCombine | undefined }
  ): Runner.Any
} = (name: string, branches: Unchecked, options: Options<Mode> & { readonly combine?: unknown } = {}) => {
  const isArray = Array.isArray(branches)
  assertOptions(`parallel "${name}"`, options, known)
  const members = Runner.membersOf(`parallel "${name}"`, branches)
  const entries = isArray ? withKeys(members.map(([, branch]) => branch)) : members
  const combine = options.combine as Combine | undefined
  if (combine !== undefined && !Runner.isRunner(combine)) assertFunction(`parallel "${name}"`, "combine", combine)
  return together(name, { kind: "parallel", entries, isArray, ...options, combine }, sameInput(entries.length))
}

const known: ReadonlySet<string> = new Set(["description", "mode", "concurrency", "combine"])

/** How {@link fromPrompts} makes its parallel. */
export interface PromptOptions<M extends Mode> extends Options<M> {
  /** Default "parallel". */
  readonly name?: string | undefined
}

/**
 * Makes a parallel of agents in one line: one for each text, which is the agent's instructions, named by its key. With
 * `combine`, the instructions of one more agent, the output is what that agent makes of the others' answers. Fails as
 * {@link make} does. For tools or types make the agents yourself and give them to {@link make}.
 *
 * @example
 * import { Parallel } from "troupe"
 *
 * const panel = Parallel.fromPrompts({ pro: "Argue for it.", contra: "Argue against it." })
 * const verdict = Parallel.fromPrompts(
 *   { pro: "Argue for it.", contra: "Argue against it." },
 *   { combine: "Weigh both sides in two sentences." }
 * )
 */
export const fromPrompts: {
  <const P extends Prompts, M extends Mode = Group.FailFast>(
    prompts: P,
    options: PromptOptions<M> & { readonly combine: string }
  ): Runner.Runner<Prompt.RawInput, string, Error<Agents<P>, M> | Agent.Error, LanguageModel.LanguageModel>
  <const P extends Prompts, M extends Mode = Group.FailFast>(
    prompts: P,
    options?: PromptOptions<M> & { readonly combine?: undefined }
  ): Runner.Runner<Prompt.RawInput, Output<Agents<P>, M>, Error<Agents<P>, M>, LanguageModel.LanguageModel>
} = (prompts: Prompts, options: PromptOptions<Mode> & { readonly combine?: string | undefined } = {}) => {
  const { combine, name = "parallel", ...others } = options
  assertOptions(`parallel "${name}"`, others, known)
  const entries = Object.entries(agentsOf(prompts))
  const last = combine === undefined ? undefined : Agent.make("combine", { instructions: combine })
  return together(
    name,
    { kind: "parallel", entries, isArray: false, ...others, combine: last },
    sameInput(entries.length)
  )
}

type Entries = ReadonlyArray<readonly [string, AnyRunner]>

/** @internal One input for every branch. */
export const sameInput =
  (count: number) =>
  (given: never): Effect.Effect<ReadonlyArray<never>> => {
    const input = replayable(given)
    return Effect.succeed(Array.from({ length: count }, () => input))
  }

/** @internal Branches that run at once, each with the input that `inputsOf` gives it. Broadcasts and scatters are made so too. */
export const together = (
  name: string,
  branches: Options<Mode> & {
    readonly kind: "parallel" | "broadcast" | "scatter"
    readonly entries: Entries
    readonly isArray: boolean
    readonly combine?: Combine | undefined
  },
  inputsOf: (input: never) => Effect.Effect<ReadonlyArray<never>, unknown>
): Runner.Runner<unknown, never, never, never> => {
  const { combine, concurrency, description, entries, isArray, kind, mode = Group.failFast } = branches
  Group.check(`${kind} "${name}"`, entries.length, mode, concurrency)
  const members = entries.map(([key, runner]) => ({ name: key, runner }))
  const last = Runner.isRunner(combine) ? [{ name: combine.name, role: "combine", runner: combine }] : []
  const structure: Structure = {
    kind: kind === "parallel" ? kind : "gather",
    note: kind === "parallel" ? noteOf(mode) : noteWith(kind, mode),
    members: [...members, ...last]
  }
  const all = entries.map(([key, runner]): Kept.Branch => ({
    key,
    run: Runner.named(runner, key).run,
    output: Schemas.outputOf(runner)
  }))
  const { end, restoreCombined } = ending(mode, combine)
  return Runner.erasedWorkflow(name, {
    description,
    structure: () => structure,
    input: () =>
      kind === "scatter" ? undefined : Schemas.sameOf(entries.map(([, runner]) => Schemas.inputOf(runner))),
    output: () => (combine === undefined ? outputSchema(entries, mode, isArray) : Schemas.outputOf(combine)),
    run: (given: never, state) =>
      Effect.flatMap(inputsOf(given), (inputs) => {
        const work = all.map((branch, index) => ({ ...branch, input: inputs[index] as unknown }))
        return Effect.flatMap(Kept.run(work, { name, mode, concurrency, state }, given), (outputs) =>
          end(shape(outputs, mode, isArray), state, given)
        )
      }),
    restore: (saved, _input, state) => {
      if (saved.members[0]?.key === combining) return restoreCombined(saved, state)
      const outputs = Kept.resume(
        saved,
        (key) => all.find((branch) => branch.key === key),
        () => ({ name, mode, concurrency, state })
      )
      return outputs && Effect.flatMap(outputs, (outputs) => end(shape(outputs, mode, isArray), state, saved.before))
    }
  })
}

/** The end of a group: its outputs are combined, which can wait and go on. */
const ending = (mode: Mode, combine: Combine | undefined) => {
  const end = (outputs: unknown, state: RunState, given: unknown) =>
    Kept.keeping(combined(outputs, mode, combine), combining, state, given, () =>
      saving(() => ({ _tag: "combining", outputs: kept("what is combined", outputs) }))
    )
  const restoreCombined = (saved: Saved, state: RunState) => {
    const outputs = Option.flatMap(decodeCombining(saved.state), ({ outputs }) => restore(outputs))
    const member = saved.members[0]
    if (Option.isNone(outputs) || member === undefined) return undefined
    return goOn(end(outputs.value, state, saved.before), member, state)
  }
  return { end, restoreCombined }
}

/** Under which the combining of the outputs is kept. A branch of this name is kept among others. */
const combining = "~combine"

/** The schema of what {@link shape} makes of the outputs. The failures in those of mode `settle` have no schema. */
const outputSchema = (entries: Entries, mode: Mode, isArray: boolean): Schema.Top | undefined => {
  const fields = entries.map(([key, runner]) => [key, Schemas.outputOf(runner)] as const)
  const outputs = fields.map(([, output]) => output)
  switch (mode._tag) {
    case "settle":
      return undefined
    case "race":
      return Schemas.unionOf(outputs)
    case "quorum":
      return isArray ? Schemas.arrayOf(Schemas.unionOf(outputs)) : Schemas.structOf(fields, true)
    case "failFast":
      return isArray ? Schemas.tupleOf(outputs) : Schemas.structOf(fields)
  }
}

const decodeCombining = Schema.decodeUnknownOption(Schema.TaggedStruct("combining", { outputs: Schema.Json }))

const combined = (
  outputs: unknown,
  mode: Mode,
  combine: Combine | undefined
): Effect.Effect<unknown, unknown, unknown> => {
  if (combine === undefined) return Effect.succeed(outputs)
  if (Runner.isRunner(combine)) return combine.run(mode._tag === "race" ? plain(outputs) : asText(outputs))
  return unlessLeaving(Effect.suspend(() => toEffect(combine(outputs))))
}

/** What the overloads have checked. */
type Combine = Runner.Runner<string, unknown, unknown, unknown> | ((outputs: unknown) => unknown)

/** @internal What mode gave, in the form of the branches. */
export const shape = (outputs: ReadonlyArray<readonly [string, unknown]>, mode: Mode, isArray: boolean): unknown =>
  mode._tag === "race" ? outputs[0]?.[1] : isArray ? outputs.map(([, output]) => output) : Object.fromEntries(outputs)

/** @internal Names for runners in an array: their own, numbered where two have the same. */
export const withKeys = <R extends { readonly name: string }>(
  runners: ReadonlyArray<R>
): ReadonlyArray<readonly [string, R]> => {
  const names = new Set(runners.map(({ name }) => name))
  const counts = new Map<string, number>()
  return runners.map((runner) => {
    let count = (counts.get(runner.name) ?? 0) + 1
    // A numbered name can be another runner's own.
    while (count > 1 && names.has(`${runner.name} ${count}`)) count++
    counts.set(runner.name, count)
    return [count === 1 ? runner.name : `${runner.name} ${count}`, runner]
  })
}

/** @internal How the mode is drawn. */
export const noteOf = (mode: Mode): string | undefined =>
  mode._tag === "quorum" ? `quorum of ${mode.n}` : mode._tag === "failFast" ? undefined : mode._tag

/** @internal The same with what is done. */
export const noteWith = (kind: string, mode: Mode): string =>
  [kind, noteOf(mode)].filter((part) => part !== undefined).join(", ")

/**
 * Outputs of several branches as one text, each under a heading: the input of a runner as `combine`. Outputs in an array
 * are numbered; a failed branch of mode `settle` shows its error.
 */
export const asText = (outputs: unknown): string => {
  const entries = Array.isArray(outputs)
    ? outputs.map((output: unknown, index) => [String(index + 1), output] as const)
    : Object.entries(outputs as Readonly<Record<string, unknown>>)
  return entries.map(([key, output]) => `## ${key}\n\n${plain(output)}`).join("\n\n")
}

const plain = (output: unknown): string => {
  if (Result.isResult(output)) {
    return Result.isSuccess(output) ? plain(output.success) : `(failed: ${Group.textOf(output.failure)})`
  }
  return typeof output === "string" ? output : JSON.stringify(toJson(output), undefined, 2)
}

/** Options of {@link hedge}. */
export interface HedgeOptions {
  readonly description?: string | undefined
  /** How long an attempt may take before the next one starts, while the first goes on. */
  readonly delay: Duration.Input
  /** How many attempts at most. Default 2. */
  readonly attempts?: number | undefined
}

/**
 * Makes a hedge of a runner: when an attempt has taken longer than `delay`, or has failed, another one starts in addition.
 * The first to succeed wins, and the others are interrupted. It trades a few more requests for a short tail of slow ones
 * (Dean and Barroso, 2013, "The Tail at Scale").
 *
 * Tools run again in every attempt, and several attempts can call one tool at the same time. The first call of a tool with
 * given arguments has the same `idempotencyKey` in every attempt, so does the second, and so on: hand the key to systems
 * that must not act twice, or hedge only what reads. An attempt that waits for approval ends the hedge, because another one
 * would only ask again; a resumed run is not hedged.
 *
 * Fails with `ParallelError`, which lists what every attempt failed with. Throws `InvalidDefinition` for fewer than one
 * attempt or a delay that is not a duration.
 *
 * @example
 * import { Agent, Parallel } from "troupe"
 *
 * const writer = Agent.make("writer", { instructions: "Write a slogan." })
 * const quick = Parallel.hedge("quick", writer, { delay: "2 seconds" })
 */
export const hedge = <I, A, E, R>(
  name: string,
  runner: Runner.Runner<I, A, E, R>,
  options: HedgeOptions
): Runner.Runner<I, A, Group.ParallelError<E> | Runner.Waiting<E>, R> => {
  const subject = `hedge "${name}"`
  assertOptions(subject, options, knownOfHedge)
  const attempts = options.attempts ?? 2
  countOf(subject, "attempts", attempts)
  Runner.membersOf(subject, { runner })
  const delay = durationOf(subject, "delay", options.delay)
  return Runner.workflow<I, A, Group.ParallelError<E> | Runner.Waiting<E>, R>(name, {
    description: options.description,
    structure: () => ({
      kind: "hedge",
      note: `at most ${attempts} attempts, ${Duration.format(delay)} apart`,
      members: [{ name: runner.name, runner }]
    }),
    input: () => Schemas.inputOf(runner),
    output: () => Schemas.outputOf(runner),
    run: (input: I, state) =>
      inAttempts(state.info.runId, JSON.stringify(state.info.path), (attempt) =>
        hedged(name, attempt(runner.run(replayable(input))), delay, attempts, state)
      ),
    resume: (member, input: I, state) => (member === runner.name ? asHedge(name, runner.run(input), state) : undefined)
  })
}

const knownOfHedge = namesOf<HedgeOptions>({ description: true, delay: true, attempts: true })

/** A resumed attempt fails as the attempts of a hedge do. */
const asHedge = <A, E, R>(
  name: string,
  attempt: Effect.Effect<A, E, R>,
  state: RunState
): Effect.Effect<A, Group.ParallelError<E> | Runner.Waiting<E>, R> =>
  waits(Group.first([["1", attempt]], { name, concurrency: "unbounded", state }))

/** An attempt is suspended only where that is one of its errors. */
const waits = <A, E, R>(
  effect: Effect.Effect<A, Group.ParallelError<E> | RunSuspended, R>
): Effect.Effect<A, Group.ParallelError<E> | Runner.Waiting<E>, R> =>
  effect as Effect.Effect<A, Group.ParallelError<E> | Runner.Waiting<E>, R>

const moment = (cause: Cause.Cause<unknown>): Effect.Effect<void> =>
  Cause.hasInterruptsOnly(cause) ? Effect.yieldNow : Effect.void

const hedged = <A, E, R>(
  name: string,
  attempt: Effect.Effect<A, E, R>,
  delay: Duration.Duration,
  attempts: number,
  state: RunState
): Effect.Effect<A, Group.ParallelError<E> | Runner.Waiting<E>, R> =>
  Effect.suspend(() => {
    const numbers = Array.from({ length: attempts }, (_, index) => index)
    const failures = numbers.map(() => Deferred.makeUnsafe<void>())
    // Where an attempt sleeps, those that have not begun sleep with it: they would only ask again.
    const asleepWith = Deferred.makeUnsafe<never>()
    const entries = numbers.map((index): Group.Entry<A, E, R> => {
      // An attempt that sleeps, or waits, has not failed. Where all of them are interrupted, the next is so by the time it could begin.
      const failing = Effect.onError(attempt, (cause) =>
        Effect.flatMap(Effect.andThen(moment(cause), isAsleep(Exit.failCause(cause))), (asleep) => {
          if (asleep) return Effect.sync(() => Deferred.doneUnsafe(asleepWith, sleep))
          return isPassedOn(Cause.squash(cause)) ? Effect.void : Deferred.succeed(failures[index]!, undefined)
        })
      )
      if (index === 0) return [`${index + 1}`, failing]
      // Each waits for the one before it: as long as the delay, times its number, or until all before it have failed.
      const before = Effect.forEach(failures.slice(0, index), (one) => Deferred.await(one), { discard: true })
      const begins = Effect.raceFirst(Effect.sleep(Duration.times(delay, index)), before)
      return [`${index + 1}`, failing, Effect.raceFirst(begins, Deferred.await(asleepWith))]
    })
    return waits(Group.first(entries, { name, concurrency: "unbounded", state }))
  })
