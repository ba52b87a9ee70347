/** What the program of a connection is made with: the SDK, and parts of ours around it. */
import { incoming, type IncomingParts } from "./incoming.ts"
import * as Limits from "./limits.ts"
import { problemOf } from "./problem.ts"
import { soundFetch } from "./soundFetch.ts"
import { processTransport } from "./stdioTransport.ts"
import { watchedFetch } from "./watchedFetch.ts"

/** Parts of ours. */
export const own = {
  fetch: Limits.boundedFetch((input, init) => fetch(input, init), Limits.maxMessageBytes),
  excess: Limits.excess,
  depths: { result: Limits.maxResultDepth, other: Limits.maxDepth },
  maxMessageBytes: Limits.maxMessageBytes,
  incoming,
  soundFetch,
  processTransport,
  watchedFetch,
  problemOf
}

/** What `host` needs. */
export interface Sdk extends IncomingParts, Readonly<typeof own> {
  readonly Client: typeof import("@modelcontextprotocol/sdk/client/index.js").Client
  readonly StreamableHTTPClientTransport: typeof import("@modelcontextprotocol/sdk/client/streamableHttp.js").StreamableHTTPClientTransport
  readonly SSEClientTransport: typeof import("@modelcontextprotocol/sdk/client/sse.js").SSEClientTransport
  readonly SseError: typeof import("@modelcontextprotocol/sdk/client/sse.js").SseError
  readonly UnauthorizedError: typeof import("@modelcontextprotocol/sdk/client/auth.js").UnauthorizedError
  readonly InMemoryTransport: typeof import("@modelcontextprotocol/sdk/inMemory.js").InMemoryTransport
  readonly serializeMessage: typeof import("@modelcontextprotocol/sdk/shared/stdio.js").serializeMessage
  readonly getDefaultEnvironment: typeof import("@modelcontextprotocol/sdk/client/stdio.js").getDefaultEnvironment
}
