/** The tools of the built-in assistant, which agents as data can name. */
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as AgentTool from "../AgentTool.ts"

const numbers = Schema.Struct({ a: Schema.Finite, b: Schema.Finite })
const arithmetic = (name: string, description: string, f: (a: number, b: number) => number) =>
  AgentTool.fromFunction(name, {
    description,
    parameters: numbers,
    success: Schema.Finite,
    execute: ({ a, b }) => f(a, b)
  })

/** All of them. */
export const tools = [
  arithmetic("add", "Add two numbers: a + b, a plus b, the sum of a and b", (a, b) => a + b),
  arithmetic("subtract", "Subtract the number b from the number a: a - b, a minus b, the difference", (a, b) => a - b),
  arithmetic("multiply", "Multiply two numbers: a * b, a times b, the product of a and b", (a, b) => a * b),
  AgentTool.fromFunction("divide", {
    description: "Divide the number a by the number b: a / b, a divided by b, the quotient",
    parameters: numbers,
    success: Schema.Finite,
    execute: ({ a, b }) => (b === 0 ? Effect.fail("b is 0: nothing can be divided by it") : a / b)
  }),
  AgentTool.fromFunction("current_time", {
    description: "Tell the current date and time, in UTC",
    execute: () => Effect.map(DateTime.now, DateTime.formatIso)
  })
]
