/**
 * The errors of workflows. Those that list failures of members know the schemas of all errors of Troupe, and no other.
 */
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import { encodeError, textOfJson, toJson } from "../../internal/json.ts"
import { addErrors, decodeKnown } from "../../internal/knownErrors.ts"
import { asClause, cut, oneLine } from "../../internal/text.ts"
import { Spent } from "../../RunEvent.ts"
import * as Plan from "./plan.ts"

/** The failure of a member of any kind. */
export const AnyFailure = Schema.Json.pipe(
  Schema.decodeTo(
    Schema.Unknown,
    SchemaTransformation.transform({ decode: (json): unknown => decodeKnown(json), encode: encodeError })
  )
)

/** An error of Troupe as JSON by which it is decoded to itself; `None` for any other, and for one that holds another. */
export const encodeKnown = (error: Error): Option.Option<Schema.Json> => {
  const json = encodeError(error)
  const same = decodeKnown(json)
  if (!Predicate.isError(same) || same.constructor !== error.constructor) return Option.none()
  const { failures } = error as { readonly failures?: unknown }
  const inner = Array.isArray(failures) ? failures.map((one: unknown) => failureIn(one)) : []
  const isKnown = inner.every((one) =>
    Predicate.isError(one) ? Option.isSome(encodeKnown(one)) : typeof one !== "object"
  )
  return isKnown || !(error instanceof ParallelError || error instanceof StepsFailed)
    ? Option.some(json)
    : Option.none()
}

const failureIn = (failure: unknown): unknown => (Predicate.hasProperty(failure, "error") ? failure.error : undefined)

/** A branch ended by something that is not a failure of its type: a bug, or it interrupted itself. */
export class BranchDefect extends Schema.TaggedError<BranchDefect>()("BranchDefect", { defect: Schema.Defect() }) {
  override get message(): string {
    return `an unexpected error: ${textOf(this.defect)}`
  }
}

/** One branch that failed. */
export interface BranchFailure<out E> {
  readonly branch: string
  readonly error: E | BranchDefect
}

/**
 * Too many branches failed for the mode. Every failure is listed, the first one first, those of branches that failed
 * while they were being interrupted included. All finalizers have run.
 *
 * As a schema it is that of any branches: a failure is encoded by its own schema where it has one, otherwise by its fields.
 * Errors of Troupe are decoded to themselves, others to that JSON.
 */
export class ParallelError<E> extends Schema.TaggedError<ParallelError<unknown>>()("ParallelError", {
  name: Schema.String,
  failures: Schema.Array(Schema.Struct({ branch: Schema.String, error: AnyFailure })),
  /** Branches that were interrupted or never began. */
  interrupted: Schema.Array(Schema.String),
  /** What the run had spent, branches that succeeded included; absent for a stream of inputs, which is not a run. */
  spent: Schema.optionalKey(Spent)
}) {
  declare readonly failures: ReadonlyArray<BranchFailure<E>>

  // oxlint-disable-next-line no-useless-constructor -- it says which errors they are: the schema knows of none
  constructor(
    props: {
      readonly name: string
      readonly failures: ReadonlyArray<BranchFailure<E>>
      readonly interrupted: ReadonlyArray<string>
      readonly spent?: Spent
    },
    options?: Schema.MakeOptions
  ) {
    super(props, options)
  }

  override get message(): string {
    const { failures, interrupted, name } = this
    const failed = listed(
      failures.map(({ branch, error }) => `"${branch}": ${asClause(textOf(error))}`),
      "; "
    )
    const others = interrupted.length === 0 ? "" : ` Interrupted: ${listed(interrupted, ", ")}.`
    return `"${name}": ${failures.length === 1 ? "a branch" : `${failures.length} branches`} failed: ${failed}.${others}`
  }
}

const maxListed = 10

/** A message names some of many; the error's fields hold all. */
const listed = (items: ReadonlyArray<string>, separator: string): string =>
  items.length <= maxListed
    ? items.join(separator)
    : `${items.slice(0, maxListed).join(separator)}${separator}and ${items.length - maxListed} more`

/** The text of a failure, for a message. */
export const textOf = (error: unknown): string => {
  // Read once: the message of a group's error is made of those of its branches, at each level of nested groups.
  const message = Predicate.hasProperty(error, "message") ? error.message : undefined
  if (typeof message === "string" && message !== "") return message
  return textOfJson(toJson(error))
}

/** One step that failed. */
export interface StepFailure<out E> {
  readonly step: string
  readonly error: E | BranchDefect
}

/**
 * Steps of a plan failed, and no new plan is made: `onStepFailure` is `"fail"`, no round is left, or a step died with a
 * defect. Every failure is listed, the first one first, those of steps that failed while they were
 * being interrupted included. All finalizers have run. As a schema it is one as `ParallelError` is.
 */
export class StepsFailed<E> extends Schema.TaggedError<StepsFailed<unknown>>()("StepsFailed", {
  name: Schema.String,
  /** Counted from 1. */
  round: Schema.Int,
  failures: Schema.Array(Schema.Struct({ step: Schema.String, error: AnyFailure })),
  /** The ids of steps that were interrupted or never began. */
  interrupted: Schema.Array(Schema.String),
  plan: Plan.Plan,
  /** The results of the steps that succeeded, as JSON, by id. */
  done: Schema.Record(Schema.String, Schema.Json),
  /** What the run had spent, steps that succeeded included. */
  spent: Spent
}) {
  declare readonly failures: ReadonlyArray<StepFailure<E>>

  // oxlint-disable-next-line no-useless-constructor -- it says which errors they are: the schema knows of none
  constructor(
    props: {
      readonly name: string
      readonly round: number
      readonly failures: ReadonlyArray<StepFailure<E>>
      readonly interrupted: ReadonlyArray<string>
      readonly plan: Plan.Plan
      readonly done: Readonly<Record<string, Schema.Json>>
      readonly spent: Spent
    },
    options?: Schema.MakeOptions
  ) {
    super(props, options)
  }

  override get message(): string {
    const failed = this.failures.map(({ error, step }) => `"${step}": ${asClause(textOf(error))}`).join("; ")
    const others = this.interrupted.length === 0 ? "" : ` Interrupted or not begun: ${this.interrupted.join(", ")}.`
    return `"${this.name}" round ${this.round}: ${this.failures.length === 1 ? "a step" : `${this.failures.length} steps`} failed: ${failed}.${others} See \`done\` for what did succeed.`
  }
}

const acceptedNothing = (what: string, error: PlanNotAccepted | NotAccepted): string => {
  const failed = "failure" in error ? `, then failed (${asClause(textOf(error.failure))})` : ""
  return `"${error.name}" accepted ${what} in ${error.rounds} rounds${failed}; the verdict on the best was ${JSON.stringify(error.verdict)}. Raise maxRounds, ease accept, or take the best with onMaxRounds: "best".`
}

/**
 * The results of no plan were accepted, and `onMaxRounds` is not `"best"`: the rounds are used up, or planning or judging failed
 * in a round after the first verdict. It has the best results that were judged.
 */
export class PlanNotAccepted extends Schema.TaggedError<PlanNotAccepted>()("PlanNotAccepted", {
  name: Schema.String,
  /** The last round whose results were judged. */
  rounds: Schema.Int,
  /** The plan with the best results. */
  plan: Plan.Plan,
  /** The results of its steps, as JSON, by id. */
  results: Schema.Record(Schema.String, Schema.Json),
  verdict: Schema.Json,
  /** The error of the planner or the evaluator after that, an `InvalidPlan` included; absent when no round failed. */
  failure: Schema.optionalKey(AnyFailure),
  spent: Spent
}) {
  override get message(): string {
    return acceptedNothing("the results of no plan", this)
  }
}

/** The planner's plan cannot be carried out, also after it was asked to fix it. `plan` is its last one. */
export class InvalidPlan extends Schema.TaggedError<InvalidPlan>()("InvalidPlan", {
  name: Schema.String,
  /** Which round it was for, counted from 1. */
  round: Schema.Int,
  /** How many plans were tried for that round. */
  attempts: Schema.Int,
  /** Everything that is wrong with it. */
  problems: Schema.Array(Schema.String),
  plan: Plan.Plan
}) {
  override get message(): string {
    return `"${this.name}" has no plan that can be carried out (${this.attempts} tried): ${this.problems.map(asClause).join("; ")}. See \`plan\`. Add the rules that it breaks to the planner's instructions, or raise planRepairs.`
  }
}

/**
 * No draft was accepted, and `onMaxRounds` is not `"best"`: the rounds are used up, or a later round failed. It has the best
 * draft that was judged.
 */
export class NotAccepted extends Schema.TaggedError<NotAccepted>()("NotAccepted", {
  name: Schema.String,
  /** How many drafts were judged. */
  rounds: Schema.Int,
  /** The best draft, as JSON. */
  best: Schema.Json,
  verdict: Schema.Json,
  /** The error of the generator or the evaluator in the round after those; absent when the rounds were used up. */
  failure: Schema.optionalKey(AnyFailure),
  spent: Spent
}) {
  override get message(): string {
    return acceptedNothing("no draft", this)
  }
}

/** A `scatter` got another number of inputs than it has runners, or a `map` too few inputs for its mode. */
export class WrongNumberOfInputs extends Schema.TaggedError<WrongNumberOfInputs>()("WrongNumberOfInputs", {
  name: Schema.String,
  /** How many inputs are needed. */
  needed: Schema.Int,
  /** Whether more inputs are accepted. */
  orMore: Schema.Boolean,
  given: Schema.Int
}) {
  override get message(): string {
    return `"${this.name}" takes ${this.needed}${this.orMore ? " or more" : ""} inputs and was given ${this.given}. Give it ${this.orMore ? "as many" : "one for each runner, in their order"}.`
  }
}

/** The classifier chose an unknown route, or none with enough confidence, and the router has no fallback. */
export class RouteNotFound extends Schema.TaggedError<RouteNotFound>()("RouteNotFound", {
  name: Schema.String,
  /** The chosen name, or the model's answer when that names no route; empty without a choice. */
  route: Schema.String,
  /** The model's confidence, from 0 to 1; 0 without a number in that range, 1 for a function. */
  confidence: Schema.Finite,
  routes: Schema.Array(Schema.String),
  spent: Spent
}) {
  override get message(): string {
    const chosen =
      this.route === "" ? "nothing was chosen" : `"${cut(oneLine(this.route), 200)}" with confidence ${this.confidence}`
    return `"${this.name}" found no route: ${chosen}. There are: ${this.routes.join(", ")}. Describe the routes better, lower the threshold, or give a fallback.`
  }
}

/** The errors of this module. */
addErrors(
  BranchDefect,
  ParallelError,
  StepsFailed,
  PlanNotAccepted,
  InvalidPlan,
  NotAccepted,
  WrongNumberOfInputs,
  RouteNotFound
)
