/** Calls a tool outside of an agent, as the agent loop does. */
import * as Effect from "effect/Effect"
import type { AgentTool, Mcp } from "troupe"

type Tools = ReadonlyArray<AgentTool.AgentTool<string, never>>

/** The result of a call, its failures typed; `progress` receives what the tool reports. */
export const call = (
  tools: Tools,
  name: string,
  params: unknown = {},
  progress: (value: unknown) => void = () => {}
): Effect.Effect<unknown, Mcp.McpCallError | Mcp.McpToolFailed> => {
  const tool = tools.find((one) => one.name === name)
  if (tool === undefined) throw new Error(`no tool ${name} among ${tools.map((one) => one.name).join(", ")}`)
  const context = {
    runId: "run",
    path: ["test"],
    conversationId: "conversation",
    metadata: {},
    toolCallId: "call",
    idempotencyKey: "key",
    step: 1,
    progress: (value: unknown) => Effect.sync(() => progress(value))
  }
  return tool.execute(params, context as never, () => {}) as Effect.Effect<
    unknown,
    Mcp.McpCallError | Mcp.McpToolFailed
  >
}
