/** What the messages of failed workflows say, and what it costs to make them. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Agent, AgentTool, EvaluatorOptimizer, Parallel, PlanExecuteEvaluate, Runner, TestModel } from "troupe"

describe("the message of a workflow whose member failed with a sentence", () => {
  const fails = Runner.make("fails", { run: (_input: string) => Effect.fail(new Error("The disk is full.")) })
  let drafts = 0
  const writesOnce = Runner.make("writesOnce", {
    run: () => (drafts++ === 0 ? Effect.succeed("a draft") : Effect.fail(new Error("The disk is full.")))
  })
  const plan = { steps: [{ id: "one", task: "write" }] }
  const workflows: ReadonlyArray<readonly [string, Runner.Any]> = [
    ["a parallel", Parallel.make("w", { fails })],
    ["a hedge", Parallel.hedge("w", fails, { delay: "1 second", attempts: 1 })],
    [
      "a plan",
      PlanExecuteEvaluate.make("w", { planner: Effect.succeed(plan), executor: () => Effect.fail("The disk is full.") })
    ],
    [
      "an evaluator-optimizer after its first round",
      EvaluatorOptimizer.make(
        "w",
        { generator: writesOnce, evaluator: () => Effect.succeed(1) },
        { accept: () => false }
      )
    ],
    [
      "a run that timed out",
      Runner.make("w", {
        run: (_input: string) => Effect.onInterrupt(Effect.never, () => Effect.fail("The disk is full.") as never)
      }).pipe(Runner.withTimeout(1))
    ]
  ]
  for (const [name, erased] of workflows) {
    it.live(`has one full stop after it: ${name}`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip((erased as Runner.Runner<string, unknown, unknown, never>).run("go"))
        const { message } = error as Error
        assert.include(message, "The disk is full")
        assert.notMatch(message, /\.\s*[.;)]/)
      })
    )
  }
})

describe("the message of a hedge that waits for approval", () => {
  it.effect("says which error has the transcript to go on from", () =>
    Effect.gen(function* () {
      const pay = AgentTool.fromFunction("pay", { description: "Pays", needsApproval: true, execute: () => "paid" })
      const hedge = Parallel.hedge("hedge", Agent.make("cashier", { tools: [pay] }), { delay: "1 second" })
      const error = yield* Effect.flip(hedge.run("pay"))
      assert.strictEqual(error._tag, "RunSuspended")
      assert.include(error.message, "where transcript is that of this RunSuspended")
    }).pipe(Effect.provide(TestModel.layer([TestModel.toolCall("pay", {})])))
  )
})

describe("the message of nested parallels", () => {
  /** How often the message of a failure is read when the run at the top fails, by how many groups stand around it. */
  const reads = Effect.fnUntraced(function* (depth: number) {
    let count = 0
    class Leaf extends Error {
      override get message() {
        count++
        return "leaf"
      }
    }
    let runner: Runner.Runner<string, unknown, unknown, never> = Runner.make("leaf", {
      run: (_input: string) => Effect.fail(new Leaf())
    })
    for (let level = 0; level < depth; level++) runner = Parallel.make(`level ${level}`, { runner })
    const watched = Runner.onEvent(runner, () => Effect.void)
    const error = yield* Effect.flip(watched.run("go"))
    assert.instanceOf(error, Parallel.ParallelError)
    assert.include((error as Error).message, "leaf")
    return count
  })

  it.effect("reads each failure a few times for each group around it", () =>
    Effect.gen(function* () {
      const [few, many] = [yield* reads(4), yield* reads(12)]
      // 3 ** 8 times as often, when each group read it three times.
      assert.isAtMost(many / few, 4)
    })
  )
})
