/**
 * Files that are loaded in a process of their own, for `Effect.runSync`: a blocked thread can wait for the I/O thread, and that holds the
 * process. A thread that ends while the library is loaded would take the whole process with it.
 */
import { createRequire } from "node:module"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { isSync, SyncBridge } from "../../../services/SyncBridge.ts"
import * as Program from "../../internal/io/program.ts"
import { source as child } from "./childMain.generated.ts"
import type { Ask } from "./engine.ts"
import type { FromHost, ToHost } from "./hostProgram.ts"
import { source as hostProgram } from "./hostProgram.generated.ts"
import { type Chunk, type Failure, keyOf, type Source } from "./protocol.ts"

/** The program runs on neither edge, so that nothing could wait. */
export class NoEdge extends Error {}

const noEdge =
  "llama.cpp gives promises, which Effect.runSync cannot wait for: provide SyncEdge.layer, or run the program with Effect.runPromise"

interface Call {
  readonly onChunk: (chunk: Chunk) => void
  readonly answer: Deferred.Deferred<unknown, Failure>
}

/** The process of a file, for those that use it. */
interface Host {
  users: number
  program: Program.Program | undefined
  /** Set once it has ended. */
  ended: Failure | undefined
  readonly calls: Map<number, Call>
  readonly closed: Deferred.Deferred<void>
  readonly isLoaded: Deferred.Deferred<unknown, Failure>
}

const hosts = new Map<string, Host>()
const counts = { processes: 0 }

/** How many processes have been started, and how many run now. */
export const processes = (): { readonly started: number; readonly now: number } => ({
  started: counts.processes,
  now: hosts.size
})

let nextId = 0

const ignore = (): void => {}

const receive = (key: string, host: Host, message: FromHost): void => {
  if (message.type === "closed") {
    const said = message.stderr.trim().slice(-500)
    return end(key, host, { message: `the process of the model has ended${said === "" ? "" : `: ${said}`}` })
  }
  const call = host.calls.get(message.id)
  if (call === undefined) return
  if (message.type === "chunk") return call.onChunk(message.chunk)
  host.calls.delete(message.id)
  Deferred.doneUnsafe(
    call.answer,
    message.type === "done" ? Effect.succeed(message.value) : Effect.fail(message.failure)
  )
}

/** What waits for the process fails, and the next user starts another. */
const end = (key: string, host: Host, failure: Failure): void => {
  host.ended = failure
  if (hosts.get(key) === host) hosts.delete(key)
  for (const { answer } of host.calls.values()) Deferred.doneUnsafe(answer, Effect.fail(failure))
  host.calls.clear()
  Deferred.doneUnsafe(host.closed, Effect.void)
}

/** Asks a process, and waits for the answer at the edge of the caller. */
const asking =
  (host: Host): Ask =>
  // The process answers with what the question asks for.
  (question, onChunk = ignore) =>
    Effect.flatMap(Program.waitHere, (wait) => {
      if (host.ended !== undefined) return Effect.fail(host.ended)
      const id = nextId++
      const answer = Deferred.makeUnsafe<unknown, Failure>()
      host.calls.set(id, { onChunk, answer })
      tell(host, { id, ...question })
      const answered = wait(Deferred.await(answer)) as Effect.Effect<never, Failure>
      return Effect.onInterrupt(answered, () => {
        tell(host, { id, type: "abort" })
        // What it is about is free once the answer has come.
        return Effect.exit(answered)
      })
    })

const tell = (host: Host, message: ToHost): void => host.program?.send(message)

/** The process of a file, which is started and loads the file for the first user. */
const take = (key: string, source: Source, library: string): Effect.Effect<Host> =>
  Effect.suspend(() => {
    const known = hosts.get(key)
    if (known !== undefined) {
      known.users++
      return Effect.succeed(known)
    }
    const host: Host = {
      users: 1,
      program: undefined,
      ended: undefined,
      calls: new Map(),
      closed: Deferred.makeUnsafe(),
      isLoaded: Deferred.makeUnsafe()
    }
    hosts.set(key, host)
    counts.processes++
    const started = Program.start(hostProgram, { child }, (event) =>
      event._tag === "Failed"
        ? end(key, host, { message: event.message, code: event.code })
        : receive(key, host, event.message as FromHost)
    )
    return Effect.map(started, (program) => {
      host.program = program
      const id = nextId++
      host.calls.set(id, { onChunk: ignore, answer: host.isLoaded })
      tell(host, { id, type: "load", library, source })
      return host
    })
  })

/** The last user ends the process. */
const leave = (key: string, host: Host): Effect.Effect<void> =>
  Effect.flatMap(Program.waitHere, (wait) => {
    host.users--
    if (host.users > 0) return Effect.void
    if (hosts.get(key) === host) hosts.delete(key)
    if (host.ended === undefined) tell(host, { type: "close" })
    return Effect.andThen(wait(Deferred.await(host.closed)), host.program?.release ?? Effect.void)
  })

/** Whether a process has the file. */
export const runs = (source: Source): boolean => hosts.has(keyOf(source))

/** A file, for the scope. Fails with {@link NoEdge} where nothing could wait for it. */
export const weights = (source: Source): Effect.Effect<Ask, unknown, Scope.Scope> =>
  Effect.gen(function* () {
    if ((yield* isSync) && (yield* SyncBridge) === undefined) return yield* Effect.fail(new NoEdge(noEdge))
    const library = yield* Effect.try({
      try: () => createRequire(import.meta.url).resolve("node-llama-cpp"),
      catch: (error) => error
    })
    const key = keyOf(source)
    const host = yield* Effect.acquireRelease(take(key, source, library), (host) => leave(key, host))
    const wait = yield* Program.waitHere
    yield* wait(Deferred.await(host.isLoaded))
    return asking(host)
  })
