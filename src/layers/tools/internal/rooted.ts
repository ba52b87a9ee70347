/**
 * Files below one directory, opened so that neither `..`, nor an absolute path, nor a link, nor somebody who swaps a
 * directory for a link in the middle leads out of it. It touches `node:fs`, synchronously: each function is one turn.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import * as Schema from "effect/Schema"

/** What a file tool fails with. The model sees it; no path of the machine is in it. */
export class FileToolError extends Schema.TaggedError<FileToolError>()("FileToolError", {
  /** The path as it was given. */
  path: Schema.String,
  reason: Schema.Literals(["Outside", "NotFound", "WrongKind", "Binary", "TooLarge", "Ambiguous", "Pattern", "System"]),
  detail: Schema.String
}) {
  override get message(): string {
    return `"${this.path}": ${this.detail}`
  }
}

const { O_CREAT, O_DIRECTORY = 0, O_EXCL, O_NOFOLLOW = 0, O_NONBLOCK = 0, O_RDONLY, O_WRONLY } = fs.constants

/** Where an open directory has a path that nobody can redirect: what is opened through it is in that very directory. */
const descriptors = process.platform === "linux" && fs.existsSync("/proc/self/fd") ? "/proc/self/fd" : undefined

const outside = (given: string) =>
  new FileToolError({ path: given, reason: "Outside", detail: "it is outside of the directory that the tools may use" })

/** Turns what Node throws into what the model is told. */
export const toError = (given: string, cause: unknown): FileToolError => {
  if (cause instanceof FileToolError) return cause
  const code = (cause as NodeJS.ErrnoException).code ?? "unknown"
  const fail = (reason: FileToolError["reason"], detail: string) => new FileToolError({ path: given, reason, detail })
  switch (code) {
    case "ENOENT":
      return fail("NotFound", "it does not exist; list the directory to see what does")
    case "ENOTDIR":
    case "EISDIR":
      return fail("WrongKind", "a file is where a directory is needed, or the other way round")
    case "ELOOP":
      return outside(given)
    default:
      return fail("System", `the system refused it (${code})`)
  }
}

/** A directory below the root, held open. `at` gives the path of an entry; `check` throws when it was swapped. */
interface Held {
  readonly at: (name: string) => string
  readonly self: string
  readonly check: () => void
  readonly close: () => void
}

/** One directory, and everything that really is below it. */
export class Rooted {
  readonly #root: string

  /** `root` must be the real path of a directory. */
  constructor(root: string) {
    this.#root = root
  }

  /** At most `limit` entries of a directory, sorted by name. Links are told as such and never followed. */
  list(given: string, limit: number): ReadonlyArray<fs.Dirent> {
    return this.#within(given, this.#existing(given), (held) => {
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
  }

  /** The size of a regular file, and its bytes when there are at most `limit`. */
  read(given: string, limit: number): { readonly size: number; readonly bytes: Buffer | undefined } {
    const parts = this.#existing(given)
    const name = parts.at(-1)
    if (name === undefined) throw toError(given, { code: "EISDIR" })
    return this.#within(given, parts.slice(0, -1), (held) => {
      // A pipe would block until somebody writes to it.
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

  /** Writes a file as a whole, with the directories above it: readers see the old or the new. True when it is new. */
  write(given: string, text: string, unique: string): boolean {
    const parts = this.#writable(given)
    const name = parts.at(-1)
    if (name === undefined) throw toError(given, { code: "EISDIR" })
    return this.#within(
      given,
      parts.slice(0, -1),
      (held) => {
        const target = held.at(name)
        const old = fs.lstatSync(target, { throwIfNoEntry: false })
        if (old !== undefined && !old.isFile())
          throw old.isSymbolicLink() ? outside(given) : toError(given, { code: "EISDIR" })
        const temporary = held.at(`.${unique}.tmp`)
        const fd = fs.openSync(
          temporary,
          O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW,
          old === undefined ? 0o644 : old.mode & 0o777
        )
        try {
          try {
            held.check()
            fs.writeFileSync(fd, text)
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
  #existing(given: string): ReadonlyArray<string> {
    return this.#below(given, fs.realpathSync(this.#lexical(given)))
  }

  /** The same for a file that may not exist yet, nor the directories above it. */
  #writable(given: string): ReadonlyArray<string> {
    const missing: Array<string> = []
    for (let at = this.#lexical(given); ; at = path.dirname(at)) {
      try {
        return [...this.#below(given, fs.realpathSync(at)), ...missing]
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOENT" || at === this.#root) throw error
        missing.unshift(path.basename(at))
      }
    }
  }

  #lexical(given: string): string {
    if (given.includes("\0")) {
      throw new FileToolError({ path: given, reason: "Outside", detail: "a path has no null bytes" })
    }
    if (path.isAbsolute(given) || path.win32.isAbsolute(given) || /^[a-z]:/i.test(given)) {
      throw new FileToolError({
        path: given,
        reason: "Outside",
        detail: "paths are relative to the directory of the tools"
      })
    }
    const resolved = path.resolve(this.#root, given)
    this.#below(given, resolved)
    return resolved
  }

  #below(given: string, resolved: string): ReadonlyArray<string> {
    const relative = path.relative(this.#root, resolved)
    if (relative === "") return []
    const parts = relative.split(path.sep)
    if (parts[0] === ".." || path.isAbsolute(relative)) throw outside(given)
    return parts
  }

  /** Goes down from the root, one directory at a time and through no link, and works in the last one. */
  #within<A>(given: string, parts: ReadonlyArray<string>, work: (held: Held) => A, create = false): A {
    let held = this.#hold(this.#root)
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
        held = this.#hold(next)
        above.close()
      }
      return work(held)
    } catch (error) {
      throw toError(given, error)
    } finally {
      held.close()
    }
  }

  #hold(directory: string): Held {
    if (descriptors !== undefined) {
      const fd = fs.openSync(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
      const self = `${descriptors}/${fd}`
      return { self, at: (name) => `${self}/${name}`, check: () => {}, close: () => fs.closeSync(fd) }
    }
    // Elsewhere the best that can be done is to look again after opening.
    const check = () => {
      if (fs.realpathSync(directory) !== directory) throw outside(path.relative(this.#root, directory))
    }
    if (!fs.lstatSync(directory).isDirectory()) throw Object.assign(new Error("no directory"), { code: "ENOTDIR" })
    return { self: directory, at: (name) => path.join(directory, name), check, close: () => {} }
  }
}
