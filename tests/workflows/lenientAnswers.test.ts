/** Answers with a part that decides nothing, or does not fit: what they do say is used. */
import { assert, describe } from "@effect/vitest"
import { Effect } from "effect"
import { Agent, Handoffs, Orchestrator, PlanExecuteEvaluate, TestModel } from "troupe"
import { it } from "../support/edges.ts"

const json = (value: unknown) => JSON.stringify(value)
/** Answers what is to be JSON by `plans`, in turn, and everything else by "done". */
const model = (...plans: ReadonlyArray<unknown>) => {
  let next = 0
  return TestModel.layer(({ output }) => (output === undefined ? "done" : json(plans[next++] ?? "no plan left")), {
    unused: "ignore"
  })
}

describe("a plan of the default planner", () => {
  const cashier = Agent.make("cashier", { description: "Pays" })
  const clerk = Agent.make("clerk", { description: "Files" })
  const work = PlanExecuteEvaluate.make("work", { workers: { cashier, clerk } })
  const alone = PlanExecuteEvaluate.make("alone", { workers: { cashier } })
  const step = { id: "a", task: "pay", dependsOn: [], worker: "cashier" }

  it.effect("may leave out what a step depends on", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* work.run("x"), { a: "done" })
      assert.deepStrictEqual(yield* work.run("x"), { a: "done" })
    }).pipe(
      Effect.provide(
        model(
          { steps: [{ id: "a", task: "pay", worker: "cashier" }] },
          { steps: [{ id: "a", task: "pay", worker: "cashier", dependsOn: null }] }
        )
      )
    )
  )

  it.effect("may name a worker in another case", () =>
    Effect.gen(function* () {
      const { decisions, output } = yield* work.result("x")
      assert.deepStrictEqual(output, { a: "done" })
      assert.include(json(decisions), '"worker":"cashier"')
    }).pipe(Effect.provide(model({ steps: [{ ...step, worker: " Cashier" }] })))
  )

  it.effect("need not name the only worker", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* alone.run("x"), { a: "done" })
    }).pipe(Effect.provide(model({ steps: [{ id: "a", task: "pay" }] })))
  )

  it.effect("with an unknown worker is sent back", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* work.run("x"), { a: "done" })
      const { calls } = yield* TestModel.TestModel
      const second = (yield* calls)[1]!
      assert.include(json(second.prompt.content), 'names the worker \\"baker\\"; there are: cashier, clerk')
    }).pipe(Effect.provide(model({ steps: [{ ...step, worker: "baker" }] }, { steps: [step] })))
  )

  it.effect("with an unknown worker fails with InvalidPlan when it comes again", () =>
    Effect.gen(function* () {
      for (const runner of [work, alone]) {
        const error = yield* Effect.flip(runner.run("x"))
        if (error._tag !== "InvalidPlan") return assert.fail(error._tag)
        assert.include(error.problems[0], 'names the worker "baker"')
      }
    }).pipe(Effect.provide(model(...Array.from({ length: 4 }, () => ({ steps: [{ ...step, worker: "baker" }] })))))
  )

  it.effect("of several workers fails with InvalidPlan for a step that names none", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(work.run("x"))
      if (error._tag !== "InvalidPlan") return assert.fail(error._tag)
      assert.include(error.problems[0], "names no worker")
    }).pipe(Effect.provide(model({ steps: [{ id: "a", task: "pay" }] }, { steps: [{ id: "a", task: "pay" }] })))
  )

  it.effect("that is not a plan fails with InvalidOutput", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* Effect.flip(work.run("x")))._tag, "InvalidOutput")
    }).pipe(Effect.provide(model({ steps: [{ id: "a" }] }, "nothing")))
  )

  it.effect("is asked for by a schema that requires all of it", () =>
    Effect.gen(function* () {
      yield* work.run("x")
      const { calls } = yield* TestModel.TestModel
      const shown = json((yield* calls)[0]!.output?.jsonSchema)
      assert.include(shown, '"required":["id","task","dependsOn","worker"]')
      assert.include(shown, '"enum":["cashier","clerk"]')
    }).pipe(Effect.provide(model({ steps: [step] })))
  )

  it.effect("is read the same way from a planner that was made with planOf", () =>
    Effect.gen(function* () {
      const planner = Agent.make("own", { output: PlanExecuteEvaluate.planOf(["cashier", "clerk"]) })
      const own = PlanExecuteEvaluate.make("own", { planner, workers: { cashier, clerk } })
      assert.deepStrictEqual(yield* own.run("x"), { a: "done" })
      assert.strictEqual((yield* Effect.flip(own.run("x")))._tag, "InvalidPlan")
    }).pipe(
      Effect.provide(
        model(
          { steps: [{ id: "a", task: "pay", worker: "CLERK" }] },
          { steps: [{ ...step, worker: "baker" }] },
          { steps: [{ ...step, worker: "baker" }] }
        )
      )
    )
  )
})

describe("a tool call of a workflow", () => {
  it.effect("hands over without a reason", () =>
    Effect.gen(function* () {
      const triage = Agent.make("triage", { tools: [Handoffs.to("billing")] })
      const desk = Handoffs.make("desk", { triage, billing: Agent.make("billing", {}) }, { start: "triage" })
      const { decisions, output } = yield* desk.result("x")
      assert.strictEqual(output, "billed")
      assert.deepStrictEqual(decisions, [
        { _tag: "HandedOff", from: "triage", to: "billing", reason: "", path: ["desk"] }
      ])
    }).pipe(Effect.provide(TestModel.layer([TestModel.toolCall("transfer_to_billing", { message: "m" }), "billed"])))
  )

  it.effect("spawns an agent without a name or a list of tools", () =>
    Effect.gen(function* () {
      const lead = Orchestrator.make("lead", {}, { spawn: {} })
      assert.strictEqual(yield* lead.run("x"), "all done")
      const { calls } = yield* TestModel.TestModel
      assert.include(json((yield* calls)[1]!.prompt.content), "the task")
    }).pipe(
      Effect.provide(
        TestModel.layer([
          TestModel.toolCall("spawn", { name: null, instructions: "i", task: "the task" }),
          "done",
          "all done"
        ])
      )
    )
  )
})
