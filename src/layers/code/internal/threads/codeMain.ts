/** The thread of one program. Each message in gives one turn out. `codeHost.ts` watches it from the I/O thread. */
import * as fs from "node:fs"
import { createRequire } from "node:module"
import { parentPort, workerData } from "node:worker_threads"
import { type Made, make } from "./machine.ts"
import type { FromHost, FromProgram, Given, ToProgram } from "./protocol.ts"

const { module, program, wasm } = workerData as Given

const thread = process as unknown as {
  readonly threadCpuUsage?: () => { readonly user: number; readonly system: number }
}
/** The time that this thread has worked, in milliseconds; `undefined` where the platform cannot tell. */
const worked = (): number | undefined => {
  const used = thread.threadCpuUsage?.()
  return used === undefined ? undefined : (used.user + used.system) / 1000
}

const post = (message: FromHost | { readonly type: "ready" }) => {
  parentPort!.postMessage({ ...message, worked: worked() } satisfies FromProgram)
}

const start = async (): Promise<void> => {
  const { QuickJS } = createRequire(module)(module) as typeof import("quickjs-wasi")
  // Its own types want a kind of bytes, and name values of the engine more closely than is used.
  const create = QuickJS.create.bind(QuickJS) as unknown as Made["create"]
  const machine = await make(program, {
    create,
    wasm: fs.readFileSync(wasm),
    worked: () => worked() ?? performance.now()
  })
  post({ type: "ready" })
  post({ type: "turn", turn: machine.start() })
  parentPort!.on("message", ({ isFailure, json, n }: ToProgram) =>
    post({ type: "turn", turn: machine.answer(n, isFailure, json) })
  )
}

start().catch((error: unknown) =>
  post({ type: "unusable", message: error instanceof Error ? error.message : String(error) })
)
