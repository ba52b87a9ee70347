/** An MCP server behind HTTP, in this process, that misbehaves on request. */
import { randomUUID } from "node:crypto"
import { once } from "node:events"
import * as http from "node:http"
import type { AddressInfo } from "node:net"
import { Server } from "@modelcontextprotocol/sdk/server/index.js"
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js"
import { CallToolRequestSchema, ListToolsRequestSchema, McpError } from "@modelcontextprotocol/sdk/types.js"

/** What the server saw of one request. */
export interface Seen {
  readonly method: string
  readonly authorization: string | undefined
  readonly rpc: string | undefined
}

export interface McpHttpOptions {
  readonly json?: boolean
  readonly token?: string
  /** Answers what is not for the MCP server itself; true when it has. */
  readonly front?: (request: http.IncomingMessage, response: http.ServerResponse, body: string) => boolean
}

export const startMcpHttp = async (options: McpHttpOptions = {}) => {
  const sessions = new Map<string, StreamableHTTPServerTransport>()
  const seen: Array<Seen> = []
  const calls: Array<string> = []
  const hanging: Array<http.ServerResponse> = []
  let status: number | undefined

  const makeServer = () => {
    const server = new Server({ name: "http", version: "1.0.0" }, { capabilities: { tools: {} } })
    const names = [
      ["safe", true],
      ["unsafe", false],
      ["hang", false],
      ["drop", false],
      ["refuse", true]
    ] as const
    server.setRequestHandler(ListToolsRequestSchema, () => ({
      tools: names.map(([name, idempotentHint]) => ({
        name,
        inputSchema: { type: "object" as const },
        annotations: { idempotentHint }
      }))
    }))
    server.setRequestHandler(CallToolRequestSchema, async ({ params }, { signal }) => {
      calls.push(params.name)
      if (params.name === "hang") {
        await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()))
        calls.push("cancelled")
      }
      if (params.name === "refuse") throw new McpError(-32000, "I would rather not")
      return { content: [{ type: "text", text: `${params.name} ${calls.length}` }] }
    })
    return server
  }

  const listener = http.createServer(async (request, response) => {
    const chunks: Array<Buffer> = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const text = Buffer.concat(chunks).toString()
    if (options.front?.(request, response, text) === true) return
    const body =
      text === ""
        ? undefined
        : (JSON.parse(text) as { readonly method?: string; readonly params?: { readonly name?: string } })
    seen.push({ method: request.method!, authorization: request.headers.authorization, rpc: body?.method })
    if (options.token !== undefined && request.headers.authorization !== `Bearer ${options.token}`) {
      response.writeHead(401).end()
      return
    }
    if (status !== undefined && body?.method === "tools/call") {
      response.writeHead(status).end("try later")
      return
    }
    const id = request.headers["mcp-session-id"]
    let transport = typeof id === "string" ? sessions.get(id) : undefined
    if (transport === undefined && id !== undefined) {
      response.writeHead(404, { "content-type": "application/json" })
      response.end(JSON.stringify({ jsonrpc: "2.0", id: null, error: { code: -32001, message: "Session not found" } }))
      return
    }
    if (transport === undefined) {
      transport = new StreamableHTTPServerTransport({
        sessionIdGenerator: () => randomUUID(),
        enableJsonResponse: options.json ?? false,
        onsessioninitialized: (id) => void sessions.set(id, transport!),
        onsessionclosed: (id) => void sessions.delete(id)
      })
      await makeServer().connect(transport as never)
    }
    if (body?.params?.name === "hang") hanging.push(response)
    if (body?.params?.name === "drop") {
      request.socket.resetAndDestroy()
      return
    }
    await transport.handleRequest(request, response, body)
  })
  listener.listen(0, "127.0.0.1")
  await once(listener, "listening")
  const { port } = listener.address() as AddressInfo
  return {
    port,
    url: `http://127.0.0.1:${port}/mcp`,
    seen,
    calls,
    sessions,
    /** The server forgets its sessions, as after a restart. */
    forget: () => sessions.clear(),
    /** Ends the streams of calls that hang, without an answer. */
    dropHanging: () => {
      for (const response of hanging) response.end()
    },
    /** How many calls that hang have their connection still. */
    hanging: () => hanging.filter((response) => !response.closed).length,
    /** Calls are answered with this status. */
    failCalls: (code: number | undefined) => {
      status = code
    },
    close: async () => {
      listener.closeAllConnections()
      listener.close()
      await once(listener, "close")
    }
  }
}
