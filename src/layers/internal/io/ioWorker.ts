/**
 * The I/O thread as the main thread sees it: started once, shared, counted, replaced after a crash.
 */
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from "node:worker_threads"
import type * as Schema from "effect/Schema"
import { ThreadsForbidden } from "../../../RunError.ts"
import type { MessageSource } from "../../../services/SyncBridge.ts"
import { changedCertificates } from "./certificates.ts"
import { networkFlags } from "./flags.ts"
import { lookMs, Pulse } from "./pulse.ts"
import { source as ioMain } from "./threads/ioMain.generated.ts"
import { source as toolMain } from "./threads/toolMain.generated.ts"

/** A message of the thread about one request, call of a tool or program. */
export type Message = FetchMessage | CallMessage | ProgramMessage

/** A message of the thread about one HTTP request. */
export type FetchMessage =
  | {
      readonly type: "head"
      readonly status: number
      readonly url: string
      readonly headers: ReadonlyArray<readonly [string, string]>
    }
  | { readonly type: "chunk"; readonly data: Uint8Array }
  | { readonly type: "resolved"; readonly addresses: ReadonlyArray<string> }
  | { readonly type: "end" }
  | Failed

/** It failed; the code is `EWORKER` when the I/O thread itself ended. */
interface Failed {
  readonly type: "failed"
  readonly message: string
  readonly code: string | undefined
}

/** A message of the thread about one call of a tool that runs in a thread of its own. */
export type CallMessage =
  | { readonly type: "progress"; readonly value: Schema.Json }
  | { readonly type: "result"; readonly value: Schema.Json }
  /** The tool failed; `failure` is what the model sees. */
  | { readonly type: "threw"; readonly name: string; readonly message: string; readonly failure: Schema.Json }
  /** The module could not be loaded, or has no such tool. */
  | { readonly type: "unusable"; readonly message: string }
  /** The tool's thread ended before it had answered. */
  | { readonly type: "crashed"; readonly reason: "exit" | "memory" | "uncaught"; readonly message: string }
  /** The tool's thread has ended, or is free again, after {@link IoWorker.cancel}. */
  | { readonly type: "stopped" }
  | Failed

/** A message of a program of another module. */
export type ProgramMessage = { readonly type: "message"; readonly data: unknown } | Failed

/** A request to the thread. */
export type Request =
  | {
      readonly type: "fetch"
      readonly credit: number
      readonly method: string
      readonly url: string
      readonly headers: object
      readonly body: unknown
      readonly address: string | undefined
      readonly redirect: string | undefined
    }
  | { readonly type: "resolve"; readonly host: string }
  | { readonly type: "program"; readonly source: string; readonly args: unknown }
  | {
      readonly type: "call"
      readonly pool: PoolOptions
      readonly url: string
      readonly export: string
      readonly params: unknown
      readonly context: object
    }

/** The threads that a call may use. Calls with the same key share them. */
export interface PoolOptions {
  readonly key: number
  readonly size: number
  readonly idleMs: number
  readonly graceMs: number
  readonly resourceLimits: object | undefined
  readonly execArgv: ReadonlyArray<string>
}

/** Receives the messages of one request. */
export type Handler = (message: Message) => void
type Posted = Message & { readonly id: number }

/** Messages that nothing follows. */
const last: ReadonlySet<Message["type"]> = new Set([
  "end",
  "failed",
  "resolved",
  "result",
  "threw",
  "unusable",
  "crashed",
  "stopped"
])

/** How many chunks of a body may be on their way before the thread waits for the reader. */
export const window = 32

/** An unused thread counts as dead when its heartbeat has not moved for so long. It moves every 200 ms. */
const deadAfterMs = 3000
/** How long an unused thread is kept for the next run. */
const idleMs = 30_000

class IoWorker implements MessageSource {
  readonly #worker: Worker
  readonly #port: MessagePort
  readonly #words: Int32Array
  readonly #handlers = new Map<number, Handler>()
  #nextId = 0
  #waits = 0
  #lastWord = 0
  #beat = 0
  #beatAt = performance.now()
  readonly #pulse = new Pulse()
  #dead = false
  readonly #looking: NodeJS.Timeout

  constructor() {
    const memory = new SharedArrayBuffer(12)
    this.#words = new Int32Array(memory)
    const { port1, port2 } = new MessageChannel()
    this.#port = port1
    this.#worker = new Worker(ioMain, {
      eval: true,
      name: "troupe-io",
      workerData: { memory, port: port2, ca: changedCertificates(), toolMain },
      transferList: [port2],
      execArgv: networkFlags(process.execArgv)
    })
    this.#worker.unref()
    this.#port.on("message", (message: Posted) => this.#dispatch(message))
    this.#port.unref()
    this.#worker.on("error", () => this.#die())
    this.#worker.on("exit", () => this.#die())
    // For fibers that Node's event loop serves; a blocked thread looks by itself.
    this.#looking = setInterval(() => this.#look(), lookMs)
    this.#looking.unref()
  }

  get ended(): boolean {
    return this.#dead
  }

  /** How many requests are open: answered or not, read or not. */
  get pending(): number {
    return this.#handlers.size
  }

  /** True when the thread has ended, or seems to have, and has not reported it. */
  get gone(): boolean {
    if (Atomics.load(this.#words, 2) === 1) return true
    return this.#handlers.size === 0 && !this.#beats() && performance.now() - this.#beatAt > deadAfterMs
  }

  /** Sends a request; `handler` receives its messages until {@link close}. */
  open(request: Request, handler: Handler): number {
    const id = this.#nextId++
    this.#port.postMessage({ ...request, id })
    this.#handlers.set(id, handler)
    return id
  }

  /** Says something to a program. */
  say(id: number, data: unknown): void {
    this.#port.postMessage({ type: "tell", id, data })
  }

  credit(id: number, n: number): void {
    this.#port.postMessage({ type: "credit", id, n })
  }

  /** Counts fibers that begin (1) and end (-1) to wait for a message. Only they keep the process alive. */
  expect(change: 1 | -1): void {
    this.#waits += change
    if (this.#waits === 0) {
      this.#port.unref()
      this.#worker.unref()
    } else if (this.#waits === 1 && change === 1) {
      this.#pulse.begin(performance.now())
      // Where the event loop delivers instead of a blocked thread, it must stay alive for the answer, or the end.
      this.#port.ref()
      this.#worker.ref()
    }
  }

  /** Forgets a request, and aborts it on the wire when it is still under way. */
  close(id: number): void {
    if (this.#handlers.delete(id)) this.#port.postMessage({ type: "abort", id })
  }

  /** Stops the call of a tool. When its thread is free or gone, the handler receives `stopped`, or the call's result. */
  cancel(id: number): void {
    if (this.#handlers.has(id)) this.#port.postMessage({ type: "cancel", id })
  }

  /** Ends the threads of a pool that is not used any more. */
  closePool(key: number): void {
    this.#port.postMessage({ type: "close-pool", key })
  }

  /** Delivers what has come without waiting for the event loop. True when there was something. */
  poll(): boolean {
    const word = Atomics.load(this.#words, 0)
    let progressed = false
    if (word !== this.#lastWord) {
      this.#lastWord = word
      for (let got = receiveMessageOnPort(this.#port); got !== undefined; got = receiveMessageOnPort(this.#port)) {
        this.#dispatch(got.message as Posted)
        progressed = true
      }
    }
    return progressed || this.#look()
  }

  /** Blocks until there may be a message to {@link poll}, for `ms` at most. */
  wait(ms: number): void {
    Atomics.wait(this.#words, 0, this.#lastWord, Math.min(ms, lookMs))
  }

  /** Ends the thread. Requests that are still open fail. */
  stop(): void {
    this.#die()
    this.#port.close()
  }

  /** @internal For tests: makes the thread do something, such as `"crash"` or `"block"`. */
  tell(type: string): void {
    this.#port.postMessage({ type })
  }

  #dispatch(message: Posted): void {
    const handler = this.#handlers.get(message.id)
    if (last.has(message.type)) this.#handlers.delete(message.id)
    handler?.(message)
  }

  /** Fails what waits for a thread that has ended, or hangs. True when it has. */
  #look(): boolean {
    if (this.#waits === 0) {
      this.#beats()
      return false
    }
    if (Atomics.load(this.#words, 2) === 1) {
      this.#die()
      return true
    }
    if (!this.#pulse.isDead(Atomics.load(this.#words, 1), performance.now())) return false
    this.#die()
    return true
  }

  #beats(): boolean {
    const beat = Atomics.load(this.#words, 1)
    if (beat === this.#beat) return false
    this.#beat = beat
    this.#beatAt = performance.now()
    return true
  }

  #die(): void {
    if (this.#dead) return
    this.#dead = true
    if (current === this) current = undefined
    clearInterval(this.#looking)
    const message =
      "the I/O thread of the sync edge ended while the request was under way; the next request starts another"
    const handlers = [...this.#handlers.values()]
    this.#handlers.clear()
    for (const handler of handlers) handler({ type: "failed", message, code: "EWORKER" })
    void this.#worker.terminate()
  }
}

// One thread for the process: the only state of ours in module scope, and it is counted.
let current: IoWorker | undefined
let users = 0
let idle: NodeJS.Timeout | undefined

/** Counts one more user of the thread. */
export const acquire = (): void => {
  users++
  clearTimeout(idle)
  idle = undefined
}

/** Counts one user less. A thread without users never keeps the process alive, and ends after a while. */
export const release = (): void => {
  users--
  endWhenIdle()
}

const endWhenIdle = (): void => {
  if (users > 0 || current === undefined || idle !== undefined) return
  idle = setTimeout(() => {
    idle = undefined
    if (users > 0) return
    if (current?.pending === 0) current.stop()
    else endWhenIdle()
  }, idleMs)
  idle.unref()
}

/** The thread, started when it is first asked for and after a crash. Throws `ThreadsForbidden`. */
export const get = (): IoWorker => {
  if (current?.gone === true) current.stop()
  if (current === undefined) {
    // Set under `--permission` only. The types do not know it.
    const { permission } = process as { readonly permission?: { readonly has: (scope: string) => boolean } }
    if (permission?.has("worker") === false) throw new ThreadsForbidden()
    current = new IoWorker()
  }
  // Requests outside of the edge are not counted as users.
  endWhenIdle()
  return current
}

/** The thread if it runs. */
export const peek = (): IoWorker | undefined => current

/** @internal For tests. */
export const userCount = (): number => users
