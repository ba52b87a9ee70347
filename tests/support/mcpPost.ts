/** A client of an MCP server over HTTP that says exactly what a test wants. */
import { Effect } from "effect"

export interface Posted {
  readonly status: number
  readonly headers: Headers
  /** Every message of the answer, be it JSON or a stream of events. */
  readonly messages: ReadonlyArray<Record<string, any>>
}

const messagesOf = (text: string): ReadonlyArray<Record<string, any>> => {
  if (text === "") return []
  const lines =
    text.startsWith("{") || text.startsWith("[") ? [text] : text.split("\n").filter((l) => l.startsWith("data: "))
  return lines.flatMap((line) => JSON.parse(line.replace(/^data: /, "")) as Record<string, any>)
}

/** Sends a message, a batch, or nothing but the headers of a `DELETE`. */
export const send = (url: string, message: unknown, headers: Record<string, string> = {}, method = "POST") =>
  Effect.promise(async (signal): Promise<Posted> => {
    const response = await fetch(url, {
      method,
      headers: { "content-type": "application/json", accept: "application/json, text/event-stream", ...headers },
      ...(message === undefined ? {} : { body: JSON.stringify(message) }),
      signal
    })
    return { status: response.status, headers: response.headers, messages: messagesOf(await response.text()) }
  })

export const initialize = (protocolVersion = "2025-11-25") => ({
  jsonrpc: "2.0",
  id: 0,
  method: "initialize",
  params: { protocolVersion, capabilities: {}, clientInfo: { name: "raw", version: "1" } }
})

export const call = (id: number, name: string, input = "x", meta: Record<string, unknown> = {}) => ({
  jsonrpc: "2.0",
  id,
  method: "tools/call",
  params: { name, arguments: { input }, _meta: meta }
})

/** Begins a session; its value are the headers of it. */
export const begin = (url: string, version = "2025-11-25") =>
  Effect.map(send(url, initialize(version)), ({ headers }) => ({
    "mcp-session-id": headers.get("mcp-session-id")!,
    "mcp-protocol-version": version
  }))

/** The text of a tool's result. */
export const textOf = (message: Record<string, any> | undefined): string => message?.["result"].content[0].text
