/** Commands that are functions of the program, as Effect's port to processes. Nothing is started. */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as FileSystem from "effect/FileSystem"
import * as Queue from "effect/Queue"
import * as Sink from "effect/Sink"
import * as Stream from "effect/Stream"
import * as Spawner from "effect/process/ChildProcessSpawner"
import { messageOf } from "../../../internal/message.ts"
import { endedBy, notStarted } from "../../internal/process/failures.ts"
import { spawner, variablesOf, wordsOf } from "../../internal/process/plainCommand.ts"
import { outputs } from "../../internal/process/outputs.ts"

/** What a command of memory is given. */
export interface Call {
  /** Reads standard input, as a whole: waits until it has ended. */
  readonly stdin: Effect.Effect<string>
  readonly cwd: string
  readonly env: Readonly<Record<string, string>>
  readonly files: FileSystem.FileSystem
}

/** What a command of memory writes, and its exit code. A text is its standard output. */
export type Wrote =
  | string
  | {
      readonly stdout?: string | undefined
      readonly stderr?: string | undefined
      /** Default 0. */
      readonly exitCode?: number | undefined
    }

/** A command that is a function. What it fails with is its standard error, with exit code 1. */
export type Command = (args: ReadonlyArray<string>, call: Call) => Effect.Effect<Wrote, unknown>

/** A spawner of these commands. */
export const make = (commands: Readonly<Record<string, Command>>, files: FileSystem.FileSystem) =>
  spawner(
    Effect.fnUntraced(function* (command, hasInput) {
      const [name, ...args] = wordsOf(command)
      const run = Object.hasOwn(commands, name) ? commands[name] : undefined
      if (run === undefined) {
        const known = Object.keys(commands).join(", ") || "none"
        return yield* notStarted("Unstartable", `this sandbox has no command "${name}"; its commands: ${known}`)
      }
      const queue = yield* Queue.unbounded<Uint8Array, Cause.Done>()
      const stdin = Stream.mkString(Stream.decodeText(hasInput ? Stream.fromQueue(queue) : Stream.empty))
      const call = { stdin, cwd: command.options.cwd ?? "/", env: variablesOf(command), files }
      return yield* handleOf(
        Effect.suspend(() => run(args, call)),
        queue
      )
    })
  )

const handleOf = Effect.fnUntraced(function* (
  running: Effect.Effect<Wrote, unknown>,
  queue: Queue.Queue<Uint8Array, Cause.Done>
) {
  const done = yield* Deferred.make<Exit.Exit<Wrote, unknown>>()
  const fiber = yield* Effect.forkScoped(
    Effect.onExit(running, (exit) => Deferred.succeed(done, exit)),
    { startImmediately: true }
  )
  const outcome = Effect.map(Deferred.await(done), wroteBy)
  const output = (name: "stdout" | "stderr") =>
    Stream.fromEffect(Effect.map(outcome, (wrote) => new TextEncoder().encode(wrote[name]))).pipe(
      Stream.filter((bytes) => bytes.length > 0)
    )
  const [stdout, stderr] = [output("stdout"), output("stderr")]
  return Spawner.makeHandle({
    pid: Spawner.ProcessId(1),
    exitCode: Effect.flatMap(outcome, ({ exitCode, signal }) =>
      signal === undefined ? Effect.succeed(Spawner.ExitCode(exitCode)) : Effect.fail(endedBy(signal))
    ),
    isRunning: Effect.map(Deferred.isDone(done), (isDone) => !isDone),
    kill: () => Effect.asVoid(Fiber.interrupt(fiber)),
    stdin: Sink.ensuring(
      Sink.forEach((bytes: Uint8Array) => Queue.offer(queue, bytes)),
      Queue.end(queue)
    ),
    ...outputs(stdout, stderr)
  })
})

const wroteBy = (exit: Exit.Exit<Wrote, unknown>) => {
  const nothing = { stdout: "", stderr: "", exitCode: 0, signal: undefined }
  if (Exit.isSuccess(exit)) {
    const wrote = typeof exit.value === "string" ? { stdout: exit.value } : exit.value
    const { exitCode = 0, stderr = "", stdout = "" } = wrote
    return { stdout, stderr, exitCode, signal: undefined }
  }
  if (Cause.hasInterruptsOnly(exit.cause)) return { ...nothing, signal: "SIGTERM" }
  return { ...nothing, stderr: messageOf(Cause.squash(exit.cause)), exitCode: 1 }
}
