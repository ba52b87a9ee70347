/** `fetch` for the SDK, which sends requests of its transports and of its OAuth client by the same function. */
import type { LookupAddress } from "node:dns"
import { Readable } from "node:stream"
import { headersOf } from "../../internal/http/rawHeaders.ts"
import * as Pinned from "../../internal/io/pinned.ts"
import type { AuthorizationAddresses } from "./authorizationAddresses.ts"
import * as Limits from "./limits.ts"
import { withParts } from "./response.ts"

/** How long one request to an authorization server may take, with its answer. Milliseconds. */
const patience = 30_000
/** How many bytes an answer of an authorization server may have. */
const maxDocumentBytes = 1024 * 1024

/** What the requests of one server go by. */
export interface AuthorizationFetchParts {
  readonly addresses: AuthorizationAddresses
  /** The headers for the server, which the SDK adds to all requests. */
  readonly headers: Readonly<Record<string, string>>
  readonly warn: (message: string) => void
}

type Send = (url: URL, init: RequestInit) => Promise<Response>

/** Tests for a request of a transport: a message, the stream of events, or the end of a session. */
const isOfTransport = ({ body, headers, method = "GET" }: RequestInit): boolean =>
  method === "DELETE" ||
  (typeof body === "string" && body.includes('"jsonrpc"')) ||
  new Headers(headers).get("accept")?.includes("text/event-stream") === true

/** The headers without those that are for the server alone. */
const withoutOwn = (given: RequestInit["headers"], own: Readonly<Record<string, string>>): Headers => {
  const all = given instanceof Headers || Array.isArray(given) ? [...given] : Object.entries(given ?? {})
  const kept = all.filter(([name, value]) => own[name!] !== value)
  return new Headers(kept as Array<[string, string]>)
}

const bodyOf = (body: RequestInit["body"]): string | undefined =>
  typeof body === "string" || body instanceof URLSearchParams ? body.toString() : undefined

/** Connects to addresses that were checked before. */
const pinned = async (url: URL, init: RequestInit, found: ReadonlyArray<LookupAddress>): Promise<Response> => {
  const message = await Pinned.pinned(url, found, {
    method: init.method ?? "GET",
    headers: Object.fromEntries(new Headers(init.headers)),
    body: bodyOf(init.body),
    signal: init.signal!
  })
  const { statusCode = 0 } = message
  const isEmpty = statusCode === 204 || statusCode === 304
  if (isEmpty) message.resume()
  const content = isEmpty ? null : (Readable.toWeb(message) as ReadableStream<Uint8Array>)
  const response = new Response(content, { status: statusCode, headers: headersOf(message) })
  return Object.defineProperty(response, "url", { value: url.href })
}

/** Sends a request of the OAuth client. */
const ofAuthorization =
  ({ addresses, headers }: AuthorizationFetchParts): Send =>
  async (url, init) => {
    const timeout = AbortSignal.timeout(patience)
    const signal = init.signal ? AbortSignal.any([init.signal, timeout]) : timeout
    const late = new Promise<never>((_, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true })
    })
    late.catch(() => {})
    const send = async (): Promise<Response> => {
      if (addresses.isOwn(url)) return fetch(url, { ...init, redirect: "manual", signal })
      const found = await addresses.resolve(url)
      return pinned(url, { ...init, headers: withoutOwn(init.headers, headers), signal }, found)
    }
    const bounded = Limits.boundedFetch(() => Promise.race([send(), late]), maxDocumentBytes)
    const response = await bounded(url)
    if (response.headers.get("content-type")?.startsWith("text/event-stream") !== true) return response
    await response.body?.cancel()
    throw new Error(`${url.origin} answered a request for authorization with a stream of events`)
  }

/** The answer without the address of metadata that are not on the server: RFC 9728 has them at its own origin. */
const withOwnMetadata = (response: Response, { addresses, warn }: AuthorizationFetchParts): Response => {
  const header = response.headers.get("www-authenticate")
  if (header === null || (response.status !== 401 && response.status !== 403)) return response
  const kept = header.replace(/resource_metadata=(?:"([^"]*)"|([^\s,]+))/g, (field: string, quoted, plain) => {
    const named = URL.parse(String(quoted ?? plain))
    if (named === null || addresses.isOwn(named)) return field
    warn(`it names metadata at ${named.origin}, which is not its origin; those at its own origin are read instead`)
    return `ignored=""`
  })
  if (kept === header) return response
  const headers = new Headers(response.headers)
  headers.set("www-authenticate", kept)
  return withParts(response, { headers })
}

/** A `fetch` that sends what the transports send by `inner`, and what the OAuth client sends within its rules. */
export const authorizationFetch = (inner: typeof fetch, parts: AuthorizationFetchParts): typeof fetch => {
  const authorize = ofAuthorization(parts)
  return async (input, init = {}) => {
    const url = new URL(input instanceof Request ? input.url : input)
    if (!parts.addresses.isOwn(url) || !isOfTransport(init)) return authorize(url, init)
    return withOwnMetadata(await inner(input, init), parts)
  }
}
