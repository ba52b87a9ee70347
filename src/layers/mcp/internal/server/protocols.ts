/** The revisions of MCP that a server speaks. A client that offers an unknown one gets the first. */
import * as McpProtocol from "effect/ai/McpProtocol"

export const protocols = [
  McpProtocol.v2025_11_25,
  McpProtocol.v2025_06_18,
  McpProtocol.v2025_03_26,
  McpProtocol.v2024_11_05,
  McpProtocol.v2026_07_28
] as const
