/** The MCP project's own test server as an object in this process, for what does not need a process of its own. */
import { createRequire } from "node:module"
import type { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js"

// It has no types.
const { createServer } = (await import(
  createRequire(import.meta.url).resolve("@modelcontextprotocol/server-everything/dist/server/index.js")
)) as { readonly createServer: () => { readonly server: McpServer; readonly cleanup: () => void } }

export const everythingHere = {
  server: (): McpServer => {
    const { cleanup, server } = createServer()
    return Object.assign(server, { server: Object.assign(server.server, { onclose: cleanup }) })
  }
}
