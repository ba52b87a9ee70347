/** How many calls of one tool are made at once. */
import { assert, describe } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { Agent, AgentTool, RunError, type RunEvent, Runner, TestModel } from "troupe"
import { it } from "../support/edges.ts"

const calls = (...names: ReadonlyArray<string>) => ({ toolCalls: names.map((name) => ({ name, params: {} })) })

/** A tool with a limit of calls at once, and what became of its calls. */
const limited = (concurrency: number, work: Effect.Effect<unknown> = Effect.yieldNow) => {
  const seen = { now: 0, most: 0, made: 0 }
  const tool = AgentTool.fromFunction("write", {
    description: "Writes",
    concurrency,
    execute: () =>
      Effect.gen(function* () {
        seen.made++
        seen.most = Math.max(seen.most, ++seen.now)
        yield* work
        seen.now--
        return "written"
      })
  })
  return { seen, tool }
}

describe("a tool with a limit of calls at once", () => {
  it.effect("makes further calls of a step one after the other", () =>
    Effect.gen(function* () {
      const { seen, tool } = limited(1)
      yield* Agent.make("agent", { tools: [tool] }).run("go")
      assert.deepStrictEqual(seen, { now: 0, most: 1, made: 4 })
    }).pipe(Effect.provide(TestModel.layer([calls("write", "write", "write", "write"), "done"])))
  )

  it.effect("holds to it over several agents and runs", () =>
    Effect.gen(function* () {
      const { seen, tool } = limited(2)
      const run = (name: string) =>
        Agent.make(name, { tools: [tool] })
          .run("go")
          .pipe(Effect.provide(TestModel.layer([calls("write", "write"), "done"])))
      yield* Effect.all([run("a"), run("b"), run("c")], { concurrency: 3 })
      assert.deepStrictEqual(seen, { now: 0, most: 2, made: 6 })
    })
  )

  it.effect("begins no call that waits when the run is interrupted", () =>
    Effect.gen(function* () {
      const { seen, tool } = limited(1, Effect.never)
      let last: RunEvent.RunEvent | undefined
      const agent = Runner.onEvent(Agent.make("agent", { tools: [tool] }), (event) => Effect.sync(() => (last = event)))
      const fiber = yield* Effect.forkChild(agent.run("go"))
      while (seen.made === 0) yield* Effect.yieldNow
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(seen.made, 1)
      assert.deepStrictEqual(last?._tag === "RunInterrupted" ? last.spent.toolCalls.map(({ status }) => status) : [], [
        "interrupted",
        "not-started"
      ])
    }).pipe(Effect.provide(TestModel.layer([calls("write", "write")])))
  )

  it.effect("does not wait for itself where an agent in it calls it", () =>
    Effect.gen(function* () {
      let depth = 0
      const dig: AgentTool.AgentTool<"dig", never> = AgentTool.fromFunction("dig", {
        description: "Digs",
        concurrency: 1,
        execute: (): Effect.Effect<string, Agent.Error> =>
          ++depth === 2
            ? Effect.succeed("bottom")
            : Agent.make("inner", { tools: [dig] })
                .run("dig")
                .pipe(Effect.provide(TestModel.layer([calls("dig"), "deep"])))
      })
      assert.strictEqual(yield* Agent.make("agent", { tools: [dig] }).run("go"), "done")
      assert.strictEqual(depth, 2)
    }).pipe(Effect.provide(TestModel.layer([calls("dig"), "done"])))
  )

  it.effect("is refused where the limit is not a number of calls", () =>
    Effect.sync(() => {
      assert.throws(() => limited(0), RunError.InvalidDefinition, "concurrency is 0. Use a whole number from 1")
    })
  )
})
