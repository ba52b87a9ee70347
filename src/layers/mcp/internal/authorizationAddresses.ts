/** Which addresses a server may name for its authorization, as it could lead requests to hosts that it cannot reach itself. */
import type { LookupAddress } from "node:dns"
import { lookup } from "node:dns/promises"
import { isIP } from "node:net"
import { networkOf, parseRange, publicOr, type Rule } from "../../internal/addressRanges.ts"

/** The rules for the addresses that one server names. */
export interface AuthorizationAddresses {
  /** Tests for the origin of the server, or for its https form where both have default ports. */
  readonly isOwn: (url: URL) => boolean
  /** Where to connect to for an address. Rejects for an address that requests may not go to. */
  readonly resolve: (url: URL) => Promise<ReadonlyArray<LookupAddress>>
  /** Rejects for an address that must not be used. A host that this machine does not know may be known to the user's. */
  readonly check: (what: string, url: string) => Promise<void>
}

/** Tests for an address of the web. */
export const isWeb = ({ protocol }: URL): boolean => protocol === "http:" || protocol === "https:"

/** Throws unless the address is one of the web. */
export const requireWeb = (what: string, url: URL): void => {
  if (!isWeb(url)) throw new Error(`${what} is ${shown(url)}, and only http and https addresses are used`)
}

/** An address without what may be secret in it. */
export const shown = (url: URL): string => (isWeb(url) ? url.origin + url.pathname : url.protocol)

const addressesOf = async ({ hostname }: URL): Promise<ReadonlyArray<LookupAddress>> => {
  const host = hostname.replace(/^\[|\]$/g, "")
  const family = isIP(host)
  return family > 0 ? [{ address: host, family }] : lookup(host, { all: true })
}

/**
 * Public addresses are accepted, and those that `allowPrivate` names. Others only where the server has such an address
 * itself: the same one, one of this machine, or one of a private network.
 */
const acceptedBy = (own: ReadonlyArray<LookupAddress>, isPublic: Rule): Rule => {
  const addresses = new Set(own.map(({ address }) => address))
  const networks = new Set(own.map(({ address }) => networkOf(address)))
  return (address) => {
    const network = networkOf(address)
    return isPublic(address) || addresses.has(address) || (network !== undefined && networks.has(network))
  }
}

export const make = (server: string, allowPrivate: boolean | ReadonlyArray<string>): AuthorizationAddresses => {
  const own = new URL(server)
  const isPublic: Rule = allowPrivate === true ? () => true : publicOr((allowPrivate || []).map(parseRange))
  const isOwn = (url: URL): boolean =>
    url.origin === own.origin ||
    (own.protocol === "http:" && url.protocol === "https:" && url.host === own.host && url.port === "")
  const requireSafe = async (what: string, url: URL, found: ReadonlyArray<LookupAddress>): Promise<void> => {
    const accepts = acceptedBy(await addressesOf(own).catch(() => []), isPublic)
    if (!found.every(({ address }) => accepts(address))) {
      const remedy = "add its range to allowPrivate of oauth if you trust the server with it"
      throw new Error(`${what} is ${shown(url)}, which is not on the public internet; ${remedy}`)
    }
    const isLocal = found.length > 0 && found.every(({ address }) => networkOf(address) === "loopback")
    if (own.protocol === "https:" && url.protocol === "http:" && !isLocal) {
      throw new Error(`${what} is ${shown(url)}, and a server with https has to name addresses with https`)
    }
  }
  return {
    isOwn,
    resolve: async (url) => {
      const what = "an address that the server named for its authorization"
      requireWeb(what, url)
      const found = await addressesOf(url)
      await requireSafe(what, url, found)
      return found
    },
    check: async (what, text) => {
      const url = new URL(text)
      requireWeb(what, url)
      if (!isOwn(url)) await requireSafe(what, url, await addressesOf(url).catch(() => []))
    }
  }
}
