/** Authorization of a connection: what the SDK's OAuth client asks for, and the user who is asked. */
import type { OAuthClientProvider } from "@modelcontextprotocol/sdk/client/auth.js"
import type { OAuthSpec, OAuthState } from "./protocol.ts"
import type { HttpTransport, Post } from "./sdkConnection.ts"

/** The authorization of one connection, over all attempts to connect. */
export interface Authorization {
  /** Begins with what was kept of an earlier connection. */
  readonly restore: (state: OAuthState) => void
  /** The provider for a transport of the SDK. */
  readonly provider: (spec: OAuthSpec, transport: () => HttpTransport | undefined) => OAuthClientProvider
  /** Settles once the user who is being asked has answered and there are tokens; `undefined`: no user is being asked. */
  readonly pending: () => Promise<void> | undefined
  /** Goes on with the code that the user came back with. */
  readonly allow: (code: string) => void
  readonly refuse: (error: Error) => void
}

/** Where a server's address leads, with a slash at its end. */
const folderOf = ({ pathname }: URL): string => (pathname.endsWith("/") ? pathname : `${pathname}/`)

/**
 * The SDK's own check of the resource refuses an address with a slash more. What the server calls itself is passed on as it
 * is written, as authorization servers compare texts.
 */
const validateResourceURL = async (server: string | URL, resource?: string): Promise<URL | undefined> => {
  if (resource === undefined) return undefined
  const [asked, own] = [new URL(server), new URL(resource)]
  if (asked.origin !== own.origin || !folderOf(asked).startsWith(folderOf(own))) {
    throw new Error(`the server says that it is ${resource}, which does not match its address ${asked.href}`)
  }
  return resource as unknown as URL
}

/** What the provider keeps between requests, and posts to be kept between connections. */
const storage = (state: OAuthState, post: Post, isAsking: () => boolean) => {
  const keep = () => post({ type: "oauth", state: { ...state } })
  return {
    clientInformation: () => state.clientInformation,
    saveClientInformation: (information: NonNullable<OAuthState["clientInformation"]>) => {
      state.clientInformation = information
      keep()
    },
    tokens: () => state.tokens,
    saveTokens: (tokens: NonNullable<OAuthState["tokens"]>) => {
      state.tokens = tokens
      keep()
    },
    saveCodeVerifier: (verifier: string) => {
      // The user who is being asked was sent there with the first one.
      if (!isAsking()) state.codeVerifier = verifier
    },
    codeVerifier: () => state.codeVerifier ?? "",
    invalidateCredentials: (what: string) => {
      if (what === "all" || what === "client") delete state.clientInformation
      if (what === "all" || what === "tokens") delete state.tokens
      if (what === "all" || what === "verifier") delete state.codeVerifier
      keep()
    }
  }
}

const clientCredentials = (spec: OAuthSpec) => ({
  redirectUrl: undefined,
  redirectToAuthorization: () => {
    throw new Error("client credentials need no redirect")
  },
  prepareTokenRequest: (scope?: string) => {
    const params = new URLSearchParams({ grant_type: "client_credentials" })
    const wanted = scope ?? spec.scope
    if (wanted !== undefined) params.set("scope", wanted)
    return params
  }
})

export const make = (post: Post): Authorization => {
  // Attempts follow each other, and the next one goes on with what the last one got.
  let state: OAuthState = {}
  let pending: Promise<void> | undefined
  let asked: { readonly resolve: (code: string) => void; readonly reject: (error: Error) => void } | undefined
  const askUser = (url: URL, transport: HttpTransport | undefined) => {
    if (pending !== undefined) return
    pending = new Promise<string>((resolve, reject) => {
      asked = { resolve, reject }
    })
      .then((code) => transport?.finishAuth(code))
      .finally(() => {
        pending = undefined
      })
    // The request that needs the authorization waits for it.
    pending.catch(() => {})
    post({ type: "authorize", url: url.href })
  }
  return {
    restore: (kept) => {
      state = { ...kept }
    },
    provider: (spec, transport) => ({
      clientMetadata: spec.metadata,
      ...(spec.clientMetadataUrl === undefined ? {} : { clientMetadataUrl: spec.clientMetadataUrl }),
      validateResourceURL,
      ...storage(state, post, () => pending !== undefined),
      ...(spec.grant === "client_credentials"
        ? clientCredentials(spec)
        : {
            redirectUrl: spec.redirectUrl,
            redirectToAuthorization: (url: URL) => askUser(url, transport())
          })
    }),
    pending: () => pending,
    allow: (code) => asked?.resolve(code),
    refuse: (error) => asked?.reject(error)
  }
}
