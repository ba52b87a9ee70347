/** A sandbox elsewhere, by the session that the AI SDK's providers give. Its operations are promises. */
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import * as PlatformError from "effect/PlatformError"
import * as Sink from "effect/Sink"
import * as Stream from "effect/Stream"
import * as Spawner from "effect/process/ChildProcessSpawner"
import { type Service, WorkspaceError } from "../../../services/Sandbox.ts"
import { endedBy } from "../../internal/process/failures.ts"
import { spawner, variablesOf, wordsOf } from "../../internal/process/plainCommand.ts"
import * as Copies from "./copies.ts"
import * as Files from "./fileSystem.ts"
import { outputs } from "../../internal/process/outputs.ts"
import { filesOf, nameOf } from "./hostedFiles.ts"
import { quote, type Session, type SessionProcess } from "./session.ts"

type Failure = PlatformError.PlatformError

/** The service of a session. */
export const make = (session: Session): Service => {
  const files = filesOf(session)
  return {
    files,
    processes: processesOf(session),
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

const processFailure = (method: string) => (): Failure =>
  PlatformError.systemError({ _tag: "Unknown", module: "ChildProcess", method, description: "the sandbox refused it" })

const processesOf = (session: Session) =>
  spawner(
    Effect.fnUntraced(function* (command, hasInput) {
      const abort = new AbortController()
      // What the session begins to start and has not started is the signal's to end.
      yield* Effect.addFinalizer(() => Effect.sync(() => abort.abort()))
      const cwd = yield* Files.normal("spawn", `/${command.options.cwd ?? ""}`)
      const process = yield* Effect.acquireRelease(
        Effect.tryPromise({
          try: async () => {
            const process = await session.spawn({
              command: wordsOf(command).map(quote).join(" "),
              workingDirectory: nameOf(cwd),
              env: { ...variablesOf(command) },
              abortSignal: abort.signal,
              ...(hasInput ? { stdin: true } : {})
            })
            // It was started all the same, and no one waits for it.
            if (abort.signal.aborted) await process.kill()
            return process
          },
          catch: processFailure("spawn")
        }),
        (process) => Effect.ignore(kill(process)),
        { interruptible: true }
      )
      return handleOf(process)
    })
  )

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
