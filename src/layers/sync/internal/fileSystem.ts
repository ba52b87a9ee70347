/** A `FileSystem` on Node's synchronous functions: each operation runs in place. */
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import * as ByteSize from "effect/ByteSize"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as PlatformError from "effect/PlatformError"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"

type Tag = PlatformError.SystemErrorTag

const tags: Readonly<Record<string, Tag>> = {
  ENOENT: "NotFound",
  EACCES: "PermissionDenied",
  EPERM: "PermissionDenied",
  EEXIST: "AlreadyExists",
  EISDIR: "BadResource",
  ENOTDIR: "BadResource",
  ELOOP: "BadResource",
  EBUSY: "Busy"
}

const toError = (method: string, path: string | number, cause: unknown): PlatformError.PlatformError => {
  const error = cause as NodeJS.ErrnoException
  if (error.code?.startsWith("ERR_") === true || error.code === undefined) {
    return PlatformError.badArgument({ module: "FileSystem", method, description: error.message })
  }
  return PlatformError.systemError({
    module: "FileSystem",
    method,
    _tag: tags[error.code] ?? "Unknown",
    pathOrDescriptor: path,
    ...(error.syscall === undefined ? {} : { syscall: error.syscall }),
    cause
  })
}

/** Runs in place; converts what Node throws to the error of the asynchronous layer. */
const attempt = <A>(
  method: string,
  path: string | number,
  run: () => A
): Effect.Effect<A, PlatformError.PlatformError> =>
  Effect.try({ try: run, catch: (cause) => toError(method, path, cause) })

const typeOf = (stat: fs.BigIntStats | fs.Dirent): FileSystem.File.Type => {
  if (stat.isFile()) return "File"
  if (stat.isDirectory()) return "Directory"
  if (stat.isSymbolicLink()) return "SymbolicLink"
  if (stat.isBlockDevice()) return "BlockDevice"
  if (stat.isCharacterDevice()) return "CharacterDevice"
  if (stat.isFIFO()) return "FIFO"
  return stat.isSocket() ? "Socket" : "Unknown"
}

const infoOf = (stat: fs.BigIntStats): FileSystem.File.Info => ({
  type: typeOf(stat),
  mtime: Option.some(stat.mtime),
  atime: Option.some(stat.atime),
  birthtime: Option.some(stat.birthtime),
  dev: BigInt.asUintN(64, stat.dev),
  rdev: Option.some(BigInt.asUintN(64, stat.rdev)),
  ino: Option.some(BigInt.asUintN(64, stat.ino)),
  mode: Number(stat.mode),
  nlink: Option.some(BigInt.asUintN(64, stat.nlink)),
  uid: Option.some(Number(stat.uid)),
  gid: Option.some(Number(stat.gid)),
  size: ByteSize.bytes(stat.size),
  blksize: Option.some(ByteSize.bytes(stat.blksize)),
  blocks: Option.some(stat.blocks)
})

const beforeStart = (method: string) =>
  PlatformError.badArgument({
    module: "FileSystem",
    method,
    description: "the position is before the start of the file"
  })

/** An open file with a position of its own. In append mode the system decides where to write. */
const makeFile = (fd: number, append: boolean): FileSystem.File => {
  let position = 0n
  const readInto = (method: string, buffer: Uint8Array, options: FileSystem.File.ReadOptions | undefined) =>
    Effect.suspend(() => {
      const at = options?.position ?? position
      if (at < 0n) return Effect.fail(beforeStart(method))
      return Effect.map(
        attempt(method, fd, () => fs.readSync(fd, buffer, 0, buffer.length, at)),
        (count) => {
          if (options?.position === undefined) position = at + BigInt(count)
          return count
        }
      )
    })
  const writeOnce = (method: string, buffer: Uint8Array) =>
    Effect.map(
      attempt(method, fd, () => fs.writeSync(fd, buffer, 0, buffer.length, append ? null : Number(position))),
      (count) => {
        if (!append) position += BigInt(count)
        return count
      }
    )
  return {
    [FileSystem.FileTypeId]: FileSystem.FileTypeId,
    stat: attempt("stat", fd, () => infoOf(fs.fstatSync(fd, { bigint: true }))),
    sync: attempt("sync", fd, () => fs.fsyncSync(fd)),
    seek: (offset, from) =>
      Effect.suspend(() => {
        const next = from === "start" ? offset : position + offset
        if (next < 0n) return Effect.fail(beforeStart("seek"))
        position = next
        return Effect.succeed(next)
      }),
    read: (buffer, options) => readInto("read", buffer, options),
    readAlloc: (size, options) =>
      Effect.flatMap(
        attempt("readAlloc", fd, () => Buffer.alloc(size)),
        (buffer) =>
          Effect.map(readInto("readAlloc", buffer, options), (count) =>
            count === 0 ? Option.none<Uint8Array>() : Option.some<Uint8Array>(buffer.subarray(0, count))
          )
      ),
    truncate: (length) =>
      Effect.map(
        attempt("truncate", fd, () => fs.ftruncateSync(fd, length ?? 0)),
        () => {
          const end = BigInt(length ?? 0)
          if (!append && position > end) position = end
        }
      ),
    write: (buffer) => writeOnce("write", buffer),
    writeAll: (buffer) =>
      Effect.gen(function* () {
        for (let done = 0; done < buffer.length;) done += yield* writeOnce("writeAll", buffer.subarray(done))
      })
  }
}

/** The bits of a flag that refuses symbolic links, which has no name; `undefined` on systems that cannot. */
const notFollowing = (flag: FileSystem.OpenFlag): number | undefined => {
  const { O_APPEND, O_CREAT, O_EXCL, O_NOFOLLOW = 0, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY } = fs.constants
  if (process.platform === "win32" || O_NOFOLLOW === 0) return undefined
  const access = flag.includes("+") ? O_RDWR : flag.startsWith("r") ? O_RDONLY : O_WRONLY
  const creates = flag.startsWith("w") ? O_CREAT | O_TRUNC : flag.startsWith("a") ? O_CREAT | O_APPEND : 0
  return access | creates | (flag.includes("x") ? O_EXCL : 0) | O_NOFOLLOW
}

const open: FileSystem.FileSystem["open"] = (path, options) => {
  const flag = options?.flag ?? "r"
  const bits = options?.noFollow === true ? notFollowing(flag) : flag
  if (bits === undefined) {
    return Effect.fail(
      PlatformError.badArgument({
        module: "FileSystem",
        method: "open",
        description: "noFollow is not supported on this platform"
      })
    )
  }
  return Effect.acquireRelease(
    attempt("open", path, () => fs.openSync(path, bits, options?.mode)),
    (fd) => Effect.orDie(attempt("close", fd, () => fs.closeSync(fd)))
  ).pipe(Effect.map((fd) => makeFile(fd, flag.startsWith("a"))))
}

const remove: FileSystem.FileSystem["remove"] = (path, options) =>
  attempt("remove", path, () =>
    fs.rmSync(path, { recursive: options?.recursive ?? false, force: options?.force ?? false })
  )

const makeTempDirectory: FileSystem.FileSystem["makeTempDirectory"] = (options) => {
  const parent = options?.directory ?? tmpdir()
  return attempt("makeTempDirectory", parent, () => fs.mkdtempSync(join(parent, options?.prefix ?? "-")))
}

const makeTempFile: FileSystem.FileSystem["makeTempFile"] = (options) =>
  Effect.gen(function* () {
    const directory = yield* makeTempDirectory(options)
    const name = (yield* Random.nextIntBetween(0, 2 ** 48)).toString(36)
    const path = join(directory, `${name}${options?.suffix ?? ""}`)
    yield* attempt("makeTempFile", path, () => fs.writeFileSync(path, ""))
    return path
  })

const fileSystem: FileSystem.FileSystem = FileSystem.make({
  access: (path, options) => {
    const { F_OK, R_OK, W_OK } = fs.constants
    const mode = F_OK | (options?.readable === true ? R_OK : 0) | (options?.writable === true ? W_OK : 0)
    return attempt("access", path, () => fs.accessSync(path, mode))
  },
  chmod: (path, mode) => attempt("chmod", path, () => fs.chmodSync(path, mode)),
  chown: (path, uid, gid) => attempt("chown", path, () => fs.chownSync(path, uid, gid)),
  copy: (from, to, options) =>
    attempt("copy", from, () =>
      fs.cpSync(from, to, {
        force: options?.overwrite ?? false,
        preserveTimestamps: options?.preserveTimestamps ?? false,
        recursive: true
      })
    ),
  copyFile: (from, to) => attempt("copyFile", from, () => fs.copyFileSync(from, to)),
  link: (from, to) => attempt("link", from, () => fs.linkSync(from, to)),
  lstat: (path) => attempt("lstat", path, () => infoOf(fs.lstatSync(path, { bigint: true }))),
  makeDirectory: (path, options) =>
    attempt("makeDirectory", path, () => {
      fs.mkdirSync(path, { recursive: options?.recursive ?? false, mode: options?.mode })
    }),
  makeTempDirectory,
  makeTempDirectoryScoped: (options) =>
    Effect.acquireRelease(makeTempDirectory(options), (path) =>
      Effect.orDie(remove(path, { recursive: true, force: true }))
    ),
  makeTempFile,
  makeTempFileScoped: (options) =>
    Effect.acquireRelease(makeTempFile(options), (path) =>
      Effect.orDie(remove(dirname(path), { recursive: true, force: true }))
    ),
  open,
  readDirectory: (path, options) =>
    attempt("readDirectory", path, () =>
      fs.readdirSync(path, { encoding: "utf8", recursive: options?.recursive ?? false })
    ),
  readDirectoryEntries: (path) =>
    attempt("readDirectoryEntries", path, () =>
      fs.readdirSync(path, { withFileTypes: true }).map((entry) => ({ name: entry.name, type: typeOf(entry) }))
    ),
  readFile: (path) => attempt("readFile", path, () => fs.readFileSync(path)),
  readLink: (path) => attempt("readLink", path, () => fs.readlinkSync(path)),
  realPath: (path) => attempt("realPath", path, () => fs.realpathSync(path)),
  remove,
  rename: (from, to) => attempt("rename", from, () => fs.renameSync(from, to)),
  stat: (path) => attempt("stat", path, () => infoOf(fs.statSync(path, { bigint: true }))),
  symlink: (target, path) => attempt("symlink", target, () => fs.symlinkSync(target, path)),
  truncate: (path, length) => attempt("truncate", path, () => fs.truncateSync(path, length)),
  utimes: (path, atime, mtime) => attempt("utimes", path, () => fs.utimesSync(path, atime, mtime)),
  watch: () =>
    Stream.fail(
      PlatformError.badArgument({
        module: "FileSystem",
        method: "watch",
        description: "only Node's event loop can watch files; run the program with Effect.runPromise"
      })
    ),
  writeFile: (path, data, options) =>
    attempt("writeFile", path, () => fs.writeFileSync(path, data, { flag: options?.flag ?? "w", mode: options?.mode }))
})

/** The file system that `SyncEdge.layerFileSystem` provides. */
export const layer: Layer.Layer<FileSystem.FileSystem> = Layer.succeed(FileSystem.FileSystem, fileSystem)
