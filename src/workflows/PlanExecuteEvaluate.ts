/**
 * Plan, execute, evaluate: a planner makes a plan whose steps may depend on one another, workers do the steps, and a judge
 * accepts the results or asks for a new plan. This file has the types and the checks; `planLoop.ts` runs it.
 */
import * as Effect from "effect/Effect"
import type * as LanguageModel from "effect/ai/LanguageModel"
import type * as Prompt from "effect/ai/Prompt"
import * as Agent from "../agents/Agent.ts"
import { assertOneOf, assertOptions, invalid, limitOf, namesOf } from "../internal/definition.ts"
import * as Schemas from "../internal/runnerSchemas.ts"
import type { Member } from "../internal/structure.ts"
import type { TextRunnerSlot } from "../internal/wiring.ts"
import * as Runner from "../Runner.ts"
import type * as Parallel from "./Parallel.ts"
import type { InvalidPlan, PlanNotAccepted, StepFailure, StepsFailed } from "./internal/errors.ts"
import { type Plan, type PlanLike, planOf, type Step, Unassigned } from "./internal/plan.ts"
import { restore, run, type Settings } from "./internal/planLoop.ts"
import { plannerInstructions, workersText } from "./internal/planPrompts.ts"
import { scoreOf } from "./internal/verdict.ts"

export { Plan, type PlanLike, planOf, Step, type StepLike } from "./internal/plan.ts"
export { InvalidPlan, PlanNotAccepted, type StepFailure, StepsFailed } from "./internal/errors.ts"

/** The argument of a planner function. */
export interface Request<out Goal, out A = unknown> {
  readonly goal: Goal
  /** The number of the plan, counted from 1. A plan that replaces one with `problems` has the same number. */
  readonly round: number
  /** The plan before this one: of the last round, or the one that was just refused. */
  readonly plan: PlanLike | undefined
  /** The problems of the last plan of this round; empty for the round's first plan. */
  readonly problems: ReadonlyArray<string>
  /** The results of the steps that are done, in any round, by id. */
  readonly results: Readonly<Record<string, A>>
  /** The failed steps of the last round. */
  readonly failures: ReadonlyArray<StepFailure<unknown>>
  /** The verdict on the results of the last round; `undefined` when they were not judged. */
  readonly verdict: unknown
}

/** The argument of an `executor` function. */
export interface Task<out Goal, out A = unknown> {
  readonly goal: Goal
  readonly step: Step
  /** The results of the steps that this one depends on, by id. */
  readonly results: Readonly<Record<string, A>>
  /** Counted from 1. */
  readonly round: number
}

/** A plan that was carried out: the argument of an evaluator or `combine` function. */
export interface Done<out Goal, out A> {
  readonly goal: Goal
  readonly plan: Plan
  /** The results of all steps of the plan, by id. */
  readonly results: Readonly<Record<string, A>>
  /** Counted from 1. */
  readonly round: number
}

/** What the compile error shows for an executor that fits nowhere. */
type NoExecutor =
  "An executor is a runner of texts or a function of a task, without workers alongside it. If it is one, another option does not fit, or accept is missing"

/** Runners by the names that plans use. The input of each is the goal, its task and the results that the task needs. */
export type Workers = Readonly<Record<string, unknown>>
type OutputOf<W extends Workers> = Runner.Output<W[keyof W]>

/** The input of the workflow: the goal, in a form that its functions and its runners take. */
export type Input<Goal, Taken> = Goal extends Prompt.RawInput ? (Goal extends Taken ? Goal : never) : Goal

/** Makes plans: a runner or a function that returns a {@link Plan}, or an Effect with one fixed plan. */
export type Planner<Goal, Taken, A, E, R> =
  | Runner.Runner<Taken, PlanLike, E, R>
  | ((request: Request<Goal, A>) => Effect.Effect<PlanLike, E, R>)
  | Effect.Effect<PlanLike, E, R>

/** The planner. */
export interface Planning<Goal, Taken, Known, E, R> {
  /**
   * Default: an agent that knows the workers by their descriptions. A runner is given the goal and, from the second round
   * on, the last plan, every result so far, what failed and the verdict.
   */
  readonly planner?: Planner<Goal, Taken, Known, E, R> | undefined
}

/** The runners that do the steps, by the names that plans use. */
export interface Working<W extends Workers> {
  readonly workers: W & { readonly [K in keyof W]: TextRunnerSlot<W[K]> }
  readonly executor?: NoExecutor | undefined
}

/** The compile error for an evaluator without `accept`. */
type NoEvaluator = "An evaluator needs accept, in the options after the members. Write { accept: (verdict) => boolean }"

/** One runner or function that does every step. */
export interface Executing<Goal, Taken, A, Known, E, R> {
  readonly executor: Runner.Runner<Taken, A, E, R> | ((task: Task<Goal, Known>) => Effect.Effect<A, E, R>)
  readonly workers?: undefined
}

/** The judge of the results. Without one they are accepted when every step has succeeded. */
export interface Evaluating<Goal, Taken, A, V, E, R> {
  /** Judges the results of a plan: a runner or a function. */
  readonly evaluator: Runner.Runner<Taken, V, E, R> | ((done: Done<Goal, A>) => Effect.Effect<V, E, R>)
}

/** How often plans are made, and when their results are accepted. */
export interface Options<Goal, Taken, A, B, EC, RC, OnMaxRounds extends "best" | "fail"> {
  readonly description?: string | undefined
  /** Added to the instructions of the default planner. */
  readonly instructions?: string | undefined
  /**
   * How many plans at most, not counting those that could not be carried out. Default 3. It ends sooner when results were
   * not accepted and the planner, asked for another plan, has none that would change anything.
   */
  readonly maxRounds?: number | undefined
  /**
   * The results of no plan were accepted, because the rounds are used up or because planning or judging failed in a round
   * after the first verdict: fail with `PlanNotAccepted`, which holds the best (`"fail"`, default), or give the best
   * (`"best"`). When no plan had results to give, because steps failed in every round, it fails with `StepsFailed` either
   * way.
   */
  readonly onMaxRounds?: OnMaxRounds | undefined
  /** How many steps a plan may have. Default 32; a plan with more is sent back as one that cannot be carried out. */
  readonly maxSteps?: number | undefined
  /**
   * How often a planner is asked to fix its plan, in each round, before `InvalidPlan`. Default 1; 0 for an Effect, which
   * always returns the same one.
   */
  readonly planRepairs?: number | undefined
  /** How many steps run at once. Default 8. */
  readonly concurrency?: number | "unbounded" | undefined
  /**
   * A step failed, and the others were interrupted: make a new plan with what is known (default), or fail with
   * `StepsFailed` (default for a planner that is an Effect). After a defect no new plan is made.
   */
  readonly onStepFailure?: "replan" | "fail" | undefined
  /**
   * Makes the output of the results: a function (plain or an Effect), or a runner. Default: the results of the steps that
   * no other step depends on, by id.
   */
  readonly combine?:
    | Runner.Runner<Taken, B, EC, RC>
    | ((done: Done<Goal, A>) => B | Effect.Effect<B, EC, RC>)
    | undefined
}

/** Options for verdicts. */
export interface Judging<V> {
  readonly accept: (verdict: V) => boolean
  /**
   * The score of a verdict; the highest is the best. Default: the verdict itself if it is a number, otherwise its `score`,
   * otherwise the last round wins.
   */
  readonly score?: ((verdict: V) => number) | undefined
}

/** Options that need an evaluator. */
interface Unjudged {
  readonly accept?: undefined
  readonly score?: undefined
}

/** Runners whose input is the goal have to accept a text. */
type TakesText<Taken> = string extends Taken ? unknown : { readonly planner: never }

type Unaccepted<OnMaxRounds> = [OnMaxRounds] extends ["best"] ? never : PlanNotAccepted

/**
 * Makes the workflow. In each round a plan is made and its steps are run: each as soon as those that it depends on are
 * done, at most `concurrency` at once, as a nested run that is named by the step's id. Then the results are judged. What
 * was done stays done: a step that succeeded is not run again in a later round while its id, its task and its worker stay
 * the same and nothing new is given to it, and new steps can build on it, listed again or not.
 *
 * The steps are done either by `workers`, of which each step names one, or by one `executor` for all: a runner or a function.
 * Runners (the planner, workers, the judge) are given texts; a goal that is a text stays one, and to a conversation with
 * images the rest is added. With functions throughout, and a plan that is an Effect, it runs a graph of tasks without any model.
 *
 * A plan is checked before anything of it runs: no steps or too many, ids given twice, unknown steps or workers, steps
 * that depend on one another in a circle. The planner is asked to fix it `planRepairs` times; then the run fails with
 * `InvalidPlan`. A step that fails interrupts the others, and their finalizers are awaited, before a new plan is made or the
 * run fails with `StepsFailed`. What planner and judge fail with before the first verdict, and what
 * `combine` fails with, the run fails with. Interrupting it interrupts
 * every running step.
 *
 * Throws `InvalidDefinition` for no workers, or a limit that makes no sense.
 *
 * The workflow is that of plan-and-solve prompting (Wang et al., 2023) with the parallel plans of an LLM compiler (Kim et
 * al., 2023).
 *
 * @example
 * import { Effect, Schema } from "effect"
 * import { Agent, PlanExecuteEvaluate } from "troupe"
 *
 * const research = Agent.make("research", { description: "Finds facts", instructions: "You research." })
 * const write = Agent.make("write", { description: "Writes texts", instructions: "You write." })
 * const judge = Agent.make("judge", { instructions: "Judge the work.", output: Schema.Struct({ score: Schema.Int }) })
 * const work = PlanExecuteEvaluate.make(
 *   "work",
 *   { workers: { research, write }, evaluator: judge },
 *   { accept: (verdict) => verdict.score >= 8 }
 * )
 *
 * // Without a model: a graph of tasks.
 * const build = PlanExecuteEvaluate.make("build", {
 *   planner: Effect.succeed({
 *     steps: [
 *       { id: "types", task: "check the types" },
 *       { id: "tests", task: "run the tests" },
 *       { id: "pack", task: "make the package", dependsOn: ["types", "tests"] }
 *     ]
 *   }),
 *   executor: ({ step }) => Effect.succeed(`${step.task}: done`)
 * })
 */
export const make: {
  <
    A extends Known,
    ES,
    RS,
    Goal = Prompt.RawInput,
    Taken = unknown,
    Known = unknown,
    EP = Agent.Error,
    RP = LanguageModel.LanguageModel,
    B = Readonly<Record<string, A>>,
    EC = never,
    RC = never
  >(
    name: string,
    members: Planning<Goal, Taken, unknown, EP, RP> &
      Executing<Goal, Taken, A, Known, ES, RS> & { readonly evaluator?: NoEvaluator | undefined } & TakesText<Taken>,
    options?: Options<Goal, Taken, A, B, EC, RC, "best" | "fail"> & Unjudged
  ): Runner.Runner<Input<Goal, Taken>, B, EP | InvalidPlan | StepsFailed<ES> | Runner.Waiting<ES> | EC, RP | RS | RC>
  <
    A extends Known,
    ES,
    RS,
    V,
    EV,
    RV,
    Goal = Prompt.RawInput,
    Taken = unknown,
    Known = unknown,
    EP = Agent.Error,
    RP = LanguageModel.LanguageModel,
    B = Readonly<Record<string, A>>,
    EC = never,
    RC = never,
    OnMaxRounds extends "best" | "fail" = "fail"
  >(
    name: string,
    members: Planning<Goal, Taken, unknown, EP, RP> &
      Executing<Goal, Taken, A, Known, ES, RS> &
      Evaluating<Goal, Taken, A, V, EV, RV> &
      TakesText<Taken>,
    options: Options<Goal, Taken, A, B, EC, RC, OnMaxRounds> & Judging<V>
  ): Runner.Runner<
    Input<Goal, Taken>,
    B,
    EP | InvalidPlan | StepsFailed<ES> | Runner.Waiting<ES> | EV | Unaccepted<OnMaxRounds> | EC,
    RP | RS | RV | RC
  >
  <
    const W extends Workers,
    Goal = Prompt.RawInput,
    Taken = unknown,
    EP = Agent.Error,
    RP = LanguageModel.LanguageModel,
    B = Readonly<Record<string, OutputOf<W>>>,
    EC = never,
    RC = never
  >(
    name: string,
    members: Planning<Goal, Taken, OutputOf<W>, EP, RP> &
      Working<W> & { readonly evaluator?: NoEvaluator | undefined } & TakesText<Taken>,
    options?: Options<Goal, Taken, OutputOf<W>, B, EC, RC, "best" | "fail"> & Unjudged
  ): Runner.Runner<
    Input<Goal, Taken & Parallel.Input<W>>,
    B,
    EP | InvalidPlan | StepsFailed<Runner.Error<W[keyof W]>> | Runner.Waiting<Runner.Error<W[keyof W]>> | EC,
    RP | Runner.Services<W[keyof W]> | RC
  >
  // The last one, whose error the compiler shows.
  <
    const W extends Workers,
    V,
    EV,
    RV,
    Goal = Prompt.RawInput,
    Taken = unknown,
    EP = Agent.Error,
    RP = LanguageModel.LanguageModel,
    B = Readonly<Record<string, OutputOf<W>>>,
    EC = never,
    RC = never,
    OnMaxRounds extends "best" | "fail" = "fail"
  >(
    name: string,
    members: Planning<Goal, Taken, OutputOf<W>, EP, RP> &
      Working<W> &
      Evaluating<Goal, Taken, OutputOf<W>, V, EV, RV> &
      TakesText<Taken>,
    options: Options<Goal, Taken, OutputOf<W>, B, EC, RC, OnMaxRounds> & Judging<V>
  ): Runner.Runner<
    Input<Goal, Taken & Parallel.Input<W>>,
    B,
    | EP
    | InvalidPlan
    | StepsFailed<Runner.Error<W[keyof W]>>
    | Runner.Waiting<Runner.Error<W[keyof W]>>
    | EV
    | Unaccepted<OnMaxRounds>
    | EC,
    RP | Runner.Services<W[keyof W]> | RV | RC
  >
} = (name: string, members: Erased, options: Erased = {}) => {
  assertOptions(`the members of plan-execute-evaluate "${name}"`, members, knownMembers)
  assertOptions(`plan-execute-evaluate "${name}"`, options, known)
  const settings = settingsOf(name, { ...members, ...options })
  return Runner.erasedWorkflow(name, {
    description: options.description,
    structure: () => ({
      kind: "plan-execute-evaluate",
      note: `at most ${settings.maxRounds} rounds`,
      members: [
        memberOf("planner", settings.planner),
        ...[...(settings.workers ?? [])].map(([name, runner]) => ({ name, role: "worker", runner })),
        ...(settings.executor === undefined ? [] : [memberOf("executor", settings.executor)]),
        ...(settings.evaluator === undefined ? [] : [memberOf("evaluator", settings.evaluator)]),
        ...(settings.combine === undefined ? [] : [memberOf("combine", settings.combine)])
      ]
    }),
    output: () => Schemas.outputOf(settings.combine),
    run: (input: never, state) => run(settings, input, state),
    restore: (saved, _input, state) => restore(settings, saved, state)
  })
}

const known = namesOf<Omit<Erased, "planner" | "workers" | "executor" | "evaluator">>({
  description: true,
  instructions: true,
  maxRounds: true,
  onMaxRounds: true,
  maxSteps: true,
  planRepairs: true,
  concurrency: true,
  onStepFailure: true,
  combine: true,
  accept: true,
  score: true
})

const knownMembers = namesOf<Pick<Erased, "planner" | "workers" | "executor" | "evaluator">>({
  planner: true,
  workers: true,
  executor: true,
  evaluator: true
})

/** A runner or a function whose input an overload has checked. */
type AnyMember = Runner.Any | ((input: never) => unknown)

/** Members and options of `make`, without their types. */
interface Erased {
  readonly description?: string | undefined
  readonly planner?: AnyMember | Effect.Effect<unknown, unknown, unknown> | undefined
  readonly instructions?: string | undefined
  readonly workers?: Workers | undefined
  readonly executor?: AnyMember | NoExecutor | undefined
  readonly evaluator?: AnyMember | NoEvaluator | undefined
  readonly accept?: ((verdict: never) => boolean) | undefined
  readonly score?: ((verdict: never) => number) | undefined
  readonly combine?: AnyMember | undefined
  readonly maxRounds?: number | undefined
  readonly maxSteps?: number | undefined
  readonly planRepairs?: number | undefined
  readonly concurrency?: number | "unbounded" | undefined
  readonly onMaxRounds?: "best" | "fail" | undefined
  readonly onStepFailure?: "replan" | "fail" | undefined
}

/** Throws for a role that is neither a runner nor a function. */
const assertRoles = (subject: string, options: Erased): void => {
  for (const role of ["executor", "evaluator", "combine"] as const) {
    const member = options[role]
    if (member !== undefined && typeof member !== "function") Runner.membersOf(subject, { [role]: member })
  }
}

const settingsOf = (name: string, options: Erased): Settings => {
  const subject = `plan-execute-evaluate "${name}"`
  const limit = (option: string, value: number, least: number): number => limitOf(subject, option, value, least)
  const workers = options.workers === undefined ? undefined : new Map(Runner.namedMembersOf(subject, options.workers))
  if (workers?.size === 0) throw invalid(subject, "it has no workers", "Give it at least one")
  if ((workers === undefined) === (options.executor === undefined)) {
    throw invalid(
      subject,
      `it has ${workers === undefined ? "neither" : "both"} workers and an executor`,
      "Give it one of them"
    )
  }
  assertRoles(subject, options)
  assertOneOf(subject, "onMaxRounds", options.onMaxRounds, ["fail", "best"])
  assertOneOf(subject, "onStepFailure", options.onStepFailure, ["replan", "fail"])
  if (options.planner !== undefined && options.instructions !== undefined) {
    throw invalid(subject, "it has instructions and a planner of its own", "Give the instructions to the planner")
  }
  if (options.evaluator !== undefined && options.accept === undefined) {
    throw invalid(subject, "it has an evaluator, and nothing says which verdicts are accepted", "Give it accept")
  }
  const maxSteps = limit("maxSteps", options.maxSteps ?? 32, 1)
  // An agent that is a service is an Effect too.
  const isFixed = Effect.isEffect(options.planner) && !Runner.isRunner(options.planner)
  const settings = {
    name,
    planner: options.planner ?? makePlanner(name, options.instructions, workers, maxSteps),
    introduction: options.planner === undefined || workers === undefined ? undefined : workersText(workers),
    workers,
    executor: options.executor,
    evaluator: options.evaluator,
    accept: options.accept ?? (() => true),
    score: options.score ?? scoreOf,
    combine: options.combine,
    maxRounds: limit("maxRounds", options.maxRounds ?? 3, 1),
    maxSteps,
    planRepairs: limit("planRepairs", options.planRepairs ?? (isFixed ? 0 : 1), 0),
    concurrency:
      options.concurrency === "unbounded"
        ? Number.POSITIVE_INFINITY
        : limit("concurrency", options.concurrency ?? 8, 1),
    onMaxRounds: options.onMaxRounds ?? "fail",
    onStepFailure: options.onStepFailure ?? (isFixed ? "fail" : "replan")
  }
  // The loop gives each of them what the types of `make` ask for.
  return settings as Settings
}

const makePlanner = (
  name: string,
  instructions: string | undefined,
  workers: ReadonlyMap<string, Runner.Any> | undefined,
  maxSteps: number
): Runner.Any => {
  const names = [...(workers?.keys() ?? [])] as [string, ...Array<string>]
  return Agent.make(`${name} planner`, {
    instructions: plannerInstructions(instructions, workers && workersText(workers), maxSteps),
    output: workers === undefined ? Unassigned : planOf(names)
  })
}

const memberOf = (role: string, member: unknown): Member =>
  Runner.isRunner(member) ? { name: member.name, role, runner: member } : { name: role, role }
