/** Requests to addresses that were chosen before: no name is looked up, no redirect followed, nothing decoded. */
import type { LookupAddress } from "node:dns"
import type { IncomingMessage, RequestOptions } from "node:http"

/** What is sent. */
export interface PinnedRequest extends Pick<RequestOptions, "method" | "signal"> {
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | Uint8Array | undefined
}

/** Sends a request to one of these addresses. */
export const pinned = (
  url: URL,
  addresses: ReadonlyArray<LookupAddress>,
  { body, ...request }: PinnedRequest
): Promise<IncomingMessage> => {
  // Importing it would load Node's own undici with it.
  const http = process.getBuiltinModule(url.protocol === "https:" ? "node:https" : "node:http")
  const lookup: RequestOptions["lookup"] = (_, options, done) => {
    if (options.all === true) done(null, [...addresses])
    else done(null, addresses[0]!.address, addresses[0]!.family)
  }
  return new Promise((resolve, reject) => {
    http
      .request(url, { ...request, lookup, agent: false }, resolve)
      .on("error", reject)
      .end(body)
  })
}
