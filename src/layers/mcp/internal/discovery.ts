/** Checks what was found out about an authorization server before it is used. */
import type { OAuthDiscoveryState } from "@modelcontextprotocol/sdk/client/auth.js"
import type { AuthorizationAddresses } from "./authorizationAddresses.ts"
import type { OAuthSpec } from "./protocol.ts"

/** Compares as the SDK does, for which a slash at the end makes no difference. */
const isSame = (one: string, other: string): boolean => {
  const [a, b] = [one, other].map((text) => (URL.parse(text)?.href ?? text).replace(/\/$/, ""))
  return a === b
}

/** Rejects where the specification of MCP or RFC 8414 has clients refuse the server, and for addresses that are not used. */
export const check = async (
  { authorizationServerMetadata: metadata, authorizationServerUrl: server, resourceMetadata }: OAuthDiscoveryState,
  { grant }: OAuthSpec,
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
    if (isNamed && !isSame(issuer, server)) {
      const remedy = "the operator of the server has to correct one of the two"
      throw new Error(`the authorization server ${server} has metadata of the issuer ${issuer}; ${remedy}`)
    }
  }
  const methods = metadata?.code_challenge_methods_supported ?? []
  if (isCode && (isNamed || metadata !== undefined) && !methods.includes("S256")) {
    const remedy = "its operator has to add S256 to code_challenge_methods_supported"
    throw new Error(`the metadata of the authorization server ${server} do not name PKCE with S256; ${remedy}`)
  }
}
