/** Searches text files for lines, at a cost that is bounded and shared with other fibers. */
import * as Effect from "effect/Effect"
import { RE2JS } from "re2js"
import { FileToolError, toError } from "../../internal/files/errors.ts"
import { oneLine } from "../../../internal/text.ts"
import { matcher } from "../../internal/files/glob.ts"
import { linesOf, readText } from "../../internal/files/text.ts"
import type { Tree } from "../../internal/files/tree.ts"
import { walk } from "../../internal/files/walk.ts"

/** How many bytes one search reads. */
const maxScanned = 64 * 1024 * 1024
/**
 * An expression may cost about 100 ns for each of its instructions and each character. These are the most instructions that
 * it may have, and what a line, a turn and a search may cost, in instructions times characters, and what a file costs in addition.
 */
const maxInstructions = 1000
const maxLineWork = 10_000_000
const maxTurnWork = 1_000_000
const maxWork = 1_000_000_000
const fileWork = maxTurnWork / 32
/** How many characters of a long line are shown. */
const maxShown = 300

/** The pattern and the files of a search. */
export interface Query {
  readonly text: string
  readonly regex: boolean
  readonly ignoreCase: boolean
  /** A directory, or a single file. */
  readonly start: string
  /** A glob that the paths of files match. */
  readonly pattern: string | undefined
}

/** How much is searched and found. */
export interface Limits {
  readonly ignore: ReadonlySet<string>
  readonly maxFileBytes: number
  readonly maxMatches: number
}

/** One line that matches. */
export interface Match {
  readonly path: string
  /** Counted from 1. */
  readonly line: number
  readonly text: string
}

/** The result of a search. `complete` is false when there is or may be more. */
export interface Matches {
  readonly matches: ReadonlyArray<Match>
  readonly complete: boolean
}

interface Finder {
  /** Where a line matches the query, or -1. */
  readonly indexIn: (line: string) => number
  /** The cost of a character. */
  readonly cost: number
}

/** Searches for lines in text files that are not too large. */
export const search = Effect.fnUntraced(function* (tree: Tree, query: Query, limits: Limits) {
  const { find, fits } = yield* Effect.try({
    try: () => ({ find: finder(query), fits: matcher(query.pattern) }),
    catch: (cause) => toError(query.text, cause)
  })
  const files: Array<string> = []
  const visit = { start: query.start, ignore: limits.ignore, recursive: true }
  const walked = yield* walk(tree, {
    ...visit,
    visit: ({ path, type }) => {
      if (type === "file" && fits(path)) files.push(path)
      return true
    }
  }).pipe(
    // The start may be a file itself.
    Effect.catchIf(
      (error) => error.reason === "WrongKind",
      () => Effect.sync(() => files.push(query.start) > 0)
    )
  )
  const found: { matches: Array<Match>; complete: boolean } = { matches: [], complete: walked }
  yield* scan(tree, files, query.start, find, { limits, found })
  return { ...found, complete: found.complete && found.matches.length < limits.maxMatches } satisfies Matches
})

interface Target {
  readonly limits: Limits
  readonly found: { readonly matches: Array<Match>; complete: boolean }
}

/** Goes through the lines of files, and yields when it is time for others. */
const scan = Effect.fnUntraced(function* (
  tree: Tree,
  files: ReadonlyArray<string>,
  start: string,
  find: Finder,
  { found, limits }: Target
) {
  const longest = Math.floor(maxLineWork / find.cost)
  let scanned = 0
  let work = 0
  let turn = 0
  const isOver = (cost: number): boolean => {
    turn += cost
    if (turn < maxTurnWork) return false
    turn = 0
    return true
  }
  for (const path of files) {
    if (found.matches.length >= limits.maxMatches || scanned >= maxScanned || work >= maxWork) {
      found.complete = false
      return
    }
    const text = yield* textIn(tree, path, start, limits)
    scanned += text?.length ?? 0
    if (isOver(fileWork)) yield* Effect.yieldNow
    for (const [n, line] of (text === undefined ? [] : linesOf(text)).entries()) {
      if (found.matches.length >= limits.maxMatches) break
      if (line.length > longest || work >= maxWork) found.complete = false
      if (work >= maxWork) return
      const searched = line.slice(0, longest)
      const at = find.indexIn(searched)
      if (at >= 0) found.matches.push({ path, line: n + 1, text: oneLine(shown(line, at)) })
      work += searched.length * find.cost
      if (isOver(searched.length * find.cost)) yield* Effect.yieldNow
    }
  }
})

/** The text of a file; `undefined` for one that is not text, is denied, or went away. */
const textIn = (
  tree: Tree,
  path: string,
  start: string,
  { maxFileBytes }: Limits
): Effect.Effect<string | undefined, FileToolError> =>
  // A file that was asked for by name and cannot be read is not a file without matches.
  path === start
    ? readText(tree, path, maxFileBytes)
    : Effect.orElseSucceed(readText(tree, path, maxFileBytes), () => undefined)

/** Expressions are RE2's: their time grows with the length of the line and that of the expression, and never explodes. */
const finder = (query: Query): Finder => {
  if (!query.regex) {
    const text = query.ignoreCase ? query.text.toLowerCase() : query.text
    return { indexIn: (line) => (query.ignoreCase ? line.toLowerCase() : line).indexOf(text), cost: 1 }
  }
  const fail = (detail: string) => new FileToolError({ path: query.text, reason: "Pattern", detail })
  const compiled = compile(query, fail)
  const cost = compiled.programSize()
  if (cost > maxInstructions) throw fail("it is too large; repeat less in it")
  const indexIn = (line: string) => {
    const match = compiled.matcher(line)
    return match.find() ? match.start() : -1
  }
  return { indexIn, cost }
}

const compile = ({ ignoreCase, text }: Query, fail: (detail: string) => FileToolError): RE2JS => {
  try {
    return RE2JS.compile(text, ignoreCase ? RE2JS.CASE_INSENSITIVE : 0)
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : ""
    throw fail(`it is not a regular expression in RE2 syntax: ${message}`)
  }
}

const shown = (line: string, at: number): string => {
  if (line.length <= maxShown) return line.trimEnd()
  const from = Math.max(0, Math.min(at - 60, line.length - maxShown))
  return `${from > 0 ? "..." : ""}${line.slice(from, from + maxShown)}${from + maxShown < line.length ? "..." : ""}`
}
