/** Walks through the files below a directory, a little at a time so that other fibers have their turn. */
import * as Effect from "effect/Effect"
import type { Dirent } from "node:fs"
import { type FileToolError, toError } from "./errors.ts"
import type { Rooted } from "./rooted.ts"

/** How many entries one walk looks at, and how deep it goes. */
const maxVisited = 50_000
const maxDepth = 64
/** After how many directories other fibers have their turn. */
const atOnce = 32

/** One entry of a directory. */
export interface Found {
  readonly path: string
  readonly type: "file" | "directory" | "link" | "other"
}

/** An entry of a walk. */
export interface Walk {
  /** The directory it begins in. */
  readonly start: string
  /** Names that are passed over. */
  readonly ignore: ReadonlySet<string>
  /** Whether it goes into directories. */
  readonly recursive: boolean
  /** Gets each entry, in order; returns false to stop the walk. */
  readonly visit: (found: Found) => boolean
}

/**
 * Visits what is below a directory. Links are visited and not followed. Succeeds with false when the walk was stopped or came
 * to a limit. Fails when the start cannot be listed; other directories that cannot be are passed over.
 */
export const walk = (
  rooted: Rooted,
  { ignore, recursive, start, visit }: Walk
): Effect.Effect<boolean, FileToolError> => {
  const base = start.replace(/\/+$/, "")
  const waiting: Array<readonly [directory: string, depth: number]> = [[base === "" ? "." : base, 0]]
  let visited = 0
  let complete = true
  const list = (directory: string, depth: number): ReadonlyArray<Dirent> => {
    try {
      return rooted.list(directory, maxVisited - visited)
    } catch (error) {
      if (depth === 0) throw error
      return []
    }
  }
  const step = (): boolean => {
    const [directory, depth] = waiting.pop()!
    const entries = list(directory, depth)
    visited += entries.length
    if (visited >= maxVisited) complete = false
    const below: Array<readonly [string, number]> = []
    for (const entry of entries) {
      if (ignore.has(entry.name)) continue
      const found: Found = { path: join(directory, entry.name), type: typeOf(entry) }
      if (!visit(found)) {
        complete = false
        return false
      }
      if (found.type !== "directory" || !recursive) continue
      if (depth < maxDepth) below.push([found.path, depth + 1])
      else complete = false
    }
    waiting.push(...below.reverse())
    return complete || visited < maxVisited
  }
  return inTurns(start, atOnce, () => waiting.length > 0 && step()).pipe(Effect.map(() => complete))
}

const join = (above: string, name: string) => (above === "" || above === "." ? name : `${above}/${name}`)

const typeOf = (entry: Dirent): Found["type"] =>
  entry.isFile() ? "file" : entry.isDirectory() ? "directory" : entry.isSymbolicLink() ? "link" : "other"

/** Takes steps until one returns false, and lets other fibers have their turn after so many. */
export const inTurns = (given: string, steps: number, step: () => boolean): Effect.Effect<void, FileToolError> => {
  let more = true
  const some = Effect.try({
    try: () => {
      for (let n = 0; n < steps && more; n++) more = step()
    },
    catch: (cause) => toError(given, cause)
  })
  return Effect.whileLoop({ while: () => more, body: () => Effect.andThen(some, Effect.yieldNow), step: () => {} })
}
