/**
 * Goals: a run goes on until a judge is content. After each answer the judge says what is missing, and the agent goes on with
 * that, in the same conversation.
 */
import * as Effect from "effect/Effect"
import * as Prompt from "effect/ai/Prompt"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import { assertFunction, assertOneOf, assertOptions, countOf, namesOf } from "../internal/definition.ts"
import { loopMessage } from "../internal/input.ts"
import { counting } from "../internal/resumption.ts"
import { type Count, CurrentState } from "../internal/runState.ts"
import { unlessLeaving } from "../internal/trueExit.ts"
import * as Middleware from "../Middleware.ts"
import { GoalNotReached } from "../RunError.ts"
import * as Runner from "../Runner.ts"
import { emit } from "./internal/emit.ts"
import { render } from "./internal/rendered.ts"

/** What a judge says. As a schema it is the `output` of an agent that judges. */
export const Verdict = Schema.Struct({
  done: Schema.Boolean,
  /** What is still missing; empty where nothing is. */
  missing: Schema.String
})
/** What a judge says. */
export interface Verdict extends Schema.Schema.Type<typeof Verdict> {}

/** What a function judges. */
export interface Round {
  /** The output of the run, as JSON. */
  readonly output: Schema.Json
  /** The conversation that led to it. */
  readonly transcript: Prompt.Prompt
  /** Counted from 1. */
  readonly round: number
}

/**
 * A judge: a runner that is given the conversation as a text, the answer last; or a function. A boolean says only whether the goal
 * is reached.
 */
export type Judge<E, R> =
  | Runner.Runner<string, boolean | Verdict, E, R>
  | ((round: Round) => Effect.Effect<boolean | Verdict, E, R>)

/** Options of {@link make}. */
export interface Options<E, R, OnMaxRounds extends "fail" | "answer" = "fail" | "answer"> {
  readonly until: Judge<E, R>
  /** How many answers are judged at most. Default 5. */
  readonly maxRounds?: number | undefined
  /** When the judge is not content with the last one: fail with `GoalNotReached` (default), or give that answer. */
  readonly onMaxRounds?: OnMaxRounds | undefined
}

type Exhausted<OnMaxRounds> = [OnMaxRounds] extends ["answer"] ? never : GoalNotReached

const known = namesOf<Options<unknown, unknown>>({ until: true, maxRounds: true, onMaxRounds: true })

/**
 * Makes the middleware that goes on until the judge is content. Each round may take the agent's `maxSteps`. A judge that is a
 * runner is nested in the run: its usage counts there. `RoundCompleted` says what was judged; `RunRetried` that the text of the
 * round before is void. The output is that of the last round, and the transcript has all of them. A run that was suspended goes on in its round.
 *
 * Fails with what the judge fails with, and with `GoalNotReached` unless `onMaxRounds` is `"answer"`. Throws `InvalidDefinition`
 * for a `maxRounds` that is not a whole number from 1.
 *
 * @example
 * import { Agent, Goal } from "troupe"
 *
 * const judge = Agent.make("judge", { instructions: "Is every test green, by the last test run?", output: Goal.Verdict })
 * const coder = Agent.make("coder", { middleware: [Goal.make({ until: judge, maxRounds: 5 })] })
 */
export const make = <E, R, OnMaxRounds extends "fail" | "answer" = "fail">(
  options: Options<E, R, OnMaxRounds>
): Middleware.Middleware<E | Exhausted<OnMaxRounds>, R> => {
  const { maxRounds = 5, onMaxRounds = "fail", until } = options
  assertOptions("goal", options, known)
  assertOneOf("goal", "onMaxRounds", onMaxRounds, ["fail", "answer"])
  if (!Runner.isRunner(until)) assertFunction("goal", "until", until)
  countOf("goal", "maxRounds", maxRounds)
  const judge = (round: Round): Effect.Effect<boolean | Verdict, E, R> =>
    Runner.isRunner(until) ? until.run(render(round.transcript.content, maxJudged)) : until(round)
  const rounds = (
    run: Middleware.RunRequest,
    next: (run: Middleware.RunRequest) => Effect.Effect<Middleware.RunOutput, Middleware.Failure>,
    judged: Count
  ) =>
    Effect.gen(function* () {
      let { prompt } = run
      for (; ; judged.value++) {
        const round = judged.value + 1
        const answer = yield* next({ ...run, prompt })
        const transcript = answer.transcript ?? prompt
        const verdict = yield* unlessLeaving(Effect.suspend(() => judge({ output: answer.output, transcript, round })))
        const { done, missing } = Predicate.isBoolean(verdict) ? { done: verdict, missing: "" } : verdict
        yield* emit((events) =>
          events.decide({ _tag: "RoundCompleted", round, accepted: done, verdict: { done, missing } })
        )
        if (done) return answer
        if (round >= maxRounds) {
          if (onMaxRounds === "answer") return answer
          const error = new GoalNotReached({
            path: run.path,
            rounds: round,
            missing,
            output: answer.output,
            transcript
          })
          // Where the type is `never` the option is "answer", which returned above.
          return yield* Effect.fail(error as Exhausted<OnMaxRounds>)
        }
        prompt = Prompt.concat(transcript, Prompt.fromMessages([asking(missing)]))
      }
    })
  return Middleware.make("goal", {
    run: (run, next) =>
      Effect.flatMap(CurrentState, (state) =>
        counting("goal", run.prompt, state!, (judged) => rounds(run, next, judged))
      )
  })
}

/** How much of a conversation a judge is given, in characters. */
const maxJudged = 200_000

const asking = (missing: string): Prompt.UserMessage => {
  const what = missing.trim() === "" ? "" : ` This is missing: ${missing}`
  return loopMessage(`You are not done yet.${what}\nGo on.`)
}
