/**
 * Classifies IP addresses by their range. It does not import Effect, so that the programs of threads can be bundled
 * with it.
 */
import ipaddr from "ipaddr.js"

/** A range of addresses. */
export type Range = readonly [address: ipaddr.IPv4 | ipaddr.IPv6, bits: number]

/** Tests whether a request may go to an address, or to a host. */
export type Rule = (address: string) => boolean

/**
 * Addresses that look public and are not: a virtual machine in Azure reaches the WireServer of its host there, which hands
 * out settings of the machine. What other clouds use lies in ranges that are private anyway (169.254.0.0/16, 100.64.0.0/10,
 * 192.0.0.0/24, fd00::/8).
 */
const notPublic: ReadonlySet<string> = new Set(["168.63.129.16"])

/** Addresses in ranges of private networks at which clouds hand out keys of a machine. */
const metadataServices: ReadonlySet<string> = new Set(["fd00:ec2::254", "fd20:ce::254"])

/** A range in CIDR notation, or one address. Throws for other text. */
export const parseRange = (text: string): Range =>
  ipaddr.parseCIDR(text.includes("/") ? text : `${text}/${text.includes(":") ? 128 : 32}`)

/** The library takes "::8.8.8.8" for "::ffff:8.8.8.8", which is another address. */
const isAddress = (address: string): boolean => ipaddr.isValid(address) && !/^::\d+\./.test(address)

/** A rule that accepts public addresses, and those of the ranges. */
export const publicOr =
  (ranges: ReadonlyArray<Range>): Rule =>
  (address) => {
    if (!isAddress(address)) return false
    // An IPv4 address written as an IPv6 address is that IPv4 address.
    const parsed = ipaddr.process(address)
    if (ranges.some(([base, bits]) => base.kind() === parsed.kind() && parsed.match(base, bits))) return true
    if (parsed.range() !== "unicast" || notPublic.has(parsed.toString())) return false
    // Only global unicast is public today: other addresses may hold the IPv4 address of a private host.
    return parsed.kind() === "ipv4" || isGlobal(parsed.toByteArray())
  }

/** True for global unicast that is not an ISATAP address, which leads to the IPv4 address in it. */
const isGlobal = (bytes: ReadonlyArray<number>): boolean => {
  const isIsatap = (bytes[8]! & 0xfc) === 0 && bytes[9] === 0 && bytes[10] === 0x5e && bytes[11] === 0xfe
  return (bytes[0]! & 0xe0) === 0x20 && !isIsatap
}

/**
 * The kind of network that an address which is not public belongs to: this machine, or a private network of IPv4 or IPv6.
 * `undefined` for all other addresses, among them link-local ones and those at which clouds hand out keys.
 */
export const networkOf = (address: string): "loopback" | "private" | "uniqueLocal" | undefined => {
  if (!isAddress(address)) return undefined
  const parsed = ipaddr.process(address)
  const range = parsed.range()
  if (metadataServices.has(parsed.toString())) return undefined
  return range === "loopback" || range === "private" || range === "uniqueLocal" ? range : undefined
}
