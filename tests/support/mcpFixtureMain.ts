/** The server that the conformance scenarios run against: it writes its address, and ends with standard input. */
import { Effect } from "effect"
import * as McpServer from "troupe/McpServer"
import { registrations, tools } from "./mcpFixture.ts"

const program = Effect.gen(function* () {
  const { url } = yield* McpServer.Served
  process.stdout.write(`${url}\n`)
  yield* Effect.callback<void>((resume) => {
    process.stdin.on("end", () => resume(Effect.void)).resume()
  })
}).pipe(Effect.provide(McpServer.serve({ name: "fixture", version: "1.0.0", tools, registrations, http: {} })))

await Effect.runPromise(program)
