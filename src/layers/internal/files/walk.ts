/** Walks through the files below a directory, a little at a time so that other fibers have their turn. */
import * as Effect from "effect/Effect"
import type { FileToolError } from "./errors.ts"
import type { Entry, Tree } from "./tree.ts"

/** How many entries one walk looks at, and how deep it goes. */
const maxVisited = 50_000
const maxDepth = 64
/** After how many directories other fibers have their turn. */
const atOnce = 32

/** One entry of a directory. */
export interface Found {
  readonly path: string
  readonly type: Entry["type"]
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
export const walk = (tree: Tree, { ignore, recursive, start, visit }: Walk): Effect.Effect<boolean, FileToolError> => {
  const base = start.replace(/\/+$/, "")
  const waiting: Array<readonly [directory: string, depth: number]> = [[base === "" ? "." : base, 0]]
  let visited = 0
  let complete = true
  const look = (directory: string, depth: number, entries: ReadonlyArray<Entry>): void => {
    visited += entries.length
    if (visited >= maxVisited) complete = false
    const below: Array<readonly [string, number]> = []
    for (const { name, type } of entries) {
      if (ignore.has(name)) continue
      const found: Found = { path: join(directory, name), type }
      if (!visit(found)) {
        complete = false
        waiting.length = 0
        return
      }
      if (type !== "directory" || !recursive) continue
      if (depth < maxDepth) below.push([found.path, depth + 1])
      else complete = false
    }
    waiting.push(...below.reverse())
    if (visited >= maxVisited) waiting.length = 0
  }
  let taken = 0
  const step = Effect.suspend(() => {
    const [directory, depth] = waiting.pop()!
    const listed = tree.list(directory, maxVisited - visited)
    const entries = depth === 0 ? listed : Effect.orElseSucceed(listed, (): ReadonlyArray<Entry> => [])
    const looked = Effect.map(entries, (found) => look(directory, depth, found))
    return ++taken % atOnce === 0 ? Effect.andThen(looked, Effect.yieldNow) : looked
  })
  return Effect.whileLoop({ while: () => waiting.length > 0, body: () => step, step: () => {} }).pipe(
    Effect.andThen(Effect.yieldNow),
    Effect.map(() => complete)
  )
}

const join = (above: string, name: string) => (above === "" || above === "." ? name : `${above}/${name}`)
