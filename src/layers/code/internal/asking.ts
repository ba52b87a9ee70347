/** Which tools ask for approval when a program calls them. */
import * as Tool from "effect/ai/Tool"
import { memoize } from "effect/Function"
import type { Any as AgentTool } from "../../../AgentTool.ts"
import { markOf, ServerName } from "../../../internal/toolMarks.ts"

/**
 * The tool, asking where it says of itself that it destroys, or where a server brings it that does not say that it only reads. One
 * that asks already is as it was.
 */
export const asking = memoize((tool: AgentTool): AgentTool =>
  isDangerous(tool.tool) && !needsApproval(tool.tool) ? { ...tool, tool: tool.tool.setNeedsApproval(true) } : tool
)

const isDangerous = (tool: Tool.Any): boolean =>
  tool.annotations.mapUnsafe.get(Tool.Destructive.key) === true ||
  (markOf(tool, ServerName) !== undefined && !markOf(tool, Tool.Readonly))

const needsApproval = (tool: Tool.Any): boolean =>
  "needsApproval" in tool && tool.needsApproval !== undefined && tool.needsApproval !== false
