/** Evaluator and optimizer: drafts are judged and revised until one is accepted. */
import * as Effect from "effect/Effect"
import * as Prompt from "effect/ai/Prompt"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import { assertFunction, assertOneOf, assertOptions, countOf, namesOf } from "../internal/definition.ts"
import * as Schemas from "../internal/runnerSchemas.ts"
import { textOfJson, toJson } from "../internal/json.ts"
import type { RunState } from "../internal/runState.ts"
import type { Structure } from "../internal/structure.ts"
import { unlessLeaving } from "../internal/trueExit.ts"
import * as Runner from "../Runner.ts"
import { answerText, replayable, toPrompt, userText } from "../internal/input.ts"
import { NotAccepted, textOf } from "./internal/errors.ts"
import * as Rounds from "./internal/keptRounds.ts"
import { bestOf, scoreOf, settledRound } from "./internal/verdict.ts"

export { NotAccepted } from "./internal/errors.ts"

/** One round: a draft and the evaluator's verdict. */
export interface Round<out Draft, out Verdict> {
  readonly draft: Draft
  readonly verdict: Verdict
}

/** The generator of drafts, and their evaluator. */
export interface Members<I, Draft, E1, R1, Verdict, E2, R2> {
  readonly generator: Runner.Runner<I, Draft, E1, R1>
  /**
   * Judges every draft: a runner, or a function, which is given the input of the run too. A judge that has to know the task is such
   * a function: `(draft, task) => judge.run(...)`.
   */
  readonly evaluator:
    | Runner.Runner<Draft, Verdict, E2, R2>
    | ((draft: Draft, input: NoInfer<I>) => Effect.Effect<Verdict, E2, R2>)
}

/** Which drafts are accepted, and what happens to the others. */
export interface Options<I, Draft, Verdict> {
  readonly description?: string | undefined
  readonly accept: (verdict: Verdict) => boolean
  /** How many drafts at most. Default 3. */
  readonly maxRounds?: number | undefined
  /**
   * No draft was accepted, because the rounds are used up or because a round after the first failed: fail with
   * `NotAccepted`, which holds the best draft (`"fail"`, default), or give the best draft so far (`"best"`).
   */
  readonly onMaxRounds?: "best" | "fail" | undefined
  /**
   * The score of a verdict; the highest is the best. Default: the verdict itself if it is a number, otherwise its `score`,
   * otherwise the last round wins.
   */
  readonly score?: ((verdict: Verdict) => number) | undefined
  /**
   * The generator's input for the next round. Default, for a generator that takes a conversation: the input, then each
   * draft with the verdict on it.
   */
  readonly revise?: ((input: I, rounds: ReadonlyArray<Round<Draft, Verdict>>) => I) | undefined
}

type Exhausted<OnMaxRounds> = [OnMaxRounds] extends ["best"] ? never : NotAccepted

/**
 * Makes the loop of generator and evaluator. Every draft is judged, the last one too. Each is a nested run, so every
 * round is in the events.
 *
 * Fails with what generator and evaluator fail with in the first round, and with `NotAccepted` unless `onMaxRounds` is
 * `"best"`. A later round that fails ends the rounds, and what was judged before it counts. Interrupting it
 * interrupts the run under way. Throws `InvalidDefinition` for a `maxRounds` that is not a whole number from 1.
 *
 * @example
 * import { Schema } from "effect"
 * import { Agent, EvaluatorOptimizer } from "troupe"
 *
 * const writer = Agent.make("writer", { instructions: "Write a slogan." })
 * const judge = Agent.make("judge", { instructions: "Judge the slogan.", output: Schema.Struct({ score: Schema.Int }) })
 * const refined = EvaluatorOptimizer.make(
 *   "refined",
 *   { generator: writer, evaluator: judge },
 *   { accept: (verdict) => verdict.score >= 8 }
 * )
 */
export const make = <I, Draft, E1, R1, Verdict, E2, R2, OnMaxRounds extends "best" | "fail" = "fail">(
  name: string,
  members: Members<I, Draft, E1, R1, Verdict, E2, R2>,
  options: Options<I, Draft, Verdict> & {
    readonly onMaxRounds?: OnMaxRounds | undefined
  } & (string extends I ? unknown : { readonly revise: (input: I, rounds: ReadonlyArray<Round<Draft, Verdict>>) => I })
): Runner.Runner<I, Draft, E1 | E2 | Exhausted<OnMaxRounds>, R1 | R2> => {
  const subject = `evaluator-optimizer "${name}"`
  Runner.assertMembers(subject, members)
  assertOptions(`the members of ${subject}`, members, knownMembers)
  assertOptions(subject, options, known)
  const { maxRounds = 3, onMaxRounds } = options
  assertOneOf(subject, "onMaxRounds", onMaxRounds, ["fail", "best"])
  check(subject, members.generator, maxRounds)
  const { evaluator, generator } = members
  if (!Runner.isRunner(evaluator)) assertFunction(subject, "evaluator", evaluator)
  assertFunction(subject, "accept", options.accept)
  const refinement: Refinement<I, Draft, E1, R1, Verdict, E2, R2> = {
    ...options,
    maxRounds,
    members,
    judge: (draft, input) =>
      Runner.isRunner(evaluator) ? evaluator.run(draft) : unlessLeaving(Effect.suspend(() => evaluator(draft, input))),
    // Without `revise` the types have made sure that the generator takes a conversation.
    revise: options.revise ?? (conversation as unknown as NonNullable<typeof options.revise>)
  }
  const run = (progress: Rounds.Progress<I, Draft, Verdict>, state: RunState) =>
    Effect.flatMap(rounds(refinement, progress, state), (ended): Effect.Effect<Draft, Exhausted<OnMaxRounds>> => {
      if ("accepted" in ended) return Effect.succeed(ended.accepted)
      const best = bestOf(ended.rounds, options.score ?? scoreOf)
      if (onMaxRounds === "best") return Effect.succeed(best.draft)
      // Where the type is `never` the option is "best", which returned above.
      return Effect.fail(notAccepted(name, ended, best, state) as Exhausted<OnMaxRounds>)
    })
  return Runner.workflow(name, {
    description: options.description,
    structure: () => structureOf(maxRounds, generator, evaluator),
    input: () => Schemas.inputOf(generator),
    output: () => Schemas.outputOf(generator),
    run: (given: I, state: RunState) =>
      run({ input: replayable(given), rounds: [], draft: Option.none(), resumed: undefined }, state),
    restore: (saved, _input, state) => {
      const progress = Rounds.restored<I, Draft, Verdict>(saved, members)
      return progress && run(progress, state)
    }
  })
}

const known = namesOf<Options<unknown, unknown, unknown>>({
  description: true,
  accept: true,
  maxRounds: true,
  onMaxRounds: true,
  score: true,
  revise: true
})

const knownMembers: ReadonlySet<string> = new Set(["generator", "evaluator"])

const check = (subject: string, generator: unknown, maxRounds: number): void => {
  countOf(subject, "maxRounds", maxRounds)
  Runner.membersOf(subject, { generator })
}

const structureOf = (maxRounds: number, generator: Runner.Member, evaluator: unknown): Structure => ({
  kind: "evaluator-optimizer",
  note: `at most ${maxRounds} rounds`,
  members: [
    { name: generator.name, role: "generator", runner: generator as Runner.Any },
    Runner.isRunner(evaluator)
      ? { name: evaluator.name, role: "evaluator", runner: evaluator }
      : { name: "evaluator", role: "evaluator" }
  ]
})

/** How the rounds of a run are made. */
interface Refinement<I, Draft, E1, R1, Verdict, E2, R2> extends Pick<Options<I, Draft, Verdict>, "accept"> {
  readonly maxRounds: number
  readonly members: Members<I, Draft, E1, R1, Verdict, E2, R2>
  readonly judge: (draft: Draft, input: I) => Effect.Effect<Verdict, E2, R2>
  readonly revise: (input: I, rounds: ReadonlyArray<Round<Draft, Verdict>>) => I
}

/** How the rounds ended: with a draft that was accepted, or without one. */
type Ended<Draft, Verdict> =
  | { readonly accepted: Draft }
  | { readonly rounds: ReadonlyArray<Round<Draft, Verdict>>; readonly failure: Option.Option<unknown> }

/** Makes rounds until a draft is accepted, one after the first fails, or they are used up. */
const rounds = Effect.fnUntraced(function* <I, Draft, E1, R1, Verdict, E2, R2>(
  { accept, judge, maxRounds, members, revise }: Refinement<I, Draft, E1, R1, Verdict, E2, R2>,
  progress: Rounds.Progress<I, Draft, Verdict>,
  state: RunState
): Effect.fn.Return<Ended<Draft, Verdict>, E1 | E2, R1 | R2> {
  const { generator } = members
  const { input } = progress
  const rounds = [...progress.rounds]
  let { draft, resumed } = progress
  while (rounds.length < maxRounds) {
    const round = rounds.length + 1
    const waiting = Rounds.keeping({ input, rounds, draft, resumed }, members, state)
    const drafted = Option.isSome(draft)
      ? Effect.succeed(draft.value)
      : waiting(generator.run(round === 1 ? input : revise(input, rounds)), Option.none())
    const judged = Effect.flatMap(drafted, (draft) =>
      Effect.map(waiting(judge(draft, input), Option.some(draft)), (verdict) => ({ draft, verdict }))
    )
    const tried = yield* settledRound(judged, rounds.length === 0)
    draft = Option.none()
    resumed = undefined
    if (Result.isFailure(tried)) {
      const verdict = { failure: textOf(tried.failure) }
      yield* state.events.decide({ _tag: "RoundCompleted", round, accepted: false, verdict })
      return { rounds, failure: Option.some(tried.failure) }
    }
    const made = tried.success
    rounds.push(made)
    const accepted = accept(made.verdict)
    const verdict = Schemas.encodeOutput(members.evaluator, made.verdict)
    yield* state.events.decide({ _tag: "RoundCompleted", round, accepted, verdict })
    if (accepted) return { accepted: made.draft }
  }
  return { rounds, failure: Option.none() }
})

const notAccepted = (
  name: string,
  { failure, rounds }: { readonly rounds: ReadonlyArray<unknown>; readonly failure: Option.Option<unknown> },
  best: Round<unknown, unknown>,
  { bill }: RunState
): NotAccepted =>
  new NotAccepted({
    name,
    rounds: rounds.length,
    best: toJson(best.draft),
    verdict: toJson(best.verdict),
    ...(Option.isSome(failure) ? { failure: failure.value } : {}),
    spent: bill.spent()
  })

/** The input, and each draft with the verdict on it. */
const conversation = (input: Prompt.RawInput, rounds: ReadonlyArray<Round<unknown, unknown>>): Prompt.Prompt =>
  rounds.reduce<Prompt.Prompt>(
    (prompt, { draft, verdict }) =>
      Prompt.concat(
        prompt,
        Prompt.fromMessages([
          answerText(plain(draft)),
          userText(`Feedback on this draft: ${plain(verdict)}\nRevise it.`)
        ])
      ),
    toPrompt(input)
  )

const plain = (value: unknown): string => textOfJson(toJson(value))
