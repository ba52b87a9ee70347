/** How much a server may send. Pure; bundled into the I/O thread. */
import { withParts } from "./response.ts"

/** How many levels of a tool's result are taken; transcripts hold no more. */
export const maxResultDepth = 64
/** The same for lists and everything else that a server sends. */
export const maxDepth = 500
/** How many bytes one message may have; the SDK's reader of pipes takes no more either. */
export const maxMessageBytes = 10 * 1024 * 1024
/** How many pages a list may have. */
export const maxPages = 1000
/** How many entries all pages of a list may have together. */
export const maxListEntries = 50_000
/** How many characters all pages of a list may have together. */
export const maxListChars = 10 * 1024 * 1024
/** How many tools of one server an agent is given, unless the server's options say otherwise. */
export const defaultMaxTools = 500
/** How many characters the definitions of these tools may have together, unless the server's options say otherwise. */
export const defaultMaxDefinitionChars = 400_000
/** How many characters of what a server says in an error are kept. */
export const maxErrorChars = 4000
/** How many times longer than its `timeout` a request may take in all, unless the server's options say otherwise. */
export const durationPerTimeout = 5
/** How many characters of text a model is given of one result, unless the server's options say otherwise. */
export const defaultMaxChars = 1_000_000

/** How a value is nested too deeply; `undefined`: it is not. Goes by levels: a deep value would overflow the stack. */
export const excess = (value: unknown, most: number): string | undefined => {
  let level = new Set<object>(typeof value === "object" && value !== null ? [value] : [])
  for (let depth = 1; level.size > 0; depth++) {
    if (depth > most) return `nested more than ${most} levels deep`
    const next = new Set<object>()
    for (const one of level) {
      for (const item of Object.values(one) as ReadonlyArray<unknown>) {
        if (typeof item === "object" && item !== null) next.add(item)
      }
    }
    level = next
  }
  return undefined
}

/** A `fetch` whose answers end with an error when they have more bytes than they may. Streams of events are left alone. */
export const boundedFetch =
  (inner: typeof fetch, most: number): typeof fetch =>
  async (input, init) => {
    const response = await inner(input, init)
    const isStream = response.headers.get("content-type")?.startsWith("text/event-stream") === true
    if (response.body === null || isStream) return response
    let bytes = 0
    const bound = new TransformStream<Uint8Array, Uint8Array>({
      transform: (chunk, controller) => {
        bytes += chunk.length
        if (bytes <= most) return controller.enqueue(chunk)
        const message = `the server sent a message of more than ${most} bytes`
        controller.error(Object.assign(new Error(message), { code: "TOO_LARGE" }))
      }
    })
    return withParts(response, { body: response.body.pipeThrough(bound) })
  }
