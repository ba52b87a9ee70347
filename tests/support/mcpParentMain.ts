/** A program that holds an MCP server, says the ids of its processes, and waits to be killed. */
import { Effect } from "effect"
import { Mcp } from "troupe"
import { toolsServer } from "./mcpEverything.ts"

const program = Effect.gen(function* () {
  const mcp = yield* Mcp.connect({ servers: { tools: toolsServer({ STUBBORN: "1" }) } })
  const tools = yield* mcp.tools()
  const fork = tools.find(({ name }) => name === "fork")!
  const grandchild = yield* fork.execute({}, { progress: () => Effect.void } as never, () => {})
  const [status] = yield* mcp.servers
  console.log(JSON.stringify([status?.pid, Number(grandchild)]))
  setInterval(() => {}, 1000)
  return yield* Effect.never
})
void Effect.runPromise(Effect.scoped(program))
