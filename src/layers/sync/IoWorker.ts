/**
 * The I/O thread as the main thread sees it: started once, shared, counted, replaced after a crash. It touches
 * `node:worker_threads` only.
 */
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from "node:worker_threads"
import { workerSource } from "./workerSource.ts"

/** What the thread says of one request. */
export type Message =
  | {
      readonly type: "head"
      readonly id: number
      readonly status: number
      readonly url: string
      readonly headers: ReadonlyArray<readonly [string, string]>
    }
  | { readonly type: "chunk"; readonly id: number; readonly data: Uint8Array }
  | { readonly type: "end"; readonly id: number }
  | { readonly type: "failed"; readonly id: number; readonly message: string; readonly code: string | undefined }

/** How many chunks of a body may be on their way before the thread waits for the reader. */
export const window = 32

/** A thread that has not moved its heartbeat for so long, while a request waits, counts as dead. */
const deadAfterMs = 15_000
/** How long an unused thread is kept for the next run. */
const idleMs = 30_000

class IoWorker {
  readonly #worker: Worker
  readonly #port: MessagePort
  readonly words: Int32Array
  readonly #handlers = new Map<number, (message: Message) => void>()
  #nextId = 0
  #beat = 0
  #beatAt = 0
  #dead = false

  constructor() {
    const memory = new SharedArrayBuffer(12)
    this.words = new Int32Array(memory)
    const { port1, port2 } = new MessageChannel()
    this.#port = port1
    this.#worker = new Worker(workerSource, {
      eval: true,
      name: "troupe-io",
      workerData: { memory, port: port2 },
      transferList: [port2],
      // Flags such as --conditions or a loader are the main program's, and mean nothing here.
      execArgv: []
    })
    this.#worker.unref()
    this.#port.on("message", (message: Message) => this.#dispatch(message))
    this.#port.unref()
    this.#worker.on("error", () => this.#die())
    this.#worker.on("exit", () => this.#die())
  }

  get pending(): number {
    return this.#handlers.size
  }

  get dead(): boolean {
    return this.#dead
  }

  /** Sends a request; `handler` hears what becomes of it until {@link close}. */
  open(
    request: { readonly method: string; readonly url: string; readonly headers: object; readonly body: unknown },
    handler: (message: Message) => void
  ): number {
    const id = this.#nextId++
    if (this.#handlers.size === 0) {
      this.#beatAt = performance.now()
      // Where the event loop delivers instead of a blocked thread, it must stay alive for the answer.
      this.#port.ref()
    }
    this.#handlers.set(id, handler)
    this.#port.postMessage({ type: "fetch", id, credit: window, ...request })
    return id
  }

  credit(id: number, n: number): void {
    this.#port.postMessage({ type: "credit", id, n })
  }

  /** Forgets a request; aborts it on the wire when it is still under way. */
  close(id: number, abort: boolean): void {
    if (!this.#handlers.delete(id)) return
    if (abort) this.#port.postMessage({ type: "abort", id })
    if (this.#handlers.size === 0) this.#port.unref()
  }

  /** Delivers what has come without waiting for the event loop. True when there was something. */
  receive(): boolean {
    let progressed = false
    for (let got = receiveMessageOnPort(this.#port); got !== undefined; got = receiveMessageOnPort(this.#port)) {
      this.#dispatch(got.message as Message)
      progressed = true
    }
    return this.#checkLife() || progressed
  }

  stop(): void {
    this.#dead = true
    this.#port.close()
    void this.#worker.terminate()
  }

  /** @internal For tests: the thread ends as by a crash. */
  crash(): void {
    this.#port.postMessage({ type: "crash" })
  }

  #dispatch(message: Message): void {
    this.#handlers.get(message.id)?.(message)
  }

  #checkLife(): boolean {
    if (this.#handlers.size === 0) return false
    if (Atomics.load(this.words, 2) === 1) return this.#die()
    const beat = Atomics.load(this.words, 1)
    const now = performance.now()
    if (beat !== this.#beat) {
      this.#beat = beat
      this.#beatAt = now
    }
    return now - this.#beatAt > deadAfterMs && this.#die()
  }

  #die(): true {
    this.#dead = true
    if (current === this) current = undefined
    const message =
      "the I/O thread of the sync edge ended while the request was under way; it is started anew for the next one"
    for (const [id, handler] of this.#handlers) handler({ type: "failed", id, message, code: "EWORKER" })
    this.#handlers.clear()
    void this.#worker.terminate()
    return true
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
  if (users > 0 || current === undefined || idle !== undefined) return
  idle = setTimeout(() => {
    idle = undefined
    if (users === 0 && current?.pending === 0) {
      current.stop()
      current = undefined
    }
  }, idleMs)
  idle.unref()
}

/** The thread, started when it is first asked for and after a crash. */
export const get = (): IoWorker => (current ??= new IoWorker())

/** The thread if it runs. */
export const peek = (): IoWorker | undefined => current

/** @internal For tests. */
export const userCount = (): number => users
