/**
 * The MCP SDK, loaded when the first server is connected and not when troupe is imported: for this thread as modules,
 * for the I/O thread as the files that `connectionProgram.ts` requires.
 */
import { createRequire } from "node:module"
import { absent } from "../../../internal/optional.ts"
import type { SdkFiles } from "./connectionProgram.ts"
import type { IncomingParts } from "./incoming.ts"

/** What the program of a connection needs of the SDK. */
export interface Sdk
  extends
    IncomingParts,
    Pick<typeof import("@modelcontextprotocol/sdk/client/index.js"), "Client">,
    Pick<typeof import("@modelcontextprotocol/sdk/client/streamableHttp.js"), "StreamableHTTPClientTransport">,
    Pick<typeof import("@modelcontextprotocol/sdk/client/sse.js"), "SSEClientTransport" | "SseError">,
    Pick<typeof import("@modelcontextprotocol/sdk/client/auth.js"), "UnauthorizedError">,
    Pick<typeof import("@modelcontextprotocol/sdk/inMemory.js"), "InMemoryTransport">,
    Pick<typeof import("@modelcontextprotocol/sdk/shared/stdio.js"), "serializeMessage">,
    Pick<typeof import("@modelcontextprotocol/sdk/client/stdio.js"), "getDefaultEnvironment"> {}

let loaded: Promise<Sdk> | undefined

/** The SDK in this thread. Rejects when it is not installed. */
export const load = (): Promise<Sdk> => (loaded ??= imported())

const imported = async (): Promise<Sdk> => {
  try {
    const [types, ...parts] = await Promise.all([
      import("@modelcontextprotocol/sdk/types.js").catch(absent),
      import("@modelcontextprotocol/sdk/client/index.js").catch(absent),
      import("@modelcontextprotocol/sdk/client/streamableHttp.js").catch(absent),
      import("@modelcontextprotocol/sdk/client/sse.js").catch(absent),
      import("@modelcontextprotocol/sdk/client/auth.js").catch(absent),
      import("@modelcontextprotocol/sdk/client/stdio.js").catch(absent),
      import("@modelcontextprotocol/sdk/inMemory.js").catch(absent),
      import("@modelcontextprotocol/sdk/shared/auth.js").catch(absent),
      import("@modelcontextprotocol/sdk/shared/stdio.js").catch(absent)
    ])
    return Object.assign({ types }, ...(parts as ReadonlyArray<object>)) as Sdk
  } catch (error) {
    return absent(error)
  }
}

/** The files of the SDK for the I/O thread. Throws when the SDK is not installed next to this module or its bundle. */
export const files = (): SdkFiles => {
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
  return {
    parts: names.map((name) => from.resolve(`@modelcontextprotocol/sdk/${name}`)),
    types: from.resolve("@modelcontextprotocol/sdk/types.js")
  }
}
