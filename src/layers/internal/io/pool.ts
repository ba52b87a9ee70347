/** Calls of tools in worker threads, as Effects. */
import { availableParallelism } from "node:os"
import type { ResourceLimits } from "node:worker_threads"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Schema from "effect/Schema"
import { SyncBridge } from "../../../services/SyncBridge.ts"
import {
  ModuleToolFailed,
  ModuleUnusable,
  type ToolWorkers,
  type WorkerCall,
  WorkerCrashed
} from "../../../services/WorkerThreads.ts"
import { programFlags } from "./flags.ts"
import * as IoWorker from "./ioWorker.ts"
import { type Edge, noEdge, waiting } from "./waiting.ts"

/** A pool's size, and how long it is patient. */
export interface PoolSettings {
  readonly size: number
  readonly idleMs: number
  readonly graceMs: number
  readonly resourceLimits: ResourceLimits | undefined
}

/** As many threads as the machine has processors, two at least: one busy tool must not hold up all others. */
export const defaults: PoolSettings = {
  size: Math.max(2, availableParallelism()),
  idleMs: 30_000,
  graceMs: 100,
  resourceLimits: undefined
}

/** A pool, and what ends its threads. */
export interface Pool extends ToolWorkers {
  readonly close: () => void
}

let keys = 0

/** No thread is started before the first call. */
export const make = (settings: PoolSettings): Pool => {
  const key = keys++
  // With more, one collection of the young generation can overrun the limit so far that V8 ends the whole process.
  const resourceLimits =
    settings.resourceLimits === undefined ? undefined : { maxYoungGenerationSizeMb: 4, ...settings.resourceLimits }
  const pool = (): IoWorker.PoolOptions => ({
    key,
    ...settings,
    resourceLimits,
    execArgv: programFlags(process.execArgv)
  })
  return {
    call: (call) => Effect.flatMap(SyncBridge, (bridge) => run(call, pool(), bridge ?? noEdge)),
    close: () => IoWorker.peek()?.closePool(key)
  }
}

/** The pool of the process, for programs without `WorkerPool.layer`. Its threads end when they have been idle for a while. */
export const shared: Pool = make(defaults)

const run = (
  call: WorkerCall,
  pool: IoWorker.PoolOptions,
  edge: Edge
): Effect.Effect<Schema.Json, ModuleToolFailed | ModuleUnusable | WorkerCrashed> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const { context, module, params, tool } = call
      const place = { tool, module }
      const said = yield* Queue.unbounded<IoWorker.CallMessage>()
      const worker = IoWorker.get()
      const request: IoWorker.Request = { type: "call", pool, url: module, export: call.export, params, context }
      // The thread says of a call only what belongs to calls.
      const id = worker.open(request, (message) => Queue.offerUnsafe(said, message as IoWorker.CallMessage))
      let ended = false
      const next = Effect.map(waiting(edge, worker)(Queue.take(said)), (message) => {
        ended = message.type !== "progress"
        return message
      })
      const answer = Effect.gen(function* () {
        while (true) {
          const message = yield* next
          switch (message.type) {
            case "progress":
              yield* call.progress(message.value)
              break
            case "result":
              return message.value
            case "threw": {
              const { failure, message: errorMessage, name: errorName } = message
              return yield* new ModuleToolFailed({ ...place, errorName, errorMessage, failure })
            }
            case "unusable":
              return yield* new ModuleUnusable({ ...place, problem: message.message })
            case "crashed":
              return yield* new WorkerCrashed({ ...place, reason: message.reason, detail: message.message })
            case "failed":
              return yield* new WorkerCrashed({ ...place, reason: "io", detail: message.message })
            case "stopped":
              return yield* Effect.interrupt
          }
        }
      })
      const stop = Effect.suspend(() => {
        if (!ended) worker.cancel(id)
        return Effect.whileLoop({ while: () => !ended, body: () => next, step: () => {} })
      })
      return yield* Effect.onExit(restore(answer), () => stop)
    })
  )
