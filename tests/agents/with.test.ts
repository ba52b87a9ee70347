/** `Agent.with`: an agent with other options. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Schema } from "effect"
import { Agent, AgentTool, Orchestrator, Runner, TestModel } from "troupe"

const named = (name: string) => AgentTool.fromFunction(name, { description: name, execute: () => name })
const clerk = Agent.make("clerk", { description: "Helps", instructions: "Old.", tools: [named("old")], maxSteps: 3 })
const calls = Effect.flatMap(TestModel.TestModel, ({ calls }) => calls)
const firstTools = Effect.map(calls, ([call]) => call!.tools)

describe("an agent with other options", () => {
  it.effect("has these, keeps the others, and leaves the agent as it is", () =>
    Effect.gen(function* () {
      const copy = clerk.pipe(Agent.with({ instructions: "New.", tools: [named("new")], onMaxSteps: undefined }))
      assert.deepStrictEqual([copy.name, copy.description], ["clerk", "Helps"])
      yield* copy.run("go")
      yield* clerk.run("go")
      assert.deepStrictEqual(
        (yield* calls).map(({ prompt, tools }) => [prompt.content[0]!.content, tools]),
        [
          ["New.", ["new"]],
          ["Old.", ["old"]]
        ]
      )
    }).pipe(Effect.provide(TestModel.layer(["a", "b"])))
  )

  it.effect("can be copied again, with limits for one run", () =>
    Effect.gen(function* () {
      const copy = Agent.with(Agent.with(clerk, { maxSteps: 1 }), { instructions: "New." })
      const error = yield* Effect.flip(copy.run("go"))
      assert.strictEqual(error._tag === "MaxStepsExceeded" ? error.maxSteps : error, 1)
      assert.strictEqual((yield* calls)[0]!.prompt.content[0]!.content, "New.")
    }).pipe(Effect.provide(TestModel.layer([TestModel.toolCall("old", {})])))
  )

  it.effect("keeps its output", () =>
    Effect.gen(function* () {
      const judge = Agent.make("judge", { output: Schema.Struct({ score: Schema.Int }) })
      assert.deepStrictEqual(yield* Agent.with(judge, { outputRepairs: 0 }).run("go"), { score: 1 })
      assert.strictEqual(Agent.with(judge, {}).output, judge.output)
      assert.strictEqual(clerk.output, Schema.String)
      // @ts-expect-error -- for a program that the compiler has not checked
      assert.throws(() => Agent.with(judge, { output: Schema.String }), /Make another agent/)
    }).pipe(Effect.provide(TestModel.layer([TestModel.json({ score: 1 })])))
  )

  it("is checked as every agent is", () => {
    const choosy = Agent.make("choosy", { tools: [named("old")], toolChoice: { tool: "old" } })
    assert.throws(() => Agent.with(choosy, { tools: [] }), /toolChoice names "old"/)
    assert.throws(() => Agent.with(clerk, { maxSteps: 0 }), /maxSteps is 0/)
  })

  it.effect("takes what its new options need from around the run", () =>
    Effect.gen(function* () {
      class Greeting extends Context.Service<Greeting, string>()("test/Greeting") {}
      const greeting = Effect.map(Greeting, (text) => text)
      const copy = Agent.with(clerk, { instructions: () => greeting })
      yield* copy.run("go").pipe(Effect.provideService(Greeting, "Hello."))
      assert.strictEqual((yield* calls)[0]!.prompt.content[0]!.content, "Hello.")
    }).pipe(Effect.provide(TestModel.layer(["a"])))
  )

  it.effect("is a service where the agent is one, with the model of the service", () =>
    Effect.gen(function* () {
      class Helper extends Agent.Service<Helper>()("test/Helper", { tools: [named("old")] }) {}
      const own = Helper.layer.pipe(Layer.provide(TestModel.layer(["own", "own again"])))
      const copy = Agent.with(Agent.with(Helper, { tools: [named("new")] }), { maxSteps: 1 })
      assert.strictEqual(yield* Effect.provide(Effect.andThen(copy.run("go"), copy.run("go")), own), "own again")
      const held = Effect.flatMap(Helper, (helper) => Agent.with(helper, { maxSteps: 1 }).run("go"))
      assert.strictEqual(yield* Effect.provide(held, Helper.layer), "caller's")
    }).pipe(Effect.provide(TestModel.layer(["caller's"])))
  )

  it.effect("keeps the workers of an orchestrator", () =>
    Effect.gen(function* () {
      const boss = Orchestrator.make("boss", { coder: clerk }, { tools: [named("old")] })
      const copy = Agent.with(boss, { tools: [named("new")] })
      yield* copy.run("go")
      assert.deepStrictEqual(yield* firstTools, ["new", "coder"])
      assert.match(Runner.toMermaid(copy), /coder/)
    }).pipe(Effect.provide(TestModel.layer(["done"])))
  )
})
