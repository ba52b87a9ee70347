/**
 * `fetch` for the SDK's HTTP transport, which loses calls in two ways: an answer's stream that ends without the answer
 * leaves the call waiting for ever, and the stream of a cancelled call stays open.
 */

/** A `fetch` that ends the stream of a cancelled call, and answers a call whose stream ended without an answer. */
export const watchedFetch = (inner: typeof fetch): typeof fetch => {
  interface Rpc {
    readonly id?: string | number
    readonly method?: string
    readonly params?: { readonly requestId?: string | number }
  }
  /** What ends the answers' streams that are open, by request. */
  const open = new Map<string | number, () => void>()
  const rpcOf = (body: unknown): Rpc => {
    if (typeof body !== "string") return {}
    try {
      return JSON.parse(body) as Rpc
    } catch {
      return {}
    }
  }
  const watch = (response: Response, id: string | number): Response => {
    const reader = response.body!.getReader()
    const decoder = new TextDecoder()
    const encoder = new TextEncoder()
    let line = ""
    let resumable = false
    let over = false
    const end = (controller: ReadableStreamDefaultController<Uint8Array>, answer: object | undefined) => {
      if (over) return
      over = true
      open.delete(id)
      if (answer !== undefined) {
        controller.enqueue(encoder.encode(`\n\ndata: ${JSON.stringify({ jsonrpc: "2.0", id, ...answer })}\n\n`))
      }
      controller.close()
    }
    // A call that has its answer already is not disturbed by a second one.
    const lost = { error: { code: -32000, message: "the connection was lost before the answer came" } }
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        open.set(id, () => {
          // A result tells the SDK not to resume the stream; nobody waits for it any more.
          end(controller, { result: {} })
          void reader.cancel().catch(() => {})
        })
      },
      pull: async (controller) => {
        try {
          const { value, done } = await reader.read()
          if (over) return
          if (done) return end(controller, resumable ? undefined : lost)
          const lines = (line + decoder.decode(value, { stream: true })).split(/\r\n|\n|\r/)
          line = lines.pop() ?? ""
          // The SDK asks for the rest of a stream whose events have ids.
          if (lines.some((one) => one.startsWith("id:"))) resumable = true
          controller.enqueue(value)
        } catch (error) {
          const { code, message } = error as NodeJS.ErrnoException
          if (code === "TOO_LARGE") return end(controller, { error: { code: -32000, message } })
          if (!resumable) return end(controller, lost)
          over = true
          open.delete(id)
          controller.error(error)
        }
      },
      cancel: (reason) => {
        over = true
        open.delete(id)
        return reader.cancel(reason)
      }
    })
    return new Response(body, { status: response.status, statusText: response.statusText, headers: response.headers })
  }
  return async (input, init) => {
    const rpc = init?.method === "POST" ? rpcOf(init.body) : {}
    const response = await inner(input, init)
    if (rpc.method === "notifications/cancelled" && rpc.params?.requestId !== undefined) {
      open.get(rpc.params.requestId)?.()
    }
    const isStream = response.headers.get("content-type")?.startsWith("text/event-stream") === true
    if (rpc.id === undefined || rpc.method === undefined || !isStream || response.body === null) return response
    return watch(response, rpc.id)
  }
}
