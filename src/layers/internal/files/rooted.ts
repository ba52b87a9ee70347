/**
 * Files below one directory. They are opened so that neither `..`, nor an absolute path, nor a link leads out of it, also
 * when another process exchanges a directory for a link meanwhile. Everything is synchronous: each function is one turn.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { type Denied, isBelowGit } from "./denied.ts"
import { belowGit, FileToolError, outside, toError } from "./errors.ts"

const { O_CREAT, O_DIRECTORY = 0, O_EXCL, O_NOFOLLOW = 0, O_NONBLOCK = 0, O_RDONLY, O_WRONLY } = fs.constants

/** Where an open directory has a path that cannot be redirected: what is opened through it is in that very directory. */
const descriptors = process.platform === "linux" && fs.existsSync("/proc/self/fd") ? "/proc/self/fd" : undefined

/** A directory below the root, held open. `at` returns the path of an entry; `check` throws when it was exchanged. */
interface Held {
  readonly at: (name: string) => string
  readonly self: string
  readonly check: () => void
  readonly close: () => void
}

/** One directory, and everything that really is below it. */
export interface Rooted {
  /** At most `limit` entries of a directory, sorted by name. Links are listed as such and never followed. */
  readonly list: (given: string, limit: number) => ReadonlyArray<fs.Dirent>
  /** The size of a regular file, and its bytes when there are at most `limit`. */
  readonly read: (given: string, limit: number) => Content
  /** Writes a file as a whole, with the directories above it: readers see the old or the new. True when it is new. */
  readonly write: (given: string, content: string | Uint8Array, unique: string) => boolean
  /** The names from the root to what exists, links resolved. */
  readonly resolve: (given: string) => ReadonlyArray<string>
  /** Works on an entry that need not exist, in the directory that holds it, through no link. Changes need `writing`. */
  readonly at: <A>(given: string, how: How, work: (entry: Located) => A) => A
}

/** How an entry is reached. */
export interface How {
  readonly writing: boolean
  /** Makes the directories above it. Default `false`. */
  readonly create?: boolean | undefined
  /** Whether the entry itself, when it is a link, stands for what it leads to. Default `false`. */
  readonly follow?: boolean | undefined
  /** Refuses links in the directories above it too. Default `false`. */
  readonly exact?: boolean | undefined
}

/** An entry of a directory that is held open. */
export interface Located {
  readonly path: string
  /** Throws when the directory was exchanged; for after opening. */
  readonly check: () => void
  /** Works on an entry of this directory. Throws when it is a link, or not a directory. */
  readonly inside: <A>(work: (names: ReadonlyArray<string>, entry: (name: string) => Located) => A) => A
}

/** The size of a file, and its bytes when there are not too many. */
interface Content {
  readonly size: number
  readonly bytes: Buffer | undefined
}

interface Place {
  readonly root: string
  readonly denied: Denied
}

/** `root` must be the real path of a directory. Paths that are `denied` are neither read nor written. */
export const make = (root: string, denied: Denied = () => false): Rooted => {
  const place: Place = { root, denied }
  return {
    list: (given, limit) => list(place, given, limit),
    read: (given, limit) => read(place, given, limit),
    write: (given, content, unique) => write(place, given, content, unique),
    resolve: (given) => existingAt(place, given),
    at: (given, how, work) => locate(place, given, how, work)
  }
}

const locate = <A>(
  place: Place,
  given: string,
  { create = false, exact = false, follow = false, writing }: How,
  work: (entry: Located) => A
): A => {
  const lexical = lexicalOf(place, given)
  const names = namesBelow(place, given, lexical)
  const name = names.at(-1)
  if (name === undefined) throw toError(given, { code: "EISDIR" })
  const resolve = writing ? writableAt : existingAt
  const parts = follow
    ? resolve(place, given)
    : [...resolve(place, path.relative(place.root, path.dirname(lexical)) || "."), name]
  if (exact && parts.join("/") !== names.join("/")) throw outside(given)
  if (writing) allowWriting(place, given, names)
  return workWithin(place, given, parts.slice(0, -1), (held) => work(located(place, held, parts.at(-1)!)), create)
}

const located = (place: Place, { at, check }: Pick<Held, "at" | "check">, name: string): Located => ({
  path: at(name),
  check,
  inside: (work) => {
    const held = hold(place, at(name))
    try {
      const names = fs.readdirSync(held.self)
      held.check()
      return work(names, (inner) => located(place, held, inner))
    } finally {
      held.close()
    }
  }
})

const list = (place: Place, given: string, limit: number): ReadonlyArray<fs.Dirent> =>
  workWithin(place, given, existingAt(place, given), (held) => {
    const directory = fs.opendirSync(held.self)
    try {
      held.check()
      const entries: Array<fs.Dirent> = []
      for (let entry = directory.readSync(); entry !== null && entries.length < limit; entry = directory.readSync()) {
        entries.push(entry)
      }
      return entries.sort((a, b) => (a.name < b.name ? -1 : 1))
    } finally {
      directory.closeSync()
    }
  })

const read = (place: Place, given: string, limit: number): Content => {
  const parts = existingAt(place, given)
  const name = parts.at(-1)
  if (name === undefined) throw toError(given, { code: "EISDIR" })
  return workWithin(place, given, parts.slice(0, -1), (held) => {
    // Opening a pipe would block until another process writes to it.
    const fd = fs.openSync(held.at(name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
    try {
      const stat = fs.fstatSync(fd)
      if (!stat.isFile()) throw toError(given, { code: "EISDIR" })
      held.check()
      if (stat.size > limit) return { size: stat.size, bytes: undefined }
      // It may be growing, and files of /proc have no size.
      const buffer = Buffer.alloc(Math.min(limit, stat.size) + 1)
      let length = 0
      for (let read = -1; read !== 0 && length < buffer.length; length += read) {
        read = fs.readSync(fd, buffer, length, buffer.length - length, null)
      }
      return length > limit ? { size: length, bytes: undefined } : { size: length, bytes: buffer.subarray(0, length) }
    } finally {
      fs.closeSync(fd)
    }
  })
}

const write = (place: Place, given: string, content: string | Uint8Array, unique: string): boolean => {
  const parts = writableAt(place, given)
  const name = parts.at(-1)
  if (name === undefined) throw toError(given, { code: "EISDIR" })
  return workWithin(
    place,
    given,
    parts.slice(0, -1),
    (held) => {
      const target = held.at(name)
      const old = fs.lstatSync(target, { throwIfNoEntry: false })
      if (old !== undefined && !old.isFile())
        throw old.isSymbolicLink() ? outside(given) : toError(given, { code: "EISDIR" })
      const temporary = held.at(`.${unique}.tmp`)
      const mode = old === undefined ? 0o644 : old.mode & 0o777
      const fd = fs.openSync(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode)
      try {
        try {
          held.check()
          // What the process takes from the modes of new files is not taken from this one.
          if (old !== undefined && (fs.fstatSync(fd).mode & 0o777) !== mode) fs.fchmodSync(fd, mode)
          fs.writeFileSync(fd, content)
        } finally {
          fs.closeSync(fd)
        }
        fs.renameSync(temporary, target)
      } catch (error) {
        fs.rmSync(temporary, { force: true })
        throw error
      }
      return old === undefined
    },
    true
  )
}

/** The names from the root to a file or directory that exists, links resolved. */
const existingAt = (place: Place, given: string): ReadonlyArray<string> => {
  const lexical = lexicalOf(place, given)
  allow(place, given, namesBelow(place, given, lexical))
  return allow(place, given, namesBelow(place, given, fs.realpathSync(lexical)))
}

/** The same for a file that may not exist yet, nor the directories above it. */
const writableAt = (place: Place, given: string): ReadonlyArray<string> => {
  const lexical = lexicalOf(place, given)
  allowWriting(place, given, namesBelow(place, given, lexical))
  const missing: Array<string> = []
  for (let at = lexical; ; at = path.dirname(at)) {
    try {
      return allowWriting(place, given, [...namesBelow(place, given, fs.realpathSync(at)), ...missing])
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT" || at === place.root) throw error
      missing.unshift(path.basename(at))
    }
  }
}

const allow = (place: Place, given: string, names: ReadonlyArray<string>): ReadonlyArray<string> => {
  if (!place.denied(names)) return names
  throw new FileToolError({ path: given, reason: "Denied", detail: "the tools may not use it" })
}

const allowWriting = (place: Place, given: string, names: ReadonlyArray<string>): ReadonlyArray<string> => {
  if (!isBelowGit(names)) return allow(place, given, names)
  throw belowGit(given)
}

const lexicalOf = (place: Place, given: string): string => {
  if (given.includes("\0")) {
    throw new FileToolError({ path: given, reason: "Outside", detail: "a path cannot contain null bytes" })
  }
  if (path.isAbsolute(given) || path.win32.isAbsolute(given) || /^[a-z]:/i.test(given)) {
    throw new FileToolError({
      path: given,
      reason: "Outside",
      detail: "paths are relative to the directory of the tools"
    })
  }
  const resolved = path.resolve(place.root, given)
  namesBelow(place, given, resolved)
  return resolved
}

const namesBelow = (place: Place, given: string, resolved: string): ReadonlyArray<string> => {
  const relative = path.relative(place.root, resolved)
  if (relative === "") return []
  const parts = relative.split(path.sep)
  if (parts[0] === ".." || path.isAbsolute(relative)) throw outside(given)
  return parts
}

/** Goes down from the root, one directory at a time and through no link, and works in the last one. */
const workWithin = <A>(
  place: Place,
  given: string,
  parts: ReadonlyArray<string>,
  work: (held: Held) => A,
  create = false
): A => {
  let held = hold(place, place.root)
  try {
    for (const part of parts) {
      const next = held.at(part)
      if (create) {
        try {
          fs.mkdirSync(next)
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error
        }
      }
      const above = held
      held = hold(place, next)
      above.close()
    }
    return work(held)
  } catch (error) {
    throw toError(given, error)
  } finally {
    held.close()
  }
}

const hold = (place: Place, directory: string): Held => {
  if (descriptors !== undefined) {
    const fd = fs.openSync(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
    const self = `${descriptors}/${fd}`
    return { self, at: (name) => `${self}/${name}`, check: () => {}, close: () => fs.closeSync(fd) }
  }
  // Other systems do not have this path: check again after opening.
  const check = () => {
    if (fs.realpathSync(directory) !== directory) throw outside(path.relative(place.root, directory))
  }
  if (!fs.lstatSync(directory).isDirectory()) throw Object.assign(new Error("no directory"), { code: "ENOTDIR" })
  return { self: directory, at: (name) => path.join(directory, name), check, close: () => {} }
}
