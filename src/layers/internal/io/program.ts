/** Programs of other modules in the I/O thread, as Effects. It touches the I/O thread. */
import * as Effect from "effect/Effect"
import { SyncBridge } from "../../../services/SyncBridge.ts"
import * as IoWorker from "./ioWorker.ts"
import { noEdge, waiting } from "./waiting.ts"

/** What a program says, or that it could not be started or its thread is gone; then it says nothing more. */
export type Heard =
  | { readonly _tag: "Message"; readonly message: unknown }
  | { readonly _tag: "Failed"; readonly message: string; readonly code: string | undefined }

/** A program that runs. Messages are what can be sent to another thread. */
export interface Program {
  readonly send: (message: unknown) => void
  /** Runs what waits for a message: only what is waited for keeps a blocked run going. */
  readonly wait: <A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, E>
  /** Forgets the program: it hears no more and is heard no more. */
  readonly release: Effect.Effect<void>
}

/**
 * The text of a program that holds functions of ours by their own text, such as `return (${f.toString()})(require, post)`.
 * They may name nothing outside of themselves but what `body` defines.
 */
export const sourceOf = (body: string): string => `const helper = (f) => f
// A bundler may have wrapped functions to keep their names, by a helper of its own whose name nobody knows: what is
// defined nowhere else is taken for that.
const isHelper = (name) => typeof name === "string" && name !== "require" && name !== "post" && !(name in globalThis)
const helpers = new Proxy({}, {
  has: (_, name) => isHelper(name),
  get: (_, name) => name === Symbol.unscopables ? undefined : helper
})
with (helpers) {
${body}
}
`

/**
 * Starts a program from its text: the body of a function of `require` and `post` that gives what hears messages.
 * `hear` is called for each message, in order.
 */
export const start = (source: string, hear: (heard: Heard) => void): Effect.Effect<Program> =>
  Effect.map(SyncBridge, (bridge) => {
    const worker = IoWorker.get()
    const id = worker.open({ type: "program", source }, (message) => {
      if (message.type === "told") hear({ _tag: "Message", message: message.data })
      else if (message.type === "failed") hear({ _tag: "Failed", message: message.message, code: message.code })
    })
    const edge = bridge === undefined ? noEdge : { adopt: bridge.enter, expect: bridge.expect }
    return {
      send: (message) => worker.say(id, message),
      wait: waiting(edge, worker),
      release: Effect.sync(() => worker.close(id))
    }
  })
