/** The files of a sandbox elsewhere, by the operations of its session and a few commands of its shell. */
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import type * as PlatformError from "effect/PlatformError"
import { FileToolError, outside, toError } from "../../internal/files/errors.ts"
import { parentOf } from "../../internal/files/names.ts"
import * as Files from "./fileSystem.ts"
import { type PathOptions, quote, type Session } from "./session.ts"

type Failure = PlatformError.PlatformError

const types = { file: "File", directory: "Directory", symlink: "SymbolicLink", other: "Unknown" } as const

/** The session's name of a path of the workspace. */
export const nameOf = (path: string): string => (path === "/" ? "." : `.${path}`)

/** The file system of a session. */
export const filesOf = (session: Session): FileSystem.FileSystem => {
  const looks = looking(session)
  const { lstat, realPath, stat } = looks
  const writes = writing(session, looks)
  const { chmod, makeDirectory, remove, rename, write } = writes
  return Files.make({
    stat,
    lstat,
    realPath,
    list: (path) => Effect.andThen(realPath(path), looks.list(path)),
    open: (path, how) => opened({ stat, write, readFile: looks.readFile, realPath }, path, how),
    write,
    makeDirectory,
    remove,
    rename,
    chmod
  })
}

const asked = <A>(method: string, path: string, call: (options: PathOptions) => PromiseLike<A>) =>
  Effect.tryPromise({
    try: (abortSignal) => call({ path: nameOf(path), abortSignal }),
    catch: () => problem(method, path, "the sandbox refused it")
  })

const found = <A>(method: string, path: string, value: A | null): Effect.Effect<A, Failure> =>
  value === null ? Effect.fail(missing(method, path)) : Effect.succeed(value)

/** Runs a command of the sandbox's shell on paths. */
const shell = (
  session: Session,
  method: string,
  command: string,
  path: string,
  ...others: ReadonlyArray<string>
): Effect.Effect<string, Failure> =>
  Effect.flatMap(
    asked(method, path, ({ abortSignal }) =>
      session.run({
        command: `${command} ${[path, ...others].map((one) => quote(nameOf(one))).join(" ")}`,
        ...(abortSignal === undefined ? {} : { abortSignal })
      })
    ),
    ({ exitCode, stdout }) =>
      exitCode === 0 ? Effect.succeed(stdout) : Effect.fail(problem(method, path, "the sandbox refused it"))
  )

/** What changes nothing. */
const looking = (session: Session) => {
  const stat = (path: string) =>
    Effect.map(
      Effect.flatMap(asked("stat", path, session.stat), (value) => found("stat", path, value)),
      ({ size, type }) => Files.infoOf(types[type], size)
    )
  const list = (path: string) =>
    Effect.flatMap(asked("readDirectoryEntries", path, session.listDirectory), (entries) =>
      Effect.map(found("readDirectoryEntries", path, entries), (all) =>
        all.map(({ name, type }): FileSystem.DirectoryEntry => ({ name, type: types[type] }))
      )
    )
  const lstat = (path: string) =>
    path === "/"
      ? stat(path)
      : Effect.flatMap(list(parentOf(path)), (entries) => {
          const entry = entries.find(({ name }) => name === path.slice(path.lastIndexOf("/") + 1))
          if (entry === undefined) return Effect.fail(missing("lstat", path))
          return entry.type === "SymbolicLink" ? Effect.succeed(Files.infoOf("SymbolicLink", 0)) : stat(path)
        })
  const realPath = Effect.fnUntraced(function* (path: string): Effect.fn.Return<string, Failure> {
    yield* stat(path)
    const answer = yield* shell(session, "realPath", "pwd -P && readlink -f --", path)
    const [base = "", real = ""] = answer.split("\n")
    if (real === base) return "/"
    const prefix = base === "/" ? "/" : `${base}/`
    return real.startsWith(prefix)
      ? `/${real.slice(prefix.length)}`
      : yield* Files.failure("realPath", path, outside(path))
  })
  const readFile = (path: string) =>
    Effect.flatMap(asked("readFile", path, session.readBinaryFile), (bytes) => found("readFile", path, bytes))
  return { stat, list, lstat, realPath, readFile }
}

/** What changes files. */
const writing = (session: Session, { lstat, realPath, stat }: ReturnType<typeof looking>) => {
  /** Refuses a path through a link, where it is to be what it says. */
  const inside = (path: string) =>
    Effect.flatMap(realOf(realPath, path), (real) =>
      real === path ? Effect.void : Effect.fail(Files.failure("open", path, outside(path)))
    )
  const changed = (method: string, command: string, path: string) =>
    Effect.andThen(inside(path), Effect.asVoid(shell(session, method, command, path)))
  const write = Effect.fnUntraced(function* (path: string, bytes: Uint8Array) {
    yield* inside(path)
    yield* asked("writeFile", path, (options) => session.writeBinaryFile({ ...options, content: bytes }))
  })
  const remove = Effect.fnUntraced(function* (path: string, recursive: boolean) {
    if (path === "/") return yield* Files.failure("remove", path, toError(path, { code: "EISDIR" }))
    const { type } = yield* lstat(path)
    yield* inside(parentOf(path))
    yield* shell(session, "remove", type !== "Directory" ? "rm -f --" : recursive ? "rm -rf --" : "rmdir --", path)
  })
  const rename = Effect.fnUntraced(function* (from: string, to: string) {
    yield* lstat(from)
    yield* inside(parentOf(from))
    yield* inside(to)
    const there = yield* Effect.option(stat(to))
    if (Option.isSome(there) && there.value.type === "Directory") {
      return yield* Files.failure("rename", to, toError(to, { code: "EISDIR" }))
    }
    yield* shell(session, "rename", "mv -f --", from, to)
  })
  return {
    write,
    remove,
    rename,
    makeDirectory: (path: string, recursive: boolean) =>
      changed("makeDirectory", recursive ? "mkdir -p --" : "mkdir --", path),
    chmod: (path: string, mode: number) => changed("chmod", `chmod ${(mode & 0o777).toString(8)} --`, path)
  }
}

const missing = (method: string, path: string): Failure =>
  Files.failure(method, path, toError(path, { code: "ENOENT" }))
const problem = (method: string, path: string, detail: string): Failure =>
  Files.failure(method, path, new FileToolError({ path, reason: "System", detail }))

/** The real path of what exists, or of the directory above it that does. */
const realOf = (
  realPath: (path: string) => Effect.Effect<string, Failure>,
  path: string
): Effect.Effect<string, Failure> =>
  Effect.catchIf(
    realPath(path),
    ({ reason }) => reason._tag === "NotFound" && path !== "/",
    () => {
      const parent = parentOf(path)
      const name = path.slice(path.lastIndexOf("/"))
      return Effect.map(realOf(realPath, parent), (real) => (real === "/" ? name : `${real}${name}`))
    }
  )

interface Opened {
  readonly stat: (path: string) => Effect.Effect<FileSystem.File.Info, Failure>
  readonly write: (path: string, bytes: Uint8Array) => Effect.Effect<void, Failure>
  readonly readFile: (path: string) => Effect.Effect<Uint8Array, Failure>
  readonly realPath: (path: string) => Effect.Effect<string, Failure>
}

/** A file that is read as a whole, when it is first read, and written as a whole, at each write. */
const opened = Effect.fnUntraced(function* (io: Opened, path: string, { flag, noFollow }: Files.Opening) {
  const real = yield* realOf(io.realPath, path)
  if (noFollow && real !== path) return yield* Files.failure("open", path, outside(path))
  const there = yield* Effect.option(io.stat(path))
  if (Option.isNone(there) && flag.startsWith("r")) return yield* missing("open", path)
  if (Option.isSome(there) && there.value.type !== "File") {
    return yield* Files.failure("open", path, toError(path, { code: "EISDIR" }))
  }
  if (Option.isSome(there) && flag.includes("x")) return yield* Files.taken("open", path)
  const isEmpty = Option.isNone(there) || flag.startsWith("w")
  if (isEmpty) yield* io.write(real, new Uint8Array())
  return fileOf(io, real, isEmpty ? new Uint8Array() : undefined, flag.startsWith("a"))
})

/** The bytes of a file: those that are known, else those that are there when it is first read. */
const contentOf = (io: Opened, real: string, known: Uint8Array | undefined) => {
  let bytes = known
  const set = (next: Uint8Array) => Effect.sync(() => void (bytes = next))
  return {
    all: Effect.suspend(() => (bytes === undefined ? Effect.tap(io.readFile(real), set) : Effect.succeed(bytes))),
    save: (next: Uint8Array) => Effect.andThen(io.write(real, next), set(next))
  }
}

const fileOf = (io: Opened, real: string, known: Uint8Array | undefined, appends: boolean): FileSystem.File => {
  const { all, save } = contentOf(io, real, known)
  return Files.fileOf({
    stat: io.stat(real),
    read: (at, size) => Effect.map(all, (bytes) => bytes.slice(at, at + size)),
    write: (at, piece) =>
      Effect.flatMap(all, (bytes) => {
        const next = new Uint8Array(Math.max(bytes.length, at + piece.length))
        next.set(bytes)
        next.set(piece, at)
        return Effect.as(save(next), piece.length)
      }),
    truncate: (length) =>
      Effect.flatMap(all, (bytes) => {
        const next = new Uint8Array(length)
        next.set(bytes.subarray(0, length))
        return save(next)
      }),
    ...(appends ? { end: Effect.map(all, ({ length }) => length) } : {})
  })
}
