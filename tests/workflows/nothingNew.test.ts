/**
 * Work that cannot be interrupted ends first. What comes after it in a branch that was interrupted meanwhile does not begin:
 * no run, no function, no request to a model, no tool.
 */
import { assert, describe } from "@effect/vitest"
import { Effect, Latch } from "effect"
import { Agent, AgentTool, Chain, EvaluatorOptimizer, Parallel, Runner, TestModel } from "troupe"
import { it } from "../support/edges.ts"

/** What a branch has begun when another one has failed in the middle of `stubborn`, which cannot be interrupted. */
const begunBy = <R>(
  branch: (stubborn: Effect.Effect<string>, next: Effect.Effect<string>) => Runner.Runner<string, unknown, unknown, R>
) =>
  Effect.gen(function* () {
    const begun: Array<string> = []
    const next = Effect.sync(() => (begun.push("next"), "next"))
    const inside = Latch.makeUnsafe(false)
    const broken = Runner.make("broken", { run: () => Effect.andThen(inside.await, Effect.fail("no" as const)) })
    const pauses = Effect.repeat(Effect.yieldNow, { times: 200 })
    const stubborn = Effect.uninterruptible(Effect.as(Effect.andThen(inside.open, pauses), "paid"))
    yield* Effect.flip(Parallel.make("panel", { broken, branch: branch(stubborn, next) }).run("go"))
    return begun
  })

const paying = (stubborn: Effect.Effect<string>) =>
  Runner.make("payment", { run: (bill: string) => Effect.as(stubborn, `paid ${bill}`) })

describe("a branch that is interrupted while it cannot be", () => {
  it.effect("begins no further run", () =>
    Effect.gen(function* () {
      const begun = yield* begunBy((stubborn, next) =>
        Chain.make("chain", [paying(stubborn), Runner.make("next", { run: () => next })])
      )
      assert.deepStrictEqual(begun, [])
    })
  )

  it.effect("begins no further function of a chain", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(
        yield* begunBy((stubborn, next) => Chain.make("chain", [paying(stubborn), () => next])),
        []
      )
      const gated = yield* begunBy((stubborn, next) =>
        Chain.make("chain", [paying(stubborn), Chain.gate("gate", () => next), Runner.named(paying(next), "again")])
      )
      assert.deepStrictEqual(gated, [])
    })
  )

  it.effect("does not evaluate its draft", () =>
    Effect.gen(function* () {
      const begun = yield* begunBy((stubborn, next) =>
        EvaluatorOptimizer.make(
          "refined",
          { generator: paying(stubborn), evaluator: () => next },
          { accept: () => true, revise: (input) => input }
        )
      )
      assert.deepStrictEqual(begun, [])
    })
  )

  it.effect("asks no model", () =>
    Effect.gen(function* () {
      let asked = 0
      const model = TestModel.layer(() => (asked++, "said"))
      yield* begunBy((stubborn) => Runner.provide(Agent.make("agent", { instructions: () => stubborn }), model))
      assert.strictEqual(asked, 0)
    })
  )

  it.effect("makes no call of a tool", () =>
    Effect.gen(function* () {
      const model = TestModel.layer([TestModel.toolCall("pay", {})])
      const begun = yield* begunBy((stubborn, next) => {
        const pay = AgentTool.fromFunction("pay", { description: "Pays", execute: () => next })
        const agent = Agent.make("agent", { tools: [pay] })
        // An observer is not interrupted.
        const watched = Runner.onEvent(agent, (event) => (event._tag === "ToolCalled" ? stubborn : Effect.void))
        return Runner.provide(watched, model)
      })
      assert.deepStrictEqual(begun, [])
    })
  )
})
