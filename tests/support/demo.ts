/** What the tests of the demo model share: agents on it, and how it refuses. */
import { Effect, Schema } from "effect"
import { Agent, AgentTool, DemoModel } from "troupe"

const N = Schema.Finite
const numbers = Schema.Struct({ a: N, b: N })

/** Tools whose results say what they were called with. */
export const tools = {
  add: AgentTool.fromFunction("add", {
    description: "Add two numbers",
    parameters: numbers,
    execute: ({ a, b }) => a + b
  }),
  subtract: AgentTool.fromFunction("subtract", {
    description: "Subtract the number b from the number a: a - b, a minus b, the difference",
    parameters: numbers,
    execute: ({ a, b }) => a - b
  }),
  weather: AgentTool.fromFunction("get_weather", {
    description: "Get the weather forecast for a city",
    parameters: Schema.Struct({
      city: Schema.String,
      unit: Schema.optionalKey(Schema.Literals(["celsius", "fahrenheit"]))
    }),
    execute: ({ city, unit }) => `${city}: fine${unit === undefined ? "" : `, in ${unit}`}`
  }),
  listUsers: AgentTool.fromFunction("list_users", { description: "List the users", execute: () => "bob@x.y" }),
  sendEmail: AgentTool.fromFunction("send_email", {
    description: "Send an email",
    parameters: Schema.Struct({ to: Schema.String, text: Schema.String }),
    execute: ({ text, to }) => `sent "${text}" to ${to}`
  }),
  calculate: AgentTool.fromFunction("calculate", {
    description: "Work out an arithmetic expression",
    parameters: Schema.Struct({ expression: Schema.String }),
    execute: ({ expression }) => `worked out ${expression}`
  })
}

/** Asks an agent with these tools. */
export const ask = (prompt: string, ...using: ReadonlyArray<AgentTool.AgentTool<string, never>>) =>
  Agent.make("clerk", { tools: using }).run(prompt).pipe(Effect.provide(DemoModel.layer))

/** Asks an agent for typed output of these fields. */
export const fill = <Fields extends Schema.Struct.Fields>(fields: Fields, prompt: string) =>
  Agent.make("clerk", { instructions: "Judge.", output: Schema.Struct(fields) as unknown as Schema.Codec<unknown> })
    .run(prompt)
    .pipe(Effect.provide(DemoModel.layer))

/** What is refused, and how: the parameter and the message of the model's error. */
export const refusal = <A, R>(effect: Effect.Effect<A, Agent.Error, R>) =>
  Effect.map(Effect.flip(effect), (error) => {
    if (error._tag !== "ModelError") throw new Error(`expected a ModelError, got ${error._tag}: ${error.message}`)
    const { reason } = error.reason
    if (reason._tag !== "InvalidRequestError") throw new Error(`expected an InvalidRequestError, got ${reason._tag}`)
    return { field: reason.parameter, message: error.message, attempts: error.attempts }
  })
