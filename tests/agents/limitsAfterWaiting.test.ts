/** Limits of a run that waits and goes on: they count on from where the run was suspended, also in another process. */
import { assert, describe } from "@effect/vitest"
import { Effect, Fiber, Redacted, Schema } from "effect"
import { Prompt } from "effect/ai"
import { TestClock } from "effect/testing"
import {
  Agent,
  AgentTool,
  Approvals,
  Goal,
  Handoffs,
  Orchestrator,
  Parallel,
  Replan,
  RunError,
  Runner,
  TestModel
} from "troupe"
import { it } from "../support/edges.ts"
import { attempt, MemoryJournal } from "../support/journal.ts"

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
const lastPrompt = Effect.flatMap(TestModel.TestModel, ({ calls }) => Effect.map(calls, (all) => all.at(-1)!.prompt))
const spawn = toolCall("spawn", { instructions: "i", task: "t", tools: ["pay"] })
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

  it.effect("counts on where it is answered one by one", () =>
    Effect.gen(function* () {
      const agent = agentOf("clerk", { maxSteps: 3, maxToolCalls: 4, onMaxToolCalls: "fail" })
      const first = yield* Effect.flip(agent.run("Go"))
      if (!(first instanceof RunError.RunSuspended)) return assert.fail(first._tag)
      const [one, other] = first.waitingFor
      const second = yield* Effect.flip(agent.run(Runner.answer(first.transcript, { [one.id]: Approvals.approve })))
      if (!(second instanceof RunError.RunSuspended)) return assert.fail(second._tag)
      const third = yield* Effect.flip(agent.run(Runner.answer(second.transcript, { [other!.id]: Approvals.approve })))
      assert.deepStrictEqual(fields(third, "_tag", "maxSteps"), { _tag: "MaxStepsExceeded", maxSteps: 3 })
    }).pipe(
      Effect.provide(
        TestModel.layer([
          toolCall("look", {}),
          {
            toolCalls: [
              { name: "pay", params: {} },
              { name: "pay", params: {} }
            ]
          },
          toolCall("look", {})
        ])
      )
    )
  )

  it.effect("changes hands no more than maxHandoffs times in all", () =>
    Effect.gen(function* () {
      const agent = (name: string, other: string) => Agent.make(name, { tools: [pay, Handoffs.to(other)] })
      const desk = Handoffs.make(
        "desk",
        { front: agent("front", "back"), back: agent("back", "front") },
        { start: "front", maxHandoffs: 2 }
      )
      assert.strictEqual(yield* throughAll(desk), "done")
      const { calls } = yield* TestModel.TestModel
      const offered = (yield* calls).map(({ tools }) => tools.filter((name) => name.startsWith("transfer")))
      assert.deepStrictEqual(offered, [
        ["transfer_to_back"],
        ["transfer_to_front"],
        ["transfer_to_front"],
        ["transfer_to_back"].slice(1),
        []
      ])
    }).pipe(
      Effect.provide(
        TestModel.layer([
          toolCall("transfer_to_back", { reason: "r", message: "m" }),
          toolCall("pay", {}),
          toolCall("transfer_to_front", { reason: "r", message: "m" }),
          toolCall("pay", {}),
          "done"
        ])
      )
    )
  )

  it.effect("counts handoffs of each of two branches that wait", () =>
    Effect.gen(function* () {
      const agent = (name: string, other: string) => Agent.make(name, { tools: [pay, Handoffs.to(other)] })
      const desk = (name: string, maxHandoffs: number) =>
        Handoffs.make(
          name,
          { front: agent("front", "back"), back: agent("back", "front") },
          { start: "front", maxHandoffs }
        )
      const both = Parallel.make("both", { left: desk("left", 1), right: desk("right", 2) }, { concurrency: 1 })
      assert.deepStrictEqual(yield* throughAll(both), { left: "left done", right: "right done" })
      const { calls } = yield* TestModel.TestModel
      assert.deepStrictEqual(
        (yield* calls).slice(-2).map(({ tools }) => tools),
        [["pay"], ["pay", "transfer_to_front"]]
      )
    }).pipe(
      Effect.provide(
        TestModel.layer([
          toolCall("transfer_to_back", { reason: "r", message: "m" }),
          toolCall("pay", {}),
          toolCall("transfer_to_back", { reason: "r", message: "m" }),
          toolCall("pay", {}),
          "left done",
          "right done"
        ])
      )
    )
  )

  it.effect("calls workers no more often than its budget of runs allows in all, and one that waited once", () =>
    Effect.gen(function* () {
      const lead = Orchestrator.make("lead", { worker: agentOf("worker") }, { budget: { runs: 2 } })
      assert.strictEqual(yield* throughAll(lead), "an answer")
      const prompt = JSON.stringify(yield* lastPrompt)
      assert.strictEqual(prompt.split("done by a worker").length - 1, 2)
      assert.include(prompt, "the budget of 2 worker runs is used up")
    }).pipe(
      Effect.provide(
        TestModel.layer([
          toolCall("worker", { input: "x" }),
          toolCall("pay", {}),
          "done by a worker",
          toolCall("worker", { input: "x" }),
          toolCall("pay", {}),
          "done by a worker",
          toolCall("worker", { input: "x" }),
          "an answer"
        ])
      )
    )
  )

  it.effect("spawns no more agents than it may in all, each under the name that it had", () =>
    Effect.gen(function* () {
      const lead = Orchestrator.make("lead", {}, { spawn: { tools: [pay], maxTotal: 2 } })
      assert.strictEqual(yield* throughAll(lead), "an answer")
      const prompt = JSON.stringify(yield* lastPrompt)
      assert.strictEqual(prompt.split("done by a worker").length - 1, 2)
      assert.include(prompt, "2 agents were spawned, which is the limit")
    }).pipe(
      Effect.provide(
        TestModel.layer([spawn, "done by a worker", spawn, toolCall("pay", {}), "done by a worker", spawn, "an answer"])
      )
    )
  )

  it.effect("spawns no more agents by one of its agents than that may", () =>
    Effect.gen(function* () {
      const lead = Orchestrator.make("lead", {}, { spawn: { tools: [pay], maxDepth: 2, maxBreadth: 1 } })
      assert.strictEqual(yield* throughAll(lead), "an answer")
      const { calls } = yield* TestModel.TestModel
      assert.include(JSON.stringify((yield* calls).at(-2)!.prompt), "you have spawned 1 agents, which is the limit")
    }).pipe(
      Effect.provide(
        TestModel.layer([spawn, spawn, toolCall("pay", {}), "inner", toolCall("pay", {}), spawn, "outer", "an answer"])
      )
    )
  )

  it.effect("reviews its plan no more than max times in all", () =>
    Effect.gen(function* () {
      const plan = TestModel.json({ goal: "g", done: [], remaining: [], next: "n" })
      const agent = Agent.make("clerk", { tools: [pay, look], middleware: [Replan.make({ every: 1, max: 1 })] })
      const script = [
        toolCall("look", {}),
        plan,
        toolCall("pay", {}),
        toolCall("look", {}),
        toolCall("look", {}),
        "done"
      ]
      const model = TestModel.layer(script)
      assert.strictEqual(yield* Effect.provide(throughAll(agent), model), "done")
    })
  )

  it.effect("goes on in its round of a goal, which is its own also where another one is within it", () =>
    Effect.gen(function* () {
      let judged = 0
      const until = () => Effect.sync(() => (judged++, false))
      const inner = Goal.make({ until: () => Effect.succeed(true) })
      const agent = Agent.make("clerk", { tools: [pay, look], middleware: [Goal.make({ until, maxRounds: 3 }), inner] })
      const failed = yield* throughAll(agent)
      assert.deepStrictEqual(fields(failed, "_tag", "rounds"), { _tag: "GoalNotReached", rounds: 3 })
      assert.strictEqual(judged, 3)
    }).pipe(Effect.provide(TestModel.layer(["one", toolCall("pay", {}), "two", toolCall("pay", {}), "three"])))
  )

  it.effect("asks for a correction of its output no more than outputRepairs times in all", () =>
    Effect.gen(function* () {
      const agent = Agent.make("clerk", {
        tools: [pay],
        output: Schema.Struct({ n: Schema.Int }),
        outputRepairs: 1
      })
      const failed = yield* throughAll(agent)
      assert.deepStrictEqual(fields(failed, "_tag", "attempts"), { _tag: "InvalidOutput", attempts: 2 })
    }).pipe(Effect.provide(TestModel.layer(["no", toolCall("pay", {}), "no"])))
  )

  it.effect("is retried no more than times in all", () =>
    Effect.gen(function* () {
      const agent = Runner.withRetry(agentOf("clerk", { maxSteps: 2 }), { times: 1 })
      const failed = yield* throughAll(agent)
      assert.strictEqual(fields(failed, "_tag")["_tag"], "MaxStepsExceeded")
      assert.strictEqual(yield* made, 4)
    }).pipe(
      Effect.provide(
        TestModel.layer([toolCall("look", {}), toolCall("look", {}), toolCall("pay", {}), toolCall("look", {})])
      )
    )
  )

  it.effect("is signed with its counts", () =>
    Effect.gen(function* () {
      const agent = (name: string, other: string) => Agent.make(name, { tools: [pay, Handoffs.to(other)] })
      const desk = Handoffs.make(
        "desk",
        { front: agent("front", "back"), back: agent("back", "front") },
        { start: "front" }
      )
      const failed = yield* Effect.flip(desk.run("Go"))
      if (!(failed instanceof RunError.RunSuspended)) return assert.fail(failed._tag)
      const stored = JSON.stringify(Schema.encodeSync(Prompt.Prompt)(failed.transcript))
      assert.include(stored, '"value":1')
      const changed = JSON.parse(stored.replace('"value":1', '"value":0')) as typeof Prompt.Prompt.Encoded
      const answered = Runner.answer(changed, { [failed.waitingFor[0].id]: Approvals.approve })
      assert.strictEqual((yield* Effect.flip(desk.run(answered)))._tag, "InvalidApproval")
    }).pipe(
      Effect.provide([
        TestModel.layer([toolCall("transfer_to_back", { reason: "r", message: "m" }), toolCall("pay", {})]),
        Approvals.signing({ secret: Redacted.make("a secret of thirty-two characters") })
      ])
    )
  )
})

describe("a durable run that goes on from a transcript", () => {
  /** Each run has a journal of its own, as those of `Durable.runs` have, and is made again once it has ended. */
  const journaled = <I, A, E, R>(runner: Runner.Runner<I, A, E, R>): Runner.Runner<I, A, E, R> => ({
    ...runner,
    run: (input) =>
      Effect.suspend(() => {
        const journal = new MemoryJournal()
        const once = Effect.map(attempt(runner.run(input), journal), (exit) => exit!)
        return Effect.flatten(Effect.andThen(once, once))
      })
  })

  it.effect("takes no more steps than its budget allows in all", () =>
    Effect.gen(function* () {
      const failed = yield* throughAll(journaled(Runner.withBudget(agentOf("clerk"), { steps: 2 })))
      assert.deepStrictEqual(fields(failed, "_tag", "limit", "used"), {
        _tag: "BudgetExceeded",
        limit: "steps",
        used: 2
      })
      assert.strictEqual(yield* made, 2)
    }).pipe(Effect.provide(TestModel.layer([toolCall("pay", {}), toolCall("pay", {})])))
  )

  it.effect("counts a budget that it exceeds once in the budget around it", () =>
    Effect.gen(function* () {
      const inner = Runner.withBudget(agentOf("clerk"), { steps: 2 })
      const either = Runner.orElse(inner, agentOf("other"))
      assert.strictEqual(yield* throughAll(journaled(Runner.withBudget(either, { steps: 4 }))), "done")
    }).pipe(Effect.provide(TestModel.layer([toolCall("pay", {}), toolCall("pay", {}), toolCall("look", {}), "done"])))
  )

  it.effect("changes hands no more than maxHandoffs times in all", () =>
    Effect.gen(function* () {
      const agent = (name: string, other: string) => Agent.make(name, { tools: [pay, Handoffs.to(other)] })
      const desk = Handoffs.make(
        "desk",
        { front: agent("front", "back"), back: agent("back", "front") },
        { start: "front", maxHandoffs: 1 }
      )
      assert.strictEqual(yield* throughAll(journaled(desk)), "done")
      const { calls } = yield* TestModel.TestModel
      assert.notInclude(JSON.stringify((yield* calls).at(-1)!.tools), "transfer")
    }).pipe(
      Effect.provide(
        TestModel.layer([toolCall("transfer_to_back", { reason: "r", message: "m" }), toolCall("pay", {}), "done"])
      )
    )
  )
})
