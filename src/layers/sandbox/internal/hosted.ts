/** A sandbox elsewhere, by the session that the AI SDK's providers give. Its operations are promises. */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Semaphore from "effect/Semaphore"
import * as PlatformError from "effect/PlatformError"
import * as Sink from "effect/Sink"
import * as Stream from "effect/Stream"
import * as Spawner from "effect/process/ChildProcessSpawner"
import type { StandardCommand } from "effect/process/ChildProcess"
import { type Service, WorkspaceError } from "../../../services/Sandbox.ts"
import { FileToolError, outside, toError } from "../../internal/files/errors.ts"
import { endedBy } from "../../internal/process/failures.ts"
import { flatten, refuse, variablesOf, wordsOf } from "../../internal/process/plainCommand.ts"
import * as Copies from "./copies.ts"
import * as Files from "./fileSystem.ts"
import { outputs } from "../../internal/process/outputs.ts"

interface PathOptions {
  readonly path: string
  readonly abortSignal?: AbortSignal
}

interface CommandOptions {
  readonly command: string
  readonly workingDirectory?: string
  readonly env?: Record<string, string>
  readonly abortSignal?: AbortSignal
}

/** A process of a {@link Session}. */
export interface SessionProcess {
  readonly pid?: number
  readonly stdout: ReadableStream<Uint8Array>
  readonly stderr: ReadableStream<Uint8Array>
  readonly stdin?: WritableStream<Uint8Array>
  readonly wait: () => PromiseLike<{ exitCode: number }>
  readonly kill: () => PromiseLike<void>
}

/** What is used of a `SandboxSession` of the AI SDK. Relative paths begin at its working directory, which is the workspace. */
export interface Session {
  readonly description: string
  readonly readBinaryFile: (options: PathOptions) => PromiseLike<Uint8Array | null>
  readonly writeBinaryFile: (options: PathOptions & { readonly content: Uint8Array }) => PromiseLike<void>
  readonly stat: (options: PathOptions) => PromiseLike<{ type: "file" | "directory" | "other"; size: number } | null>
  readonly listDirectory: (
    options: PathOptions
  ) => PromiseLike<Array<{ name: string; type: "file" | "directory" | "symlink" | "other" }> | null>
  readonly spawn: (options: CommandOptions & { readonly stdin?: boolean }) => PromiseLike<SessionProcess>
  readonly run: (options: CommandOptions) => PromiseLike<{ exitCode: number; stdout: string; stderr: string }>
}

/** The service of a session. */
export const make = (session: Session): Service => {
  const files = filesOf(session)
  return {
    files,
    processes: spawner(session),
    info: {
      name: "hosted",
      description: session.description,
      cwd: ".",
      // What a provider's sandbox reaches is the provider's to say.
      isolates: { files: true, network: false, processes: true },
      edges: "async"
    },
    snapshots: Copies.make(files),
    folder: folderOf(session)
  }
}

/** Copies folders into the sandbox, one after the other, and each once as long as its files are the same. */
const folderOf = (session: Session): NonNullable<Service["folder"]> => {
  const turn = Semaphore.makeUnsafe(1)
  const copied = new Set<string>()
  // What another program of the sandbox has left is not taken for the skill.
  const base = `/tmp/troupe-skills-${globalThis.crypto.randomUUID()}`
  return (name, _location, content) =>
    turn.withPermits(1)(
      Effect.gen(function* () {
        const { files, mark } = yield* content
        const folder = `${base}/${mark}/${name.replace(/[^\w-]/g, "_").slice(0, 100)}`
        if (copied.has(folder)) return folder
        const ask = <A>(call: (abortSignal: AbortSignal) => PromiseLike<A>) =>
          Effect.tryPromise({
            try: call,
            catch: () => new WorkspaceError({ reason: "System", detail: "the sandbox refused a copy of the skill" })
          })
        const run = (command: string) =>
          Effect.flatMap(
            ask((abortSignal) => session.run({ command, abortSignal })),
            ({ exitCode, stderr }) =>
              exitCode === 0
                ? Effect.void
                : Effect.fail(
                    new WorkspaceError({ reason: "System", detail: `no copy of the skill: ${stderr.slice(0, 300)}` })
                  )
          )
        const words = (paths: ReadonlyArray<string>) => paths.map((path) => quote(`${folder}/${path}`)).join(" ")
        const directories = new Set(files.map(({ path }) => path.slice(0, Math.max(0, path.lastIndexOf("/")))))
        yield* run(`mkdir -p -- ${words([...directories])}`)
        for (const { bytes, path } of files) {
          yield* ask((abortSignal) =>
            session.writeBinaryFile({ path: `${folder}/${path}`, content: bytes, abortSignal })
          )
        }
        const programs = files.flatMap(({ isExecutable, path }) => (isExecutable ? [path] : []))
        if (programs.length > 0) yield* run(`chmod +x -- ${words(programs)}`)
        yield* run(`chmod -R a-w -- ${quote(folder)}`)
        copied.add(folder)
        return folder
      })
    )
}

const types = { file: "File", directory: "Directory", symlink: "SymbolicLink", other: "Unknown" } as const

/** The session's name of a path of the workspace. */
const nameOf = (path: string): string => (path === "/" ? "." : `.${path}`)
const parentOf = (path: string): string => path.slice(0, path.lastIndexOf("/")) || "/"

type Failure = PlatformError.PlatformError

const filesOf = (session: Session): FileSystem.FileSystem => {
  const ask = <A>(method: string, path: string, call: (options: PathOptions) => PromiseLike<A>) =>
    Effect.tryPromise({
      try: (abortSignal) => call({ path: nameOf(path), abortSignal }),
      catch: () => problem(method, path, "the sandbox refused it")
    })
  const found = <A>(method: string, path: string, value: A | null) =>
    value === null ? Effect.fail(missing(method, path)) : Effect.succeed(value)
  const stat = (path: string) =>
    Effect.map(
      Effect.flatMap(ask("stat", path, session.stat), (value) => found("stat", path, value)),
      ({ size, type }) => Files.infoOf(types[type], size)
    )
  const list = (path: string) =>
    Effect.flatMap(ask("readDirectoryEntries", path, session.listDirectory), (entries) =>
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
  /** Runs a command of the sandbox's shell on paths. */
  const shell = (method: string, path: string, command: string, ...paths: ReadonlyArray<string>) =>
    Effect.flatMap(
      ask(method, path, ({ abortSignal }) =>
        session.run({
          command: `${command} ${paths.map((one) => quote(nameOf(one))).join(" ")}`,
          ...(abortSignal === undefined ? {} : { abortSignal })
        })
      ),
      ({ exitCode, stdout }) =>
        exitCode === 0 ? Effect.succeed(stdout) : Effect.fail(problem(method, path, "the sandbox refused it"))
    )
  const realPath = Effect.fnUntraced(function* (path: string): Effect.fn.Return<string, Failure> {
    yield* stat(path)
    const answer = yield* shell("realPath", path, "pwd -P && readlink -f --", path)
    const [base = "", real = ""] = answer.split("\n")
    if (real === base) return "/"
    const prefix = base === "/" ? "/" : `${base}/`
    return real.startsWith(prefix)
      ? `/${real.slice(prefix.length)}`
      : yield* Files.failure("realPath", path, outside(path))
  })
  /** Refuses a path through a link, where it is to be what it says. */
  const inside = (path: string) =>
    Effect.flatMap(realOf(realPath, path), (real) =>
      real === path ? Effect.void : Effect.fail(Files.failure("open", path, outside(path)))
    )
  const write = Effect.fnUntraced(function* (path: string, bytes: Uint8Array) {
    yield* inside(path)
    yield* ask("writeFile", path, (options) => session.writeBinaryFile({ ...options, content: bytes }))
  })
  const readFile = (path: string) =>
    Effect.flatMap(ask("readFile", path, session.readBinaryFile), (bytes) => found("readFile", path, bytes))
  return Files.make({
    stat,
    lstat,
    realPath,
    list: (path) => Effect.andThen(realPath(path), list(path)),
    open: (path, how) => opened({ stat, write, readFile, realPath }, path, how),
    write,
    makeDirectory: (path, recursive) =>
      Effect.andThen(
        inside(path),
        Effect.asVoid(shell("makeDirectory", path, recursive ? "mkdir -p --" : "mkdir --", path))
      ),
    remove: (path, recursive) =>
      Effect.gen(function* () {
        if (path === "/") return yield* Files.failure("remove", path, toError(path, { code: "EISDIR" }))
        const { type } = yield* lstat(path)
        yield* inside(parentOf(path))
        const command = type !== "Directory" ? "rm -f --" : recursive ? "rm -rf --" : "rmdir --"
        yield* shell("remove", path, command, path)
      }),
    rename: (from, to) =>
      Effect.gen(function* () {
        yield* lstat(from)
        yield* inside(parentOf(from))
        yield* inside(to)
        const there = yield* Effect.option(stat(to))
        if (Option.isSome(there) && there.value.type === "Directory") {
          return yield* Files.failure("rename", to, toError(to, { code: "EISDIR" }))
        }
        yield* shell("rename", from, "mv -f --", from, to)
      }),
    chmod: (path, mode) =>
      Effect.andThen(inside(path), Effect.asVoid(shell("chmod", path, `chmod ${(mode & 0o777).toString(8)} --`, path)))
  })
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
  let bytes: Uint8Array | undefined = Option.isNone(there) || flag.startsWith("w") ? new Uint8Array() : undefined
  if (bytes !== undefined) yield* io.write(real, bytes)
  let at = 0
  const content = Effect.suspend(() =>
    bytes === undefined
      ? Effect.tap(io.readFile(real), (all) => Effect.sync(() => void (bytes = all)))
      : Effect.succeed(bytes)
  )
  const read = (size: number, position: bigint | undefined) =>
    Effect.map(content, (all) => {
      const from = position === undefined ? at : Number(position)
      const piece = all.slice(from, from + size)
      if (position === undefined) at += piece.length
      return piece
    })
  const save = (next: Uint8Array) =>
    Effect.andThen(
      io.write(real, next),
      Effect.sync(() => void (bytes = next))
    )
  const write = (piece: Uint8Array) =>
    Effect.flatMap(content, (all) => {
      if (flag.startsWith("a")) at = all.length
      const next = new Uint8Array(Math.max(all.length, at + piece.length))
      next.set(all)
      next.set(piece, at)
      at += piece.length
      return Effect.as(save(next), piece.length)
    })
  const file: FileSystem.File = {
    [FileSystem.FileTypeId]: FileSystem.FileTypeId,
    stat: io.stat(real),
    seek: (offset, from) =>
      Effect.sync(() => {
        at = from === "start" ? Number(offset) : at + Number(offset)
        return BigInt(at)
      }),
    sync: Effect.void,
    read: (buffer, options) =>
      Effect.map(read(buffer.length, options?.position), (piece) => {
        buffer.set(piece)
        return piece.length
      }),
    readAlloc: (size, options) =>
      Effect.map(read(size, options?.position), (piece) => (piece.length === 0 ? Option.none() : Option.some(piece))),
    truncate: (length = 0) =>
      Effect.flatMap(content, (all) => {
        const next = new Uint8Array(length)
        next.set(all.subarray(0, length))
        return save(next)
      }),
    write,
    writeAll: (piece) => Effect.asVoid(write(piece))
  }
  return file
})

/** A word of a shell's command line. */
const quote = (word: string): string => `'${word.replaceAll("'", `'\\''`)}'`

const processFailure = (method: string) => (): Failure =>
  PlatformError.systemError({ _tag: "Unknown", module: "ChildProcess", method, description: "the sandbox refused it" })

const spawner = (session: Session) => {
  const start = Effect.fnUntraced(function* (command: StandardCommand, isPiped: boolean) {
    yield* refuse(command.options)
    const given = command.options.stdin
    const input = typeof given !== "object" || Stream.isStream(given) ? given : given.stream
    const abort = new AbortController()
    const cwd = yield* Files.normal("spawn", `/${command.options.cwd ?? ""}`)
    const process = yield* Effect.acquireRelease(
      Effect.tryPromise({
        try: () =>
          session.spawn({
            command: wordsOf(command).map(quote).join(" "),
            workingDirectory: nameOf(cwd),
            env: { ...variablesOf(command) },
            abortSignal: abort.signal,
            ...(input === "ignore" ? {} : { stdin: true })
          }),
        catch: processFailure("spawn")
      }),
      (process) =>
        Effect.andThen(
          Effect.ignore(kill(process)),
          Effect.sync(() => abort.abort())
        )
    )
    const handle = handleOf(process)
    if (Stream.isStream(input) && !isPiped) {
      yield* Effect.forkScoped(Effect.ignore(Stream.run(input as Stream.Stream<Uint8Array>, handle.stdin)))
    }
    return handle
  })
  return Spawner.make((command) =>
    Effect.gen(function* () {
      let last: Spawner.ChildProcessHandle | undefined
      for (const { command: one, from } of yield* flatten(command)) {
        const handle: Spawner.ChildProcessHandle = yield* start(one, last !== undefined)
        if (last !== undefined) yield* Effect.forkScoped(Effect.ignore(Stream.run(last[from], handle.stdin)))
        last = handle
      }
      return last!
    })
  )
}

const kill = (process: SessionProcess) =>
  Effect.tryPromise({ try: async () => process.kill(), catch: processFailure("kill") })

const handleOf = (process: SessionProcess) => {
  let isOver = false
  let isKilled = false
  const ended = Promise.resolve(process.wait()).finally(() => {
    isOver = true
  })
  // It is waited for below, or by no one.
  ended.catch(() => {})
  const read = (stream: ReadableStream<Uint8Array>) =>
    Stream.fromReadableStream({ evaluate: () => stream, onError: processFailure("read") })
  const [stdout, stderr] = [read(process.stdout), read(process.stderr)]
  const exitCode = Effect.matchEffect(Effect.tryPromise({ try: () => ended, catch: processFailure("exitCode") }), {
    onSuccess: ({ exitCode }) => Effect.succeed(Spawner.ExitCode(exitCode)),
    onFailure: (error) => Effect.fail(isKilled ? endedBy("SIGKILL") : error)
  })
  return Spawner.makeHandle({
    pid: Spawner.ProcessId(process.pid ?? 0),
    exitCode,
    isRunning: Effect.sync(() => !isOver),
    kill: () =>
      Effect.suspend(() => {
        if (isOver) return Effect.void
        isKilled = true
        return Effect.andThen(kill(process), Effect.asVoid(Effect.exit(exitCode)))
      }),
    stdin: inputOf(process),
    ...outputs(stdout, stderr)
  })
}

const inputOf = ({ stdin }: SessionProcess): Sink.Sink<void, Uint8Array, never, Failure> => {
  if (stdin === undefined) return Sink.drain
  const writer = stdin.getWriter()
  const write = (bytes: Uint8Array) =>
    Effect.tryPromise({ try: () => writer.write(bytes), catch: processFailure("stdin") })
  const close = Effect.ignore(Effect.tryPromise({ try: () => writer.close(), catch: processFailure("stdin") }))
  return Sink.ensuring(Sink.forEach(write), close)
}
