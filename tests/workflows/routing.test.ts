/** How a router reads what its classifier answers: each part by itself, and an answer that never comes. */
import { assert, describe } from "@effect/vitest"
import { Effect } from "effect"
import { AiError } from "effect/ai"
import { Router, Runner, TestModel } from "troupe"
import { it as plainTest } from "vitest"
import { it } from "../support/edges.ts"

const echo = (name: string) => Runner.make(name, { run: () => Effect.succeed(name) })
const routes = { billing: echo("billing"), tech: echo("tech"), Sales: echo("Sales") }
const plain = Router.make("desk", routes)
const falling = Router.make("desk", routes, { fallback: "tech" })
const strict = Router.make("desk", routes, { threshold: 0.5 })
const strictFalling = Router.make("desk", routes, { threshold: 0.5, fallback: "tech" })

const json = (value: unknown) => JSON.stringify(value)
/** The classifier's answers; the routes are functions and ask no model. */
const answering = (...turns: ReadonlyArray<string | TestModel.Turn>) => TestModel.layer(turns)
const taken = (route: string, confidence: number, fallback = false) => ({
  _tag: "RouteTaken" as const,
  routes: [route],
  confidence,
  fallback,
  path: ["desk"]
})

describe("without a threshold", () => {
  for (const confidence of [9, -1, "high", null, "0.9", undefined]) {
    it.effect(`takes the named route with a confidence of ${json(confidence)}`, () =>
      Effect.gen(function* () {
        for (const desk of [plain, falling]) {
          const { decisions, output } = yield* desk
            .result("my bill")
            .pipe(Effect.provide(answering(json({ route: "billing", confidence }))))
          assert.strictEqual(output, "billing")
          assert.deepStrictEqual(decisions, [taken("billing", 0)])
        }
      })
    )
  }

  it.effect("reports a confidence in range", () =>
    Effect.gen(function* () {
      const { decisions } = yield* plain.result("my bill")
      assert.deepStrictEqual(decisions, [taken("billing", 0.25)])
    }).pipe(Effect.provide(answering(json({ route: "billing", confidence: 0.25 }))))
  )
})

describe("with a threshold", () => {
  const nine = json({ route: "billing", confidence: 9 })

  it.effect("asks again for a confidence that decides, then counts it as 0", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(strict.run("my bill"))
      assert.instanceOf(error, Router.RouteNotFound)
      assert.deepStrictEqual([error.route, error.confidence], ["billing", 0])
    }).pipe(Effect.provide(answering(nine, nine)))
  )

  it.effect("takes the fallback for a route without a usable confidence", () =>
    Effect.gen(function* () {
      const { decisions } = yield* strictFalling.result("my bill")
      assert.deepStrictEqual(decisions, [taken("tech", 0, true)])
    }).pipe(Effect.provide(answering(nine, nine)))
  )

  it.effect("takes the route once the second answer is in range", () =>
    Effect.gen(function* () {
      const { decisions } = yield* strict.result("my bill")
      assert.deepStrictEqual(decisions, [taken("billing", 0.9)])
    }).pipe(Effect.provide(answering(nine, json({ route: "billing", confidence: 0.9 }))))
  )
})

describe("the name of a route", () => {
  for (const [given, route] of [
    ["Billing", "billing"],
    [" billing ", "billing"],
    ["sales", "Sales"],
    ["`billing`", "billing"]
  ]) {
    it.effect(`is found in ${json(given)}`, () =>
      Effect.gen(function* () {
        assert.strictEqual(yield* plain.run("my bill"), route)
      }).pipe(Effect.provide(answering(json({ route: given, confidence: 1 }))))
    )
  }

  it.effect("is refused where it could be one of two", () =>
    Effect.gen(function* () {
      const desk = Router.make("desk", { a: echo("a"), A: echo("A"), " a": echo(" a") })
      assert.strictEqual(yield* desk.run("x"), "A")
      const error = yield* Effect.flip(desk.run("x"))
      assert.strictEqual(error._tag, "RouteNotFound")
    }).pipe(
      Effect.provide(
        answering(
          json({ route: "A", confidence: 1 }),
          json({ route: "a ", confidence: 1 }),
          json({ route: "a ", confidence: 1 })
        )
      )
    )
  )

  it.effect("is found in a bare answer", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* plain.run("my bill"), "billing")
    }).pipe(Effect.provide(answering("Billing", " Billing\n")))
  )

  it.effect("is found the same way in what a function chooses", () =>
    Effect.gen(function* () {
      const byRule = Router.make("desk", routes, { classify: () => Effect.succeed("Billing " as "billing") })
      assert.strictEqual(yield* byRule.run("x"), "billing")
    })
  )

  plainTest("is an enum of the schema that the model is held to, which has no bounds", () => {
    let shown = ""
    const model = TestModel.layer(({ output }) => {
      shown = json(output?.jsonSchema)
      return json({ route: "billing", confidence: 1 })
    })
    Effect.runSync(Effect.provide(plain.run("x"), model))
    assert.include(shown, '"enum":["billing","tech","Sales"]')
    assert.notInclude(shown, "maximum")
  })
})

describe("an answer that does not come", () => {
  it.effect("takes the fallback", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual((yield* falling.result("x")).decisions, [taken("tech", 0, true)])
    }).pipe(Effect.provide(answering("", "")))
  )

  it.effect("is RouteNotFound without a fallback", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(plain.run("x"))
      assert.instanceOf(error, Router.RouteNotFound)
      assert.include(error.message, "nothing was chosen")
    }).pipe(Effect.provide(answering("", "")))
  )

  it.effect("is RouteNotFound with the beginning of an answer that names no route", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(plain.run("x"))
      assert.instanceOf(error, Router.RouteNotFound)
      assert.include(error.message, '"no idea no idea')
      assert.isBelow(error.message.length, 500)
    }).pipe(Effect.provide(answering("no idea ".repeat(1000), "no idea ".repeat(1000))))
  )

  it.effect("takes the fallback of several routes", () =>
    Effect.gen(function* () {
      const { output } = yield* Router.many("desk", routes, { fallback: "tech" }).result("x")
      assert.deepStrictEqual(output, { tech: "tech" })
    }).pipe(Effect.provide(answering("", "")))
  )

  it.effect("takes the fallback when the model refuses, and is the refusal without one", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual((yield* falling.result("x")).decisions, [taken("tech", 0, true)])
      assert.strictEqual((yield* Effect.flip(plain.run("x")))._tag, "ModelRefused")
    }).pipe(
      Effect.provide(
        answering(
          { text: "I cannot", finishReason: "content-filter" },
          { text: "I cannot", finishReason: "content-filter" }
        )
      )
    )
  )

  it.effect("is not a failed model call, which fails the run", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* Effect.flip(falling.run("x")))._tag, "ModelError")
    }).pipe(Effect.provide(answering(TestModel.fail(new AiError.AuthenticationError({ kind: "InvalidKey" })))))
  )
})

describe("several routes", () => {
  const many = Router.many("desk", routes)

  it.effect("are each read by themselves", () =>
    Effect.gen(function* () {
      const output = yield* many.run("x")
      assert.deepStrictEqual(Object.keys(output), ["Sales", "billing"])
    }).pipe(
      Effect.provide(
        answering(
          json({
            routes: [
              { route: "billing", confidence: 9 },
              { route: "sales", confidence: 0.5 },
              { route: "unknown", confidence: 1 },
              { route: 7 },
              "tech"
            ]
          })
        )
      )
    )
  )

  it.effect("are asked for again when none of them is there", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* many.run("x"), { tech: "tech" })
    }).pipe(
      Effect.provide(
        answering(
          json({ routes: [{ route: "unknown", confidence: 1 }] }),
          json({ routes: [{ route: "tech", confidence: 1 }] })
        )
      )
    )
  )
})
