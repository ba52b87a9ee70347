/** Chains: runners one after the other, each with the output of the one before it as its input. */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import type * as LanguageModel from "effect/ai/LanguageModel"
import type * as Prompt from "effect/ai/Prompt"
import * as Schema from "effect/Schema"
import * as Agent from "../agents/Agent.ts"
import { assertOptions, invalid, kindOf, namesOf } from "../internal/definition.ts"
import * as Schemas from "../internal/runnerSchemas.ts"
import type { RunState } from "../internal/runState.ts"
import type { Member } from "../internal/structure.ts"
import type { Saved } from "../internal/suspension.ts"
import { unlessLeaving } from "../internal/trueExit.ts"
import { goOn } from "../internal/workflowSuspension.ts"
import {
  type ErrorIn,
  type RunnerSlot,
  type Says,
  type ServicesIn,
  toEffect,
  type ValueIn
} from "../internal/wiring.ts"
import * as Runner from "../Runner.ts"
import * as Kept from "./internal/keptBranches.ts"
import { keep, kept, restore, saving } from "./internal/keptValues.ts"

/** A step of a chain: any runner, a {@link gate}, or a function that returns an Effect. */
export type Step<I, A, E, R> = Runner.Runner<I, A, E, R> | Gate<I, A, E, R> | ((input: I) => Effect.Effect<A, E, R>)
type AnyStep = Step<never, unknown, unknown, unknown>

/** An early answer, by which a {@link gate} ends its chain. */
export class Stop<out A> extends Data.TaggedClass("troupe/Chain/Stop")<{ readonly answer: A }> {}

/** Ends the chain with `answer`. A {@link gate} returns it when the steps after it are not needed. */
export const stop = <A>(answer: A): Stop<A> => new Stop({ answer })

const GateTypeId = "~troupe/Chain/Gate"

/** A place between steps where a chain can end. */
export interface Gate<in I, out A, out E, out R> {
  readonly [GateTypeId]: typeof GateTypeId
  readonly name: string
  /** @internal Fails with a `Stop` to end the chain. */
  readonly check: (input: I) => Effect.Effect<A, E, R>
}

type Passed<A> = Exclude<A, Stop<unknown>>
type Stops<A> = Extract<A, Stop<unknown>>

/**
 * Makes a gate: a step that lets the chain go on with what it returns, ends it early by returning {@link stop}, or ends it
 * with a typed error by failing. `check` returns a value or an Effect. The early answer is part of the chain's
 * output type, and the chain emits a `StoppedEarly`. A gate ends its own chain, not one around that.
 *
 * @example
 * import { Agent, Chain } from "troupe"
 *
 * const writer = Agent.make("writer", { instructions: "Answer in a letter." })
 * const mail = Chain.make("mail", [
 *   Chain.gate("not empty", (text: string) => (text.trim() === "" ? Chain.stop("There is nothing to answer.") : text)),
 *   writer
 * ])
 */
export const gate = <I, Out>(
  name: string,
  check: (input: I) => Out
): Gate<I, Passed<ValueIn<Out>>, ErrorIn<Out> | Stops<ValueIn<Out>>, ServicesIn<Out>> => ({
  [GateTypeId]: GateTypeId,
  name,
  check: (input) =>
    Effect.suspend(() => {
      const given: Effect.Effect<unknown, unknown, unknown> = toEffect(check(input))
      return Effect.flatMap(given, (value) => (value instanceof Stop ? Effect.fail(value) : Effect.succeed(value)))
      // Here, and in its type, what a gate passes is separated from what it stops and fails with.
    }) as Effect.Effect<Passed<ValueIn<Out>>, ErrorIn<Out> | Stops<ValueIn<Out>>, ServicesIn<Out>>
})

type AnyEffect = Effect.Effect<unknown, unknown, unknown>
type ErasedStep = Step<unknown, unknown, unknown, unknown>

const isGate = (step: object): step is Gate<unknown, unknown, unknown, unknown> => GateTypeId in step

const isStep = (step: unknown): boolean =>
  typeof step === "function" || Runner.isRunner(step) || (Predicate.isObject(step) && isGate(step))

type Answer<E> = E extends Stop<infer A> ? A : never
/** The errors of a chain: an early answer is not a failure. */
type Failure<E> = Exclude<E, Stop<unknown>>

type Taken<S> = S extends Step<infer I, infer _A, infer _E, infer _R> ? I : never
type Given<S> = S extends Step<never, infer A, infer _E, infer _R> ? A : never

/** Marks the first step that does not fit, so that the compile error lands on it and says what to do. */
type Mismatch<
  Steps extends ReadonlyArray<unknown>,
  Before extends ReadonlyArray<unknown> = []
> = Steps extends readonly [infer Step, ...infer Rest]
  ? Before["length"] extends 5
    ? readonly [Says<Step, "A chain has at most five steps. Make a step of several with Chain.make">, ...Rest]
    : Step extends AnyStep
      ? Before extends readonly [...infer _, infer Last]
        ? [Given<Last>] extends [Taken<Step>]
          ? Then<Mismatch<Rest, [...Before, Step]>>
          : readonly [
              // Without a name, so that the compiler prints the text also for a function.
              {
                readonly "This step does not take what the step before it returns. Write Runner.mapInput(step, (output) => input)": {
                  readonly takes: Taken<Step>
                  readonly gets: Given<Last>
                }
              },
              ...Rest
            ]
        : Then<Mismatch<Rest, [Step]>>
      : readonly [StepSlot<Step>, ...Rest]
  : Before extends readonly []
    ? { readonly "A chain has at least one step": never }
    : readonly []

/** A step that fits, before the others. */
type Then<Rest> = Rest extends ReadonlyArray<unknown> ? readonly [unknown, ...Rest] : never

type StepSlot<T> = T extends (input: never) => unknown
  ? "A function in a chain returns an Effect. Write (input) => Effect.succeed(output)"
  : RunnerSlot<T>

interface Options {
  readonly description?: string | undefined
}

/**
 * Makes a chain. The output of each step is the input of the next; a step that does not fit is a compile error. The
 * steps are nested runs of one run: it fails with the error of the step that failed, and interrupting it interrupts the
 * step under way. A chain in a chain does what its steps would; a chain of more than five steps is made of
 * chains.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, Chain } from "troupe"
 *
 * const writer = Agent.make("writer", { instructions: "Write a paragraph on the topic." })
 * const editor = Agent.make("editor", { instructions: "Make it shorter." })
 * const pipeline = Chain.make("pipeline", [writer, editor, (text: string) => Effect.succeed(text.trim())])
 */
export const make: {
  <I, T1, E1, R1>(
    name: string,
    steps: readonly [Step<I, T1, E1, R1>],
    options?: Options
  ): Runner.Runner<I, T1 | Answer<E1>, Failure<E1>, R1>
  <I, T1, T2, E1, R1, E2, R2>(
    name: string,
    steps: readonly [Step<I, T1, E1, R1>, Step<T1, T2, E2, R2>],
    options?: Options
  ): Runner.Runner<I, T2 | Answer<E1 | E2>, Failure<E1 | E2>, R1 | R2>
  <I, T1, T2, T3, E1, R1, E2, R2, E3, R3>(
    name: string,
    steps: readonly [Step<I, T1, E1, R1>, Step<T1, T2, E2, R2>, Step<T2, T3, E3, R3>],
    options?: Options
  ): Runner.Runner<I, T3 | Answer<E1 | E2 | E3>, Failure<E1 | E2 | E3>, R1 | R2 | R3>
  <I, T1, T2, T3, T4, E1, R1, E2, R2, E3, R3, E4, R4>(
    name: string,
    steps: readonly [Step<I, T1, E1, R1>, Step<T1, T2, E2, R2>, Step<T2, T3, E3, R3>, Step<T3, T4, E4, R4>],
    options?: Options
  ): Runner.Runner<I, T4 | Answer<E1 | E2 | E3 | E4>, Failure<E1 | E2 | E3 | E4>, R1 | R2 | R3 | R4>
  <I, T1, T2, T3, T4, T5, E1, R1, E2, R2, E3, R3, E4, R4, E5, R5>(
    name: string,
    steps: readonly [
      Step<I, T1, E1, R1>,
      Step<T1, T2, E2, R2>,
      Step<T2, T3, E3, R3>,
      Step<T3, T4, E4, R4>,
      Step<T4, T5, E5, R5>
    ],
    options?: Options
  ): Runner.Runner<I, T5 | Answer<E1 | E2 | E3 | E4 | E5>, Failure<E1 | E2 | E3 | E4 | E5>, R1 | R2 | R3 | R4 | R5>
  // For its error only: the compiler shows that of the last overload, and those above cannot name the step that is wrong.
  <const Steps extends ReadonlyArray<unknown>>(
    name: string,
    steps: readonly [...Steps] & Mismatch<Steps>,
    options?: Options
  ): Runner.Any
} = (name: string, steps: ReadonlyArray<unknown>, options?: Options) => chainOf(name, steps, options)

const known = namesOf<Options>({ description: true })

const assertSteps = (name: string, steps: unknown): void => {
  if (Array.isArray(steps)) return
  throw invalid(
    `chain "${name}"`,
    `its steps are ${kindOf(steps)}, not a list`,
    'Write Chain.make("name", [first, second])'
  )
}

const chainOf = (name: string, given: ReadonlyArray<unknown>, options: Options = {}) => {
  assertOptions(`chain "${name}"`, options, known)
  // The constructors have checked that each step takes what the one before it gives.
  assertSteps(name, given)
  const steps = given as ReadonlyArray<ErasedStep>
  const wrong = given.flatMap((step, index) => (isStep(step) ? [] : [[`step ${index + 1}`, step] as const]))
  Runner.membersOf(`chain "${name}"`, Object.fromEntries(wrong))
  const last = steps.at(-1)
  if (last === undefined) {
    throw invalid(`chain "${name}"`, "it has no steps", "Give it at least one")
  }
  return Runner.erasedWorkflow(name, {
    description: options.description,
    structure: () => ({ kind: "chain", members: steps.map(memberOf) }),
    // An early answer may have another form than the last step's output.
    output: () => (steps.some(isGate) ? undefined : Schemas.outputOf(last)),
    input: () => Schemas.inputOf(steps[0]),
    run: (input: unknown, state) => run(steps, 0, input, state),
    resume: (member, input: unknown, state) => {
      const at = steps.findIndex((step) => Runner.isRunner(step) && step.name === member)
      return at >= 0 && isKnownByName(steps, steps[at]!) ? run(steps, at, input, state) : undefined
    },
    restore: (saved, _input, state) => restored(steps, saved, state)
  })
}

/** Whether the path of what waits in a step tells which step it is. */
const isKnownByName = (steps: ReadonlyArray<ErasedStep>, step: ErasedStep): boolean =>
  Runner.isRunner(step) && steps.filter((other) => Runner.isRunner(other) && other.name === step.name).length === 1

const State = Schema.TaggedStruct("step", { index: Schema.Int, input: Schema.optionalKey(Schema.Json) })
const decodeState = Schema.decodeUnknownOption(State)

/** Goes on at the step that waits, and then with those after it. */
const restored = (
  steps: ReadonlyArray<ErasedStep>,
  saved: Saved,
  state: RunState
): Effect.Effect<unknown, unknown, unknown> | undefined => {
  const kept = Option.getOrUndefined(decodeState(saved.state))
  const member = saved.members[0]
  if (kept === undefined || member === undefined || steps[kept.index] === undefined) return undefined
  // A step without a kept input is not a function, and does not look at it.
  const input = kept.input === undefined ? Option.some(member.transcript) : restore(kept.input)
  if (Option.isNone(input)) return undefined
  return run(steps, kept.index, input.value, state, (step) => goOn(step, member, state))
}

/** What a chain knows when a step waits. */
const keptOf = (step: ErasedStep, index: number, input: unknown) =>
  saving(() => {
    const isWithout = Runner.isRunner(step) && step.definition.structure().kind !== "function"
    if (isWithout && Option.isNone(keep(input))) return { _tag: "step", index }
    return { _tag: "step", index, input: kept(`the input of step ${index + 1}`, input) }
  })

const run = (
  steps: ReadonlyArray<ErasedStep>,
  index: number,
  input: unknown,
  state: RunState,
  resumed: (step: AnyEffect) => AnyEffect = (step) => step
): AnyEffect => {
  const step = steps[index]!
  const next = (value: unknown) => run(steps, index + 1, value, state)
  const isLast = index === steps.length - 1
  const waiting = (work: AnyEffect) =>
    Kept.keeping(resumed(work), String(index), state, input, () => keptOf(step, index, input))
  if (isGate(step)) {
    return Effect.matchEffect(waiting(unlessLeaving(step.check(input))), {
      onSuccess: (value) => (isLast ? Effect.succeed(value) : next(value)),
      onFailure: (error) =>
        error instanceof Stop
          ? Effect.as(state.events.decide({ _tag: "StoppedEarly", gate: step.name }), error.answer)
          : Effect.fail(error)
    })
  }
  const work = Runner.isRunner(step) ? step.run(input) : unlessLeaving(Effect.suspend(() => step(input)))
  const done = isKnownByName(steps, step) ? resumed(work) : waiting(work)
  return isLast ? done : Effect.flatMap(done, next)
}

const memberOf = (step: ErasedStep, index: number): Member => {
  if (Runner.isRunner(step)) return { name: step.name, runner: step }
  if (isGate(step)) return { name: step.name, role: "gate" }
  return { name: step.name === "" ? `step ${index + 1}` : step.name }
}

/**
 * Makes a chain of agents in one line: one for each text, which is the agent's instructions. They are named "step 1",
 * "step 2", and so on; the chain is named "chain" unless `name` says otherwise. Fails as agents do. Throws
 * `InvalidDefinition` without texts. For tools, types or gates make the agents yourself and give them to {@link make}.
 *
 * @example
 * import { Chain } from "troupe"
 *
 * const article = Chain.fromPrompts(["List the facts on the topic.", "Write a paragraph of these facts."])
 */
export const fromPrompts = (
  prompts: ReadonlyArray<string>,
  options: Options & { readonly name?: string | undefined } = {}
): Runner.Runner<Prompt.RawInput, string, Agent.Error, LanguageModel.LanguageModel> => {
  const { name = "chain", ...others } = options
  const agents = prompts.map((instructions, index) => Agent.make(`step ${index + 1}`, { instructions }))
  // Each takes the text that the one before it returns.
  return chainOf(name, agents, others)
}
