/** What the errors of workflows say of the bill: members that succeeded before the failure are on it. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { LanguageModel } from "effect/ai"
import {
  Agent,
  EvaluatorOptimizer,
  Parallel,
  PlanExecuteEvaluate,
  Router,
  type RunEvent,
  Runner,
  TestModel
} from "troupe"

const writer = Agent.make("writer", { description: "Writes" })
const quick = Agent.make("quick", {})
const fails = (input: string) => Effect.andThen(quick.run(input), Effect.fail("broken"))
const broken = Runner.make("broken", { run: fails })
const planner = () => Effect.as(writer.run("plan"), { steps: [{ id: "a", task: "a" }] })

const failing = {
  ParallelError: Parallel.make("panel", { writer, broken }).run("go"),
  RouteNotFound: Router.make(
    "desk",
    { writer },
    {
      classify: (input) => Effect.as(Effect.andThen(writer.run(input), quick.run(input)), "nowhere")
    }
  ).run("go"),
  NotAccepted: EvaluatorOptimizer.make(
    "refined",
    { generator: writer, evaluator: (draft: string) => quick.run(draft) },
    { accept: () => false, maxRounds: 1, onMaxRounds: "fail" }
  ).run("go"),
  StepsFailed: PlanExecuteEvaluate.make(
    "work",
    { planner, executor: ({ step }) => fails(step.id) },
    { onStepFailure: "fail" }
  ).run("go"),
  PlanNotAccepted: PlanExecuteEvaluate.make(
    "work",
    { planner, executor: ({ step }) => quick.run(step.id), evaluator: () => Effect.succeed(false) },
    { accept: (good) => good, maxRounds: 1, onMaxRounds: "fail" }
  ).run("go")
}

interface Failure {
  readonly _tag: string
  readonly spent?: RunEvent.Spent
}

describe("the error of a workflow", () => {
  for (const [tag, run] of Object.entries<Effect.Effect<unknown, Failure, LanguageModel.LanguageModel>>(
    failing as never
  )) {
    it.effect(`${tag} carries what all of its members have spent`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(run)
        assert.strictEqual(error._tag, tag)
        assert.deepStrictEqual(
          [error.spent?.steps, error.spent?.usage.inputTokens.total, error.spent?.usage.outputTokens.total],
          [2, 20, 10]
        )
      }).pipe(Effect.provide(TestModel.layer(() => "text")))
    )
  }
})
