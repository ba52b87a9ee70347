/**
 * Which files tools keep away from. Names are compared as the most tolerant file system would: without regard to case,
 * invisible characters, and what Windows ignores at the end of a name.
 */
import { matcher } from "./glob.ts"

/** Tells whether tools keep away from a path, given as the names from the root down. */
export type Denied = (names: ReadonlyArray<string>) => boolean

const ignorable = /[\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}]/gu
const sameCase = (text: string): string => text.normalize("NFKC").toUpperCase().toLowerCase()

/** A name without what some file system does not distinguish: `.GIT`, `.git.`, `.g\u200Cit` and `.git::$DATA` are `.git`. */
export const foldName = (name: string): string =>
  sameCase(name.replace(ignorable, ""))
    .replace(/:.*$/s, "")
    .replace(/[. ]+$/, "")

/**
 * True for a path below a `.git`, or a `.git` itself: what is in it names programs that git runs. Backslashes separate names
 * on Windows, and `git~1` is its short name there.
 */
export const isBelowGit: Denied = (names) =>
  names.flatMap((name) => name.split("\\")).some((name) => [".git", "git~1"].includes(foldName(name)))

/**
 * Denies what patterns match, and everything below it. A pattern without a slash is compared with each name on the way, one
 * with a slash with the path from the root. As in `.gitignore` the last pattern that matches decides, and one that begins
 * with `!` makes an exception. Throws `FileToolError` for a glob that cannot be used.
 */
export const deniedBy = (patterns: ReadonlyArray<string>): Denied => {
  const rules = patterns.map((given) => {
    const isException = given.startsWith("!")
    const pattern = sameCase(isException ? given.slice(1) : given).replace(/^(\.?\/)+|\/+$/g, "")
    return { isException, isEmpty: pattern === "", fits: matcher(pattern, { dot: true }) }
  })
  const isDenied = (path: string): boolean =>
    rules.reduce((denied, { fits, isEmpty, isException }) => (!isEmpty && fits(path) ? !isException : denied), false)
  return (names) => {
    const folded = names.map(foldName)
    return folded.some((_, n) => isDenied(folded.slice(0, n + 1).join("/")))
  }
}
