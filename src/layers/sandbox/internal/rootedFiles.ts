/**
 * The files below a directory of this machine as Effect's port: what leads out of it is refused, also when a command
 * exchanges a directory for a link at that moment. Each call is one turn, so it works at both edges.
 */
import * as fs from "node:fs"
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import { FileToolError, toError } from "../../internal/files/errors.ts"
import * as Rooted from "../../internal/files/rooted.ts"
import * as Files from "./fileSystem.ts"

const { O_APPEND, O_CREAT, O_EXCL, O_NOFOLLOW = 0, O_NONBLOCK = 0, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY } = fs.constants

const flags: Readonly<Record<FileSystem.OpenFlag, number>> = {
  r: O_RDONLY,
  "r+": O_RDWR,
  w: O_WRONLY | O_CREAT | O_TRUNC,
  wx: O_WRONLY | O_CREAT | O_EXCL,
  "w+": O_RDWR | O_CREAT | O_TRUNC,
  "wx+": O_RDWR | O_CREAT | O_EXCL,
  a: O_WRONLY | O_CREAT | O_APPEND,
  ax: O_WRONLY | O_CREAT | O_EXCL | O_APPEND,
  "a+": O_RDWR | O_CREAT | O_APPEND,
  "ax+": O_RDWR | O_CREAT | O_EXCL | O_APPEND
}

/** `root` must be the real path of a directory. */
export const make = (root: string): FileSystem.FileSystem => {
  const rooted = Rooted.make(root)
  const stat = (method: string, path: string, follow: boolean) =>
    attempt(method, path, (given) => {
      if (given === ".") return infoOf(fs.statSync(root))
      return rooted.at(given, { writing: false, follow }, (entry) => infoOf(fs.lstatSync(entry.path)))
    })
  return Files.make({
    stat: (path) => stat("stat", path, true),
    lstat: (path) => stat("lstat", path, false),
    realPath: (path) => attempt("realPath", path, (given) => `/${rooted.resolve(given).join("/")}`),
    list: (path) =>
      attempt("readDirectoryEntries", path, (given) =>
        rooted.list(given, Infinity).map((entry) => ({ name: entry.name, type: typeOf(entry) }))
      ),
    open: (path, how) =>
      Effect.map(
        Effect.acquireRelease(
          attempt("open", path, (given) => openAt(rooted, given, how)),
          (fd) => Effect.sync(() => fs.closeSync(fd))
        ),
        (fd) => fileOf(path, fd)
      ),
    write: (path, bytes) =>
      Effect.asVoid(attempt("writeFile", path, (given) => rooted.write(given, bytes, globalThis.crypto.randomUUID()))),
    makeDirectory: (path, recursive) => makeDirectory(rooted, path, recursive),
    remove: (path, recursive) =>
      attempt("remove", path, (given) => rooted.at(given, { writing: true }, (entry) => removeAt(entry, recursive))),
    rename: (from, to) =>
      attempt("rename", from, (given) =>
        rooted.at(given, { writing: true }, (source) =>
          rooted.at(to.slice(1), { writing: true }, (target) => {
            source.check()
            target.check()
            fs.renameSync(source.path, target.path)
          })
        )
      ),
    chmod: (path, mode) =>
      attempt("chmod", path, (given) => {
        const fd = openAt(rooted, given, { flag: "r+", mode, noFollow: false })
        try {
          fs.fchmodSync(fd, mode & 0o777)
        } finally {
          fs.closeSync(fd)
        }
      })
  })
}

const attempt = <A>(method: string, path: string, work: (given: string) => A) =>
  Effect.try({
    try: () => work(path.slice(1) || "."),
    catch: (cause) => Files.failure(method, path, toError(path, cause))
  })

const openAt = (rooted: Rooted.Rooted, given: string, { flag, mode, noFollow }: Files.Opening): number => {
  const how = { writing: flag !== "r", follow: true, exact: noFollow }
  return rooted.at(given, how, (entry) => {
    // Opening a pipe would block until another process writes to it, and it is emptied only when it is known.
    const fd = fs.openSync(entry.path, (flags[flag] & ~O_TRUNC) | O_NOFOLLOW | O_NONBLOCK, mode & 0o777)
    try {
      entry.check()
      const stat = fs.fstatSync(fd)
      if (!stat.isFile()) throw toError(given, { code: "EISDIR" })
      if (flag !== "r" && stat.nlink > 1) throw hardLinked(given)
      if ((flags[flag] & O_TRUNC) !== 0) fs.ftruncateSync(fd, 0)
      return fd
    } catch (error) {
      fs.closeSync(fd)
      throw error
    }
  })
}

/** Its other name may be outside of the workspace. */
const hardLinked = (given: string) =>
  new FileToolError({
    path: given,
    reason: "Denied",
    detail: "it has another name by a hard link; replace it as a whole"
  })

const makeDirectory = (rooted: Rooted.Rooted, path: string, recursive: boolean) =>
  attempt("makeDirectory", path, (given) => {
    if (given === ".") {
      if (recursive) return
      throw Object.assign(new Error("it exists"), { code: "EEXIST" })
    }
    rooted.at(given, { writing: true, create: recursive, follow: recursive }, (entry) => {
      entry.check()
      try {
        fs.mkdirSync(entry.path)
      } catch (error) {
        const isThere = recursive && fs.lstatSync(entry.path, { throwIfNoEntry: false })?.isDirectory() === true
        if (!isThere) throw error
      }
    })
  })

const removeAt = (entry: Rooted.Located, recursive: boolean): void => {
  entry.check()
  if (!fs.lstatSync(entry.path).isDirectory()) return fs.unlinkSync(entry.path)
  if (recursive) entry.inside((names, inner) => names.forEach((name) => removeAt(inner(name), true)))
  fs.rmdirSync(entry.path)
}

const typeOf = (entry: fs.Dirent | fs.Stats): FileSystem.File.Type =>
  entry.isFile()
    ? "File"
    : entry.isDirectory()
      ? "Directory"
      : entry.isSymbolicLink()
        ? "SymbolicLink"
        : entry.isFIFO()
          ? "FIFO"
          : entry.isSocket()
            ? "Socket"
            : "Unknown"

const infoOf = (stat: fs.Stats): FileSystem.File.Info =>
  Files.infoOf(typeOf(stat), stat.size, { mode: stat.mode, mtime: stat.mtime, nlink: stat.nlink })

/** An open file. */
const fileOf = (path: string, fd: number): FileSystem.File => {
  const does = <A>(method: string, work: () => A) => attempt(method, path, work)
  return Files.fileOf({
    stat: does("stat", () => infoOf(fs.fstatSync(fd))),
    sync: does("sync", () => fs.fsyncSync(fd)),
    read: (at, size) =>
      does("read", () => {
        const buffer = new Uint8Array(size)
        return buffer.subarray(0, fs.readSync(fd, buffer, 0, size, at))
      }),
    write: (at, bytes) => does("write", () => fs.writeSync(fd, bytes, 0, bytes.length, at)),
    truncate: (length) => does("truncate", () => fs.ftruncateSync(fd, length))
  })
}
