/** What a plan-execute-evaluate keeps while a member of it waits: its goal, the plans, and the results so far. */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Schemas from "../../internal/runnerSchemas.ts"
import { StepsFailed } from "./errors.ts"
import type { Kept } from "../../internal/workflowSuspension.ts"
import { kept, restore, saving } from "./keptValues.ts"
import * as Plan from "./plan.ts"
import type { Last, Round, Settings } from "./planLoop.ts"

/** Which part of the workflow waits. */
export type Part =
  | { readonly _tag: "plan"; readonly round: number; readonly attempt: number; readonly refused: Refused | undefined }
  | { readonly _tag: "steps" | "judge"; readonly round: number; readonly plan: Plan.Plan }
  | { readonly _tag: "combine"; readonly done: Round }

/** A plan that cannot be carried out. */
export interface Refused {
  readonly plan: Plan.PlanLike
  readonly problems: ReadonlyArray<string>
}

/** What a run knows. */
export interface Progress {
  readonly goal: unknown
  readonly done: ReadonlyMap<string, Plan.DoneStep>
  readonly rejected: ReadonlyArray<Round>
  readonly last: Last | undefined
}

const Index = Schema.Int
/** A step that is done; its inputs are others, by their position, and come before it. */
const Done = Schema.Struct({ step: Plan.Step, output: Schema.Json, inputs: Schema.Array(Index) })
const KeptRound = Schema.Struct({
  round: Schema.Int,
  plan: Plan.Plan,
  steps: Schema.Array(Index),
  verdict: Schema.Json,
  encoded: Schema.Json
})
const State = Schema.TaggedStruct("plan", {
  goal: Schema.Json,
  all: Schema.Array(Done),
  done: Schema.Array(Schema.Tuple([Schema.String, Index])),
  rejected: Schema.Array(KeptRound),
  last: Schema.Union([
    Schema.TaggedStruct("none", {}),
    Schema.TaggedStruct("rejected", {}),
    Schema.TaggedStruct("failed", { error: Schema.Json })
  ]),
  part: Schema.Union([
    Schema.TaggedStruct("plan", {
      round: Schema.Int,
      attempt: Schema.Int,
      refused: Schema.optionalKey(Schema.Struct({ plan: Schema.Json, problems: Schema.Array(Schema.String) }))
    }),
    Schema.TaggedStruct("steps", { round: Schema.Int, plan: Plan.Plan }),
    Schema.TaggedStruct("judge", { round: Schema.Int, plan: Plan.Plan }),
    Schema.TaggedStruct("combine", { done: KeptRound })
  ])
})
type State = typeof State.Type
const decodeState = Schema.decodeUnknownOption(State)

const madeBy = ({ executor, workers }: Settings, { worker }: Plan.Step): unknown =>
  workers === undefined ? executor : workers.get(worker ?? "")

/** The state of a run whose `part` waits; or what of it cannot be kept. */
export const save = (settings: Settings, progress: Progress, part: Part): Kept =>
  saving(() => stateOf(settings, progress, part))

const stateOf = (settings: Settings, { done, goal, last, rejected }: Progress, part: Part): State => {
  const all: Array<typeof Done.Type> = []
  const places = new Map<Plan.DoneStep, number>()
  const placeOf = (one: Plan.DoneStep): number => {
    const known = places.get(one)
    if (known !== undefined) return known
    const inputs = one.inputs.map(placeOf)
    const output = kept(`the result of step "${one.step.id}"`, one.output, Schemas.outputOf(madeBy(settings, one.step)))
    const place = all.push({ step: one.step, output, inputs }) - 1
    places.set(one, place)
    return place
  }
  const roundOf = ({ encoded, plan, round, steps, verdict }: Round): typeof KeptRound.Type => ({
    round,
    plan,
    steps: steps.map(placeOf),
    verdict: kept("a verdict", verdict, Schemas.outputOf(settings.evaluator)),
    encoded
  })
  return {
    _tag: "plan",
    goal: kept("the goal", goal),
    done: Array.from(done, ([id, one]) => [id, placeOf(one)] as const),
    rejected: rejected.map(roundOf),
    last:
      last === undefined
        ? { _tag: "none" }
        : last._tag === "rejected"
          ? { _tag: "rejected" }
          : { _tag: "failed", error: kept("the failure of a step", last.error) },
    part: partOf(part, roundOf),
    all
  }
}

const partOf = (part: Part, roundOf: (round: Round) => typeof KeptRound.Type): State["part"] => {
  if (part._tag === "combine") return { _tag: "combine", done: roundOf(part.done) }
  if (part._tag !== "plan") return part
  const { attempt, refused, round } = part
  if (refused === undefined) return { _tag: "plan", round, attempt }
  return { _tag: "plan", round, attempt, refused: { ...refused, plan: kept("a plan", refused.plan) } }
}

/** What a run knew, and which part of it waits; `undefined` where what was kept is not that of such a run. */
export const restored = (
  settings: Settings,
  json: Schema.Json
): { readonly progress: Progress; readonly part: Part } | undefined => {
  const state = Option.getOrUndefined(decodeState(json))
  if (state === undefined) return undefined
  const all: Array<Plan.DoneStep> = []
  for (const { inputs, output, step } of state.all) {
    const by = madeBy(settings, step)
    const value = restore(output, Schemas.outputOf(by))
    const before = found(all, inputs)
    if (Option.isNone(value) || before === undefined) return undefined
    all.push({ step, output: value.value, encoded: Schemas.encodeOutput(by, value.value), inputs: before })
  }
  const roundOf = (round: typeof KeptRound.Type): Round | undefined => {
    const verdict = restore(round.verdict, Schemas.outputOf(settings.evaluator))
    const steps = found(all, round.steps)
    return Option.isNone(verdict) || steps === undefined ? undefined : { ...round, steps, verdict: verdict.value }
  }
  const goal = restore(state.goal)
  const rejected = state.rejected.map(roundOf)
  const done = found(
    all,
    state.done.map(([, index]) => index)
  )
  const last = lastOf(state.last, rejected.at(-1))
  const part = restoredPart(state.part, roundOf)
  const isWhole = rejected.every((round) => round !== undefined) && Option.isSome(last) && part !== undefined
  if (!isWhole || Option.isNone(goal) || done === undefined) return undefined
  return {
    progress: {
      goal: goal.value,
      done: new Map(state.done.map(([id], index) => [id, done[index]!])),
      rejected: rejected.flatMap((round) => round ?? []),
      last: last.value
    },
    part
  }
}

const found = (
  all: ReadonlyArray<Plan.DoneStep>,
  indices: ReadonlyArray<number>
): ReadonlyArray<Plan.DoneStep> | undefined => {
  const steps = indices.flatMap((index) => all[index] ?? [])
  return steps.length === indices.length ? steps : undefined
}

const lastOf = (last: State["last"], rejected: Round | undefined): Option.Option<Last | undefined> => {
  if (last._tag === "none") return Option.some(undefined)
  if (last._tag === "rejected") {
    return rejected === undefined ? Option.none() : Option.some({ _tag: "rejected", round: rejected })
  }
  const error = Option.getOrUndefined(restore(last.error))
  return error instanceof StepsFailed ? Option.some({ _tag: "failed", error }) : Option.none()
}

const restoredPart = (
  part: State["part"],
  roundOf: (round: typeof KeptRound.Type) => Round | undefined
): Part | undefined => {
  if (part._tag === "combine") {
    const done = roundOf(part.done)
    return done && { _tag: "combine", done }
  }
  if (part._tag !== "plan") return part
  const { attempt, refused, round } = part
  if (refused === undefined) return { _tag: "plan", round, attempt, refused: undefined }
  const plan = Option.getOrUndefined(restore(refused.plan))
  return plan === undefined ? undefined : { ...part, refused: { ...refused, plan: plan as Plan.PlanLike } }
}
