/** Limits of a run that waits and goes on: they count on from where the run was suspended, also in another process. */
import { assert, describe } from "@effect/vitest"
import { Effect, Fiber, Schema } from "effect"
import { Prompt } from "effect/ai"
import { TestClock } from "effect/testing"
import { Agent, AgentTool, Approvals, Orchestrator, Parallel, RunError, Runner, TestModel } from "troupe"
import { it } from "../support/edges.ts"

const { toolCall } = TestModel
const pay = AgentTool.fromFunction("pay", { description: "Pays", needsApproval: true, execute: () => "paid" })
const look = AgentTool.fromFunction("look", { description: "Looks", execute: () => "seen" })
const agentOf = (name: string, options: Agent.Settings = {}) =>
  Agent.make(name, { description: name, tools: [pay, look], ...options })

type Failed = RunError.RunSuspended | { readonly _tag: string }

/** Runs it, approving all that it waits for, until it does not wait any more; by JSON, as another process has it. */
const throughAll = <A, E extends Failed, R>(
  runner: Runner.Runner<Prompt.RawInput, A, E, R>,
  between: Effect.Effect<void> = Effect.void
): Effect.Effect<A | Failed, never, R> => {
  const go = (input: Prompt.RawInput): Effect.Effect<A | Failed, never, R> =>
    Effect.catch(runner.run(input), (error: Failed): Effect.Effect<A | Failed, never, R> => {
      if (!(error instanceof RunError.RunSuspended)) return Effect.succeed(error)
      const stored = Schema.encodeSync(Prompt.Prompt)(error.transcript)
      const answers = Object.fromEntries(error.waitingFor.map(({ id }) => [id, Approvals.approve]))
      return Effect.andThen(between, go(Runner.answer(stored, answers)))
    })
  return go("Go")
}
const made = Effect.flatMap(TestModel.TestModel, ({ calls }) => Effect.map(calls, ({ length }) => length))
const fields = (failed: unknown, ...names: ReadonlyArray<string>) =>
  Object.fromEntries(names.map((name) => [name, (failed as Readonly<Record<string, unknown>>)[name]]))

describe("a run that waits and goes on", () => {
  it.effect("takes no more than maxSteps steps in all", () =>
    Effect.gen(function* () {
      const failed = yield* throughAll(agentOf("clerk", { maxSteps: 3 }))
      assert.deepStrictEqual(fields(failed, "_tag", "maxSteps"), { _tag: "MaxStepsExceeded", maxSteps: 3 })
      assert.strictEqual(yield* made, 3)
    }).pipe(Effect.provide(TestModel.layer([toolCall("pay", {}), toolCall("look", {}), toolCall("pay", {})])))
  )

  it.effect("answers with its last step where there is one left", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* throughAll(agentOf("clerk", { maxSteps: 3 })), "done")
    }).pipe(Effect.provide(TestModel.layer([toolCall("pay", {}), toolCall("pay", {}), "done"])))
  )

  it.effect("makes no more than maxToolCalls tool calls in all, and counts one that waited once", () =>
    Effect.gen(function* () {
      const failed = yield* throughAll(agentOf("clerk", { maxToolCalls: 2, onMaxToolCalls: "fail" }))
      assert.deepStrictEqual(fields(failed, "_tag", "asked"), { _tag: "MaxToolCallsExceeded", asked: 3 })
      assert.strictEqual(yield* made, 3)
    }).pipe(Effect.provide(TestModel.layer([toolCall("pay", {}), toolCall("pay", {}), toolCall("pay", {})])))
  )

  it.effect("takes no more steps than its budget allows in all, and counts one that waited once", () =>
    Effect.gen(function* () {
      const failed = yield* throughAll(Runner.withBudget(agentOf("clerk"), { steps: 2 }))
      assert.deepStrictEqual(fields(failed, "_tag", "limit", "used"), {
        _tag: "BudgetExceeded",
        limit: "steps",
        used: 2
      })
      assert.strictEqual(yield* made, 2)
    }).pipe(Effect.provide(TestModel.layer([toolCall("pay", {}), toolCall("pay", {})])))
  )

  it.effect("makes no more tool calls than its budget allows in all", () =>
    Effect.gen(function* () {
      const failed = yield* throughAll(Runner.withBudget(agentOf("clerk"), { toolCalls: 2 }))
      assert.deepStrictEqual(fields(failed, "_tag", "limit"), { _tag: "BudgetExceeded", limit: "toolCalls" })
      assert.strictEqual(yield* made, 3)
    }).pipe(Effect.provide(TestModel.layer([toolCall("pay", {}), toolCall("pay", {}), toolCall("pay", {})])))
  )

  it.effect("uses no more tokens than its budget allows in all", () => {
    const turn = { ...toolCall("pay", {}), usage: { inputTokens: { total: 40 }, outputTokens: { total: 10 } } }
    return Effect.gen(function* () {
      const failed = yield* throughAll(Runner.withBudget(agentOf("clerk"), { tokens: 100 }))
      assert.deepStrictEqual(fields(failed, "_tag", "limit", "used"), {
        _tag: "BudgetExceeded",
        limit: "tokens",
        used: 100
      })
      assert.strictEqual(yield* made, 2)
    }).pipe(Effect.provide(TestModel.layer([turn, turn])))
  })

  it.effect("counts the budget of a workflow once for all branches that wait", () =>
    Effect.gen(function* () {
      const both = Parallel.make("both", { left: agentOf("left"), right: agentOf("right") })
      const output = yield* throughAll(Runner.withBudget(both, { steps: 4, toolCalls: 2 }))
      assert.deepStrictEqual(output, { left: "done", right: "done" })
    }).pipe(Effect.provide(TestModel.layer([toolCall("pay", {}), toolCall("pay", {}), "done", "done"])))
  )

  it.effect("fails a workflow whose branches use more than is left of its budget", () =>
    Effect.gen(function* () {
      const both = Parallel.make("both", { left: agentOf("left"), right: agentOf("right") })
      const failed = yield* throughAll(Runner.withBudget(both, { steps: 3 }))
      assert.deepStrictEqual(fields(failed, "_tag", "limit"), { _tag: "BudgetExceeded", limit: "steps" })
      assert.strictEqual(yield* made, 3)
    }).pipe(Effect.provide(TestModel.layer([toolCall("pay", {}), toolCall("pay", {}), "done"])))
  )

  it.effect("counts each of two budgets, one around the other", () =>
    Effect.gen(function* () {
      const inner = Runner.withBudget(agentOf("clerk"), { steps: 9 })
      const failed = yield* throughAll(Runner.withBudget(inner, { steps: 2 }))
      assert.deepStrictEqual(fields(failed, "_tag", "limit", "allowed"), {
        _tag: "BudgetExceeded",
        limit: "steps",
        allowed: 2
      })
    }).pipe(Effect.provide(TestModel.layer([toolCall("pay", {}), toolCall("pay", {})])))
  )

  it.effect("counts on in an orchestrator whose worker waits", () => {
    const turn = (name: string) => ({
      ...toolCall(name, { input: "x" }),
      usage: { inputTokens: { total: 40 }, outputTokens: { total: 10 } }
    })
    return Effect.gen(function* () {
      const lead = Orchestrator.make("lead", { worker: agentOf("worker") }, { budget: { tokens: 120 } })
      const output = yield* throughAll(lead)
      assert.strictEqual(output, "an answer of what there is")
      const { calls } = yield* TestModel.TestModel
      assert.include(JSON.stringify((yield* calls).at(-1)!.prompt), "the budget of 120 tokens is used up")
    }).pipe(Effect.provide(TestModel.layer([turn("worker"), turn("pay"), turn("pay"), "an answer of what there is"])))
  })

  it.effect("has the time that was left, without the time in which it waited", () =>
    Effect.gen(function* () {
      const slow = AgentTool.fromFunction("slow", { description: "Slow", execute: () => Effect.sleep("40 seconds") })
      const agent = Agent.make("clerk", { tools: [pay, slow] })
      const limited = Runner.withBudget(agent, { time: "1 minute" })
      const fiber = yield* Effect.forkChild(throughAll(limited, Effect.sleep("1 hour")))
      yield* TestClock.adjust("2 hours")
      const failed = yield* Fiber.join(fiber)
      assert.deepStrictEqual(fields(failed, "_tag", "limit"), { _tag: "BudgetExceeded", limit: "time" })
    }).pipe(Effect.provide(TestModel.layer([toolCall("slow", {}), toolCall("pay", {}), toolCall("slow", {})])))
  )
})
