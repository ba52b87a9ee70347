/** What an evaluator-optimizer keeps while its generator or its evaluator waits: its input, the rounds so far, the draft. */
import type * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Schemas from "../../internal/runnerSchemas.ts"
import type { RunState } from "../../internal/runState.ts"
import type { Saved } from "../../internal/suspension.ts"
import { goOn, type Kept as WorkflowState } from "../../internal/workflowSuspension.ts"
import * as Kept from "./keptBranches.ts"
import { kept, restore, saving } from "./keptValues.ts"

interface Round<out Draft, out Verdict> {
  readonly draft: Draft
  readonly verdict: Verdict
}

/** How far a run has come. */
export interface Progress<I, Draft, Verdict> {
  readonly input: I
  readonly rounds: ReadonlyArray<Round<Draft, Verdict>>
  /** The draft that is not judged yet. */
  readonly draft: Option.Option<Draft>
  /** The member that goes on: the evaluator where there is a draft, otherwise the generator. */
  readonly resumed: Saved["members"][number] | undefined
}

/** The members that make drafts and verdicts. */
export interface Makers {
  readonly generator: unknown
  readonly evaluator: unknown
}

const State = Schema.TaggedStruct("rounds", {
  input: Schema.Json,
  rounds: Schema.Array(Schema.Tuple([Schema.Json, Schema.Json])),
  draft: Schema.optionalKey(Schema.Json)
})
const decodeState = Schema.decodeUnknownOption(State)

/** A function that runs a part of a round, which is generating without a draft, and judging with one. */
export const keeping =
  <I, Draft, Verdict>(progress: Progress<I, Draft, Verdict>, makers: Makers, state: RunState) =>
  <A, E, R>(part: Effect.Effect<A, E, R>, draft: Option.Option<Draft>): Effect.Effect<A, E, R> => {
    const { draft: before, input, resumed } = progress
    const isResumed = resumed !== undefined && Option.isSome(before) === Option.isSome(draft)
    const work = isResumed ? goOn(part, resumed, state) : part
    const key = Option.isSome(draft) ? "evaluator" : "generator"
    // It fails as the part does: only what is kept in the suspension is another.
    return Kept.keeping(work, key, state, input, () => save({ ...progress, draft }, makers)) as Effect.Effect<A, E, R>
  }

const save = <I, Draft, Verdict>(
  { draft, input, rounds }: Progress<I, Draft, Verdict>,
  { evaluator, generator }: Makers
): WorkflowState => {
  const ofDraft = Schemas.outputOf(generator)
  const ofVerdict = Schemas.outputOf(evaluator)
  return saving((): typeof State.Type => ({
    _tag: "rounds",
    input: kept("the input", input),
    rounds: rounds.map((round) => [kept("a draft", round.draft, ofDraft), kept("a verdict", round.verdict, ofVerdict)]),
    ...(Option.isNone(draft) ? {} : { draft: kept("the draft", draft.value, ofDraft) })
  }))
}

/** How far a run had come; `undefined` where what was kept is not that of such a run. */
export const restored = <I, Draft, Verdict>(
  { members, state }: Saved,
  { evaluator, generator }: Makers
): Progress<I, Draft, Verdict> | undefined => {
  const found = Option.getOrUndefined(decodeState(state))
  const resumed = members[0]
  if (found === undefined || resumed === undefined) return undefined
  const ofDraft = Schemas.outputOf(generator)
  const ofVerdict = Schemas.outputOf(evaluator)
  const all = Option.all({
    input: restore(found.input),
    rounds: Option.all(
      found.rounds.map(([draft, verdict]) =>
        Option.all({ draft: restore(draft, ofDraft), verdict: restore(verdict, ofVerdict) })
      )
    ),
    draft:
      found.draft === undefined ? Option.some(Option.none()) : Option.map(restore(found.draft, ofDraft), Option.some)
  })
  // The schemas that they were kept by say what they are.
  return Option.isNone(all) ? undefined : ({ ...all.value, resumed } as Progress<I, Draft, Verdict>)
}
