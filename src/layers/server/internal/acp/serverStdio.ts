/** A server of ACP on standard input and output, which is kept for the protocol. It ends when standard input does. */
import * as NodeStream from "@effect/platform-node/NodeStream"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import * as Lines from "../../../internal/process/lines.ts"
import { takeOver, type Write } from "../../../internal/process/standardOutput.ts"
import { codes, failure, make, type Peer } from "./rpc.ts"
import { handlers } from "./serverRequests.ts"
import { make as makeSessions } from "./serverSessions.ts"
import { cancel, type ServedAgent } from "./serverTurn.ts"

/** What is served, and how much is taken. */
export interface Serving {
  readonly name: string
  readonly version: string
  readonly runner: ServedAgent
  readonly maxSessions: number
  readonly maxLineBytes: number
}

/** Serves in the background of the scope. Returns an Effect that waits for the end. */
export const serve = (serving: Serving): Effect.Effect<Effect.Effect<void>, never, Scope.Scope> =>
  Effect.gen(function* () {
    const scope = yield* Effect.flatMap(Effect.scope, Scope.fork)
    const write = yield* takeOver
    const gone = yield* Deferred.make<void>()
    const sessions = makeSessions(serving.maxSessions)
    const { name, runner, version } = serving
    const served = { name, version, runner, sessions, scope, peer: (): Peer<never> => peer }
    const send = yield* sender(write, () => Deferred.doneUnsafe(gone, Effect.void))
    const refused = (message: string) =>
      send(JSON.stringify({ jsonrpc: "2.0", id: null, error: { code: codes.parse, message } }))
    const unreadable = () => refused("It is not a message of JSON-RPC.")
    const peer = make<never>({ ...handlers(served), send, unreadable }, scope)
    yield* Effect.acquireRelease(
      Effect.sync(() => process.stdin.ref?.()),
      () => Effect.sync(() => process.stdin.unref?.())
    )
    const reading = Stream.runForEach(input(serving.maxLineBytes), (line) => {
      if (typeof line === "string") return peer.take(line)
      return line === Lines.notUtf8
        ? refused("The line is not UTF-8.")
        : refused(`The line has more than ${serving.maxLineBytes} bytes, and no more are accepted.`)
    })
    const ending = Effect.andThen(
      Effect.sync(() => peer.close(failure(codes.closed, "The editor is gone."))),
      Effect.forEach(sessions.all(), cancel, { concurrency: "unbounded", discard: true })
    )
    const fiber = yield* Effect.forkScoped(Effect.ensuring(Effect.raceFirst(reading, Deferred.await(gone)), ending))
    return Effect.asVoid(Fiber.await(fiber))
  })

/** The lines of standard input. One that breaks has ended. */
const input = (maxLineBytes: number): Stream.Stream<string | typeof Lines.notUtf8 | Lines.LongLine> =>
  Stream.suspend(() => {
    const lines = Lines.makeStrict(maxLineBytes)
    const bytes = NodeStream.fromReadable<Uint8Array, unknown>({
      evaluate: () => process.stdin,
      onError: (cause) => cause,
      closeOnDone: false
    }).pipe(Stream.catchCause(() => Stream.empty))
    return Stream.concat(
      Stream.flatMap(bytes, (chunk) => Stream.fromIterable(lines.read(chunk))),
      Stream.suspend(() => Stream.fromIterable(lines.rest()))
    )
  })

/** Writes line after line: an editor that is slow slows the run. */
const sender = (write: Write, onGone: () => void): Effect.Effect<(line: string) => Effect.Effect<void>> =>
  Effect.map(
    Semaphore.make(1),
    (turn) => (line) =>
      turn.withPermits(1)(
        Effect.callback<void>((resume) => {
          write(Buffer.from(`${line}\n`), (error) => {
            if (error !== undefined && error !== null) onGone()
            resume(Effect.void)
          })
        })
      )
  )
