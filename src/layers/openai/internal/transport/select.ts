/** Which transport carries the requests of a Layer. */
import type { HttpTransport } from "../../../../services/HttpTransport.ts"
import { isReplaced } from "../../../internal/io/replacedFetch.ts"
import * as Fetch from "./fetch.ts"
import * as Node from "../../../internal/http/nodeTransport.ts"

/** A transport that a module of its own brings, since it needs a package. */
export interface Adapter {
  readonly "~troupe/OpenAi/Transport": HttpTransport
}

/** A transport by its name, a function such as `globalThis.fetch`, or one of a module of its own. */
export type Transport = "auto" | "node" | "fetch" | Fetch.Fetch | Adapter

/** Node itself, and no runtime that says so for the sake of packages. */
const isNode: boolean =
  typeof process === "object" &&
  process.release?.name === "node" &&
  typeof process.getBuiltinModule === "function" &&
  process.versions["bun"] === undefined &&
  process.versions["deno"] === undefined &&
  !/cloudflare/i.test(globalThis.navigator?.userAgent ?? "")

/** Node's own where there is one. A program that has replaced its `fetch` means it to be used: tests do. */
const auto: HttpTransport = (request, to) =>
  isNode && !isReplaced() ? Node.transport(request, to) : Fetch.platform(request, to)

const byName = { auto, node: Node.transport, fetch: Fetch.platform } as const

/** The transports that have a name. */
export const names: ReadonlyArray<string> = Object.keys(byName).map((name) => JSON.stringify(name))

/** The transport of the option; `undefined` for a name that is not one of them. */
export const transportOf = (option: Transport): HttpTransport | undefined => {
  if (typeof option === "function") return Fetch.make(option)
  if (typeof option === "object") return option["~troupe/OpenAi/Transport"]
  return Object.hasOwn(byName, option) ? byName[option] : undefined
}
