/** Walks the files below a directory and looks for text in them, a little at a time. It touches `Rooted` only. */
import * as Effect from "effect/Effect"
import * as Glob from "effect/Glob"
import { RE2JS } from "re2js"
import { FileToolError, type Rooted, toError } from "./rooted.ts"

/** How far a walk goes, and what it leaves out. */
export interface Limits {
  readonly ignore: ReadonlySet<string>
  readonly maxFileBytes: number
}

/** One thing found on the way: a file, a directory, or what is neither. */
export interface Found {
  readonly path: string
  readonly type: "file" | "directory" | "link" | "other"
}

/** How many entries one walk looks at, and how deep it goes. */
const maxVisited = 50_000
const maxDepth = 64
/** How many bytes one search reads. */
const maxScanned = 64 * 1024 * 1024
/** How many steps of a walk are taken before others have their turn. */
const atOnce = 32
/** How many names one glob may stand for by its braces: each path is compared with all of them. */
const maxAlternatives = 64
/**
 * An expression may cost about 100 ns for each of its instructions and each character. What it may have at most, what a
 * line, a turn and a search may cost, in instructions times characters, and what a file costs besides.
 */
const maxInstructions = 1000
const maxLineWork = 10_000_000
const maxTurnWork = 1_000_000
const maxWork = 1_000_000_000
const fileWork = maxTurnWork / atOnce

/**
 * Goes through what is below `start`, in order, links told and not followed, until `visit` says to stop. False when it
 * did not come to the end.
 */
export const walk = (
  rooted: Rooted,
  start: string,
  { ignore }: Limits,
  recursive: boolean,
  visit: (found: Found) => boolean
): Effect.Effect<boolean, FileToolError> => {
  const base = start.replace(/\/+$/, "")
  const join = (above: string, name: string) => (above === "" || above === "." ? name : `${above}/${name}`)
  const waiting: Array<readonly [directory: string, depth: number]> = [[base === "" ? "." : base, 0]]
  let visited = 0
  let complete = true
  const step = (): boolean => {
    const [directory, depth] = waiting.pop()!
    let entries
    try {
      entries = rooted.list(directory, maxVisited - visited)
    } catch (error) {
      // What cannot be looked into is left out; the start itself must be there.
      if (depth === 0) throw error
      return true
    }
    visited += entries.length
    if (visited >= maxVisited) complete = false
    const below: Array<readonly [string, number]> = []
    for (const entry of entries) {
      if (ignore.has(entry.name)) continue
      const path = join(directory, entry.name)
      const type = entry.isFile()
        ? "file"
        : entry.isDirectory()
          ? "directory"
          : entry.isSymbolicLink()
            ? "link"
            : "other"
      if (!visit({ path, type })) {
        complete = false
        return false
      }
      if (type === "directory" && recursive) {
        if (depth < maxDepth) below.push([path, depth + 1])
        else complete = false
      }
    }
    waiting.push(...below.reverse())
    return complete || visited < maxVisited
  }
  return inTurns(start, atOnce, () => waiting.length > 0 && step()).pipe(Effect.map(() => complete))
}

/** Takes steps until one says it was the last, and lets others have their turn after so many. */
const inTurns = (given: string, steps: number, step: () => boolean): Effect.Effect<void, FileToolError> => {
  let more = true
  const some = Effect.try({
    try: () => {
      for (let n = 0; n < steps && more; n++) more = step()
    },
    catch: (cause) => toError(given, cause)
  })
  return Effect.whileLoop({ while: () => more, body: () => Effect.andThen(some, Effect.yieldNow), step: () => {} })
}

/**
 * Tells whether a path fits a glob: without a slash it is the name that has to fit. Throws `FileToolError` for a glob
 * that stands for too many.
 */
export const matcher = (pattern: string | undefined): ((path: string) => boolean) => {
  if (pattern === undefined || pattern === "") return () => true
  if (alternatives(pattern) > maxAlternatives) {
    const detail = `it stands for more than ${maxAlternatives} patterns; use fewer braces`
    throw new FileToolError({ path: pattern, reason: "Pattern", detail })
  }
  const glob = Glob.make(pattern)
  return pattern.includes("/")
    ? (path) => Glob.match(glob, path)
    : (path) => Glob.match(glob, path.slice(path.lastIndexOf("/") + 1))
}

/** For how many patterns a glob stands by its braces; for one with loose braces it may be more than there are. */
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

/** What is searched for. */
export interface Query {
  readonly text: string
  readonly regex: boolean
  readonly ignoreCase: boolean
}

/** One line that fits. */
export interface Match {
  readonly path: string
  /** Counted from 1. */
  readonly line: number
  readonly text: string
}

/** How much of a long line is shown. */
const maxShown = 300

interface Finder {
  /** Where a line fits the query, or -1. */
  readonly indexIn: (line: string) => number
  /** What a character costs. */
  readonly cost: number
}

/**
 * Expressions are RE2's: their time grows with the length of the line and that of the expression, and never explodes.
 */
const finder = (query: Query): Finder => {
  if (!query.regex) {
    const text = query.ignoreCase ? query.text.toLowerCase() : query.text
    return { indexIn: (line) => (query.ignoreCase ? line.toLowerCase() : line).indexOf(text), cost: 1 }
  }
  const fail = (detail: string) => new FileToolError({ path: query.text, reason: "Pattern", detail })
  let compiled: RE2JS
  try {
    compiled = RE2JS.compile(query.text, query.ignoreCase ? RE2JS.CASE_INSENSITIVE : 0)
  } catch (cause) {
    throw fail(
      `it is no regular expression that can be used (RE2 syntax): ${cause instanceof Error ? cause.message : ""}`
    )
  }
  const cost = compiled.programSize()
  if (cost > maxInstructions) throw fail("it is too large; repeat less in it")
  const indexIn = (line: string) => {
    const match = compiled.matcher(line)
    return match.find() ? match.start() : -1
  }
  return { indexIn, cost }
}

/** The text of a file, or `undefined` for what is no text: null bytes, or not UTF-8. */
export const textOf = (bytes: Uint8Array): string | undefined => {
  if (bytes.subarray(0, 8192).includes(0)) return undefined
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes)
  } catch {
    return undefined
  }
}

/** What is said of a file with more bytes than files may have. */
export const tooLarge = (path: string, size: number, most: number): FileToolError =>
  new FileToolError({ path, reason: "TooLarge", detail: `it has ${size} bytes; files have at most ${most}` })

/** The text of a file. Throws for one that is too large, or is no text. */
export const readText = (rooted: Rooted, path: string, most: number): string => {
  const { bytes, size } = rooted.read(path, most)
  if (bytes === undefined) throw tooLarge(path, size, most)
  const text = textOf(bytes)
  if (text === undefined) throw new FileToolError({ path, reason: "Binary", detail: "it is no UTF-8 text" })
  return text
}

/** Looks for lines in text files that are not too large. `complete` is false when there is or may be more. */
export const search = (
  rooted: Rooted,
  start: string,
  query: Query,
  pattern: string | undefined,
  max: number,
  limits: Limits
): Effect.Effect<{ readonly matches: ReadonlyArray<Match>; readonly complete: boolean }, FileToolError> =>
  Effect.gen(function* () {
    const { find, fits } = yield* Effect.try({
      try: () => ({ find: finder(query), fits: matcher(pattern) }),
      catch: (cause) => toError(query.text, cause)
    })
    const files: Array<string> = []
    let complete = yield* walk(rooted, start, limits, true, ({ path, type }) => {
      if (type === "file" && fits(path)) files.push(path)
      return true
    }).pipe(
      // The start may be a file itself.
      Effect.catchIf(
        (error) => error.reason === "WrongKind",
        () => Effect.sync(() => files.push(start) > 0)
      )
    )
    const matches: Array<Match> = []
    const longest = Math.floor(maxLineWork / find.cost)
    let scanned = 0
    let work = 0
    const textIn = (path: string) => {
      try {
        return readText(rooted, path, limits.maxFileBytes)
      } catch (error) {
        // That a file has no match must not be said of one that was asked for by name and not read.
        if (path === start) throw error
        // It went away, or may not be read.
        return undefined
      }
    }
    let turn = 0
    const isOver = (cost: number): boolean => {
      turn += cost
      if (turn < maxTurnWork) return false
      turn = 0
      return true
    }
    const scan = function* (): Generator<void> {
      for (const path of files) {
        if (matches.length >= max || scanned >= maxScanned || work >= maxWork) {
          complete = false
          return
        }
        const text = textIn(path)
        scanned += text?.length ?? 0
        if (isOver(fileWork)) yield
        for (const [n, line] of (text?.split("\n") ?? []).entries()) {
          if (matches.length >= max) break
          if (line.length > longest || work >= maxWork) complete = false
          if (work >= maxWork) return
          const searched = line.slice(0, longest)
          const at = find.indexIn(searched)
          if (at >= 0) matches.push({ path, line: n + 1, text: shown(line, at) })
          work += searched.length * find.cost
          if (isOver(searched.length * find.cost)) yield
        }
      }
    }
    const scanning = scan()
    yield* inTurns(start, 1, () => scanning.next().done !== true)
    return { matches, complete: complete && matches.length < max }
  })

const shown = (line: string, at: number): string => {
  if (line.length <= maxShown) return line.trimEnd()
  const from = Math.max(0, Math.min(at - 60, line.length - maxShown))
  return `${from > 0 ? "..." : ""}${line.slice(from, from + maxShown)}${from + maxShown < line.length ? "..." : ""}`
}
