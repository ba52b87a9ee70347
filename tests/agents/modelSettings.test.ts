/** `reasoning` and `cache`: options of an agent for its own model calls. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Stream } from "effect"
import { LanguageModel } from "effect/ai"
import { Agent, AgentTool, DemoModel, Middleware, ModelInfo, TestModel } from "troupe"

const settings = Effect.flatMap(TestModel.TestModel, ({ calls }) =>
  Effect.map(calls, (all) => all.map((call) => call.settings))
)

describe("reasoning and cache of an agent", () => {
  it.effect("go to the model with its calls, and not to the runners that are its tools", () =>
    Effect.gen(function* () {
      const helper = Agent.make("helper", { description: "Helps" })
      const agent = Agent.make("agent", {
        tools: [AgentTool.fromRunner(helper)],
        reasoning: "high",
        cache: { ttl: "1 hour" }
      })
      yield* agent.run("go")
      const own = { reasoning: "high", cache: { ttl: 3_600_000 } } as const
      assert.deepStrictEqual(yield* settings, [own, {}, own])
    }).pipe(Effect.provide(TestModel.layer([TestModel.toolCall("helper", { input: "help" }), "helped", "done"])))
  )

  it.effect("go before those around the run, and can be others for one run", () =>
    Effect.gen(function* () {
      const agent = Agent.make("agent", { reasoning: { tokens: 500 } })
      yield* Effect.provideService(agent.run("go"), ModelInfo.CurrentSettings, { reasoning: "low", temperature: 0 })
      yield* Agent.with(agent, { reasoning: "none", cache: "auto" }).run("go")
      assert.deepStrictEqual(yield* settings, [
        { reasoning: { tokens: 500 }, temperature: 0 },
        { reasoning: "none", cache: "auto" }
      ])
    }).pipe(Effect.provide(TestModel.layer(["a", "b"])))
  )

  it.effect("are in the request that middleware sees and changes", () =>
    Effect.gen(function* () {
      const seen: Array<unknown> = []
      const calmer = Middleware.make("calmer", {
        model: (request, next) => {
          seen.push(request.options)
          return next({ ...request, options: { ...request.options, reasoning: "low" } })
        }
      })
      yield* Agent.make("agent", { reasoning: "high", cache: "auto", middleware: [calmer] }).run("go")
      assert.deepStrictEqual(seen, [{ reasoning: "high", cache: "auto" }])
      assert.deepStrictEqual(yield* settings, [{ reasoning: "low", cache: "auto" }])
    }).pipe(Effect.provide(TestModel.layer(["a"])))
  )

  it.effect("fail the run before a request where the model's Layer reads none", () =>
    Effect.gen(function* () {
      let asked = 0
      const foreign = Layer.effect(
        LanguageModel.LanguageModel,
        LanguageModel.make({
          generateText: () => Effect.sync(() => (asked++, [{ type: "text", text: "ok" }])),
          streamText: () => Stream.empty
        })
      )
      for (const model of [foreign, DemoModel.layer]) {
        for (const [lacks, options] of [
          ["reasoning", { reasoning: "low" }],
          ["cache", { cache: { ttl: "1 hour" } }]
        ] as const) {
          const error = yield* Effect.flip(
            Agent.make("agent", options)
              .run("What is 2 + 40?")
              .pipe(Effect.provide(model as Layer.Layer<LanguageModel.LanguageModel>))
          )
          assert.strictEqual(error._tag, "ModelError")
          if (error._tag !== "ModelError" || error.reason.reason._tag !== "InvalidRequestError") return assert.fail()
          assert.strictEqual(error.reason.reason.parameter, lacks)
          assert.strictEqual(error.attempts, 1)
        }
      }
      assert.strictEqual(asked, 0)
      const plain = Agent.make("agent", { reasoning: "none", cache: "auto" })
      assert.strictEqual(yield* plain.run("What is 2 + 40?").pipe(Effect.provide(foreign)), "ok")
      assert.strictEqual(yield* plain.run("What is 2 + 40?").pipe(Effect.provide(DemoModel.layer)), "2 + 40 = 42")
    })
  )

  it("are refused in a definition where no model has such values", () => {
    const make = (options: object) => () => Agent.make("agent", options)
    assert.throws(make({ reasoning: "much" }), /reasoning is "much".*Use "none"/s)
    assert.throws(make({ reasoning: { tokens: 0 } }), /reasoning is/)
    assert.throws(make({ cache: { ttl: "long" } }), /cache is .*Use "auto"/s)
    assert.throws(make({ cache: {} }), /cache is/)
    assert.throws(make({ cache: true }), /cache is true/)
  })
})
