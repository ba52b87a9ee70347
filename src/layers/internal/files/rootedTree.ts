/** The files below a directory of this machine, as tools use them. */
import type * as fs from "node:fs"
import * as Effect from "effect/Effect"
import { type FileToolError, toError } from "./errors.ts"
import type { Rooted } from "./rooted.ts"
import type { Entry, Tree } from "./tree.ts"

/** Each call is one turn, and is done in place. */
export const ofRooted = (rooted: Rooted): Tree => ({
  list: (given, limit) =>
    attempt(given, () => rooted.list(given, limit).map((entry): Entry => ({ name: entry.name, type: typeOf(entry) }))),
  read: (given, limit) => attempt(given, () => rooted.read(given, limit)),
  write: (given, content, unique) => attempt(given, () => rooted.write(given, content, unique))
})

const attempt = <A>(given: string, work: () => A): Effect.Effect<A, FileToolError> =>
  Effect.try({ try: work, catch: (cause) => toError(given, cause) })

const typeOf = (entry: fs.Dirent): Entry["type"] =>
  entry.isFile() ? "file" : entry.isDirectory() ? "directory" : entry.isSymbolicLink() ? "link" : "other"
