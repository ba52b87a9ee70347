/**
 * The MCP SDK, loaded when the first server is connected and not when troupe is imported: for this thread as modules,
 * for the I/O thread as a program that finds it. It touches the module loader only.
 */
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import { createRequire } from "node:module"
import { sourceOf } from "../../internal/io/program.ts"
import { processGroup } from "../../internal/process/group.ts"
import { host } from "./host.ts"
import { incoming, type IncomingParts } from "./incoming.ts"
import * as Limits from "./limits.ts"
import { problemOf } from "./problem.ts"
import { soundFetch } from "./soundFetch.ts"
import { processTransport } from "./stdioTransport.ts"
import { watchedFetch } from "./watchedFetch.ts"

/** What `host` needs. */
export interface Sdk extends IncomingParts {
  readonly Client: typeof import("@modelcontextprotocol/sdk/client/index.js").Client
  readonly StreamableHTTPClientTransport: typeof import("@modelcontextprotocol/sdk/client/streamableHttp.js").StreamableHTTPClientTransport
  readonly SSEClientTransport: typeof import("@modelcontextprotocol/sdk/client/sse.js").SSEClientTransport
  readonly SseError: typeof import("@modelcontextprotocol/sdk/client/sse.js").SseError
  readonly UnauthorizedError: typeof import("@modelcontextprotocol/sdk/client/auth.js").UnauthorizedError
  readonly InMemoryTransport: typeof import("@modelcontextprotocol/sdk/inMemory.js").InMemoryTransport
  readonly serializeMessage: typeof import("@modelcontextprotocol/sdk/shared/stdio.js").serializeMessage
  readonly getDefaultEnvironment: typeof import("@modelcontextprotocol/sdk/client/stdio.js").getDefaultEnvironment
  readonly spawn: typeof spawn
  readonly fs: Pick<typeof fs, "readdirSync" | "readFileSync">
  readonly processGroup: typeof processGroup
  readonly fetch: typeof fetch
  readonly excess: typeof Limits.excess
  readonly depths: typeof depths
  readonly maxMessageBytes: number
  readonly incoming: typeof incoming
  readonly soundFetch: typeof soundFetch
  readonly processTransport: typeof processTransport
  readonly watchedFetch: typeof watchedFetch
  readonly problemOf: typeof problemOf
}

const depths = { result: Limits.maxResultDepth, other: Limits.maxDepth }

let loaded: Promise<Sdk> | undefined

/** The SDK in this thread. Rejects when it is not installed. */
export const load = (): Promise<Sdk> =>
  (loaded ??= Promise.all([
    import("@modelcontextprotocol/sdk/client/index.js"),
    import("@modelcontextprotocol/sdk/client/streamableHttp.js"),
    import("@modelcontextprotocol/sdk/client/sse.js"),
    import("@modelcontextprotocol/sdk/client/auth.js"),
    import("@modelcontextprotocol/sdk/client/stdio.js"),
    import("@modelcontextprotocol/sdk/inMemory.js"),
    import("@modelcontextprotocol/sdk/shared/auth.js"),
    import("@modelcontextprotocol/sdk/shared/stdio.js"),
    import("@modelcontextprotocol/sdk/types.js")
  ]).then(([client, streamable, sse, auth, stdio, memory, oauth, shared, types]) => ({
    ...oauth,
    Client: client.Client,
    StreamableHTTPClientTransport: streamable.StreamableHTTPClientTransport,
    SSEClientTransport: sse.SSEClientTransport,
    SseError: sse.SseError,
    UnauthorizedError: auth.UnauthorizedError,
    InMemoryTransport: memory.InMemoryTransport,
    serializeMessage: shared.serializeMessage,
    getDefaultEnvironment: stdio.getDefaultEnvironment,
    types,
    spawn,
    fs,
    processGroup,
    fetch: Limits.boundedFetch((input, init) => fetch(input, init), Limits.maxMessageBytes),
    excess: Limits.excess,
    depths,
    maxMessageBytes: Limits.maxMessageBytes,
    incoming,
    soundFetch,
    processTransport,
    watchedFetch,
    problemOf
  })))

/**
 * The program of a connection for the I/O thread: a function body over `require`, which makes a require function, and
 * `post`, that gives what hears messages. Throws when the SDK is not installed next to this module or its bundle.
 */
export const program = (): string => {
  const from = createRequire(import.meta.url)
  const names = [
    "client/index.js",
    "client/streamableHttp.js",
    "client/sse.js",
    "client/auth.js",
    "client/stdio.js",
    "inMemory.js",
    "shared/auth.js",
    "shared/stdio.js"
  ]
  const files = names.map((name) => from.resolve(`@modelcontextprotocol/sdk/${name}`))
  const types = from.resolve("@modelcontextprotocol/sdk/types.js")
  return sourceOf(`const sdk = Object.assign({}, ...${JSON.stringify(files)}.map((file) => require(file)), {
  types: require(${JSON.stringify(types)}),
  spawn: require("node:child_process").spawn,
  fs: require("node:fs"),
  fetch: (${Limits.boundedFetch.toString()})((input, init) => fetch(input, init), ${Limits.maxMessageBytes}),
  excess: (${Limits.excess.toString()}),
  depths: ${JSON.stringify(depths)},
  maxMessageBytes: ${Limits.maxMessageBytes},
  incoming: (${incoming.toString()}),
  soundFetch: (${soundFetch.toString()}),
  processGroup: (${processGroup.toString()}),
  processTransport: (${processTransport.toString()}),
  watchedFetch: (${watchedFetch.toString()}),
  problemOf: (${problemOf.toString()})
})
return (${host.toString()})(sdk, post)`)
}

export { host }
