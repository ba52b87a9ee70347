/** Requests by the package `undici`. */
import * as Undici from "undici"
import { describe } from "../../../../internal/connectionError.ts"
import type { Head, HttpRequest, HttpTransport, Receiver } from "../../../../services/HttpTransport.ts"
import { guarded } from "../../../internal/http/guarded.ts"
import { perAddress } from "../../../internal/http/perAddress.ts"
import { proxyFor } from "../../../internal/http/proxy.ts"

/** Time limits are kept above the transport: undici's own would cut long thinking. */
const settings = { connections: 1024, pipelining: 1, headersTimeout: 0, bodyTimeout: 0, keepAliveTimeout: 60_000 }

const headOf = (status: number, headers: Record<string, string | Array<string> | undefined>): Head => {
  const header = (name: string) => {
    const value = headers[name]
    return typeof value === "object" ? value.join(", ") : value
  }
  return {
    status,
    header,
    headers: () => Object.keys(headers).map((name) => [name.toLowerCase(), header(name) ?? ""] as const)
  }
}

const makeDispatcher = (): Undici.Dispatcher => {
  const proxies = ["http://a", "https://a"].some((one) => proxyFor(new URL(one), { ...process.env, no_proxy: "" }))
  return proxies ? new Undici.EnvHttpProxyAgent(settings) : new Undici.Agent(settings)
}

/** One for the whole process. */
let shared: Undici.Dispatcher | undefined

/**
 * What a request ends with that found its socket closed. It may also have been read by a server that then died, on a new
 * socket too, as undici does not tell: then it is asked twice.
 */
const stale: ReadonlySet<string> = new Set(["ECONNRESET", "EPIPE", "UND_ERR_SOCKET"])

/** A transport on sockets that the process shares. */
export const transport: HttpTransport = (request, to) => {
  let controller: Undici.Dispatcher.DispatchController | undefined
  let isAborted = false
  const { exchange, receiver } = guarded(to, {
    pause: () => controller?.pause(),
    resume: () => controller?.resume(),
    destroy: () => {
      isAborted = true
      controller?.abort(new Error("aborted"))
    }
  })
  const send = (dispatcher: Undici.Dispatcher, isAgain = false): void => {
    if (isAborted) return
    let hasBegun = false
    const head = (answered: Head) => {
      hasBegun = true
      receiver.head(answered)
    }
    const fail: Receiver["fail"] = (failure) => {
      const isStale =
        !isAgain && !isAborted && !hasBegun && failure._tag === "HttpFailure" && stale.has(failure.code ?? "")
      if (isStale) send(dispatcher, true)
      else receiver.fail(failure)
    }
    dispatch(dispatcher, request, { ...receiver, head, fail }, (own) => {
      controller = own
      if (isAborted) own.abort(new Error("aborted"))
    })
  }
  send((shared ??= makeDispatcher()))
  return exchange
}

const addressOf = perAddress(({ origin, pathname, search }) => ({ origin, path: pathname + search }))

const dispatch = (
  dispatcher: Undici.Dispatcher,
  { body, headers, method, url }: HttpRequest,
  to: Receiver,
  started: (controller: Undici.Dispatcher.DispatchController) => void
): void => {
  const { origin, path } = addressOf(url)
  dispatcher.dispatch(
    { origin, path, method: method as Undici.Dispatcher.HttpMethod, headers: { ...headers }, body: body ?? null },
    {
      onRequestStart: started,
      onResponseStart: (_, status, answered) => {
        if (status >= 200) to.head(headOf(status, answered))
      },
      onResponseData: (_, chunk) => to.data(chunk),
      onResponseEnd: () => to.end(),
      onResponseError: (_, error) => to.fail({ _tag: "HttpFailure", ...describe(error) })
    }
  )
}
