/** HTTP requests and name look-ups of the I/O thread. */
import * as dns from "node:dns"
import type { ClientRequest, IncomingMessage, RequestOptions } from "node:http"
import { isIP } from "node:net"
import type { Message, Request } from "../ioWorker.ts"
import { describe } from "../../../../internal/connectionError.ts"

type Fetch = Extract<Request, { readonly type: "fetch" }> & { readonly id: number }
type Post = (message: Message & { readonly id: number }) => void

interface Answer {
  readonly status: number
  readonly url: string
  readonly headers: Iterable<readonly [string, string]>
  readonly body: AsyncIterable<Uint8Array> | null
}

interface Job {
  readonly abort: AbortController
  /** How many chunks the reader still takes. */
  credit: number
  resume: (() => void) | undefined
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

/** Connects to an address that was chosen before: no name is looked up, no redirect followed, nothing decoded. */
const pinned = async (message: Fetch, signal: AbortSignal): Promise<Answer> => {
  const url = new URL(message.url)
  const secure = url.protocol === "https:"
  const host = url.hostname.replace(/^\[|\]$/g, "")
  const options = {
    host: message.address,
    port: url.port || (secure ? 443 : 80),
    path: url.pathname + url.search,
    method: message.method,
    signal,
    headers: { ...message.headers, host: url.host },
    servername: isIP(host) > 0 ? "" : host,
    agent: false
  }
  // Importing it would load Node's own undici with it.
  const http = process.getBuiltinModule(secure ? "node:https" : "node:http") as {
    readonly request: (options: RequestOptions, onResponse: (response: IncomingMessage) => void) => ClientRequest
  }
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const request = http.request(options as RequestOptions, resolve)
    request.on("error", reject)
    request.end(message.body)
  })
  const headers: Array<readonly [string, string]> = []
  for (let n = 0; n + 1 < response.rawHeaders.length; n += 2) {
    headers.push([response.rawHeaders[n]!.toLowerCase(), response.rawHeaders[n + 1]!])
  }
  return { status: response.statusCode ?? 0, url: message.url, headers, body: chunksOf(response) }
}

const fetched = async ({ body, headers, method, redirect, url }: Fetch, signal: AbortSignal): Promise<Answer> => {
  const init = { method, headers: headersOf(headers), body, redirect, signal } as RequestInit
  const response = await fetch(url, init)
  return { status: response.status, url: response.url, headers: response.headers, body: response.body }
}

/** Serves the requests of one thread. */
export const fetching = (post: Post) => {
  const jobs = new Map<number, Job>()

  const run = async (message: Fetch): Promise<void> => {
    const { id } = message
    const job: Job = { abort: new AbortController(), credit: message.credit, resume: undefined }
    jobs.set(id, job)
    try {
      const { signal } = job.abort
      const { body, headers, status, url } = await (message.address === undefined ? fetched : pinned)(message, signal)
      post({ type: "head", id, status, url, headers: [...headers] })
      if (body !== null) {
        for await (const data of body) {
          post({ type: "chunk", id, data })
          if (--job.credit <= 0) await new Promise<void>((resolve) => void (job.resume = resolve))
        }
      }
      post({ type: "end", id })
    } catch (error) {
      if (!job.abort.signal.aborted) post({ type: "failed", id, ...describe(error) })
    } finally {
      jobs.delete(id)
    }
  }

  return {
    run: (message: Fetch): void => void run(message),
    abort: (id: number): void => {
      const job = jobs.get(id)
      job?.abort.abort()
      job?.resume?.()
    },
    credit: (id: number, n: number): void => {
      const job = jobs.get(id)
      if (job === undefined) return
      job.credit += n
      if (job.credit <= 0) return
      const { resume } = job
      job.resume = undefined
      resume?.()
    },
    lookUp: ({ host, id }: { readonly host: string; readonly id: number }): void => {
      dns.lookup(host, { all: true }, (error, found) => {
        if (error) post({ type: "failed", id, ...describe(error) })
        else post({ type: "resolved", id, addresses: found.map(({ address }) => address) })
      })
    }
  }
}
