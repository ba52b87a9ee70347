/** What is kept of a command's output, how much it may write and how long it may take: the same over any spawner. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { PlatformError } from "effect/PlatformError"
import * as Predicate from "effect/Predicate"
import * as Stream from "effect/Stream"
import * as ChildProcess from "effect/process/ChildProcess"
import type { ChildProcessHandle, ChildProcessSpawner } from "effect/process/ChildProcessSpawner"
import { joined } from "../bytes.ts"
import type { EndedBySignal, NotStarted } from "./failures.ts"

/** A command and its limits. */
export interface Task {
  readonly command: string
  readonly args: ReadonlyArray<string>
  readonly cwd: string | undefined
  readonly env: Readonly<Record<string, string>>
  readonly input: string | undefined
  /** How many bytes of each stream are kept. */
  readonly keep: number
  /** At how many bytes of both streams it is killed. */
  readonly most: number
  /** How long it may take to end after SIGTERM. Milliseconds. */
  readonly graceMs: number
}

/** How it ended. */
export interface Ended {
  readonly exitCode: number | null
  /** Known only where the sandbox passes it on; elsewhere the exit code is 128 and more. */
  readonly signal: string | null
  readonly stdout: Uint8Array
  readonly stderr: Uint8Array
  /** More than `keep` was written to one of the streams. */
  readonly cut: boolean
  /** It was killed for writing more than `most`. */
  readonly over: boolean
}

/** Why a command was not run, or was ended early. */
export interface NotRun {
  readonly reason: NotStarted["reason"] | "Timeout"
  readonly detail: string
  /** How it ended when it was killed by the timeout. */
  readonly ended?: Ended | undefined
}

/** Runs a command to its end. Its timeout and interruption end when it is gone. */
export const run = (
  processes: ChildProcessSpawner["Service"],
  task: Task,
  timeout: Duration.Duration
): Effect.Effect<Ended, NotRun> =>
  Effect.suspend(() => {
    const output = kept(task)
    const attended = Effect.scoped(
      Effect.gen(function* () {
        const handle = yield* processes.spawn(commandOf(task))
        const [ended] = yield* Effect.all(
          [exitOf(handle), output.from(handle, "stdout"), output.from(handle, "stderr")],
          {
            concurrency: "unbounded"
          }
        )
        return { ...ended, ...output.taken() }
      })
    ).pipe(Effect.mapError(notRun))
    return Effect.timeoutOrElse(attended, {
      duration: timeout,
      orElse: () => {
        const detail = `it took longer than ${Duration.format(timeout)} and was killed`
        return Effect.fail<NotRun>({
          reason: "Timeout",
          detail,
          ended: { exitCode: null, signal: null, ...output.taken() }
        })
      }
    })
  })

const commandOf = ({ args, command, cwd, env, graceMs, input }: Task) =>
  ChildProcess.make(command, args, {
    ...(cwd === undefined ? {} : { cwd }),
    env: { ...env },
    stdin: input === undefined || input === "" ? "ignore" : Stream.make(new TextEncoder().encode(input)),
    forceKillAfter: Duration.millis(graceMs)
  })

type Exit = Pick<Ended, "exitCode" | "signal">

const exitOf = (handle: ChildProcessHandle): Effect.Effect<Exit, PlatformError> =>
  Effect.matchEffect(handle.exitCode, {
    onSuccess: (exitCode): Effect.Effect<Exit> => Effect.succeed({ exitCode, signal: null }),
    onFailure: (error): Effect.Effect<Exit, PlatformError> =>
      isOf<EndedBySignal>(error.cause, "EndedBySignal")
        ? Effect.succeed({ exitCode: null, signal: error.cause.signal })
        : Effect.fail(error)
  })

const isOf = <A extends { readonly _tag: string }>(cause: unknown, tag: A["_tag"]): cause is A =>
  Predicate.isTagged(cause, tag)

/** Messages of the port hold the command line and paths of the machine; they are not for models. */
const notRun = (error: PlatformError): NotRun =>
  isOf<NotStarted>(error.cause, "NotStarted")
    ? { reason: error.cause.reason, detail: error.cause.detail }
    : { reason: "Unstartable", detail: `it cannot be run (${error.reason._tag})` }

/** Reads the outputs, and kills the command that writes too much. */
const kept = ({ keep, most }: Task) => {
  const chunks: { readonly stdout: Array<Uint8Array>; readonly stderr: Array<Uint8Array> } = { stdout: [], stderr: [] }
  const room = { stdout: keep, stderr: keep }
  let written = 0
  let over = false
  let cut = false
  const take = (handle: ChildProcessHandle, name: "stdout" | "stderr", chunk: Uint8Array) => {
    written += chunk.length
    if (room[name] > 0) chunks[name].push(chunk.slice(0, room[name]))
    if (chunk.length > room[name]) cut = true
    room[name] = Math.max(0, room[name] - chunk.length)
    if (written <= most || over) return Effect.void
    over = true
    return Effect.ignore(handle.kill({ killSignal: "SIGKILL" }))
  }
  return {
    from: (handle: ChildProcessHandle, name: "stdout" | "stderr") =>
      Stream.runForEach(handle[name], (chunk) => take(handle, name, chunk)),
    taken: () => ({ stdout: joined(chunks.stdout), stderr: joined(chunks.stderr), cut, over })
  }
}
