/** HTTP requests and name look-ups of the I/O thread. */
import * as dns from "node:dns"
import type { IncomingMessage } from "node:http"
import { isIP } from "node:net"
import type { Message, Request } from "../ioWorker.ts"
import { describe } from "../../../../internal/connectionError.ts"
import { transport } from "../../http/nodeTransport.ts"
import * as RawHeaders from "../../http/rawHeaders.ts"
import * as Pinned from "../pinned.ts"
import { batched } from "./batch.ts"

type Fetch = Extract<Request, { readonly type: "fetch" }> & { readonly id: number }
type Post = (message: Message & { readonly id: number }) => void

interface Answer {
  readonly status: number
  readonly url: string
  readonly headers: Iterable<readonly [string, string]>
  readonly body: AsyncIterable<Uint8Array> | null
}

/** A request under way. */
interface Job {
  readonly abort: () => void
  /** The reader takes so many chunks more. */
  readonly credit: (n: number) => void
}

/** `fetch` itself would show the value that it refuses, which may be a key. */
const headersOf = (given: object): Headers => {
  const headers = new Headers()
  for (const [name, value] of Object.entries(given)) {
    try {
      headers.append(name, String(value))
    } catch {
      throw new TypeError(`HTTP cannot carry the header ${JSON.stringify(name)} or its value`)
    }
  }
  return headers
}

async function* chunksOf(response: IncomingMessage): AsyncGenerator<Uint8Array> {
  // A chunk is a part of a larger buffer, all of which would be copied.
  for await (const chunk of response) yield new Uint8Array(chunk as Uint8Array)
}

/** Connects to an address that was chosen before. */
const pinned = async ({ address = "", body, headers, method, url }: Fetch, signal: AbortSignal): Promise<Answer> => {
  const response = await Pinned.pinned(new URL(url), [{ address, family: isIP(address) }], {
    method,
    signal,
    headers: headers as Record<string, string>,
    body: body as string | Uint8Array | undefined
  })
  return { status: response.statusCode ?? 0, url, headers: RawHeaders.headersOf(response), body: chunksOf(response) }
}

const fetched = async ({ body, headers, method, redirect, url }: Fetch, signal: AbortSignal): Promise<Answer> => {
  const init = { method, headers: headersOf(headers), body, redirect, signal } as RequestInit
  const response = await fetch(url, init)
  return { status: response.status, url: response.url, headers: response.headers, body: response.body }
}

/**
 * Sends by Node's own `http`, on kept-alive sockets and by the proxies of the environment, and follows no redirect: a third
 * of what `fetch` costs.
 */
const carry = ({ body, credit, headers, id, method, url }: Fetch, post: Post, done: () => void): Job => {
  let left = credit
  const batch = batched((data) => {
    post({ type: "chunk", id, data })
    if (--left <= 0) exchange.pause()
  })
  const end = (message: Message) => {
    batch.flush()
    done()
    post({ ...message, id })
  }
  const exchange = transport(
    { method, url, headers: headers as Record<string, string>, body: body as string | Uint8Array | undefined },
    {
      head: (head) => post({ type: "head", id, status: head.status, url, headers: head.headers() }),
      data: batch.push,
      end: () => end({ type: "end" }),
      fail: (failure) => end({ type: "failed", ...describe(failure) })
    }
  )
  return {
    abort: () => {
      batch.drop()
      exchange.abort()
    },
    credit: (n) => {
      left += n
      if (left > 0) exchange.resume()
    }
  }
}

/** Sends by `fetch`, or to an address that was chosen before, and posts the answer chunk by chunk. */
const carryByFetch = (message: Fetch, post: Post, done: () => void): Job => {
  const { id } = message
  const controller = new AbortController()
  const { signal } = controller
  let left = message.credit
  let resume: (() => void) | undefined
  const goOn = () => {
    resume?.()
    resume = undefined
  }
  const run = async (): Promise<void> => {
    try {
      const { body, headers, status, url } = await (message.address === undefined ? fetched : pinned)(message, signal)
      post({ type: "head", id, status, url, headers: [...headers] })
      if (body !== null) {
        for await (const data of body) {
          post({ type: "chunk", id, data })
          if (--left <= 0) await new Promise<void>((resolve) => void (resume = resolve))
        }
      }
      post({ type: "end", id })
    } catch (error) {
      if (!signal.aborted) post({ type: "failed", id, ...describe(error) })
    } finally {
      done()
    }
  }
  void run()
  return {
    abort: () => {
      controller.abort()
      goOn()
    },
    credit: (n) => {
      left += n
      if (left > 0) goOn()
    }
  }
}

/** Serves the requests of one thread. */
export const fetching = (post: Post) => {
  const jobs = new Map<number, Job>()

  return {
    run: (message: Fetch): void => {
      const { address, id, redirect } = message
      const send = redirect === "manual" && address === undefined ? carry : carryByFetch
      try {
        jobs.set(
          id,
          send(message, post, () => jobs.delete(id))
        )
      } catch (error) {
        // An address or a header that HTTP cannot carry.
        post({ type: "failed", id, ...describe(error) })
      }
    },
    abort: (id: number): void => {
      jobs.get(id)?.abort()
      jobs.delete(id)
    },
    credit: (id: number, n: number): void => jobs.get(id)?.credit(n),
    lookUp: ({ host, id }: { readonly host: string; readonly id: number }): void => {
      dns.lookup(host, { all: true }, (error, found) => {
        if (error) post({ type: "failed", id, ...describe(error) })
        else post({ type: "resolved", id, addresses: found.map(({ address }) => address) })
      })
    }
  }
}
