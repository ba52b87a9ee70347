/** Snapshots that are copies of the files, kept in memory for as long as the sandbox is there. */
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import type { PlatformError } from "effect/PlatformError"
import { sha256 } from "../../../internal/sha256.ts"
import { type Change, type Snapshot, type Snapshots, WorkspaceError } from "../../../services/Sandbox.ts"
import { foldName } from "../../internal/files/denied.ts"

/** How many files a snapshot has, how many bytes together, and how many bytes all snapshots have together. */
const maxFiles = 10_000
const maxBytes = 32 * 1024 * 1024
const maxKept = 256 * 1024 * 1024

/** Hashes of contents, by path. */
type Manifest = ReadonlyMap<string, string>

/** How an unknown snapshot is reported. */
export const unknownSnapshot = ({ id }: Snapshot): WorkspaceError =>
  new WorkspaceError({ reason: "Unknown", detail: `there is no snapshot "${id.slice(0, 80)}" here` })

/** The error of files that are not as they were expected to be. */
export const changedMeanwhile = (changes: ReadonlyArray<Change>): WorkspaceError =>
  new WorkspaceError({
    reason: "Changed",
    detail: "files were changed meanwhile, and putting others in their place would lose that",
    paths: changes.slice(0, 50).map(({ path }) => path)
  })

/** Snapshots of the files of a sandbox, except those below a `.git`; they hold at most so many bytes. */
export const make = (files: FileSystem.FileSystem, most = maxKept): Snapshots => {
  const manifests = new Map<string, Manifest>()
  const contents = new Map<string, Uint8Array>()
  const manifestOf = (snapshot: Snapshot) => {
    const found = manifests.get(snapshot.id)
    return found === undefined ? Effect.fail(unknownSnapshot(snapshot)) : Effect.succeed(found)
  }
  const take = Effect.gen(function* () {
    const { fresh, manifest } = yield* read(files, contents)
    const kept = [...contents.values(), ...fresh.values()].reduce((sum, { length }) => sum + length, 0)
    if (kept > most) return yield* tooLarge(`snapshots hold more than ${most} bytes together`)
    for (const [hash, content] of fresh) contents.set(hash, content)
    const id = `copy:${hashOf(new TextEncoder().encode([...manifest].map((file) => file.join("\0")).join("\n")))}`
    manifests.set(id, manifest)
    return { id }
  }).pipe(Effect.mapError(asWorkspaceError))
  const diff = (from: Snapshot, to?: Snapshot) =>
    Effect.gen(function* () {
      const before = yield* manifestOf(from)
      return changes(before, yield* manifestOf(to ?? (yield* take)))
    })
  const restore = Effect.fnUntraced(function* (to: Snapshot, expected: Snapshot) {
    const target = yield* manifestOf(to)
    const now = yield* take
    if (now.id !== expected.id) return yield* changedMeanwhile(yield* diff(expected, now))
    yield* Effect.forEach(
      changes(yield* manifestOf(now), target),
      ({ change, path }) =>
        change === "removed" ? files.remove(path) : files.writeFile(path, contents.get(target.get(path)!)!),
      { discard: true }
    ).pipe(Effect.mapError(asWorkspaceError))
  })
  return { take, diff, restore }
}

const hashOf = (bytes: Uint8Array): string =>
  Array.from(sha256(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("")

const tooLarge = (detail: string) => Effect.fail(new WorkspaceError({ reason: "TooLarge", detail }))

const asWorkspaceError = (error: PlatformError | WorkspaceError): WorkspaceError =>
  error instanceof WorkspaceError
    ? error
    : new WorkspaceError({ reason: "System", detail: `the sandbox refused it (${error.reason._tag})` })

const changes = (before: Manifest, after: Manifest): ReadonlyArray<Change> =>
  [...new Set([...before.keys(), ...after.keys()])].sort().flatMap((path): ReadonlyArray<Change> => {
    const [old, now] = [before.get(path), after.get(path)]
    if (old === now) return []
    return [{ path, change: old === undefined ? "added" : now === undefined ? "removed" : "modified" }]
  })

/** Reads all files, and gives what is new of their contents. */
const read = Effect.fnUntraced(function* (files: FileSystem.FileSystem, known: ReadonlyMap<string, Uint8Array>) {
  const found = new Map<string, string>()
  const fresh = new Map<string, Uint8Array>()
  const waiting: Array<string> = [""]
  let bytes = 0
  for (let directory = waiting.pop(); directory !== undefined; directory = waiting.pop()) {
    for (const { name, type } of yield* files.readDirectoryEntries(`/${directory}`)) {
      const path = directory === "" ? name : `${directory}/${name}`
      if (type === "Directory" && foldName(name) !== ".git") waiting.push(path)
      if (type !== "File") continue
      const content = yield* files.readFile(`/${path}`)
      bytes += content.length
      if (found.size >= maxFiles || bytes > maxBytes) {
        return yield* tooLarge(
          `the workspace has more than ${maxFiles} files or ${maxBytes} bytes, and no git repository`
        )
      }
      const hash = hashOf(content)
      if (!known.has(hash)) fresh.set(hash, content)
      found.set(path, hash)
    }
    yield* Effect.yieldNow
  }
  return { fresh, manifest: new Map([...found].sort(([a], [b]) => (a < b ? -1 : 1))) }
})
