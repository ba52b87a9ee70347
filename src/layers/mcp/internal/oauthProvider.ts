/** Authorization of a connection: what the SDK's OAuth client asks for, and the user who is asked. */
import type { OAuthClientProvider, OAuthDiscoveryState } from "@modelcontextprotocol/sdk/client/auth.js"
import { type AuthorizationAddresses, requireWeb } from "./authorizationAddresses.ts"
import * as Checks from "./authorizationChecks.ts"
import type { OAuthSpec, OAuthState } from "./protocol.ts"
import type { HttpTransport, Post, SdkConnection } from "./sdkConnection.ts"

/** The authorization of one connection, over all attempts to connect. */
export interface Authorization {
  /** Begins with what was kept of an earlier connection. */
  readonly restore: (state: OAuthState) => void
  /** Reads what an authorization server or the MCP server publishes about itself. */
  readonly read: (document: unknown) => unknown
  /** The provider for a transport of the SDK. */
  readonly provider: (
    spec: OAuthSpec,
    addresses: AuthorizationAddresses,
    transport: () => HttpTransport | undefined
  ) => OAuthClientProvider
  /** Settles once the user who is being asked has answered and there are tokens; `undefined`: no user is being asked. */
  readonly pending: () => Promise<void> | undefined
  /** Goes on with the code that the user came back with, or with the whole address, whose state is verified. */
  readonly allow: (answer: string) => void
  readonly refuse: (error: Error) => void
}

/** Where a server's address leads, with a slash at its end. */
const folderOf = ({ pathname }: URL): string => (pathname.endsWith("/") ? pathname : `${pathname}/`)

/**
 * The SDK's own check of the resource refuses an address with a slash more. What the server calls itself is passed on as it
 * is written, as authorization servers compare texts.
 */
const resourceOf =
  ({ sendResource }: OAuthSpec) =>
  async (server: string | URL, resource?: string): Promise<URL | undefined> => {
    if (resource === undefined) return undefined
    const [asked, own] = [new URL(server), new URL(resource)]
    if (asked.origin !== own.origin || !folderOf(asked).startsWith(folderOf(own))) {
      throw new Error(`the server says that it is ${resource}, which does not match its address ${asked.href}`)
    }
    return sendResource ? (resource as unknown as URL) : undefined
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

type Metadata = OAuthDiscoveryState["authorizationServerMetadata"]

/** Whether the answers of an authorization server name their issuer (RFC 9207). */
const saysIssuer = (metadata: Metadata): boolean => {
  const name = "authorization_response_iss_parameter_supported"
  return metadata !== undefined && name in metadata && metadata[name] === true
}

/** What a user is asked, and how the question ends. */
interface Asked {
  readonly sent: Checks.Sent
  readonly resolve: (code: string) => void
  readonly reject: (error: Error) => void
}

/** A text that cannot be guessed. */
const makeState = (): string => Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("base64url")

/** The user who is asked, one question at a time. */
const userQuestion = ({ post, sdk }: SdkConnection) => {
  let pending: Promise<void> | undefined
  let asked: Asked | undefined
  return {
    pending: () => pending,
    /** Sends the user to an address. `finish` gets the code that they come back with. */
    ask: (url: URL, sent: Omit<Checks.Sent, "state">, finish: (code: string) => Promise<void> | undefined) => {
      if (pending !== undefined) return
      requireWeb("authorization_endpoint", url)
      // Of the address: a request alongside this one may have made another state meanwhile.
      const state = url.searchParams.get("state") ?? ""
      pending = new Promise<string>((resolve, reject) => {
        asked = { sent: { ...sent, state }, resolve, reject }
      })
        .then(finish)
        .finally(() => {
          pending = undefined
        })
      // The request that needs the authorization waits for it.
      pending.catch(() => {})
      post({ type: "authorize", url: url.href })
    },
    allow: (answer: string) => {
      if (asked === undefined) return
      try {
        asked.resolve(Checks.codeOf(answer, asked.sent))
      } catch (error) {
        asked.reject(new sdk.UnauthorizedError((error as Error).message))
      }
    },
    refuse: (error: Error) => asked?.reject(error)
  }
}

export const make = (connection: SdkConnection): Authorization => {
  const { post, report } = connection
  const { allow, ask, pending, refuse } = userQuestion(connection)
  // Attempts follow each other, and the next one goes on with what the last one got.
  let state: OAuthState = {}
  let metadata: Metadata
  let unusable: Error | undefined
  const sent = (spec: OAuthSpec): Omit<Checks.Sent, "state"> => ({
    redirectUrl: spec.redirectUrl ?? "",
    isIssuer: Checks.issuerTest(metadata?.issuer, spec),
    saysIssuer: saysIssuer(metadata)
  })
  return {
    restore: (kept) => {
      state = { ...kept }
    },
    read: (document) => {
      const found = Checks.readResource(document)
      if (found === undefined) return document
      unusable = found.problem
      for (const address of found.left) {
        report("warning", `its metadata name ${address} as an authorization server, which is left out`)
      }
      return found.document
    },
    provider: (spec, addresses, transport) => ({
      clientMetadata: spec.metadata,
      ...(spec.clientMetadataUrl === undefined ? {} : { clientMetadataUrl: spec.clientMetadataUrl }),
      validateResourceURL: resourceOf(spec),
      saveDiscoveryState: async (found) => {
        if (unusable !== undefined) throw unusable
        await Checks.check(found, spec, addresses)
        metadata = found.authorizationServerMetadata
      },
      ...storage(state, post, () => pending() !== undefined),
      ...(spec.grant === "client_credentials"
        ? clientCredentials(spec)
        : {
            redirectUrl: spec.redirectUrl,
            state: makeState,
            redirectToAuthorization: (url: URL) => {
              const asking = transport()
              ask(url, sent(spec), (code) => asking?.finishAuth(code))
            }
          })
    }),
    pending,
    allow,
    refuse
  }
}
