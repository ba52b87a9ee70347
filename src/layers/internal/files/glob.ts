/** Globs of files and names, by `effect/Glob`. */
import * as Glob from "effect/Glob"
import { FileToolError } from "./errors.ts"

/** How many patterns the braces of one glob may expand to: each path is compared with all of them. */
const maxAlternatives = 64

/** How a glob is read. */
export interface GlobOptions {
  /** Whether `*` matches a dot at the beginning of a name. Default `false`. */
  readonly dot?: boolean | undefined
}

/**
 * Tests whether a path matches a glob; a glob without a slash is compared with the last name of the path. Throws
 * `FileToolError` for a glob with too many alternatives.
 */
export const matcher = (pattern: string | undefined, options?: GlobOptions): ((path: string) => boolean) => {
  if (pattern === undefined || pattern === "") return () => true
  if (alternatives(pattern) > maxAlternatives) {
    const detail = `it stands for more than ${maxAlternatives} patterns; use fewer braces`
    throw new FileToolError({ path: pattern, reason: "Pattern", detail })
  }
  const glob = Glob.make(pattern, options)
  return pattern.includes("/")
    ? (path) => Glob.match(glob, path)
    : (path) => Glob.match(glob, path.slice(path.lastIndexOf("/") + 1))
}

/** For how many patterns a glob stands by its braces; for one with unbalanced braces it may be more than there are. */
const alternatives = (pattern: string): number => {
  let at = 0
  const sequence = (nested: boolean): number => {
    let product = 1
    for (; at < pattern.length; at++) {
      const char = pattern[at]
      if (char === "\\") at++
      else if (char === "{") product *= group()
      else if (nested && (char === "," || char === "}")) return product
    }
    return product
  }
  const group = (): number => {
    let sum = 0
    do {
      at++
      sum += sequence(true)
    } while (pattern[at] === ",")
    return sum
  }
  return sequence(false)
}
