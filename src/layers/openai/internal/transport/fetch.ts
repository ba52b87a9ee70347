/** Requests by a `fetch`: the platform's, or one that the program gives. */
import { describe } from "../../../../internal/connectionError.ts"
import type { Exchange, Head, HttpRequest, HttpTransport, Receiver } from "../../../../services/HttpTransport.ts"

/** The part of a `Response` that is used. */
export interface FetchResponse {
  readonly status: number
  readonly url?: string
  readonly headers: {
    get(name: string): string | null
    forEach(each: (value: string, name: string) => void): void
  }
  readonly body: ReadableStream<Uint8Array> | null
}

/** A function such as `globalThis.fetch`. */
export type Fetch = (
  url: string,
  init: {
    readonly method: string
    readonly headers: Record<string, string>
    /** Bytes for a form with files. */
    readonly body: string | Uint8Array<ArrayBuffer>
    readonly signal: AbortSignal
    readonly redirect: "manual"
  }
) => Promise<FetchResponse>

const headOf = ({ headers, status, url }: FetchResponse): Head => ({
  status,
  url: url === "" ? undefined : url,
  header: (name) => headers.get(name),
  headers: () => {
    const all: Array<readonly [string, string]> = []
    headers.forEach((value, name) => all.push([name.toLowerCase(), value]))
    return all
  }
})

/** A transport on the function. */
export const make =
  (fetch: Fetch): HttpTransport =>
  (request, to) => {
    const controller = new AbortController()
    let isOver = false
    let paused: { readonly promise: Promise<void>; readonly resolve: () => void } | undefined
    const finish = (how: () => void): void => {
      if (isOver) return
      isOver = true
      how()
    }
    const drain = async (reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> => {
      while (true) {
        if (paused !== undefined) await paused.promise
        const { done, value } = await reader.read()
        if (done || isOver) return
        to.data(value)
      }
    }
    const read = async (): Promise<void> => {
      const response = await fetch(request.url, initOf(request, controller.signal))
      if (isOver) return
      // What a browser gives for a redirect says nothing of it.
      if (response.status === 0) throw new Error("the server redirects the request, which is not followed")
      to.head(headOf(response))
      if (response.body !== null) await drain(response.body.getReader())
      finish(() => to.end())
    }
    read().catch((error: unknown) => finish(() => failed(to, error)))
    return {
      pause: () => {
        paused ??= Promise.withResolvers<void>()
      },
      resume: () => {
        paused?.resolve()
        paused = undefined
      },
      abort: () =>
        finish(() => {
          paused?.resolve()
          controller.abort()
        })
    } satisfies Exchange
  }

const failed = (to: Receiver, error: unknown): void => to.fail({ _tag: "HttpFailure", ...describe(error) })

const initOf = ({ body, headers, method }: HttpRequest, signal: AbortSignal): Parameters<Fetch>[1] => ({
  method,
  headers: { ...headers },
  body: typeof body === "string" ? body : new Uint8Array(body ?? []),
  signal,
  // The prompt and our headers are for this server only.
  redirect: "manual"
})

/** The platform's own, looked up at each request: a test may replace it. */
export const platform: HttpTransport = make((url, init) => globalThis.fetch(url, init))
