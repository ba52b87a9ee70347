/**
 * An agent that uses the tools of an MCP server. The server is an object in this process, so that the example needs
 * nothing else; `{ command: "npx", args: [...] }` or `{ url: "https://..." }` in its place is a server elsewhere, and then
 * it also runs under `Effect.runSync`. The demo model needs no key.
 */
import { Server } from "@modelcontextprotocol/sdk/server/index.js"
import { CallToolRequestSchema, ListToolsRequestSchema } from "@modelcontextprotocol/sdk/types.js"
import { Effect, Layer } from "effect"
import { Agent, Mcp, DemoModel } from "troupe"

const makeServer = () => {
  const server = new Server({ name: "arithmetic", version: "1.0.0" }, { capabilities: { tools: {} } })
  const number = { type: "number" }
  const inputSchema = { type: "object" as const, properties: { a: number, b: number }, required: ["a", "b"] }
  server.setRequestHandler(ListToolsRequestSchema, () => ({
    tools: [{ name: "add", description: "Add two numbers", inputSchema, annotations: { readOnlyHint: true } }]
  }))
  server.setRequestHandler(CallToolRequestSchema, ({ params }) => ({
    content: [{ type: "text", text: String(Number(params.arguments?.["a"]) + Number(params.arguments?.["b"])) }]
  }))
  return server
}

const calculator = Agent.make("calculator", {
  instructions: "You do arithmetic with the tools you have.",
  tools: [Mcp.tools()]
})
const Live = Layer.mergeAll(Mcp.layer({ servers: { arithmetic: { server: makeServer } } }), DemoModel.layer)

const output = await Effect.runPromise(calculator.run("Add 2 and 40.").pipe(Effect.provide(Live)))
console.log(output)

if (!output.includes("42")) throw new Error(`expected 42, got: ${output}`)
