/** A server over stdio with small runners, whose lines may have 2000 bytes. */
import { NodeRuntime } from "@effect/platform-node"
import * as Effect from "effect/Effect"
import * as McpServer from "../../src/layers/mcp/McpServer.ts"
import * as Runner from "../../src/Runner.ts"

const length = Runner.make("length", {
  description: "Counts characters",
  run: (text: string) => Effect.succeed(String(text.length))
})
const memory = Runner.make("memory", {
  description: "Tells how many bytes the process holds",
  run: () => Effect.sync(() => String(process.memoryUsage().rss))
})

NodeRuntime.runMain(McpServer.run({ tools: [length, memory], maxLineSize: 2000 }))
