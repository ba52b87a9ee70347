/** The engine on quickjs-wasi in the thread that asks: for browsers and workers, where nothing of Node is. */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import { absent } from "../../../internal/optional.ts"
import { messageOf } from "../../../internal/message.ts"
import { CodeEngineError, type Program, type Running, type Turn } from "../../../services/CodeEngine.ts"
import { isSync } from "../../../services/SyncBridge.ts"
import { type Machine, type Made, make } from "./threads/machine.ts"

/** A compiled `WebAssembly.Module`, which the types of some platforms do not know. */
type Compiled = object

/** The engine, compiled once for all programs. */
interface Engine {
  readonly module: Compiled
  readonly create: Made["create"]
}

/** The WebAssembly of `quickjs-wasi`: its bytes, or a compiled `WebAssembly.Module`. */
export type Wasm = ArrayBuffer | Uint8Array | Compiled

const compile = (bytes: ArrayBuffer | Uint8Array): Promise<Compiled> =>
  (globalThis as unknown as { readonly WebAssembly: { readonly compile: typeof compile } }).WebAssembly.compile(bytes)

/** Loads the engine. */
export const load = Effect.fnUntraced(function* (wasm: Wasm): Effect.fn.Return<Engine, CodeEngineError> {
  const { QuickJS } = yield* Effect.tryPromise({
    try: async () => {
      try {
        return await import("quickjs-wasi")
      } catch (error) {
        return absent(error)
      }
    },
    catch: (error) => new CodeEngineError({ problem: messageOf(error), remedy: "Install it: npm install quickjs-wasi" })
  })
  const module = yield* Effect.tryPromise({
    try: async () => (wasm instanceof ArrayBuffer || wasm instanceof Uint8Array ? await compile(wasm) : wasm),
    catch: (error) =>
      new CodeEngineError({ problem: messageOf(error), remedy: "Give it the file quickjs-wasi/quickjs.wasm" })
  })
  return { module, create: QuickJS.create.bind(QuickJS) as unknown as Made["create"] }
})

/** Starts a program. */
export const start = Effect.fnUntraced(function* ({ create, module }: Engine, program: Program) {
  if (yield* isSync) {
    return yield* new CodeEngineError({
      problem: "Effect.runSync cannot wait for an engine in its own thread",
      remedy: "Run the program with Effect.runPromise, or use CodeMode.layerQuickJs with SyncEdge.layer"
    })
  }
  const made = Effect.tryPromise({
    try: () => make(program, { create, wasm: module, worked: () => performance.now() }),
    catch: (error) =>
      new CodeEngineError({ problem: messageOf(error), remedy: "Give it the file quickjs-wasi/quickjs.wasm" })
  })
  const machine = yield* Effect.acquireRelease(made, (machine) => Effect.sync(machine.dispose))
  const turns = yield* Queue.unbounded<(machine: Machine) => Turn>()
  yield* Queue.offer(turns, (machine) => machine.start())
  const running: Running = {
    next: Effect.map(Queue.take(turns), (turn) => turn(machine)),
    answer: (n, isFailure, json) => Effect.asVoid(Queue.offer(turns, (machine) => machine.answer(n, isFailure, json)))
  }
  return running
})
