/**
 * The channel to the program of a connection: in this thread on the async edge, in the I/O thread on the sync edge.
 */
import * as Effect from "effect/Effect"
import { messageOf } from "../../../internal/message.ts"
import * as Program from "../../internal/io/program.ts"
import { isSync, SyncBridge } from "../../../services/SyncBridge.ts"
import type { FromHost, Problem, ToHost } from "./protocol.ts"
import { source } from "./connectionProgram.generated.ts"
import * as SdkClient from "./sdkClient.ts"
import * as Sdk from "./sdkLoader.ts"

/** What a connection is spoken to by. */
export interface Channel {
  readonly send: (message: ToHost) => void
  /** Runs what waits for a message, so that the edge knows of it. */
  readonly wait: <A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, E>
  /** Forgets the program. It must have said `closed` before. */
  readonly release: Effect.Effect<void>
}

/** Starts a program; `receive` is called with its messages, until `closed`. Fails with a text. */
export const open = (receive: (message: FromHost) => void, inProcess: boolean): Effect.Effect<Channel, string> =>
  Effect.gen(function* () {
    const bridge = yield* SyncBridge
    const sync = yield* isSync
    if (!sync) {
      const sdk = yield* Effect.tryPromise({ try: Sdk.load, catch: (error) => notInstalled(error) })
      const send = SdkClient.start(sdk, receive)
      return { send, wait: (effect) => effect, release: Effect.void }
    }
    if (inProcess) {
      return yield* Effect.fail(
        "a server object answers by promises, which Effect.runSync cannot wait for; run the program with Effect.runPromise, or the server as a process"
      )
    }
    if (bridge === undefined) {
      return yield* Effect.fail(
        "Effect.runSync needs the sync edge for it; provide SyncEdge.layer, or run the program with Effect.runPromise"
      )
    }
    const files = yield* Effect.try({ try: Sdk.files, catch: (error) => notInstalled(error) })
    return yield* Program.start(source, files, (event) => {
      if (event._tag === "Message") return receive(event.message as FromHost)
      // The program is gone, with its connection.
      const { code, message } = event
      const problem: Problem = { message, code, kind: "connection", executed: "unknown" }
      receive({ type: "openFailed", problem, end: undefined })
      receive({ type: "down", problem, end: undefined })
      receive({ type: "closed", stderr: undefined })
    })
  })

const notInstalled = (error: unknown): string =>
  `@modelcontextprotocol/sdk cannot be loaded. Install it: npm install @modelcontextprotocol/sdk (${messageOf(error)})`
