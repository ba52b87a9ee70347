/** Programs of other modules in the I/O thread, as Effects. */
import * as Effect from "effect/Effect"
import { SyncBridge } from "../../../services/SyncBridge.ts"
import * as IoWorker from "./ioWorker.ts"
import { noEdge, type Wait, waiting } from "./waiting.ts"

/** A message of a program, or its end: the program could not be started, or its thread is gone. */
export type ProgramEvent =
  | { readonly _tag: "Message"; readonly message: unknown }
  | { readonly _tag: "Failed"; readonly message: string; readonly code: string | undefined }

/** A program that runs. Messages are what can be sent to another thread. */
export interface Program {
  readonly send: (message: unknown) => void
  readonly wait: Wait
  /** Forgets the program: no message reaches it or comes from it any more. */
  readonly release: Effect.Effect<void>
}

/**
 * Starts a program from its text, a bundle of `npm run codegen`, with arguments that can be sent to another thread.
 * `onEvent` is called for each message, in order.
 */
export const start = (source: string, args: unknown, onEvent: (event: ProgramEvent) => void): Effect.Effect<Program> =>
  Effect.map(SyncBridge, (bridge) => {
    const worker = IoWorker.get()
    const id = worker.open({ type: "program", source, args }, (message) => {
      if (message.type === "message") onEvent({ _tag: "Message", message: message.data })
      else if (message.type === "failed") onEvent({ _tag: "Failed", message: message.message, code: message.code })
    })
    return {
      send: (message) => worker.say(id, message),
      wait: waiting(bridge ?? noEdge, worker),
      release: Effect.sync(() => worker.close(id))
    }
  })

/** Waits at the caller's edge, also for a program that another one has started. */
export const waitHere: Effect.Effect<Wait> = Effect.map(SyncBridge, (bridge) =>
  waiting(bridge ?? noEdge, IoWorker.get())
)
