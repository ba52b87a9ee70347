/** The SDK's transports behind an address, with a `fetch` that bounds and repairs what the server sends. */
import * as Addresses from "./authorizationAddresses.ts"
import { authorizationFetch } from "./authorizationFetch.ts"
import * as Limits from "./limits.ts"
import type { Authorization } from "./oauthProvider.ts"
import type { Spec } from "./protocol.ts"
import type { HttpTransport, SdkConnection } from "./sdkConnection.ts"
import { soundFetch } from "./soundFetch.ts"

/** How long the end of a session may take. Milliseconds. */
const patience = 1000

/** The transports of one connection. */
export interface HttpTransports {
  readonly make: (spec: Extract<Spec, { readonly url: string }>, kind: "http" | "sse") => HttpTransport
  /** Ends the session of a transport on the server. */
  readonly endSession: (transport: HttpTransport | undefined) => Promise<void>
}

export const make = (
  { incoming, relations, report, sdk }: SdkConnection,
  authorization: Authorization
): HttpTransports => {
  const reconnectionOptions = {
    initialReconnectionDelay: 200,
    maxReconnectionDelay: 5000,
    reconnectionDelayGrowFactor: 2,
    maxRetries: 3
  }
  const bounded = Limits.boundedFetch((input, init) => fetch(input, init), Limits.maxMessageBytes)
  return {
    make: (spec, kind) => {
      let transport: HttpTransport | undefined
      const { headers, oauth } = spec
      const addresses = Addresses.make(spec.url, oauth?.allowPrivate ?? false)
      const warn = (message: string) => report("warning", message)
      const inner = oauth === undefined ? bounded : authorizationFetch(bounded, { addresses, headers, warn })
      const sound = soundFetch(inner, {
        incoming,
        metadata: (document, address) => authorization.read(incoming.authorization(document, address)),
        maxChars: Limits.maxMessageBytes,
        asked: relations.asked
      })
      const options = {
        requestInit: { headers: { ...headers } },
        ...(oauth === undefined ? {} : { authProvider: authorization.provider(oauth, addresses, () => transport) })
      }
      const url = new URL(spec.url)
      transport =
        kind === "sse"
          ? new sdk.SSEClientTransport(url, { ...options, fetch: sound })
          : new sdk.StreamableHTTPClientTransport(url, { ...options, fetch: sound, reconnectionOptions })
      return transport
    },
    endSession: async (transport) => {
      // A server that ends its streams with the session would be asked for them again: the SDK forgets only one of them.
      reconnectionOptions.maxRetries = 0
      if (transport === undefined || !("terminateSession" in transport)) return
      let timer: NodeJS.Timeout | undefined
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, patience)
      })
      await Promise.race([transport.terminateSession().catch(() => {}), late])
      clearTimeout(timer)
    }
  }
}
