/**
 * `fetch` for the SDK's HTTP transport, which loses calls in two ways: an answer's stream that ends without the answer
 * leaves the call waiting for ever, and the stream of a cancelled call stays open.
 */

interface Rpc {
  readonly id?: string | number
  readonly method?: string
  readonly params?: { readonly requestId?: string | number }
}

/** Ends the open streams, by the request that they answer. */
type Open = Map<string | number, () => void>

/** A call that has its answer already is not disturbed by a second one. */
const lost = { error: { code: -32000, message: "the connection was lost before the answer came" } }

const rpcOf = (body: unknown): Rpc => {
  if (typeof body !== "string") return {}
  try {
    return JSON.parse(body) as Rpc
  } catch {
    return {}
  }
}

/** Whether the events of a stream have ids: the SDK asks for the rest of such a stream itself. */
const resumption = () => {
  const decoder = new TextDecoder()
  let line = ""
  let isResumable = false
  return {
    isResumable: () => isResumable,
    read: (chunk: Uint8Array | undefined) => {
      const lines = (line + decoder.decode(chunk, { stream: true })).split(/\r\n|\n|\r/)
      line = lines.pop() ?? ""
      if (lines.some((one) => one.startsWith("id:"))) isResumable = true
    }
  }
}

const watch = (response: Response, id: string | number, open: Open): Response => {
  const reader = response.body!.getReader()
  const encoder = new TextEncoder()
  const { isResumable, read } = resumption()
  let isOver = false
  const leave = () => {
    isOver = true
    open.delete(id)
  }
  const end = (controller: ReadableStreamDefaultController<Uint8Array>, answer: object | undefined) => {
    if (isOver) return
    leave()
    if (answer !== undefined) {
      controller.enqueue(encoder.encode(`\n\ndata: ${JSON.stringify({ jsonrpc: "2.0", id, ...answer })}\n\n`))
    }
    controller.close()
  }
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => {
      open.set(id, () => {
        // A result keeps the SDK from resuming the stream of a call that has been given up.
        end(controller, { result: {} })
        void reader.cancel().catch(() => {})
      })
    },
    pull: async (controller) => {
      try {
        const { value, done } = await reader.read()
        if (isOver) return
        if (done) return end(controller, isResumable() ? undefined : lost)
        read(value)
        controller.enqueue(value)
      } catch (error) {
        const { code, message } = error as NodeJS.ErrnoException
        if (code === "TOO_LARGE") return end(controller, { error: { code: -32000, message } })
        if (!isResumable()) return end(controller, lost)
        leave()
        controller.error(error)
      }
    },
    cancel: (reason) => {
      leave()
      return reader.cancel(reason)
    }
  })
  return new Response(body, { status: response.status, statusText: response.statusText, headers: response.headers })
}

/** A `fetch` that ends the stream of a cancelled call, and answers a call whose stream ended without an answer. */
export const watchedFetch = (inner: typeof fetch): typeof fetch => {
  const open: Open = new Map()
  return async (input, init) => {
    const rpc = init?.method === "POST" ? rpcOf(init.body) : {}
    const response = await inner(input, init)
    if (rpc.method === "notifications/cancelled" && rpc.params?.requestId !== undefined) {
      open.get(rpc.params.requestId)?.()
    }
    const isStream = response.headers.get("content-type")?.startsWith("text/event-stream") === true
    if (rpc.id === undefined || rpc.method === undefined || !isStream || response.body === null) return response
    return watch(response, rpc.id, open)
  }
}
