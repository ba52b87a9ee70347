/** How many tools a model may call in one step and in one run. */
import { assert, describe } from "@effect/vitest"
import { Effect } from "effect"
import type { Prompt } from "effect/ai"
import { Agent, AgentTool, RunError, TestModel } from "troupe"
import { collect } from "../support/grammar.ts"
import { it } from "../support/edges.ts"

const times = (n: number) => ({ toolCalls: Array.from({ length: n }, () => ({ name: "t", params: {} })) })
const counting = () => {
  const seen = { n: 0 }
  return { seen, t: AgentTool.fromFunction("t", { description: "Counts", execute: () => ++seen.n }) }
}
const resultsOf = (prompt: Prompt.Prompt) =>
  prompt.content.flatMap((message) =>
    message.role === "tool" ? message.content.filter((part) => part.type === "tool-result") : []
  )

describe("the calls of one step", () => {
  it.effect("are limited by default, and those beyond the limit say so", () =>
    Effect.gen(function* () {
      const { seen, t } = counting()
      const agent = Agent.make("agent", { tools: [t] })
      const { spent, transcript } = yield* Effect.map(agent.result("go"), (result) => ({ ...result, spent: seen.n }))
      assert.strictEqual(spent, 64)
      const results = resultsOf(transcript)
      assert.lengthOf(results, 300)
      assert.isTrue(results.slice(0, 64).every(({ isFailure }) => !isFailure))
      for (const { isFailure, result } of results.slice(64)) {
        assert.isTrue(isFailure)
        assert.match(JSON.stringify(result), /not executed: a step may call 64 tools, and this one called 300/)
      }
    }).pipe(Effect.provide(TestModel.layer([times(300), "ok"])))
  )

  it.effect("beyond the limit reach no approver, and are reported as not started", () =>
    Effect.gen(function* () {
      const asks = AgentTool.fromFunction("t", { description: "Asks", needsApproval: true, execute: () => 1 })
      const agent = Agent.make("agent", { tools: [asks], maxToolCallsPerStep: 1 })
      const error = yield* Effect.flip(agent.run("go"))
      assert.strictEqual(error._tag, "RunSuspended")
      assert.lengthOf(error._tag === "RunSuspended" ? error.waitingFor : [], 1)
      assert.deepStrictEqual(error._tag === "RunSuspended" ? error.spent.toolCalls.map(({ status }) => status) : [], [
        "waiting",
        "not-started",
        "not-started"
      ])
    }).pipe(Effect.provide(TestModel.layer([times(3)])))
  )

  it.effect("fail the run where that is asked for, before any of them is made", () =>
    Effect.gen(function* () {
      const { seen, t } = counting()
      const agent = Agent.make("agent", { tools: [t], maxToolCallsPerStep: 2, onMaxToolCalls: "fail" })
      const error = yield* Effect.flip(agent.run("go"))
      assert.instanceOf(error, RunError.MaxToolCallsExceeded)
      if (error._tag !== "MaxToolCallsExceeded") return
      assert.deepStrictEqual([error.per, error.limit, error.asked, seen.n], ["step", 2, 3, 0])
      assert.include(error.message, "maxToolCallsPerStep")
      assert.lengthOf(resultsOf(error.transcript), 3)
    }).pipe(Effect.provide(TestModel.layer([times(3)])))
  )

  it.effect("have an event each, in the grammar of a run", () =>
    Effect.gen(function* () {
      const { t } = counting()
      const { events } = yield* collect(Agent.make("agent", { tools: [t], maxToolCallsPerStep: 2 }), "go")
      assert.lengthOf(
        events.filter(({ _tag }) => _tag === "ToolCompleted"),
        2
      )
      assert.lengthOf(
        events.filter(({ _tag }) => _tag === "ToolFailed"),
        1
      )
    }).pipe(Effect.provide(TestModel.layer([times(3), "ok"])))
  )
})

describe("the calls of one run", () => {
  it.effect("are limited over all steps", () =>
    Effect.gen(function* () {
      const { seen, t } = counting()
      const agent = Agent.make("agent", { tools: [t], maxToolCalls: 5 })
      const { transcript } = yield* agent.result("go")
      assert.strictEqual(seen.n, 5)
      const refused = resultsOf(transcript).filter(({ isFailure }) => isFailure)
      assert.lengthOf(refused, 4)
      assert.include(JSON.stringify(refused), "the run may call 5 tools")
    }).pipe(Effect.provide(TestModel.layer([times(3), times(3), times(3), "ok"])))
  )

  it.effect("fail it where that is asked for, with what was done in the transcript", () =>
    Effect.gen(function* () {
      const { seen, t } = counting()
      const agent = Agent.make("agent", { tools: [t], maxToolCalls: 5, onMaxToolCalls: "fail" })
      const error = yield* Effect.flip(agent.run("go"))
      assert.strictEqual(error._tag, "MaxToolCallsExceeded")
      if (error._tag !== "MaxToolCallsExceeded") return
      assert.deepStrictEqual([error.per, error.limit, error.asked, seen.n], ["run", 5, 6, 3])
      assert.lengthOf(
        resultsOf(error.transcript).filter(({ isFailure }) => !isFailure),
        3
      )
    }).pipe(Effect.provide(TestModel.layer([times(3), times(3)])))
  )

  it.effect("have no limit where none is wanted", () =>
    Effect.gen(function* () {
      const { seen, t } = counting()
      const limits = { maxToolCalls: Number.POSITIVE_INFINITY, maxToolCallsPerStep: Number.POSITIVE_INFINITY }
      yield* Agent.make("agent", { tools: [t], ...limits }).run("go")
      assert.strictEqual(seen.n, 600)
    }).pipe(Effect.provide(TestModel.layer([times(600), "ok"])))
  )
})
