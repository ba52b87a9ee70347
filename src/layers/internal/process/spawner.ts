/**
 * Effect's port to processes, by our own processes: a group that is gone when the scope has closed, in this thread or in the
 * I/O thread of the sync edge. A launch says what really is started for a command.
 */
import * as path from "node:path"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as PlatformError from "effect/PlatformError"
import type * as Scope from "effect/Scope"
import * as Sink from "effect/Sink"
import * as Stream from "effect/Stream"
import type { CommandOptions, KillOptions, StandardCommand } from "effect/process/ChildProcess"
import * as Spawner from "effect/process/ChildProcessSpawner"
import { Changes } from "../../../internal/changes.ts"
import * as Program from "../io/program.ts"
import { isSync, SyncBridge } from "../../../services/SyncBridge.ts"
import { type FromProcess, host, type Output, type ToProcess } from "./child.ts"
import { source as childProgram } from "./childProgram.generated.ts"
import { endedBy, notStarted } from "./failures.ts"
import type { Leader } from "./group.ts"
import { spawner } from "./plainCommand.ts"
import { outputs } from "./outputs.ts"

type PlatformFailure = PlatformError.PlatformError

/** What is started for a command. */
export interface Launch extends Leader {
  /** The name of the command, for messages. */
  readonly name: string
  /** Ends what the command started elsewhere, before the process here is signalled. */
  readonly onKill?: ((signal: NodeJS.Signals) => Effect.Effect<void>) | undefined
}

/** Says what is started. The scope is that of the process: its finalizers run when it is gone. */
export type Prepare = (command: StandardCommand) => Effect.Effect<Launch, PlatformFailure, Scope.Scope>

const defaultGraceMs = 2000

/** A spawner of what `prepare` says. */
export const make = (prepare: Prepare) =>
  spawner(
    Effect.fnUntraced(function* (command, hasInput) {
      const launch = yield* prepare(command)
      const line = yield* open(launch, command.options)
      const handle = handleOf(line, launch)
      if (!hasInput) line.send({ type: "input", bytes: undefined })
      yield* connect(handle, command.options)
      return handle
    })
  )

type Settled = Effect.Effect<Spawner.ExitCode, PlatformFailure>

/** A process that has started. */
interface Line {
  readonly pid: number
  readonly send: (message: ToProcess) => void
  readonly wait: <A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, E>
  readonly outcome: () => Settled | undefined
  /** Waits for its end; interrupting this does not end the process. */
  readonly end: Settled
  readonly take: (output: Output) => Effect.Effect<Uint8Array | undefined>
  /** Called before each piece of input; `written` waits until it has been taken. */
  readonly writing: () => void
  readonly written: Effect.Effect<void>
}

/** Starts a process. Closing the scope kills it, and ends when it is gone. */
const open = Effect.fnUntraced(function* (launch: Launch, options: CommandOptions) {
  const sync = yield* isSync
  const bridge = yield* SyncBridge
  if (sync && bridge === undefined) {
    const detail = "Effect.runSync needs the sync edge to run it; provide SyncEdge.layer, or use Effect.runPromise"
    return yield* notStarted("Edge", detail)
  }
  const state = received()
  const thread = yield* Effect.acquireRelease(
    sync ? inIoThread(state.receive, state.lose) : Effect.sync(() => inThisThread(state.receive)),
    ({ release }) => release
  )
  const { send, wait } = thread
  const kill = Effect.gen(function* () {
    const name = options.killSignal ?? "SIGTERM"
    if (state.outcome() === undefined) yield* launch.onKill?.(asSignal(name)) ?? Effect.void
    send({ type: "kill", name: asSignal(name), graceMs: graceOf(options) })
    if (state.pid() !== undefined || state.outcome() === undefined) yield* Effect.exit(wait(state.end))
  })
  yield* Effect.acquireRelease(
    Effect.sync(() => {
      const { name: _name, onKill: _onKill, ...leader } = launch
      send({ type: "run", command: leader })
    }),
    () => kill
  )
  yield* wait(state.started(launch.name))
  const line: Line = { ...state, pid: state.pid() ?? 0, send, wait, take: (output) => take(state, thread, output) }
  return line
})

const asSignal = (signal: string): NodeJS.Signals => signal as NodeJS.Signals
const graceOf = ({ forceKillAfter }: KillOptions): number =>
  forceKillAfter === undefined ? defaultGraceMs : Duration.toMillis(Duration.fromInputUnsafe(forceKillAfter))

const unstartableAs = (name: string, code: string): PlatformFailure => {
  const detail = `it cannot be started (${code}); is "${path.basename(name)}" there, and may it be run?`
  return notStarted("Unstartable", detail)
}

/** What has come from a process, and who waits for it. */
const received = () => {
  const chunks: Record<Output, Array<Uint8Array>> = { stdout: [], stderr: [] }
  const over = new Set<Output>()
  const changes = new Changes()
  /** What `read` finds, once it finds something. */
  const until = <A>(read: () => Effect.Effect<A, PlatformFailure> | undefined): Effect.Effect<A, PlatformFailure> =>
    Effect.suspend(() => read() ?? Effect.andThen(changes.next, () => until(read)))
  let pid: number | undefined
  let outcome: Settled | undefined
  let unstartable: string | undefined
  let pending = 0
  const fail = (error: PlatformFailure) => {
    outcome ??= Effect.fail(error)
    over.add("stdout").add("stderr")
    pending = 0
    changes.notify()
  }
  return {
    receive: (message: FromProcess) => {
      if (message.type === "started") pid = message.pid
      else if (message.type === "written") pending--
      else if (message.type === "unstartable") {
        unstartable = message.code
        return fail(notStarted("Unstartable", message.code))
      } else if (message.type === "ended") outcome ??= exitOf(message)
      else if (message.bytes === undefined) over.add(message.output)
      else chunks[message.output].push(message.bytes)
      changes.notify()
    },
    lose: (detail: string) => fail(notStarted("Lost", detail)),
    pid: () => pid,
    outcome: () => outcome,
    started: (name: string) =>
      until<void>(() => {
        if (unstartable !== undefined) return Effect.fail(unstartableAs(name, unstartable))
        if (pid !== undefined) return Effect.void
        return outcome === undefined ? undefined : Effect.asVoid(outcome)
      }),
    end: until(() => outcome),
    next: (output: Output) => {
      const piece = () => {
        const chunk = chunks[output].shift()
        if (chunk !== undefined) return Effect.succeed(chunk)
        return over.has(output) ? Effect.succeed(undefined) : undefined
      }
      return Effect.orDie(until<Uint8Array | undefined>(piece))
    },
    writing: () => void pending++,
    written: Effect.orDie(until<void>(() => (pending <= 0 ? Effect.void : undefined)))
  }
}

const exitOf = ({ exitCode, signal }: Extract<FromProcess, { readonly type: "ended" }>): Settled => {
  if (exitCode !== null) return Effect.succeed(Spawner.ExitCode(exitCode))
  return Effect.fail(endedBy(signal ?? "unknown"))
}

interface Thread {
  readonly send: (message: ToProcess) => void
  readonly wait: <A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, E>
  readonly release: Effect.Effect<void>
}

const take = (state: ReturnType<typeof received>, { send, wait }: Thread, output: Output) =>
  Effect.map(wait(state.next(output)), (bytes) => {
    if (bytes !== undefined) send({ type: "taken", output })
    return bytes
  })

const inThisThread = (receive: (message: FromProcess) => void): Thread => ({
  send: host(receive),
  wait: (effect) => effect,
  release: Effect.void
})

const inIoThread = (receive: (message: FromProcess) => void, lose: (detail: string) => void): Effect.Effect<Thread> =>
  Program.start(childProgram, undefined, (event) => {
    if (event._tag === "Message") receive(event.message as FromProcess)
    // The thread's guard has killed it.
    else lose(`it was killed, as the thread that ran it is gone: ${event.message}`)
  })

const handleOf = (line: Line, { onKill }: Launch) => {
  const { end, outcome, pid, send, wait } = line
  const read = (output: Output): Stream.Stream<Uint8Array, PlatformFailure> =>
    Stream.fromPull(
      Effect.succeed(
        Effect.flatMap(line.take(output), (bytes) =>
          bytes === undefined ? Cause.done() : Effect.succeed([bytes] as const)
        )
      )
    )
  const write = (bytes: Uint8Array) =>
    Effect.suspend(() => {
      line.writing()
      send({ type: "input", bytes })
      return wait(line.written)
    })
  const signal = (name: NodeJS.Signals) =>
    Effect.andThen(
      onKill?.(name) ?? Effect.void,
      Effect.sync(() => send({ type: "signal", name }))
    )
  const gone = Effect.asVoid(Effect.exit(wait(end)))
  const kill = (options: KillOptions = {}) =>
    Effect.suspend(() => {
      // One that has ended needs no signal.
      if (outcome() !== undefined) return Effect.void
      const first = Effect.andThen(signal(asSignal(options.killSignal ?? "SIGTERM")), gone)
      if (options.forceKillAfter === undefined) return first
      return Effect.timeoutOrElse(first, {
        duration: options.forceKillAfter,
        orElse: () => Effect.andThen(signal("SIGKILL"), gone)
      })
    })
  const [stdout, stderr] = [read("stdout"), read("stderr")]
  const closeInput = Effect.sync(() => send({ type: "input", bytes: undefined }))
  return Spawner.makeHandle({
    pid: Spawner.ProcessId(pid),
    exitCode: wait(end),
    isRunning: Effect.sync(() => outcome() === undefined),
    kill,
    stdin: Sink.ensuring(Sink.forEach(write), closeInput),
    ...outputs(stdout, stderr)
  })
}

/** Connects the outputs that the options of the command name. */
const connect = Effect.fnUntraced(function* (handle: Spawner.ChildProcessHandle, { stderr, stdout }: CommandOptions) {
  for (const [given, output] of [
    [stdout, handle.stdout],
    [stderr, handle.stderr]
  ] as const) {
    const target = typeof given === "object" && "stream" in given ? given.stream : given
    if (target === "ignore") yield* Effect.forkScoped(Effect.ignore(Stream.runDrain(output)))
    else if (Sink.isSink(target)) yield* Effect.forkScoped(Effect.ignore(Stream.run(output, target)))
  }
})
