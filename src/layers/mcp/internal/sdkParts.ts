/** What the program of a connection needs of the SDK, which is loaded when the first server is connected. */
import type { IncomingParts } from "./incoming.ts"

/** The parts of the SDK. */
export interface Sdk extends IncomingParts {
  readonly Client: typeof import("@modelcontextprotocol/sdk/client/index.js").Client
  readonly StreamableHTTPClientTransport: typeof import("@modelcontextprotocol/sdk/client/streamableHttp.js").StreamableHTTPClientTransport
  readonly SSEClientTransport: typeof import("@modelcontextprotocol/sdk/client/sse.js").SSEClientTransport
  readonly SseError: typeof import("@modelcontextprotocol/sdk/client/sse.js").SseError
  readonly UnauthorizedError: typeof import("@modelcontextprotocol/sdk/client/auth.js").UnauthorizedError
  readonly InMemoryTransport: typeof import("@modelcontextprotocol/sdk/inMemory.js").InMemoryTransport
  readonly serializeMessage: typeof import("@modelcontextprotocol/sdk/shared/stdio.js").serializeMessage
  readonly getDefaultEnvironment: typeof import("@modelcontextprotocol/sdk/client/stdio.js").getDefaultEnvironment
}
