/** Which IP addresses belong to the public internet. Pure. */
import ipaddr from "ipaddr.js"
import { InvalidDefinition } from "../../../RunError.ts"

type Range = readonly [address: ipaddr.IPv4 | ipaddr.IPv6, bits: number]

/** Tells whether a request may go to an address. */
export type Rule = (address: string) => boolean

/** A rule for `allow`: all private addresses, those of some ranges in CIDR notation, or none. */
export const rule = (allow: boolean | ReadonlyArray<string>): Rule => {
  if (allow === true) return () => true
  const ranges = allow === false ? [] : allow.map(rangeOf)
  return (address) => {
    // The library takes "::8.8.8.8" for "::ffff:8.8.8.8", which it is not.
    if (!ipaddr.isValid(address) || /^::\d+\./.test(address)) return false
    // An IPv4 address in the dress of an IPv6 address is that IPv4 address.
    const parsed = ipaddr.process(address)
    if (ranges.some(([base, bits]) => base.kind() === parsed.kind() && parsed.match(base, bits))) return true
    if (parsed.range() !== "unicast") return false
    // Whatever is not global unicast today, such as addresses that hold an IPv4 address, is nobody's business.
    return parsed.kind() === "ipv4" || (parsed.toByteArray()[0]! & 0xe0) === 0x20
  }
}

const rangeOf = (text: string): Range => {
  try {
    return ipaddr.parseCIDR(text.includes("/") ? text : `${text}/${text.includes(":") ? 128 : 32}`)
  } catch {
    throw new InvalidDefinition({
      subject: "HttpTools.layer",
      problem: `"${text}" in allowPrivate is no address and no range`,
      remedy: "Use CIDR notation, such as 10.0.0.0/8"
    })
  }
}
