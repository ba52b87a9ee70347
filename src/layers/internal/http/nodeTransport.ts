/**
 * Requests by `node:http` and `node:https`, on sockets that are kept alive. It asks Node for its modules when the first
 * request is made, and does not import them: a browser has none, and an import reads every export of `node:http`, of
 * which three load all of Node's undici (45 ms and 15 MB, measured).
 */
import type * as Http from "node:http"
import type * as Https from "node:https"
import type * as Tls from "node:tls"
import { describe } from "../../../internal/connectionError.ts"
import type { Head, HttpRequest, HttpTransport } from "../../../services/HttpTransport.ts"
import { guarded } from "./guarded.ts"
import { perAddress } from "./perAddress.ts"
import { authorizationOf, type Environment, hostOf, portOf, proxyFor } from "./proxy.ts"
import { headersOf } from "./rawHeaders.ts"

/** Sockets between requests: one for each of a thousand agents. An idle one is closed before a network forgets it. */
const kept = { keepAlive: true, maxFreeSockets: 1024, timeout: 60_000, scheduling: "lifo" } as const
/** For the request that found its socket closed: certainly a new one. */
const single = { keepAlive: false } as const
/** How long a proxy may take to open a tunnel. */
const tunnelMs = 60_000

/** How an address is reached, worked out once. */
interface Route {
  readonly http: Pick<typeof Http, "request">
  readonly options: Http.RequestOptions
  readonly headers: Readonly<Record<string, string>>
  readonly pool: Http.Agent
  readonly fresh: () => Http.Agent
}

/** A transport with sockets of its own. `env` says which proxies there are. */
export const make = (env: Environment): HttpTransport => {
  const pools = new Map<string, Http.Agent>()
  const routeTo = perAddress((address) => makeRoute(address, env, pools))
  return (request, to) => {
    const route = routeTo(request.url)
    let outgoing: Http.ClientRequest
    let incoming: Http.IncomingMessage | undefined
    let isAborted = false
    const { exchange, receiver } = guarded(to, {
      pause: () => void incoming?.pause(),
      resume: () => void incoming?.resume(),
      destroy: () => {
        isAborted = true
        outgoing.destroy()
      }
    })
    const { options, payload } = outgoingOf(request, route)
    const send = (isAgain: boolean): void => {
      outgoing = route.http.request({ ...options, agent: isAgain ? route.fresh() : route.pool })
      outgoing.on("response", (response) => {
        incoming = response
        receiver.head(headOf(response))
        response.on("data", receiver.data)
        // By then the socket is free: the next request of the same agent takes it, and opens no other.
        response.on("end", () => queueMicrotask(receiver.end))
        response.on("error", (error) => receiver.fail({ _tag: "HttpFailure", ...describe(error) }))
      })
      outgoing.on("error", (error: NodeJS.ErrnoException) => {
        if (!isAgain && !isAborted && incoming === undefined && isStale(outgoing, error)) return send(true)
        receiver.fail({ _tag: "HttpFailure", ...describe(error) })
      })
      outgoing.end(payload)
    }
    send(false)
    return exchange
  }
}

/** One for the whole process. */
let shared: HttpTransport | undefined

/** A transport on sockets that the process shares, by the proxies of its environment at the first request. */
export const transport: HttpTransport = (request, to) => (shared ??= make(process.env))(request, to)

/**
 * The server closed an idle socket as we took it. It may also have read the request and died: then it is asked twice,
 * which a client cannot tell apart.
 */
const isStale = (request: Http.ClientRequest, { code }: NodeJS.ErrnoException): boolean =>
  request.reusedSocket && (code === "ECONNRESET" || code === "EPIPE")

const headOf = (response: Http.IncomingMessage): Head => ({
  status: response.statusCode ?? 0,
  header: (name) => {
    const value = response.headers[name]
    return typeof value === "object" ? value.join(", ") : value
  },
  headers: () => headersOf(response)
})

const outgoingOf = ({ body, headers, method }: HttpRequest, route: Route) => {
  // Node writes a text and its headers in one encoding, and headers have theirs.
  const payload = typeof body === "string" && Object.values(headers).some(isNotAscii) ? Buffer.from(body) : (body ?? "")
  const own = { "content-length": String(Buffer.byteLength(payload)) }
  return { payload, options: { ...route.options, method, headers: { ...route.headers, ...headers, ...own } } }
}

const isNotAscii = (value: string): boolean => /[^\x20-\x7e\t]/.test(value)

const modules = {
  "http:": (): typeof Http => process.getBuiltinModule("node:http"),
  "https:": (): typeof Https => process.getBuiltinModule("node:https")
}

/** The module of an address's protocol. */
const moduleOf = ({ protocol }: URL): typeof Http | typeof Https =>
  protocol === "https:" ? modules["https:"]() : modules["http:"]()

const makeRoute = (address: URL, env: Environment, pools: Map<string, Http.Agent>): Route => {
  const proxy = proxyFor(address, env)
  const isTunnel = proxy !== undefined && address.protocol === "https:"
  // A proxy is asked itself for what is not encrypted, and for a tunnel to what is.
  const peer = proxy === undefined || isTunnel ? address : proxy
  const http = moduleOf(peer)
  const agentOf = (options: object): Http.Agent => {
    const agent = new http.Agent(options)
    return isTunnel ? tunnelled(agent, proxy) : agent
  }
  const key = `${peer.protocol} ${isTunnel ? proxy.href : ""}`
  let pool = pools.get(key)
  if (pool === undefined) pools.set(key, (pool = agentOf(kept)))
  return {
    http,
    options: {
      protocol: peer.protocol,
      hostname: hostOf(peer),
      port: portOf(peer),
      path: peer === address ? address.pathname + address.search : address.href
    },
    headers: { host: address.host, ...(peer === address ? {} : authorizationOf(peer)) },
    pool,
    fresh: () => agentOf(single)
  }
}

type Connected = (error: Error | null, socket?: Tls.TLSSocket) => void

/** An agent whose sockets go through a tunnel of the proxy. Node's own agents can from 22.21 and 24.5 on. */
const tunnelled = (agent: Http.Agent, proxy: URL): Http.Agent => {
  const createConnection = (options: Tls.ConnectionOptions & { readonly servername?: string }, done: Connected) => {
    const target = `${options.host?.includes(":") === true ? `[${options.host}]` : options.host}:${options.port}`
    const connect = moduleOf(proxy).request({
      protocol: proxy.protocol,
      hostname: hostOf(proxy),
      port: portOf(proxy),
      method: "CONNECT",
      path: target,
      headers: { host: target, ...authorizationOf(proxy) },
      agent: false,
      timeout: tunnelMs
    })
    const refuse = (why: string, code: string) =>
      done(Object.assign(new Error(`the proxy ${proxy.host} ${why}`), { code }))
    connect.once("connect", (response, socket) => {
      if (response.statusCode !== 200) {
        socket.destroy()
        return refuse(`opens no tunnel: HTTP ${response.statusCode}`, "EPROXY")
      }
      socket.setTimeout(0)
      done(null, process.getBuiltinModule("node:tls").connect({ ...options, socket }))
    })
    connect.once("response", (response) => {
      connect.destroy()
      refuse(`opens no tunnel: HTTP ${response.statusCode}`, "EPROXY")
    })
    connect.once("timeout", () => {
      connect.destroy()
      refuse("opens no tunnel in time", "ETIMEDOUT")
    })
    connect.once("error", (error: NodeJS.ErrnoException) => done(error))
    connect.end()
    return undefined
  }
  return Object.assign(agent, { createConnection })
}
