/** Effect's port to files, made of the few things that every sandbox can do. */
import * as ByteSize from "effect/ByteSize"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as PlatformError from "effect/PlatformError"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Bytes from "../../internal/bytes.ts"
import { belowGit, FileToolError, isThere, outside, toError } from "../../internal/files/errors.ts"
import { isBelowGit } from "../../internal/files/denied.ts"
import { namesOf } from "../../internal/files/names.ts"

type PlatformFailure = PlatformError.PlatformError
type Result<A, R = never> = Effect.Effect<A, PlatformFailure, R>

/** How a file is opened. */
export interface Opening {
  readonly flag: FileSystem.OpenFlag
  readonly mode: number
  /** Refuses links in the whole path. */
  readonly noFollow: boolean
}

/** What a sandbox can do. Paths are absolute and normal, and `/` is the workspace. */
export interface Core {
  readonly stat: (path: string) => Result<FileSystem.File.Info>
  readonly lstat: (path: string) => Result<FileSystem.File.Info>
  readonly realPath: (path: string) => Result<string>
  readonly list: (path: string) => Result<ReadonlyArray<FileSystem.DirectoryEntry>>
  readonly open: (path: string, how: Opening) => Result<FileSystem.File, Scope.Scope>
  /** Writes a file as a whole; where the sandbox can, readers see the old or the new. `mode` is that of a new file. */
  readonly write: (path: string, bytes: Uint8Array, mode: number) => Result<void>
  readonly makeDirectory: (path: string, recursive: boolean) => Result<void>
  readonly remove: (path: string, recursive: boolean) => Result<void>
  readonly rename: (from: string, to: string) => Result<void>
  readonly chmod: (path: string, mode: number) => Result<void>
}

/** The largest file that is read as a whole. A program that reads larger ones streams them. */
const maxReadBytes = 256 * 1024 * 1024

/** The error of the port. The cause is what a model may read. */
export const failure = (method: string, path: string, cause: FileToolError): PlatformFailure =>
  PlatformError.systemError({
    _tag: tagOf(cause),
    module: "FileSystem",
    method,
    pathOrDescriptor: path,
    description: cause.detail,
    cause
  })

const tagOf = ({ detail, reason }: FileToolError): PlatformError.SystemErrorTag => {
  if (reason === "NotFound") return "NotFound"
  if (reason === "WrongKind") return "BadResource"
  return detail === isThere ? "AlreadyExists" : "PermissionDenied"
}

/** The error for what this kind of sandbox cannot do. */
export const unsupported = (method: string, path: string): PlatformFailure =>
  failure(method, path, new FileToolError({ path, reason: "System", detail: `a sandbox does not offer ${method}` }))

/** The error for a name that is taken. */
export const taken = (method: string, path: string): PlatformFailure =>
  failure(method, path, toError(path, { code: "EEXIST" }))

/** What is known of a file. */
export const infoOf = (
  type: FileSystem.File.Type,
  size: number,
  { mode = type === "Directory" ? 0o755 : 0o644, mtime, nlink }: { mode?: number; mtime?: Date; nlink?: number } = {}
): FileSystem.File.Info => ({
  type,
  mtime: Option.fromUndefinedOr(mtime),
  atime: Option.none(),
  birthtime: Option.none(),
  dev: 0n,
  ino: Option.none(),
  mode,
  nlink: nlink === undefined ? Option.none() : Option.some(BigInt(nlink)),
  uid: Option.none(),
  gid: Option.none(),
  rdev: Option.none(),
  size: ByteSize.bytes(size),
  blksize: Option.none(),
  blocks: Option.none()
})

/** A path of the workspace in its one form. Fails for one that leads out, by `..` or a null byte. */
export const normal = (method: string, path: string): Result<string> => {
  const names = path.includes("\0") ? undefined : namesOf(path)
  return names === undefined ? Effect.fail(failure(method, path, outside(path))) : Effect.succeed(`/${names.join("/")}`)
}

/** What a sandbox can do with an open file. */
export interface Opened {
  readonly stat: Result<FileSystem.File.Info>
  /** The bytes from a position on, at most so many. */
  readonly read: (at: number, size: number) => Result<Uint8Array>
  /** Writes at a position, and returns how many bytes were written. */
  readonly write: (at: number, bytes: Uint8Array) => Result<number>
  readonly truncate: (length: number) => Result<void>
  readonly sync?: Result<void>
  /** Where its end is, for a file whose writes are appended by the sandbox. */
  readonly end?: Result<number>
}

/** An open file, with the place of the next read or write. */
export const fileOf = ({ end, read, stat, sync = Effect.void, truncate, write }: Opened): FileSystem.File => {
  let cursor = 0
  const piece = (size: number, position: bigint | undefined) =>
    Effect.suspend(() => read(position === undefined ? cursor : Number(position), size)).pipe(
      Effect.tap((bytes) =>
        Effect.sync(() => {
          if (position === undefined) cursor += bytes.length
        })
      )
    )
  const append = Effect.fnUntraced(function* (bytes: Uint8Array): Effect.fn.Return<number, PlatformFailure> {
    if (end !== undefined) cursor = yield* end
    const written = yield* write(cursor, bytes)
    cursor += written
    return written
  })
  return {
    [FileSystem.FileTypeId]: FileSystem.FileTypeId,
    stat,
    sync,
    seek: (offset, from) =>
      Effect.sync(() => {
        cursor = from === "start" ? Number(offset) : cursor + Number(offset)
        return BigInt(cursor)
      }),
    read: (buffer, options) =>
      Effect.map(piece(buffer.length, options?.position), (bytes) => {
        buffer.set(bytes)
        return bytes.length
      }),
    readAlloc: (size, options) =>
      Effect.map(piece(size, options?.position), (bytes) => (bytes.length === 0 ? Option.none() : Option.some(bytes))),
    truncate: (length = 0) => truncate(length),
    write: append,
    writeAll: Effect.fnUntraced(function* (bytes) {
      for (let done = 0; done < bytes.length;) done += yield* append(bytes.subarray(done))
    })
  }
}

/** A file system of what a sandbox can do. Nothing below a `.git` is written by it. */
export const make = (core: Core): FileSystem.FileSystem => {
  const at = <A, R>(method: string, path: string, work: (path: string) => Result<A, R>): Result<A, R> =>
    Effect.flatMap(normal(method, path), work)
  const change = <A, R>(method: string, path: string, work: (path: string) => Result<A, R>): Result<A, R> =>
    at(method, path, (path) =>
      isBelowGit(namesOf(path) ?? []) ? Effect.fail(failure(method, path, belowGit(path))) : work(path)
    )
  const open: FileSystem.FileSystem["open"] = (path, { flag = "r", mode = 0o644, noFollow = false } = {}) =>
    (flag === "r" ? at : change)("open", path, (path) => core.open(path, { flag, mode, noFollow }))
  const readFile: FileSystem.FileSystem["readFile"] = (path) =>
    Effect.scoped(Effect.flatMap(open(path), (file) => readAll(path, file)))
  const writeFile: FileSystem.FileSystem["writeFile"] = (path, bytes, { flag = "w", mode = 0o644 } = {}) =>
    flag === "w"
      ? change("writeFile", path, (path) => core.write(path, bytes, mode))
      : Effect.scoped(Effect.flatMap(open(path, { flag, mode }), (file) => file.writeAll(bytes)))
  const makeDirectory: FileSystem.FileSystem["makeDirectory"] = (path, { recursive = false } = {}) =>
    change("makeDirectory", path, (path) => core.makeDirectory(path, recursive))
  const unable = (method: string) => (path: string) => Effect.fail(unsupported(method, path))
  return FileSystem.make({
    access: (path) => Effect.asVoid(at("access", path, core.stat)),
    stat: (path) => at("stat", path, core.stat),
    lstat: (path) => at("lstat", path, core.lstat),
    realPath: (path) => at("realPath", path, core.realPath),
    readDirectoryEntries: (path) => at("readDirectoryEntries", path, core.list),
    readDirectory: (path, { recursive = false } = {}) =>
      at("readDirectory", path, (path) => namesIn(core, path, recursive)),
    open,
    readFile,
    writeFile,
    makeDirectory,
    remove: (path, { force = false, recursive = false } = {}) => {
      const removed = change("remove", path, (path) => core.remove(path, recursive))
      return force
        ? Effect.catchIf(
            removed,
            ({ reason }) => reason._tag === "NotFound",
            () => Effect.void
          )
        : removed
    },
    rename: (from, to) => change("rename", from, (from) => change("rename", to, (to) => core.rename(from, to))),
    chmod: (path, mode) => change("chmod", path, (path) => core.chmod(path, mode)),
    copyFile: (from, to) => Effect.flatMap(readFile(from), (bytes) => writeFile(to, bytes)),
    copy: (from, to, { overwrite = false } = {}) =>
      copy(core, { makeDirectory, readFile, writeFile }, { from, to, overwrite }),
    truncate: (path, length) =>
      Effect.scoped(Effect.flatMap(open(path, { flag: "r+" }), (file) => file.truncate(length))),
    ...temporary(core, change),
    chown: unable("chown"),
    link: unable("link"),
    symlink: unable("symlink"),
    readLink: unable("readLink"),
    utimes: unable("utimes"),
    watch: (path) => Stream.fail(unsupported("watch", path))
  })
}

/** The bytes of an open file that is not too large. */
const readAll = Effect.fnUntraced(function* (
  path: string,
  file: FileSystem.File
): Effect.fn.Return<Uint8Array, PlatformFailure> {
  const { size } = yield* file.stat
  if (Number(size) > maxReadBytes) {
    const detail = `it has ${size} bytes; at most ${maxReadBytes} are read at once`
    return yield* failure("readFile", path, new FileToolError({ path, reason: "TooLarge", detail }))
  }
  const chunks: Array<Uint8Array> = []
  let length = 0
  while (length <= maxReadBytes) {
    const piece = yield* file.readAlloc(Math.max(Number(size) - length, 0) + 1)
    if (Option.isNone(piece) || piece.value.length === 0) break
    chunks.push(piece.value)
    length += piece.value.length
  }
  return Bytes.joined(chunks)
})

const namesIn = (core: Core, path: string, recursive: boolean): Result<Array<string>> =>
  Effect.gen(function* () {
    const names: Array<string> = []
    const waiting: Array<string> = [""]
    for (let below = waiting.pop(); below !== undefined; below = waiting.pop()) {
      for (const { name, type } of yield* core.list(joined(path, below))) {
        const found = below === "" ? name : `${below}/${name}`
        names.push(found)
        if (recursive && type === "Directory") waiting.push(found)
      }
    }
    return names
  })

const joined = (above: string, below: string): string =>
  below === "" ? above : above === "/" ? `/${below}` : `${above}/${below}`

interface Copying {
  readonly from: string
  readonly to: string
  readonly overwrite: boolean
}

/** Copies files and directories. Links are not copied. */
const copy = (
  core: Core,
  io: Pick<FileSystem.FileSystem, "makeDirectory" | "readFile" | "writeFile">,
  { from, overwrite, to }: Copying
): Result<void> =>
  Effect.gen(function* () {
    const [source, target] = [yield* normal("copy", from), yield* normal("copy", to)]
    const { type } = yield* core.stat(source)
    const there = yield* Effect.option(core.lstat(target))
    if (type === "File") {
      if (Option.isSome(there) && !overwrite) return yield* taken("copy", to)
      return yield* io.writeFile(target, yield* io.readFile(source))
    }
    if (type !== "Directory" || `${target}/`.startsWith(`${source}/`)) {
      return yield* failure("copy", from, toError(from, { code: "EISDIR" }))
    }
    if (Option.isNone(there)) yield* io.makeDirectory(target, { recursive: true })
    for (const { name, type } of yield* core.list(source)) {
      if (type !== "File" && type !== "Directory") continue
      yield* copy(core, io, { from: joined(source, name), to: joined(target, name), overwrite })
    }
  })

type Change = <A, R>(method: string, path: string, work: (path: string) => Result<A, R>) => Result<A, R>

interface Temporary {
  readonly directory?: string | undefined
  readonly prefix?: string | undefined
  readonly suffix?: string | undefined
}

const temporary = (core: Core, change: Change) => {
  const pathOf = ({ directory = "/", prefix = "", suffix = "" }: Temporary) =>
    `${directory}/${prefix}${globalThis.crypto.randomUUID()}${suffix}`
  const makeTempDirectory = (options: Temporary = {}) =>
    change("makeTempDirectory", pathOf(options), (path) => Effect.as(core.makeDirectory(path, false), path))
  const makeTempFile = (options: Temporary = {}) =>
    change("makeTempFile", pathOf(options), (path) => Effect.as(core.write(path, new Uint8Array(), 0o600), path))
  const scoped = (made: Result<string>) => Effect.acquireRelease(made, (path) => Effect.ignore(core.remove(path, true)))
  return {
    makeTempDirectory,
    makeTempFile,
    makeTempDirectoryScoped: (options?: Temporary) => scoped(makeTempDirectory(options)),
    makeTempFileScoped: (options?: Temporary) => scoped(makeTempFile(options))
  }
}
