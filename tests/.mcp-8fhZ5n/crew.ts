
import { Schema } from "effect"
import { Agent, McpServer, Runner } from "troupe"
console.log("written while the file is loaded")
export const helper = Agent.make("helper", { description: "Helps", instructions: "Summarise the text." })
export default helper
export const upper = McpServer.tool(
  Runner.map(Runner.named(helper, "upper"), (text) => text.toUpperCase()),
  { parameters: Schema.Struct({ text: Schema.String }), input: ({ text }) => text }
)
export const nothing = 42
