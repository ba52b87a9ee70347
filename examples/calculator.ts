/**
 * An agent with two tools, one of `effect/ai` and one plain function, on the model that needs no key. The same program
 * then runs on the other edge, without a promise.
 */
import { Effect, Layer, Schema } from "effect"
import { Tool, Toolkit } from "effect/ai"
import { Agent, AgentTool, DemoModel, SyncEdge } from "troupe"

const Add = Tool.make("add", {
  description: "Add two numbers",
  parameters: Schema.Struct({ a: Schema.Finite, b: Schema.Finite }),
  success: Schema.Finite
})
const Arithmetic = Toolkit.make(Add)
const ArithmeticLive = Arithmetic.toLayer({ add: ({ a, b }) => Effect.succeed(a + b) })

const multiply = AgentTool.fromFunction("multiply", {
  description: "Multiply two numbers",
  parameters: Schema.Struct({ a: Schema.Finite, b: Schema.Finite }),
  execute: ({ a, b }) => a * b
})

const calculator = Agent.make("calculator", {
  description: "Does arithmetic",
  instructions: "You do arithmetic with the tools you have.",
  toolkit: Arithmetic,
  tools: [multiply]
})
const Live = Layer.mergeAll(DemoModel.layer, ArithmeticLive)

const program = calculator.result("Add 2 and 40.").pipe(Effect.provide(Live))

const { output, steps, usage } = await Effect.runPromise(program)
console.log(`async: ${output} (${steps} steps, ${usage.inputTokens.total} tokens in)`)
console.log(`sync:  ${Effect.runSync(program.pipe(Effect.provide(SyncEdge.layer))).output}`)

if (!output.includes("42")) throw new Error(`expected 42, got: ${output}`)
