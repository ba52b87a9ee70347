/** What a budget that is used up does to requests, seen by the server that they are sent to. */
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { Cause, Effect, Exit, Latch } from "effect"
import { Agent, AgentTool, OpenAi, Parallel, RunError, Runner, SyncEdge } from "troupe"
import { long, settings, ways } from "../support/wireRuns.ts"
import * as WireServer from "../support/wireServer.ts"

let server: WireServer.WireServer
beforeAll(() => {
  server = WireServer.start()
})
afterAll(() => server.stop())

const edges = {
  async: <A, E>(program: Effect.Effect<A, E>) => Effect.runPromiseExit(program),
  sync: async <A, E>(program: Effect.Effect<A, E>) => Effect.runSyncExit(Effect.provide(program, SyncEdge.layer))
}
const cases = [
  { edge: "async", way: "whole" },
  { edge: "sync", way: "streamed" }
] as const

describe.each(cases)("on the $edge edge, $way", ({ edge, way }) => {
  it("a budget that one branch uses up aborts the request of another", async () => {
    const agent = (id: string, turn: WireServer.Turn) =>
      Agent.make(id, { description: id, instructions: WireServer.plan(id, turn) })
    // Deep in the tree: a tool's agent is the one that is aborted.
    const begun = Latch.makeUnsafe(false)
    const slow = Runner.onEvent(agent("slow", { slow: true }), ({ _tag }) =>
      _tag === "StepStarted" ? begun.open : Effect.void
    )
    const asks = Agent.make("asks", {
      instructions: WireServer.plan("asks", {
        calls: [{ id: "a", name: "slow", args: JSON.stringify({ input: "go" }) }]
      }),
      tools: [AgentTool.fromRunner(slow)]
    })
    const quick = Runner.make("quick", {
      run: (input: string) =>
        Effect.andThen(
          Effect.andThen(begun.await, Effect.sleep("300 millis")),
          agent("quick", { text: "much" }).run(input)
        )
    })
    const limited = Runner.withBudget(Parallel.make("both", { asks, quick }), { steps: 2 })
    const model = OpenAi.layer(settings(await server.renew(), "chat"))
    const startedAt = performance.now()
    const exit = await edges[edge](Effect.provide(ways[way](limited, "go"), model))
    assert.isBelow(performance.now() - startedAt, long)
    const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
    assert.instanceOf(error, RunError.BudgetExceeded)
    assert.deepInclude(error as RunError.BudgetExceeded, {
      path: ["both"],
      by: ["both", "quick", "quick"],
      limit: "steps"
    })
    const report = await server.report()
    assert.deepStrictEqual([report.aborted, report.answered, report.open], [["slow"], ["asks"], []])
  })
})
