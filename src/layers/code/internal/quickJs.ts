/** The engine on quickjs-wasi: each program in a thread of its own, started by the I/O thread, so that both edges can wait for it. */
import { createRequire } from "node:module"
import * as Effect from "effect/Effect"
import { Changes } from "../../../internal/changes.ts"
import { CodeEngineError, type Program, type Running, type Turn } from "../../../services/CodeEngine.ts"
import { isSync, SyncBridge } from "../../../services/SyncBridge.ts"
import * as IoProgram from "../../internal/io/program.ts"
import { source as host } from "./threads/codeHost.generated.ts"
import { source } from "./threads/codeMain.generated.ts"
import type { FromHost, HostArgs } from "./threads/protocol.ts"

/** Where the engine is installed. */
export interface Files {
  readonly module: string
  readonly wasm: string
}

const install = "Install it: npm install quickjs-wasi"

/** Finds quickjs-wasi alongside this module, or the bundle that it is in. */
export const find: Effect.Effect<Files, CodeEngineError> = Effect.try({
  try: () => {
    const from = createRequire(import.meta.url)
    return { module: from.resolve("quickjs-wasi"), wasm: from.resolve("quickjs-wasi/quickjs.wasm") }
  },
  catch: () => new CodeEngineError({ problem: "quickjs-wasi is not installed", remedy: install })
})

/** Starts a program. */
export const start = Effect.fnUntraced(function* (files: Files, program: Program) {
  if ((yield* isSync) && (yield* SyncBridge) === undefined) {
    return yield* new CodeEngineError({
      problem: "Effect.runSync cannot wait for its thread",
      remedy: "Provide SyncEdge.layer, or run the program with Effect.runPromise"
    })
  }
  const arrived: Array<FromHost> = []
  const arrivals = new Changes()
  const arrive = (message: FromHost) => {
    arrived.push(message)
    arrivals.notify()
  }
  const args: HostArgs = { given: { ...files, program }, source }
  const own = yield* Effect.acquireRelease(
    IoProgram.start(host, args, (event) =>
      arrive(event._tag === "Message" ? (event.message as FromHost) : { type: "turn", turn: lost(event.message) })
    ),
    (own) =>
      Effect.suspend(() => {
        own.send("stop")
        return own.release
      })
  )
  const next: Effect.Effect<Turn> = Effect.suspend(() => {
    const message = arrived.shift()
    if (message !== undefined) {
      return message.type === "turn"
        ? Effect.succeed(message.turn)
        : Effect.die(new CodeEngineError({ problem: message.message, remedy: install }))
    }
    return Effect.andThen(own.wait(arrivals.next), next)
  })
  const running: Running = {
    next,
    answer: (n, isFailure, json) => Effect.sync(() => own.send({ n, isFailure, json }))
  }
  return running
})

const lost = (error: string): Turn => ({ calls: [], console: "", end: { _tag: "Stopped", reason: "Lost", error } })
