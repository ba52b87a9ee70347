/** Which IP addresses and hosts requests may go to. */
import ipaddr from "ipaddr.js"
import { InvalidDefinition } from "../../RunError.ts"

type Range = readonly [address: ipaddr.IPv4 | ipaddr.IPv6, bits: number]

/** Tests whether a request may go to an address, or to a host. */
export type Rule = (address: string) => boolean

/**
 * Addresses that look public and are not: a virtual machine in Azure reaches the WireServer of its host there, which hands
 * out settings of the machine. What other clouds use lies in ranges that are private anyway (169.254.0.0/16, 100.64.0.0/10,
 * 192.0.0.0/24, fd00::/8).
 */
const notPublic: ReadonlySet<string> = new Set(["168.63.129.16"])

/** A rule that accepts public addresses, and private ones: all of them, those of some ranges in CIDR notation, or none. */
export const rule = (allow: boolean | ReadonlyArray<string>): Rule => {
  if (allow === true) return () => true
  const ranges = allow === false ? [] : allow.map(rangeOf)
  return (address) => {
    // The library takes "::8.8.8.8" for "::ffff:8.8.8.8", which is another address.
    if (!ipaddr.isValid(address) || /^::\d+\./.test(address)) return false
    // An IPv4 address written as an IPv6 address is that IPv4 address.
    const parsed = ipaddr.process(address)
    if (ranges.some(([base, bits]) => base.kind() === parsed.kind() && parsed.match(base, bits))) return true
    if (parsed.range() !== "unicast" || notPublic.has(parsed.toString())) return false
    // Only global unicast is public today: other addresses may hold the IPv4 address of a private host.
    return parsed.kind() === "ipv4" || isGlobal(parsed.toByteArray())
  }
}

/** True for global unicast that is not an ISATAP address, which leads to the IPv4 address in it. */
const isGlobal = (bytes: ReadonlyArray<number>): boolean => {
  const isIsatap = (bytes[8]! & 0xfc) === 0 && bytes[9] === 0 && bytes[10] === 0x5e && bytes[11] === 0xfe
  return (bytes[0]! & 0xe0) === 0x20 && !isIsatap
}

/**
 * A rule for hosts: `undefined` accepts all, `example.com` that host, `*.example.com` all below it. Throws
 * `InvalidDefinition` for an entry that is not a host.
 */
export const hostRule = (domains: ReadonlyArray<string> | undefined): Rule => {
  if (domains === undefined) return () => true
  const rules = domains.map((given) => {
    const isWild = given.startsWith("*.")
    const host = hostOf(isWild ? given.slice(2) : given)
    if (host !== undefined) return { isWild, host }
    throw new InvalidDefinition({
      subject: "HttpTools.layer",
      problem: `"${given}" in domains is not a host`,
      remedy: "Use a host such as example.com, or *.example.com for all below it"
    })
  })
  return (given) => {
    const host = hostOf(given)
    return rules.some((rule) => (rule.isWild ? host?.endsWith(`.${rule.host}`) === true : host === rule.host))
  }
}

/** A host as URLs write it, without the dot that may end it. */
const hostOf = (text: string): string | undefined => {
  if (!/^(\[[\da-f:.]+\]|[^\s/?#@:*\\[\]]+)$/i.test(text) || !URL.canParse(`http://${text}/`)) return undefined
  return new URL(`http://${text}/`).hostname.replace(/\.$/, "")
}

const rangeOf = (text: string): Range => {
  try {
    return ipaddr.parseCIDR(text.includes("/") ? text : `${text}/${text.includes(":") ? 128 : 32}`)
  } catch {
    throw new InvalidDefinition({
      subject: "HttpTools.layer",
      problem: `"${text}" in allowPrivate is neither an address nor a range`,
      remedy: "Use CIDR notation, such as 10.0.0.0/8"
    })
  }
}
