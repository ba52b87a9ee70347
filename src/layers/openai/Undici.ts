/**
 * Carries the requests of `OpenAi.layer` by the package `undici`, which is installed alongside this one: a tenth less CPU for
 * a request than Node's own `http`, for 100 ms more at the start of the process and 25 MB. For servers that make many
 * calls. It has a module of its own, outside of `"troupe"`, so that programs without `undici` load and bundle.
 *
 * Proxies (`HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`) and certificates (`NODE_EXTRA_CA_CERTS`) are those of the environment.
 * A request whose kept-alive socket turns out to be closed before an answer has begun is sent once more; a server that had
 * read it and then died is so asked twice.
 *
 * @example
 * ```ts
 * import { OpenAi } from "troupe"
 * import * as Undici from "troupe/Undici"
 *
 * const Model = OpenAi.layer({ model: "gpt-4.1-mini", transport: Undici.transport })
 * ```
 */
import type { Adapter } from "./internal/transport/select.ts"
import * as Internal from "./internal/transport/undici.ts"

/**
 * The value of `transport` for `OpenAi.layer`. All Layers share one pool of at most 1,024 connections to each origin. Under
 * `Effect.runSync` the thread of `SyncEdge.layer` carries the requests, as with every other transport.
 */
export const transport: Adapter = { "~troupe/OpenAi/Transport": Internal.transport }
