/** Which IP addresses and hosts requests may go to. */
import { InvalidDefinition } from "../../RunError.ts"
import { parseRange, publicOr, type Range, type Rule } from "./addressRanges.ts"

export type { Rule } from "./addressRanges.ts"

/**
 * A rule that accepts public addresses, and private ones: all of them, those of some ranges in CIDR notation, or none.
 * Throws `InvalidDefinition`, with `subject`, for an entry that is not a range.
 */
export const rule = (allow: boolean | ReadonlyArray<string>, subject = "HttpTools.layer"): Rule => {
  if (allow === true) return () => true
  return publicOr(allow === false ? [] : allow.map((text) => rangeOf(text, subject)))
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

const rangeOf = (text: string, subject: string): Range => {
  try {
    return parseRange(text)
  } catch {
    throw new InvalidDefinition({
      subject,
      problem: `"${text}" in allowPrivate is neither an address nor a range`,
      remedy: "Use CIDR notation, such as 10.0.0.0/8"
    })
  }
}
