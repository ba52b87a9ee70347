/** Agents as data: what a text says, what a registry holds, and where something is wrong. */
import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import type { LanguageModel } from "effect/ai"
import { Agent, AgentTool, Feature, Middleware, Models, type RunError, TestModel } from "troupe"

const add = AgentTool.fromFunction("add", {
  description: "Add two numbers",
  parameters: Schema.Struct({ a: Schema.Finite, b: Schema.Finite }),
  execute: ({ a, b }) => a + b
})
const polite = Feature.make("polite", { instructions: "Be polite." })
let calls = 0
const counting = Middleware.make("counting", {
  model: (request, next) => {
    calls++
    return next(request)
  }
})
const registry = { tools: { add }, use: { polite }, middleware: { counting } }

const yaml = `# An agent.
name: clerk
description: Does sums
instructions: |
  Do sums.
  Use your tools.
tools: [add]
use:
  - polite
middleware: [counting]
maxSteps: 4
toolTimeout: 5 seconds
budget: { steps: 4, time: 1 minute }
timeout: 2 minutes
output:
  type: object
  properties:
    sum: { type: integer }
  required: [sum]
`

describe("an agent as data", () => {
  it.effect("is made of YAML: instructions, tools, features, middleware, limits and output", () =>
    Effect.gen(function* () {
      const clerk = yield* Agent.fromConfig(yaml, registry)
      assert.deepStrictEqual([clerk.name, clerk.description], ["clerk", "Does sums"])
      assert.deepStrictEqual(yield* clerk.run("2 + 40?"), { sum: 42 })
      assert.strictEqual(calls, 2)
    }).pipe(
      Effect.provide(
        TestModel.layer((call) => {
          if (call.index > 0) return '{"sum":42}'
          assert.deepStrictEqual(call.tools, ["add"])
          const [system] = call.prompt.content
          assert.include(String(system?.content), "Use your tools.\n\n\nBe polite.".slice(0, 15))
          assert.include(String(system?.content), "Be polite.")
          assert.deepStrictEqual(call.output?.jsonSchema["required"], ["sum"])
          return TestModel.toolCall("add", { a: 2, b: 40 })
        })
      )
    )
  )

  it.effect("is made of JSON, and its limits hold", () =>
    Effect.gen(function* () {
      const clerk = yield* Agent.fromConfig('{"name":"clerk","tools":["add"],"maxSteps":1}', registry)
      const error = yield* Effect.flip(clerk.run("2 + 40?"))
      assert.strictEqual(error._tag, "MaxStepsExceeded")
    }).pipe(Effect.provide(TestModel.layer([TestModel.toolCall("add", { a: 1, b: 1 })])))
  )

  it.effect("needs no registry where it names nothing of one", () =>
    Effect.gen(function* () {
      const clerk = yield* Agent.fromConfig("name: clerk\ninstructions: Be brief.\n")
      expectTypeOf(clerk).toEqualTypeOf<
        Agent.Agent<Schema.Json, Agent.ConfiguredError<{}>, LanguageModel.LanguageModel>
      >()
      assert.strictEqual(yield* clerk.run("Hi"), "Hello")
    }).pipe(Effect.provide(TestModel.layer(["Hello"])))
  )

  it.effect("names its model, as Models.layer takes it", () =>
    Effect.gen(function* () {
      const clerk = yield* Agent.fromConfig("name: clerk\nmodel: demo\n", { models: Models.layer })
      assert.include(String(yield* clerk.run("What is 2 + 40?")), "42")
      const other = yield* Agent.fromConfig("name: clerk\nmodel: nothing:x\n", { models: Models.layer })
      assert.strictEqual((yield* Effect.flip(other.run("?")))._tag, "ModelUnavailable")
    })
  )

  it("has the errors and services of what the registry holds", () => {
    expectTypeOf<Agent.ConfiguredServices<typeof registry>>().toEqualTypeOf<LanguageModel.LanguageModel>()
    type Limits = RunError.BudgetExceeded | RunError.RunTimedOut
    expectTypeOf<Agent.ConfiguredError<typeof registry>>().toEqualTypeOf<Agent.Error | Limits>()
    const own = { models: Models.layer }
    expectTypeOf<Agent.ConfiguredServices<typeof own>>().toEqualTypeOf<never>()
  })
})

describe("what is wrong in it", () => {
  const cases: ReadonlyArray<readonly [what: string, text: string, message: string]> = [
    [
      "a field that there is not",
      "name: a\nsystem: x\n",
      "agent.yaml:2:1: there is no field system. Write it as instructions."
    ],
    ["a value of another kind", "name: a\nmaxSteps: many\n", 'agent.yaml:2:1: maxSteps is "many". '],
    ["a number that is too small", '{\n  "name": "a",\n  "maxSteps": 0\n}', "agent.yaml:3:3: maxSteps is 0. "],
    ["a missing name", "model: demo\n", "agent.yaml:1:1: name is missing. Write name: with a value."],
    [
      "a tool that there is not",
      "name: a\ntools:\n  - add\n  - ad\n",
      'agent.yaml:4:5: there is no tool "ad". The registry has: add.'
    ],
    ["a value within another", "name: a\nbudget:\n  steps: -1\n", "agent.yaml:3:3: budget.steps is -1. "],
    ["a text that is not YAML", "name: a\ninstructions: [x\n", "agent.yaml:3:1: it is neither YAML nor JSON: "],
    ["what is not a duration", "name: a\ntoolTimeout: soon\n", "agent.yaml:2:1: its toolTimeout is not a duration"],
    [
      "a model without a registry of models",
      "name: a\nmodel: demo\n",
      "agent.yaml:2:1: it names a model, and the registry has none. Give it models: Models.layer"
    ],
    [
      "an output that is not a JSON Schema",
      "name: a\noutput:\n  type: object\n  properties:\n    sum: { type: nonsense }\n",
      'agent.yaml:5:12: output.properties.sum.type is "nonsense"'
    ],
    ["a list in place of an agent", "- a\n", "agent.yaml:1:1: it is not an agent."],
    ["text that would grow", `name: a\ninstructions: &a x\ntools: [${"*a, ".repeat(30)}]\n`, "agent.yaml: "]
  ]
  for (const [what, text, message] of cases) {
    it.effect(`is said with its place: ${what}`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(Agent.fromConfig(text, { tools: { add }, file: "agent.yaml" }))
        assert.strictEqual(error._tag, "ConfigInvalid")
        assert.strictEqual(error.message.slice(0, message.length), message)
      })
    )
  }
})
