/**
 * The program of the I/O thread. It needs nothing but Node, and travels as text (`npm run codegen`), so it is found from
 * sources, a build, a packed install and any bundle alike. `ioWorker.ts` is its other side.
 *
 * In: fetch { id, method, url, headers, body, credit, address, redirect }, resolve { id, host }, credit { id, n },
 *   abort { id }; what `toolPool.ts` and `programs.ts` list; for tests crash {}, block {}.
 * Out: head { id, status, url, headers }, resolved { id, addresses }, chunk { id, data }, end { id },
 *   failed { id, message, code }; what `toolPool.ts` and `programs.ts` list.
 *
 * Each message out raises word 0 of the shared memory and wakes the thread that waits for it. Word 1 is the heartbeat,
 * word 2 is set when the thread ends.
 */
import { type MessagePort, workerData } from "node:worker_threads"
import type { Message, Request } from "../ioWorker.ts"
import { fetching } from "./fetching.ts"
import { programs } from "./programs.ts"
import { toolPools } from "./toolPool.ts"

interface Data {
  readonly memory: SharedArrayBuffer
  readonly port: MessagePort
  /** Certificate authorities that the program has set. */
  readonly ca: ReadonlyArray<string> | undefined
  /** The program of threads that run tools. */
  readonly toolMain: string
}

type Received = (
  | Request
  | { readonly type: "credit"; readonly n: number }
  | { readonly type: "abort" | "crash" | "block" }
) & { readonly id: number }

const beatMs = 200

const { ca, memory, port, toolMain } = workerData as Data
const words = new Int32Array(memory)
const wake = () => {
  Atomics.add(words, 0, 1)
  Atomics.notify(words, 0)
}
const post = (message: Message & { readonly id: number }) => {
  port.postMessage(message)
  wake()
}

if (ca !== undefined) {
  const tls = process.getBuiltinModule("node:tls") as unknown as {
    readonly setDefaultCACertificates: (certificates: ReadonlyArray<string>) => void
  }
  tls.setDefaultCACertificates(ca)
}
process.on("exit", () => {
  Atomics.store(words, 2, 1)
  wake()
})
setInterval(() => Atomics.add(words, 1, 1), beatMs)

const requests = fetching(post)
const toPool = toolPools(post, toolMain)
const toProgram = programs(post)

port.on("message", (message: Received) => {
  if (toPool(message) || toProgram(message)) return
  switch (message.type) {
    case "fetch":
      return requests.run(message)
    case "resolve":
      return requests.lookUp(message)
    case "abort":
      return requests.abort(message.id)
    case "credit":
      return requests.credit(message.id, message.n)
    case "crash":
      return process.exit(7)
    case "block":
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
  }
})
