/** Plans: their schema, their check before anything runs, and which steps of a new plan are done already. */
import * as Equal from "effect/Equal"
import * as Schema from "effect/Schema"
import { readBy } from "../../internal/reading.ts"
import { nameIn } from "./choice.ts"

const fields = {
  id: Schema.String.annotate({ description: "A short name for the step, unique in the plan" }),
  task: Schema.String.annotate({ description: "What is to be done, with everything needed to do it" }),
  dependsOn: Schema.Array(Schema.String).annotate({
    description: "The ids of the steps whose results this step needs; empty when it needs none"
  })
}
const description = "The steps that reach the goal. Those that do not depend on one another are done at the same time"
/** Without keywords that some servers refuse in strict mode, such as `minItems`: {@link check} looks at the rest. */
const stepsOf = <S extends Schema.Top>(step: S) => Schema.Array(step).annotate({ description })

/** One step of a {@link Plan}. */
export const Step = Schema.Struct({
  ...fields,
  worker: Schema.NullOr(Schema.String).annotate({ description: "The name of the worker who does it, or null" })
})
/** One step of a {@link Plan}. */
export type Step = typeof Step.Type

/**
 * A plan: steps that may depend on one another. Every field is required, so that OpenAI's strict mode can hold a model to
 * it: this is the `output` of an agent that plans. See {@link planOf} for one that may name certain workers only.
 */
export const Plan = Schema.Struct({ steps: stepsOf(Step) }).annotate({ identifier: "Plan" })
/** A plan: steps that may depend on one another. */
export type Plan = typeof Plan.Type

/** A step as planners may give it. */
export interface StepLike {
  /** Unique in the plan; names the step's run in events. */
  readonly id: string
  readonly task: string
  /** The ids of the steps whose results it needs. Default: none. */
  readonly dependsOn?: ReadonlyArray<string> | null | undefined
  /** The worker of the step. Optional with a single worker. */
  readonly worker?: string | null | undefined
}

/** A planner's result: a {@link Plan}, or one written by hand with optional fields left out. */
export interface PlanLike {
  readonly steps: ReadonlyArray<StepLike>
}

/** Decodes a step leniently: a missing field counts as empty, and {@link check} reports a wrong worker. */
const Lenient = Schema.Struct({
  ...fields,
  dependsOn: Schema.optionalKey(Schema.NullOr(Schema.Array(Schema.String))),
  worker: Schema.optionalKey(Schema.NullOr(Schema.String))
})
const lenient = <S extends Schema.Top>(step: S) =>
  readBy(
    Schema.Struct({ steps: stepsOf(step) }).annotate({ identifier: "Plan" }),
    Schema.Struct({ steps: Schema.Array(Lenient) })
  )

/**
 * The schema of a plan whose steps are done by certain workers, for the `output` of an agent that plans. A model that is
 * held to its schema can then name no other. An answer that names one all the same is a plan still: the workflow tells the
 * planner what is wrong with it.
 *
 * @example
 * import { Agent, PlanExecuteEvaluate } from "troupe"
 *
 * const planner = Agent.make("planner", {
 *   instructions: "Plan the research and the writing.",
 *   output: PlanExecuteEvaluate.planOf(["research", "write"])
 * })
 */
export const planOf = <const Worker extends string>(workers: readonly [Worker, ...ReadonlyArray<Worker>]) =>
  lenient(
    Schema.Struct({
      ...fields,
      worker: Schema.Literals(workers).annotate({ description: "The worker who does it" })
    })
  )

/** @internal The schema of a plan whose steps are all done alike. */
export const Unassigned = lenient(Schema.Struct(fields))

/** A step that has succeeded, and what it gave. */
export interface DoneStep {
  readonly step: Step
  readonly output: unknown
  /** The output as JSON. */
  readonly encoded: Schema.Json
  /** Its inputs: the steps that it depended on, as they were then. */
  readonly inputs: ReadonlyArray<DoneStep>
}
/** The steps that have succeeded in any round so far, by id. */
export type DoneSteps = ReadonlyMap<string, DoneStep>

/** The rules for a plan. */
export interface Rules {
  /** `undefined` with an executor: it does all steps, and a worker's name is ignored. */
  readonly workers: ReadonlyArray<string> | undefined
  readonly maxSteps: number
  readonly done: DoneSteps
}

/**
 * The plan in full, and what is wrong with it. A plan may build on a step that is done without listing it again: that step
 * is taken in, with its result as it is.
 */
export const check = (
  given: PlanLike,
  rules: Rules
): { readonly plan: Plan; readonly problems: ReadonlyArray<string> } => {
  const plan = complete(given, rules)
  const problems: Array<string> = []
  if (plan.steps.length === 0) problems.push("it has no steps")
  if (given.steps.length > rules.maxSteps) {
    problems.push(`it has ${given.steps.length} steps, and ${rules.maxSteps} are allowed`)
  }
  const ids = new Set<string>()
  const twice = new Set<string>()
  for (const { id } of plan.steps) (ids.has(id) ? twice : ids).add(id)
  if (ids.has("")) problems.push("a step has no id")
  for (const id of twice) problems.push(`two steps have the id "${id}"`)
  for (const { dependsOn, id, worker } of plan.steps) {
    for (const other of dependsOn) {
      if (!ids.has(other)) problems.push(`step "${id}" depends on "${other}", which is not a step`)
    }
    if (rules.workers === undefined) continue
    if (worker === null) problems.push(`step "${id}" names no worker; there are: ${rules.workers.join(", ")}`)
    else if (!rules.workers.includes(worker)) {
      problems.push(`step "${id}" names the worker "${worker}"; there are: ${rules.workers.join(", ")}`)
    }
  }
  if (twice.size === 0) {
    for (const circle of sort(plan.steps).circles) {
      problems.push(`steps depend on one another in a circle: ${[...circle, circle[0]!].join(" -> ")}`)
    }
  }
  return { plan, problems }
}

const complete = (given: PlanLike, { done, workers }: Rules): Plan => {
  const only = workers?.length === 1 ? workers[0]! : null
  const steps = given.steps.map((step): Step => ({
    id: step.id,
    task: step.task,
    dependsOn: [...new Set(step.dependsOn ?? [])],
    worker: typeof step.worker === "string" ? (nameIn(workers ?? [], step.worker) ?? step.worker) : only
  }))
  const ids = new Set(steps.map(({ id }) => id))
  const builtOn = new Set(steps.flatMap(({ dependsOn }) => dependsOn.filter((id) => !ids.has(id))))
  const taken = [...builtOn].flatMap((id) => {
    const found = done.get(id)
    return found === undefined ? [] : [{ ...found.step, dependsOn: [] }]
  })
  return { steps: [...taken, ...steps] }
}

/**
 * The steps in an order in which each comes after those that it depends on, and the circles that prevent it: in each,
 * every step depends on the next one, and the last on the first.
 */
export const sort = (
  steps: ReadonlyArray<Step>
): { readonly order: ReadonlyArray<Step>; readonly circles: ReadonlyArray<ReadonlyArray<string>> } => {
  const left = new Map(steps.map((step) => [step.id, step]))
  const dependents = new Map<string, Array<Step>>(steps.map(({ id }) => [id, []]))
  for (const step of steps) for (const id of step.dependsOn) dependents.get(id)?.push(step)
  const waiting = new Map(steps.map(({ dependsOn, id }) => [id, dependsOn.filter((one) => left.has(one)).length]))
  const order: Array<Step> = []
  const circles: Array<ReadonlyArray<string>> = []
  const free = steps.filter(({ id }) => waiting.get(id) === 0)
  const drop = (id: string) => {
    left.delete(id)
    for (const one of dependents.get(id)!) {
      const still = waiting.get(one.id)! - 1
      waiting.set(one.id, still)
      if (still === 0 && left.has(one.id)) free.push(one)
    }
  }
  for (;;) {
    // The list grows while it is read.
    for (const step of free) {
      order.push(step)
      drop(step.id)
    }
    free.length = 0
    const first = left.values().next().value
    if (first === undefined) return { order, circles }
    const circle = circleFrom(first, left)
    circles.push(circle)
    for (const id of circle) drop(id)
  }
}

/** Every step that is left depends on another that is left, so following them ends in a circle. */
const circleFrom = (first: Step, left: ReadonlyMap<string, Step>): ReadonlyArray<string> => {
  const at = new Map<string, number>()
  let step = first
  while (!at.has(step.id)) {
    at.set(step.id, at.size)
    step = left.get(step.dependsOn.find((id) => left.has(id))!)!
  }
  return [...at.keys()].slice(at.get(step.id))
}

/**
 * The steps of a plan, without circles, that need not run: they have succeeded with the same task and the same worker, and
 * what they would be given now is what they were given then, or a part of it.
 */
export const keptOf = (plan: Plan, done: DoneSteps): ReadonlySet<string> => {
  const kept = new Set<string>()
  for (const step of sort(plan.steps).order) {
    const before = done.get(step.id)
    if (before === undefined || before.step.task !== step.task || before.step.worker !== step.worker) continue
    if (step.dependsOn.every((id) => kept.has(id) && wasGiven(before, done.get(id)!))) kept.add(step.id)
  }
  return kept
}

const wasGiven = ({ inputs }: DoneStep, now: DoneStep): boolean =>
  inputs.some((then) => then.step.id === now.step.id && Equal.equals(then.output, now.output))

/** The steps that no other depends on, in the order of the plan. */
export const lastOf = (plan: Plan): ReadonlyArray<string> => {
  const needed = new Set(plan.steps.flatMap(({ dependsOn }) => dependsOn))
  return plan.steps.flatMap(({ id }) => (needed.has(id) ? [] : [id]))
}
