/**
 * Work that cannot be interrupted ends first. What comes after it in a branch that was interrupted meanwhile does not begin:
 * no run, no function, no request to a model, no tool.
 */
import { assert, describe } from "@effect/vitest"
import { Effect, Latch } from "effect"
import {
  Agent,
  AgentTool,
  Chain,
  EvaluatorOptimizer,
  Goal,
  Middleware,
  Parallel,
  PlanExecuteEvaluate,
  Router,
  type RunEvent,
  Runner,
  TestModel
} from "troupe"
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

/** Calls all its tools, and then answers. */
const model = TestModel.layer(({ prompt, tools }) =>
  tools.length > 0 && prompt.content.at(-1)?.role !== "tool"
    ? { toolCalls: tools.map((name) => ({ name, params: {} })) }
    : "said"
)
const look = AgentTool.fromFunction("look", { description: "Looks", execute: () => "seen" })
const steps = [{ id: "a", task: "a" }]
/** An observer is not interrupted. */
const during = (tag: RunEvent.RunEvent["_tag"], stubborn: Effect.Effect<string>) =>
  Runner.onEvent((event) => (event._tag === tag ? Effect.asVoid(stubborn) : Effect.void))

const branches: Record<
  string,
  (stubborn: Effect.Effect<string>, next: Effect.Effect<string>) => Runner.Runner<string, unknown, unknown, never>
> = {
  "the function of mapEffect": (stubborn, next) => Runner.mapEffect(paying(stubborn), () => next),
  "a further attempt": (stubborn, next) => {
    const declined = Effect.uninterruptible(Effect.andThen(stubborn, Effect.fail("declined")))
    let attempts = 0
    return Runner.withRetry(
      Runner.make("payment", { run: () => Effect.suspend(() => (attempts++ === 0 ? declined : next)) }),
      { times: 1 }
    )
  },
  "a function that combines": (stubborn, next) =>
    Parallel.make("inner", { payment: paying(stubborn) }, { combine: () => next }),
  "the routes of a router": (stubborn, next) =>
    Router.many(
      "router",
      { a: Runner.make("a", { run: (input: string) => Effect.map(next, (said) => `${said} ${input}`) }) },
      { classify: () => Effect.as(stubborn, ["a"]) }
    ),
  "a step of a plan": (stubborn, next) =>
    PlanExecuteEvaluate.make("work", { planner: () => Effect.as(stubborn, { steps }), executor: () => next }),
  "the next plan": (stubborn, next) =>
    PlanExecuteEvaluate.make(
      "work",
      {
        planner: ({ round }) => Effect.as(round === 1 ? Effect.void : next, { steps }),
        executor: () => Effect.succeed("done"),
        evaluator: () => Effect.as(stubborn, false)
      },
      { accept: (verdict) => verdict }
    ),
  "the next step of an agent": (stubborn, next) =>
    Agent.make("agent", { tools: [look] }).pipe(
      during("ToolCompleted", stubborn),
      Runner.onEvent((event) => (event._tag === "StepStarted" && event.step === 2 ? Effect.asVoid(next) : Effect.void)),
      Runner.provide(model)
    ),
  "a middleware around a model call": (stubborn, next) => {
    const around = Middleware.make("around", { model: (request, go) => Effect.andThen(next, go(request)) })
    return Runner.provide(Agent.make("agent", { instructions: () => stubborn, middleware: [around] }), model)
  },
  "a middleware around a tool": (stubborn, next) => {
    const around = Middleware.make("around", { tool: (call, go) => Effect.andThen(next, go(call)) })
    const agent = Agent.make("agent", { tools: [look], middleware: [around] })
    return agent.pipe(during("ToolCalled", stubborn), Runner.provide(model))
  },
  "what decides on an approval": (stubborn, next) => {
    const tool = AgentTool.fromFunction("look", {
      description: "Looks",
      needsApproval: () => Effect.as(next, false),
      execute: () => "seen"
    })
    return Agent.make("agent", { tools: [tool] }).pipe(during("ToolCalled", stubborn), Runner.provide(model))
  },
  "the judge of a goal": (stubborn, next) => {
    const goal = Goal.make({ until: () => Effect.as(next, true) })
    const agent = Agent.make("agent", { middleware: [goal] })
    return agent.pipe(during("StepCompleted", stubborn), Runner.provide(model))
  }
}

describe("a branch that is interrupted while it cannot be", () => {
  it.effect.each(Object.keys(branches))("does not begin %s", (what) =>
    Effect.map(begunBy(branches[what]!), (begun) => assert.deepStrictEqual(begun, []))
  )

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
