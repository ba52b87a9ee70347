/** A response of `fetch` with other parts. */

/** What is other than in the response. */
export interface Parts {
  readonly body?: string | ReadableStream<Uint8Array>
  readonly headers?: Headers
  readonly status?: number
}

/** The same response with other parts. A new `Response` itself has no address. */
export const withParts = (response: Response, parts: Parts): Response => {
  const { body, headers, redirected, status, statusText, url } = response
  const made = new Response(parts.body ?? body, {
    headers: parts.headers ?? headers,
    status: parts.status ?? status,
    statusText
  })
  return Object.defineProperties(made, { redirected: { value: redirected }, url: { value: url } })
}
