/** A program that holds an MCP server, on the edge that `EDGE` names, says the ids of its processes, and waits to be killed. */
import * as fs from "node:fs"
import { Effect } from "effect"
import * as Mcp from "troupe/Mcp"
import * as SyncEdge from "troupe/SyncEdge"
import { toolsServer } from "./mcpEverything.ts"

const program = Effect.gen(function* () {
  const mcp = yield* Mcp.connect({ servers: { tools: toolsServer({ STUBBORN: "1" }) } })
  const tools = yield* mcp.tools()
  const start = (wanted: string) => {
    const tool = tools.find(({ name }) => name === wanted)!
    return Effect.map(
      tool.execute({}, { progress: () => Effect.void } as never, () => {}),
      Number
    )
  }
  const [fork, daemon] = [yield* start("fork"), yield* start("daemon")]
  const [status] = yield* mcp.servers
  // What is written by `console` would wait for the event loop.
  fs.writeSync(1, JSON.stringify([status?.pid, fork, daemon]))
  yield* Effect.sleep("1 hour")
}).pipe(Effect.scoped)
if (process.env["EDGE"] === "sync") Effect.runSync(Effect.provide(program, SyncEdge.layer))
else void Effect.runPromise(program)
