/** What was reached before a later round failed, and which of several rounds is the best. */
import { assert, describe } from "@effect/vitest"
import { Cause, Effect, Exit, Schema } from "effect"
import { Agent, AgentTool, EvaluatorOptimizer, PlanExecuteEvaluate, Runner, TestModel } from "troupe"
import { it } from "../support/edges.ts"
import { collect } from "../support/grammar.ts"

class Broke extends Schema.TaggedError<Broke>()("Broke", { round: Schema.Int }) {}

const writer = Runner.make("writer", {
  run: (input: number) => (input === 99 ? Effect.fail(new Broke({ round: 2 })) : Effect.succeed(`draft ${input}`))
})
/** Judges by `scores`, in order; `undefined` fails. */
const judging = (...scores: ReadonlyArray<number | undefined>) => {
  let round = 0
  return () => {
    const score = scores[round++]
    return score === undefined ? Effect.fail(new Broke({ round })) : Effect.succeed({ score })
  }
}
const refine = (evaluator: ReturnType<typeof judging>, onMaxRounds: "best" | "fail", second = 2) =>
  EvaluatorOptimizer.make(
    "refined",
    { generator: writer, evaluator },
    {
      accept: () => false,
      onMaxRounds: onMaxRounds,
      revise: (_input, rounds) => (rounds.length === 1 ? second : 3)
    }
  )

describe("an evaluator-optimizer whose later round fails", () => {
  for (const [what, second, scores] of [
    ["the judge", 2, [7, undefined]],
    ["the writer", 99, [7, 8]]
  ] as const) {
    it.effect(`gives the best draft before ${what} failed`, () =>
      Effect.gen(function* () {
        const { decisions, output } = yield* refine(judging(...scores), "best", second).result(1)
        assert.strictEqual(output, "draft 1")
        const last = decisions.at(-1)!
        if (last._tag !== "RoundCompleted") return assert.fail(last._tag)
        assert.deepStrictEqual([last.round, last.accepted], [2, false])
        assert.include(JSON.stringify(last.verdict), "Broke")
      })
    )

    it.effect(`fails with the best draft and what ${what} failed with, where "fail" is set`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(refine(judging(...scores), "fail", second).run(1))
        assert.instanceOf(error, EvaluatorOptimizer.NotAccepted)
        assert.deepStrictEqual([error.rounds, error.best, error.verdict], [1, "draft 1", { score: 7 }])
        assert.deepStrictEqual(error.failure, new Broke({ round: 2 }))
        assert.include(error.message, "then failed (")
        const back = Schema.decodeUnknownSync(EvaluatorOptimizer.NotAccepted)(
          Schema.encodeUnknownSync(EvaluatorOptimizer.NotAccepted)(error)
        )
        assert.deepStrictEqual(back.failure, { _tag: "Broke", round: 2 })
      })
    )
  }

  it.effect("says in its last event what the round failed with, without a bill and a conversation of its own", () =>
    Effect.gen(function* () {
      const author = Agent.make("author", {
        maxSteps: 1,
        tools: [AgentTool.fromFunction("look", { description: "Looks", execute: () => "seen" })]
      })
      const runner = EvaluatorOptimizer.make(
        "refined",
        { generator: author, evaluator: () => Effect.succeed(1) },
        { accept: () => false }
      )
      const { events } = yield* collect(runner, "Go")
      const last = events.at(-1)!
      if (last._tag !== "RunFailed") return assert.fail(last._tag)
      const { failure } = last.error as { readonly failure: object }
      assert.deepStrictEqual(Object.keys(failure), ["_tag", "path", "maxSteps"])
    }).pipe(Effect.provide(TestModel.layer(["a draft", TestModel.toolCall("look", {})])))
  )

  it.effect("has no failure in its error when the rounds are used up", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(refine(judging(1, 2, 3), "fail").run(1))
      assert.instanceOf(error, EvaluatorOptimizer.NotAccepted)
      assert.isFalse("failure" in error)
      assert.notInclude(error.message, "failed")
    })
  )

  it.effect("fails with the failure itself in the first round", () =>
    Effect.gen(function* () {
      for (const mode of ["best", "fail"] as const) {
        assert.deepStrictEqual(yield* Effect.flip(refine(judging(undefined), mode).run(1)), new Broke({ round: 1 }))
      }
    })
  )

  it.effect("passes defects and interruption on", () =>
    Effect.gen(function* () {
      let round = 0
      const make = (second: Effect.Effect<{ readonly score: number }>) =>
        refine((() => (round++ === 0 ? Effect.succeed({ score: 7 }) : second)) as never, "best")
      const died = yield* Effect.exit(make(Effect.die("a bug")).run(1))
      assert.isTrue(Exit.isFailure(died) && Cause.hasDies(died.cause))
      round = 0
      const stopped = yield* Effect.exit(make(Effect.interrupt).run(1))
      assert.isTrue(Exit.isFailure(stopped) && Cause.hasInterrupts(stopped.cause))
    })
  )

  it.effect("waits for an approval that a later round asks for", () =>
    Effect.gen(function* () {
      const pay = AgentTool.fromFunction("pay", {
        description: "Pays",
        needsApproval: true,
        execute: () => "paid"
      })
      const refined = EvaluatorOptimizer.make(
        "refined",
        { generator: Agent.make("writer", { tools: [pay] }), evaluator: () => Effect.succeed(0) },
        { accept: () => false, onMaxRounds: "best" }
      )
      assert.strictEqual((yield* Effect.flip(refined.run("x")))._tag, "RunSuspended")
    }).pipe(Effect.provide(TestModel.layer(["draft 1", TestModel.toolCall("pay", {})])))
  )
})

describe("a verdict that is a number", () => {
  it.effect("is its own score", () =>
    Effect.gen(function* () {
      const scores = [0.7, 0.2, 0.5]
      let round = 0
      const refined = EvaluatorOptimizer.make(
        "refined",
        { generator: writer, evaluator: () => Effect.succeed(scores[round++]!) },
        {
          accept: (score) => score > 0.9,
          onMaxRounds: "best",
          revise: (_input, rounds) => rounds.length + 1
        }
      )
      assert.strictEqual(yield* refined.run(1), "draft 1")
    })
  )
})

describe("the best of drafts", () => {
  const best = (verdicts: ReadonlyArray<{ readonly points: number }>) => {
    let round = 0
    return EvaluatorOptimizer.make(
      "refined",
      { generator: writer, evaluator: () => Effect.succeed(verdicts[round++]!) },
      {
        accept: () => false,
        score: ({ points }) => points,
        maxRounds: verdicts.length,
        onMaxRounds: "best",
        revise: (_input, rounds) => rounds.length + 1
      }
    ).run(1)
  }

  it.effect("is the one with the highest score, which the option `score` reads of a verdict", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* best([{ points: 1 }, { points: 9 }, { points: 3 }]), "draft 2")
    })
  )

  it.effect("is the last of those with the same score", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* best([{ points: 9 }, { points: 9 }, { points: 3 }]), "draft 2")
    })
  )
})

describe("a plan-execute-evaluate whose later round fails", () => {
  const steps = (round: number) => ({ steps: [{ id: "a", task: `task ${round}` }] })
  const make = (
    options: {
      readonly plan?: (round: number) => Effect.Effect<PlanExecuteEvaluate.PlanLike, Broke>
      readonly verdicts?: ReadonlyArray<number | undefined>
    },
    onMaxRounds: "best" | "fail"
  ) => {
    const judge = judging(...(options.verdicts ?? [7, 3]))
    return PlanExecuteEvaluate.make(
      "work",
      {
        planner: ({ round }: PlanExecuteEvaluate.Request<string>) =>
          options.plan?.(round) ?? Effect.succeed(steps(round)),
        executor: ({ step }) => Effect.succeed(`did ${step.task}`),
        evaluator: () => judge()
      },
      { accept: () => false, maxRounds: 2, planRepairs: 0, onMaxRounds: onMaxRounds }
    )
  }
  const cases = {
    "the planner": {
      plan: (round: number) => (round === 2 ? Effect.fail(new Broke({ round })) : Effect.succeed(steps(round)))
    },
    "the judge": { verdicts: [7, undefined] },
    "an invalid plan": { plan: (round: number) => Effect.succeed(round === 2 ? { steps: [] } : steps(round)) }
  }
  for (const [what, options] of Object.entries(cases)) {
    it.effect(`gives the best results before the failure of ${what}`, () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* make(options, "best").run("x"), { a: "did task 1" })
      })
    )

    it.effect(`fails with the best results and the failure of ${what}, where "fail" is set`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(make(options, "fail").run("x"))
        if (error._tag !== "PlanNotAccepted") return assert.fail(error._tag)
        assert.deepStrictEqual([error.rounds, error.results, error.verdict], [1, { a: "did task 1" }, { score: 7 }])
        assert.include(["Broke", "InvalidPlan"], (error.failure as { readonly _tag: string })._tag)
      })
    )
  }

  it.effect("fails with the failure itself before any verdict", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(make({ verdicts: [undefined] }, "best").run("x"))
      assert.deepStrictEqual(error, new Broke({ round: 1 }))
    })
  )
})
