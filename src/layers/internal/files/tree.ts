/** Files as tools use them: listed, read and written as a whole, within limits, with failures that a model can read. */
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import type { PlatformError } from "effect/PlatformError"
import type * as Scope from "effect/Scope"
import { type Denied, isBelowGit } from "./denied.ts"
import { belowGit, FileToolError, outside, toError } from "./errors.ts"
import { namesOf, parentOf } from "./names.ts"

/** An entry of a directory. */
export interface Entry {
  readonly name: string
  readonly type: "file" | "directory" | "link" | "other"
}

/** The size of a file, and its bytes when there are not too many. */
export interface Content {
  readonly size: number
  readonly bytes: Uint8Array | undefined
}

/** A directory, and everything that really is below it. Paths are relative to it. */
export interface Tree {
  /** At most `limit` entries of a directory, sorted by name. Links are listed as such and never followed. */
  readonly list: (given: string, limit: number) => Effect.Effect<ReadonlyArray<Entry>, FileToolError>
  /** The size of a regular file, and its bytes when there are at most `limit`. */
  readonly read: (given: string, limit: number) => Effect.Effect<Content, FileToolError>
  /** Writes a file as a whole, with the directories above it. True when it is new. */
  readonly write: (given: string, content: string, unique: string) => Effect.Effect<boolean, FileToolError>
}

/** The files of a sandbox, except those that are denied. The fence is the sandbox's. */
export const ofFileSystem = (files: FileSystem.FileSystem, denied: Denied): Tree => {
  const place: Place = { files, denied }
  return {
    list: (given, limit) => list(place, given, limit),
    read: (given, limit) => Effect.scoped(read(place, given, limit)),
    write: (given, content, unique) => write(place, given, content, unique)
  }
}

interface Place {
  readonly files: FileSystem.FileSystem
  readonly denied: Denied
}

const list = Effect.fnUntraced(function* (place: Place, given: string, limit: number) {
  const path = yield* existing(place, given)
  const entries = yield* asked(given, place.files.readDirectoryEntries(path))
  return entries
    .map(({ name, type }): Entry => ({ name, type: kinds[type] ?? "other" }))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .slice(0, limit)
})

const kinds: Readonly<Partial<Record<FileSystem.File.Type, Entry["type"]>>> = {
  File: "file",
  Directory: "directory",
  SymbolicLink: "link"
}

const read = Effect.fnUntraced(function* (
  place: Place,
  given: string,
  limit: number
): Effect.fn.Return<Content, FileToolError, Scope.Scope> {
  const path = yield* existing(place, given)
  // Resolved above, and compared with what is denied: a link that took its place meanwhile is refused.
  const file = yield* asked(given, place.files.open(path, { flag: "r", noFollow: true }))
  const { size: stored, type } = yield* asked(given, file.stat)
  if (type !== "File") return yield* toError(given, { code: "EISDIR" })
  const size = Number(stored)
  if (size > limit) return { size, bytes: undefined }
  const buffer = new Uint8Array(size + 1)
  let length = 0
  while (length < buffer.length) {
    const piece = yield* asked(given, file.readAlloc(buffer.length - length))
    if (Option.isNone(piece) || piece.value.length === 0) break
    buffer.set(piece.value, length)
    length += piece.value.length
  }
  // It may be growing.
  return length > limit ? { size: length, bytes: undefined } : { size: length, bytes: buffer.subarray(0, length) }
})

const write = Effect.fnUntraced(function* (place: Place, given: string, content: string, unique: string) {
  const { files } = place
  const path = yield* writable(place, given)
  const parent = parentOf(path)
  yield* asked(given, files.makeDirectory(parent, { recursive: true }))
  const old = yield* Effect.catchIf(
    asked(given, files.lstat(path)),
    ({ reason }) => reason === "NotFound",
    () => Effect.succeed(undefined)
  )
  if (old?.type === "SymbolicLink") return yield* outside(given)
  if (old !== undefined && old.type !== "File") return yield* toError(given, { code: "EISDIR" })
  const temporary = `${parent === "/" ? "" : parent}/.${unique}.tmp`
  const mode = old === undefined ? 0o644 : old.mode & 0o777
  yield* files.writeFileString(temporary, content, { flag: "wx", mode }).pipe(
    Effect.andThen(files.rename(temporary, path)),
    Effect.onError(() => Effect.ignore(files.remove(temporary, { force: true }))),
    (written) => asked(given, written)
  )
  return old === undefined
})

/** The path of what exists, links resolved. */
const existing = Effect.fnUntraced(function* (place: Place, given: string) {
  const names = yield* below(given)
  yield* allow(place, given, names)
  const real = yield* asked(given, place.files.realPath(`/${names.join("/")}`))
  yield* allow(place, given, partsOf(real))
  return real
})

/** The same for a file that may not exist yet, nor the directories above it. */
const writable = Effect.fnUntraced(function* (place: Place, given: string) {
  const names = yield* below(given)
  if (names.length === 0) return yield* toError(given, { code: "EISDIR" })
  yield* allowWriting(place, given, names)
  for (let known = names.length; ; known--) {
    const above = names.slice(0, known)
    const real = yield* Effect.catchIf(
      asked(given, place.files.realPath(`/${above.join("/")}`)),
      ({ reason }) => reason === "NotFound" && known > 0,
      () => Effect.succeed(undefined)
    )
    if (real === undefined) continue
    const whole = [...partsOf(real), ...names.slice(known)]
    yield* allowWriting(place, given, whole)
    return `/${whole.join("/")}`
  }
})

/** The names of an absolute path. */
const partsOf = (path: string): ReadonlyArray<string> => namesOf(path) ?? []

/** The names of a path as it is written. Fails for one that leads out. */
const below = (given: string): Effect.Effect<ReadonlyArray<string>, FileToolError> => {
  const refuse = (detail: string) => Effect.fail(new FileToolError({ path: given, reason: "Outside", detail }))
  if (given.includes("\0")) return refuse("a path cannot contain null bytes")
  if (/^([/\\]|[a-z]:)/i.test(given)) return refuse("paths are relative to the directory of the tools")
  const names = namesOf(given)
  return names === undefined ? Effect.fail(outside(given)) : Effect.succeed(names)
}

const allow = (place: Place, given: string, names: ReadonlyArray<string>): Effect.Effect<void, FileToolError> =>
  place.denied(names)
    ? Effect.fail(new FileToolError({ path: given, reason: "Denied", detail: "the tools may not use it" }))
    : Effect.void

const allowWriting = (place: Place, given: string, names: ReadonlyArray<string>): Effect.Effect<void, FileToolError> =>
  isBelowGit(names) ? Effect.fail(belowGit(given)) : allow(place, given, names)

/** Turns a failure of the sandbox into what the model reads. No path of the machine is in it. */
const asked = <A, R>(given: string, effect: Effect.Effect<A, PlatformError, R>): Effect.Effect<A, FileToolError, R> =>
  Effect.mapError(effect, ({ cause, reason }) => {
    if (cause instanceof FileToolError) {
      return new FileToolError({ path: given, reason: cause.reason, detail: cause.detail })
    }
    return reason._tag === "NotFound" ? toError(given, { code: "ENOENT" }) : toError(given, { code: reason._tag })
  })
