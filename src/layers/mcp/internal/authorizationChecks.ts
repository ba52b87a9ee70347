/** What is verified of an authorization: what a server publishes about it, and the answer that a user comes back with. */
import type { OAuthDiscoveryState } from "@modelcontextprotocol/sdk/client/auth.js"
import { type AuthorizationAddresses, isWeb, shown } from "./authorizationAddresses.ts"
import { isFields } from "./fields.ts"
import type { OAuthSpec } from "./protocol.ts"

/** Compares as the SDK does, for which a slash at the end makes no difference. */
const isSame = (one: string, other: string): boolean => {
  const [a, b] = [one, other].map((text) => (URL.parse(text)?.href ?? text).replace(/\/$/, ""))
  return a === b
}

/** A refusal of metadata, which says who can do what about it. */
const refusal = (problem: string, remedy: string): Error => new Error(`${problem}; ${remedy}`)

/** The metadata of an MCP server, as far as they are used. */
export interface ResourceMetadata {
  /** With those authorization servers that are on the web. */
  readonly document: unknown
  /** The ones that are left out. */
  readonly left: ReadonlyArray<string>
  /** Why no authorization server of these metadata can be used, if so. */
  readonly problem: Error | undefined
}

/** Reads metadata; `undefined` for a document of another kind. */
export const readResource = (document: unknown): ResourceMetadata | undefined => {
  if (!isFields(document) || !("resource" in document)) return undefined
  const { authorization_servers: named } = document
  if (!Array.isArray(named)) return { document, left: [], problem: undefined }
  const addresses = named.map((one) => ({ one: one as unknown, url: URL.parse(String(one)) }))
  const used = addresses.filter(({ url }) => url !== null && isWeb(url)).map(({ one }) => one)
  const left = addresses.flatMap(({ url }) => (url === null || isWeb(url) ? [] : [shown(url)]))
  const what = `authorization_servers of the server's metadata names ${left.join(", ")}`
  const remedy = "the operator of the server has to name an authorization server by http or https"
  return {
    document: { ...document, authorization_servers: used },
    left,
    problem: used.length > 0 || left.length === 0 ? undefined : refusal(`${what}, which cannot be asked`, remedy)
  }
}

/** Tests the `iss` of an answer against the issuer of the metadata; `undefined` where that is not known. */
export const issuerTest = (
  issuer: string | undefined,
  { issuer: accepted }: Pick<OAuthSpec, "issuer">
): ((iss: string) => boolean) | undefined => {
  if (issuer === undefined) return undefined
  // A template that the server itself chooses would accept more than the program does.
  if (accepted === undefined || !isSame(issuer, accepted)) return (iss) => iss === issuer
  const parts = accepted.split(/\{[^{}]*\}/).map((part) => part.replace(/[\\^$.*+?()[\]|]/g, "\\$&"))
  const pattern = new RegExp(`^${parts.join("[^/]+")}$`)
  return (iss) => pattern.test(iss)
}

/** Rejects where the specification of MCP or RFC 8414 has clients refuse the server, and for addresses that are not used. */
export const check = async (
  { authorizationServerMetadata: metadata, authorizationServerUrl: server, resourceMetadata }: OAuthDiscoveryState,
  { grant, issuer: accepted, requirePkce }: OAuthSpec,
  addresses: AuthorizationAddresses
): Promise<void> => {
  // Servers of protocol 2025-03-26 name none, and publish the metadata of the service that they stand before.
  const isNamed = (resourceMetadata?.authorization_servers ?? []).length > 0
  const isCode = grant === "authorization_code"
  if (metadata !== undefined) {
    const { authorization_endpoint: authorization, issuer, registration_endpoint: registration } = metadata
    if (isCode) await addresses.check("authorization_endpoint", authorization)
    await addresses.check("token_endpoint", metadata.token_endpoint)
    if (registration !== undefined) await addresses.check("registration_endpoint", registration)
    if (isNamed && !isSame(issuer, server) && (accepted === undefined || !isSame(issuer, accepted))) {
      throw refusal(
        `the authorization server ${server} has metadata of the issuer ${issuer}`,
        "the operator of the server has to correct one of the two, or you give oauth this issuer if it is the right one"
      )
    }
  }
  const methods = metadata?.code_challenge_methods_supported
  if (!isCode || (!isNamed && metadata === undefined) || methods?.includes("S256") === true) return
  // One that names other methods only does not support it.
  if (!requirePkce && methods === undefined) return
  throw refusal(
    `the metadata of the authorization server ${server} do not name PKCE with S256`,
    "its operator has to add S256 to code_challenge_methods_supported, or you set requirePkce of oauth to false if it is supported"
  )
}

/** The parameters of the authorization request. */
export interface Sent {
  readonly redirectUrl: string
  readonly state: string
  /** Tests who an answer is from, where that is known. */
  readonly isIssuer: ((iss: string) => boolean) | undefined
  /** Whether the authorization server says who it is in its answers (RFC 9207). */
  readonly saysIssuer: boolean
}

const isRedirect = (url: URL, redirectUrl: string): boolean => {
  const expected = URL.parse(redirectUrl)
  return url.protocol === expected?.protocol && url.host === expected.host && url.pathname === expected.pathname
}

/**
 * The code of an answer, which is the code itself or the whole address that the user came back to. Throws for an address
 * that is not an answer to what was sent.
 */
export const codeOf = (answer: string, { isIssuer, redirectUrl, saysIssuer, state }: Sent): string => {
  const text = answer.trim()
  if (text === "") throw new Error("authorize gave an empty code")
  const url = URL.parse(text)
  if (url === null || !isRedirect(url, redirectUrl)) {
    // A code may look like an address with a scheme, but not like one of the web.
    if (/^https?:\/\//i.test(text)) throw new Error("authorize gave an address that does not lead to redirectUrl")
    return text
  }
  const { searchParams: given } = url
  if (given.getAll("state").join() !== state) {
    throw new Error("the address that the user came back to has another state than was sent, so its code is not used")
  }
  const from = given.get("iss")
  if (isIssuer !== undefined && (from === null ? saysIssuer : !isIssuer(from))) {
    throw new Error("the address that the user came back to is from another issuer than was asked")
  }
  const error = given.get("error")
  if (error !== null) throw new Error(`the authorization server answered: ${given.get("error_description") || error}`)
  const code = given.get("code")
  if (!code) throw new Error("the address that the user came back to has no code")
  return code
}
