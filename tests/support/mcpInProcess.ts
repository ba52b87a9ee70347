/** MCP servers in this process, made for one test: what they list, and what their calls do. */
import { Server } from "@modelcontextprotocol/sdk/server/index.js"
import type { RequestHandlerExtra } from "@modelcontextprotocol/sdk/shared/protocol.js"
import {
  type CallToolRequest,
  CallToolRequestSchema,
  type CallToolResult,
  ListToolsRequestSchema,
  type ServerNotification,
  type ServerRequest
} from "@modelcontextprotocol/sdk/types.js"

/** A tool by its name, or with all that its server says of it. */
export type Listed = string | { readonly name: string; readonly [key: string]: unknown }

export type OnCall = (
  params: CallToolRequest["params"],
  extra: RequestHandlerExtra<ServerRequest, ServerNotification>,
  server: Server
) => CallToolResult | Promise<CallToolResult>

/** A server with these tools; a function is asked for them at each list. */
export const inProcess =
  (tools: ReadonlyArray<Listed> | (() => ReadonlyArray<Listed>), onCall: OnCall = () => ({ content: [] })) =>
  (): Server => {
    const server = new Server({ name: "s", version: "1" }, { capabilities: { tools: { listChanged: true } } })
    const list = typeof tools === "function" ? tools : () => tools
    server.setRequestHandler(ListToolsRequestSchema, () => ({
      tools: list().map((tool) => ({
        inputSchema: { type: "object" as const },
        ...(typeof tool === "string" ? { name: tool } : tool)
      }))
    }))
    server.setRequestHandler(CallToolRequestSchema, ({ params }, extra) => onCall(params, extra, server))
    return server
  }

/** What a call gives that has only a text to say. */
export const text = (text: string): CallToolResult => ({ content: [{ type: "text", text }] })
