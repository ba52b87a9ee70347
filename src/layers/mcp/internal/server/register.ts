/** Puts tools into Effect's `McpServer`: each call gets its progress reported, and the services of the Layer. */
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as McpProtocol from "effect/ai/McpProtocol"
import * as McpSchema from "effect/ai/McpSchema"
import * as McpServer from "effect/ai/McpServer"
import * as Context from "effect/Context"
import { type Closing, guard } from "./closing.ts"
import type { Admit } from "./limits.ts"
import type { Answer, Report, Tool } from "./tool.ts"

/** The revisions of MCP that a server speaks. A client that offers an unknown one gets the first. */
export const protocols = [
  McpProtocol.v2025_11_25,
  McpProtocol.v2025_06_18,
  McpProtocol.v2025_03_26,
  McpProtocol.v2024_11_05,
  McpProtocol.v2026_07_28
] as const

/** Registers the tools. The services that they need are taken from where this is run; `admit` gives a call its place. */
export const register = <R>(
  tools: ReadonlyArray<Tool<R>>,
  admit: Admit,
  closing?: Closing
): Effect.Effect<void, never, McpServer.McpServer | Exclude<R, McpSchema.McpRequestContext>> =>
  Effect.gen(function* () {
    const server = yield* McpServer.McpServer
    const services = yield* Effect.context<Exclude<R, McpSchema.McpRequestContext>>()
    for (const tool of tools) {
      yield* server.addTool({
        tool: new McpSchema.Tool(tool.descriptor),
        annotations: Context.empty(),
        // The server merges them under those of each request.
        services: services as Context.Context<never>,
        handle: (args) => {
          const call = admit(Effect.flatMap(reporter(server), (report) => tool.call(args, report))) as Effect.Effect<
            Answer,
            string,
            McpSchema.McpRequestContext
          >
          return Effect.mapBoth(closing === undefined ? call : guard(closing, call), {
            onSuccess: (answer) => new McpSchema.CallToolResult({ ...answer, content: [...answer.content] }),
            onFailure: (message) => new McpSchema.InvalidParams({ message })
          })
        }
      })
    }
  })

/** Sends progress of the current request; `undefined` when its client has not asked for any. */
const reporter = (
  server: McpServer.McpServer["Service"]
): Effect.Effect<Report | undefined, never, McpSchema.McpRequestContext> =>
  Effect.gen(function* () {
    const { requestMetadata } = yield* McpSchema.McpRequestContext
    const session = yield* Effect.serviceOption(McpSchema.McpServerClient)
    // With a session, the context's metadata are those of its first request.
    const metadata = session._tag === "Some" ? session.value.requestMetadata : requestMetadata
    const token = Predicate.hasProperty(metadata, "progressToken") ? metadata.progressToken : undefined
    if (typeof token !== "string" && typeof token !== "number") return undefined
    let count = 0
    return (message) =>
      Effect.suspend(() => {
        count++
        return server.notifications["notifications/progress"]({ progressToken: token, progress: count, message })
      }).pipe(Effect.ignore)
  })
