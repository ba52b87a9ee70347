/** The program of the I/O thread that holds one connection. The SDK is required from where the main thread found it. */
import { createRequire } from "node:module"
import type { Start } from "../../internal/io/threads/programs.ts"
import type { ToHost } from "./protocol.ts"
import * as SdkClient from "./sdkClient.ts"
import type { Sdk } from "./sdkLoader.ts"

/** Where the SDK is. */
export interface SdkFiles {
  readonly parts: ReadonlyArray<string>
  readonly types: string
}

export const start: Start = (post, args) => {
  const { parts, types } = args as SdkFiles
  const require = createRequire(types)
  const sdk = Object.assign({}, ...parts.map((file) => require(file) as object), { types: require(types) }) as Sdk
  const receive = SdkClient.start(sdk, post)
  return (message) => receive(message as ToHost)
}
