/** What workflows decide: gates, routes and verdicts, in the outcome, the events and the result. */
import { assert, describe, it } from "@effect/vitest"
import { Data, Effect, Exit, Result, Schema } from "effect"
import { Agent, Chain, EvaluatorOptimizer, Parallel, RunError, Router, Runner, TestModel } from "troupe"
import { collect } from "../support/grammar.ts"

class TooLong extends Data.TaggedError("TooLong")<{ readonly length: number }> {}

const echo = (name: string) => Runner.make(name, { run: (input: string) => Effect.succeed(`${name}: ${input}`) })

describe("a gate", () => {
  const check = Chain.gate("length", (text: string) =>
    text.length > 9
      ? Effect.fail(new TooLong({ length: text.length }))
      : Effect.succeed(text.length < 3 ? Chain.stop(text.length) : text)
  )
  const chain = Chain.make("chain", [check, echo("a"), echo("b")])

  it.effect("lets through what it returns", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* chain.run("hello"), "b: a: hello")
      assert.deepStrictEqual((yield* chain.result("hello")).decisions, [])
      const last = Chain.make("last", [echo("a"), Chain.gate("shout", (text: string) => text.toUpperCase())])
      assert.strictEqual(yield* last.run("x"), "A: X")
    })
  )

  it.effect("ends the chain with a typed error", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* Effect.flip(chain.run("far too long")), new TooLong({ length: 12 }))
    })
  )

  it.effect("ends the chain with an early answer, in the events and the result", () =>
    Effect.gen(function* () {
      const { events, exit } = yield* collect(chain, "hi")
      assert.isTrue(Exit.isSuccess(exit))
      assert.deepStrictEqual(
        events.map((event) => event._tag),
        ["RunStarted", "StoppedEarly", "RunCompleted"]
      )
      const result = yield* chain.result("hi")
      assert.strictEqual(result.output, 2)
      assert.deepStrictEqual(result.decisions, [{ _tag: "StoppedEarly", gate: "length", path: ["chain"] }])
    })
  )

  it.effect("ends its own chain, not the one around it", () =>
    Effect.gen(function* () {
      const outer = Chain.make("outer", [chain, (value: string | number) => Effect.succeed(`after ${value}`)])
      assert.strictEqual(yield* outer.run("hi"), "after 2")
    })
  )
})

describe("a router", () => {
  const routes = { billing: Runner.described(echo("x"), "Invoices"), technical: echo("y"), sales: echo("z") }

  it.effect("reports the route it took, and whether that was the fallback", () =>
    Effect.gen(function* () {
      const desk = Router.make("desk", routes, { fallback: "technical", threshold: 0.6 })
      const taken = yield* desk.result("help")
      assert.strictEqual(taken.output, "x: help")
      assert.deepStrictEqual(taken.decisions, [
        { _tag: "RouteTaken", routes: ["billing"], confidence: 0.7, fallback: false, path: ["desk"] }
      ])
      assert.deepStrictEqual((yield* desk.result("help")).decisions, [
        { _tag: "RouteTaken", routes: ["technical"], confidence: 0.5, fallback: true, path: ["desk"] }
      ])
    }).pipe(
      Effect.provide(
        TestModel.layer([
          TestModel.json({ route: "billing", confidence: 0.7 }),
          TestModel.json({ route: "billing", confidence: 0.5 })
        ])
      )
    )
  )

  it.effect("to many takes every route that fits, at once, the surest first", () =>
    Effect.gen(function* () {
      const desk = Router.many("desk", routes, { threshold: 0.5, maxRoutes: 2 })
      const { decisions, output } = yield* desk.result("help")
      assert.deepStrictEqual(output, { sales: "z: help", technical: "y: help" })
      assert.deepStrictEqual(decisions, [
        { _tag: "RouteTaken", routes: ["sales", "technical"], confidence: 0.55, fallback: false, path: ["desk"] }
      ])
      const { events } = yield* collect(desk, "help")
      assert.includeMembers(
        events.map((event) => event.path.join(">")),
        ["desk>sales", "desk>technical", "desk>desk classifier"]
      )
    }).pipe(
      Effect.provide(
        TestModel.layer(() =>
          TestModel.json({
            routes: [
              { route: "billing", confidence: 0.5 },
              { route: "technical", confidence: 0.55 },
              { route: "sales", confidence: 0.9 },
              { route: "sales", confidence: 0.8 }
            ]
          })
        )
      )
    )
  )

  it.effect("to many falls back, or says that nothing was chosen", () =>
    Effect.gen(function* () {
      const none = Router.many("desk", routes, { classify: (_input: string) => Effect.succeed([]) })
      const error = yield* Effect.flip(none.run("help"))
      assert.strictEqual(error._tag, "RouteNotFound")
      assert.include(error.message, "nothing was chosen")
      const falling = Router.many("desk", routes, {
        fallback: "sales",
        classify: (_input: string) => Effect.succeed([] as ReadonlyArray<"billing">)
      })
      const { decisions, output } = yield* falling.result("help")
      assert.deepStrictEqual(output, { sales: "z: help" })
      assert.isTrue(decisions[0]?._tag === "RouteTaken" && decisions[0].fallback)
    })
  )

  it.effect("to many runs its routes as a parallel does", () =>
    Effect.gen(function* () {
      const broken = Runner.make("broken", { run: (_input: string) => Effect.fail("no" as const) })
      const all = { good: echo("good"), broken }
      const both = (_input: string) => Effect.succeed(["good", "broken"] as const)
      const error = yield* Effect.flip(Router.many("m", all, { classify: both }).run("go"))
      assert.deepStrictEqual(error._tag === "ParallelError" ? error.failures : error, [
        { branch: "broken", error: "no" }
      ])
      const settled = yield* Router.many("m", all, { classify: both, mode: Parallel.settle }).run("go")
      assert.deepStrictEqual(settled, { good: Result.succeed("good: go"), broken: Result.fail("no" as const) })
      const raced = yield* Router.many("m", all, { classify: both, mode: Parallel.race }).run("go")
      assert.strictEqual(raced, "good: go")
      const one = Router.many("m", all, {
        classify: (_input: string) => Effect.succeed(["good"] as const),
        mode: Parallel.quorum(2)
      })
      assert.deepStrictEqual(yield* one.run("go"), { good: "good: go" })
    })
  )

  it("that could not work is refused", () => {
    for (const make of [
      () => Router.many("m", {} as never),
      () => Router.many("m", routes, { maxRoutes: 0 }),
      () => Router.many("m", routes, { threshold: 2 }),
      () => Router.many("m", routes, { mode: Parallel.quorum(4) }),
      () => Router.many("m", routes, { fallback: "other" as never })
    ]) {
      assert.throws(make, RunError.InvalidDefinition)
    }
  })
})

describe("an evaluator-optimizer", () => {
  it.effect("emits every round's verdict", () =>
    Effect.gen(function* () {
      const judge = Agent.make("judge", { output: Schema.Struct({ score: Schema.Int }) })
      const refined = EvaluatorOptimizer.make(
        "refined",
        { generator: Agent.make("writer", {}), evaluator: judge },
        { accept: ({ score }) => score >= 8 }
      )
      const { decisions, output } = yield* refined.result("write")
      assert.strictEqual(output, "second")
      assert.deepStrictEqual(decisions, [
        { _tag: "RoundCompleted", round: 1, accepted: false, verdict: { score: 3 }, path: ["refined"] },
        { _tag: "RoundCompleted", round: 2, accepted: true, verdict: { score: 9 }, path: ["refined"] }
      ])
    }).pipe(
      Effect.provide(TestModel.layer(["first", TestModel.json({ score: 3 }), "second", TestModel.json({ score: 9 })]))
    )
  )

  it.effect("nested in others reports its path", () =>
    Effect.gen(function* () {
      const inner = EvaluatorOptimizer.make(
        "inner",
        { generator: echo("gen"), evaluator: (draft: string) => Effect.succeed(draft.length) },
        { accept: (n) => n > 0, revise: (input) => input }
      )
      const { decisions } = yield* Chain.make("outer", [echo("a"), inner]).result("go")
      assert.deepStrictEqual(
        decisions.map(({ _tag, path }) => [_tag, path]),
        [["RoundCompleted", ["outer", "inner"]]]
      )
    })
  )
})
