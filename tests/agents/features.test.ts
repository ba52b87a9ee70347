/** Features: what an agent gets by `use`. */
import { assert, describe } from "@effect/vitest"
import { Context, Effect, Layer, Schema } from "effect"
import type { LanguageModel } from "effect/ai"
import { Agent, AgentTool, Feature, Orchestrator, RunError, Runner, TestModel, ToolSource } from "troupe"
import { it as plainTest } from "vitest"
import { it } from "../support/edges.ts"

class Closed extends Schema.TaggedError<Closed>()("Closed", {}) {}
class Desk extends Context.Service<Desk, { readonly open: boolean }>()("test/features/Desk") {}

const tool = (name: string) => AgentTool.fromFunction(name, { description: name, execute: () => `${name} ran` })
const clock = Feature.make("clock", { tools: [tool("now")], instructions: "Ask for the time." })
const desk = Feature.make("desk", {
  tools: [AgentTool.fromFunction("ask", { description: "Asks", execute: () => Effect.map(Desk, ({ open }) => open) })],
  instructions: (input) =>
    Effect.flatMap(Desk, ({ open }) =>
      open ? Effect.succeed(`The desk received: ${input as string}`) : Effect.fail(new Closed())
    )
})
const open = Layer.succeed(Desk, { open: true })
const systemOf = Effect.gen(function* () {
  const { calls } = yield* TestModel.TestModel
  const [first] = (yield* calls)[0]!.prompt.content
  return first?.role === "system" ? first.content : undefined
})

describe("an agent that uses features", () => {
  const clerk = Agent.make("clerk", { instructions: "You work.", tools: [tool("own")], use: [clock, desk] })
  clerk.run satisfies (input: string) => Effect.Effect<string, Agent.Error | Closed, LanguageModel.LanguageModel | Desk>

  it.effect("has their tools and instructions after its own", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* clerk.run("hello"), "done")
      assert.strictEqual(yield* systemOf, "You work.\n\nAsk for the time.\n\nThe desk received: hello")
      const { calls } = yield* TestModel.TestModel
      assert.deepStrictEqual((yield* calls)[0]!.tools, ["own", "now", "ask"])
    }).pipe(
      Effect.provide([
        TestModel.layer([TestModel.toolCalls({ name: "now", params: {} }, { name: "ask", params: {} }), "done"]),
        open
      ])
    )
  )

  it.effect("fails with what their instructions fail with, before any model call", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* Effect.flip(clerk.run("hello")), new Closed())
      const { calls } = yield* TestModel.TestModel
      assert.deepStrictEqual(yield* calls, [])
    }).pipe(Effect.provide([TestModel.layer([]), Layer.succeed(Desk, { open: false })]))
  )

  it.effect("may have no instructions of its own", () =>
    Effect.gen(function* () {
      yield* Agent.make("plain", { use: [clock] }).run("x")
      assert.strictEqual(yield* systemOf, "Ask for the time.")
    }).pipe(Effect.provide(TestModel.layer(["done"])))
  )

  it.effect("asks their sources before each step", () =>
    Effect.gen(function* () {
      let count = 0
      const growing = ToolSource.make("growing", () => Effect.sync(() => [tool(`t${++count}`)]))
      yield* Agent.make("a", { use: [Feature.make("growing", { tools: [growing] })] }).run("x")
      const { calls } = yield* TestModel.TestModel
      assert.deepStrictEqual(
        (yield* calls).map(({ tools }) => tools),
        [["t1"], ["t2"]]
      )
    }).pipe(Effect.provide(TestModel.layer([TestModel.toolCall("t1", {}), "done"])))
  )

  it.effect("can be a service, whose Layer brings what they need", () =>
    Effect.gen(function* () {
      class Clerk extends Agent.Service<Clerk>()("test/features/Clerk", { use: [desk] }) {}
      const layer = Clerk.layer.pipe(Layer.provide([open, TestModel.layer(["done"])]))
      assert.strictEqual(yield* Clerk.run("x").pipe(Effect.provide(layer)), "done")
    })
  )

  it.effect("can be an orchestrator", () =>
    Effect.gen(function* () {
      yield* Orchestrator.make(
        "lead",
        { worker: Agent.make("worker", { description: "Works" }) },
        { use: [clock] }
      ).run("x")
      const { calls } = yield* TestModel.TestModel
      assert.deepStrictEqual((yield* calls)[0]!.tools, ["worker", "now"])
    }).pipe(Effect.provide(TestModel.layer(["done"])))
  )
})

describe("a feature that does not fit its agent", () => {
  const refused = (make: () => unknown, text: RegExp) => assert.throws(make, RunError.InvalidDefinition, text)

  plainTest("is refused for a tool of the same name", () => {
    refused(() => Agent.make("a", { tools: [tool("now")], use: [clock] }), /two tools named "now"/)
    refused(() => Agent.make("a", { use: [clock, clock] }), /two tools named "now"/)
    const later = Feature.make("later", { reserves: ["own"] })
    refused(() => Agent.make("a", { tools: [tool("own")], use: [later] }), /"own", as a tool of its feature "later" is/)
  })

  plainTest("is refused when it is not a feature", () => {
    refused(() => Agent.make("a", { use: [tool("now")] as never }), /use\[0\] is .*, not a feature/)
    refused(() => Agent.make("a", { use: clock as never }), /use is an object, not a list/)
  })

  plainTest("is drawn with its tools otherwise", () => {
    assert.include(Runner.toMermaid(Agent.make("a", { use: [clock] })), "now")
  })
})
