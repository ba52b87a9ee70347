/** How many threads run the tools of `WorkerTool.fromModule`, and how large they may grow. */
import type { ResourceLimits } from "node:worker_threads"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { assertOptions, countOf, timerOf, namesOf } from "../../internal/definition.ts"
import * as Pool from "../internal/io/pool.ts"
import { ToolWorkers } from "../../services/WorkerThreads.ts"

/** Options of {@link layer}. */
export interface Options {
  /** How many threads there may be, at least 1; calls beyond that wait. Default: as many as processors, at least 2. */
  readonly size?: number | undefined
  /** How long a thread without work is kept. Default: 30 seconds. */
  readonly idle?: Duration.Input | undefined
  /** How long an interrupted tool may take to end by its signal, before its thread is ended. Default: 100 milliseconds. */
  readonly grace?: Duration.Input | undefined
  /**
   * How much memory each thread may use; beyond that it ends, with `WorkerCrashed`. Default: as much as the program. With
   * limits, `maxYoungGenerationSizeMb` is 4 unless it is given. A single allocation that is far too large still ends the
   * process: V8 has no other answer to that.
   */
  readonly resourceLimits?: ResourceLimits | undefined
}

/**
 * A pool of worker threads of its own for the tools of `WorkerTool.fromModule`. Without it they share one pool for the
 * process. Threads start when they are needed, never keep the process alive, and end with the Layer.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, OpenAi, WorkerPool } from "troupe"
 *
 * const agent = Agent.make("agent", { instructions: "Be brief." })
 * const answer = agent.run("Hello").pipe(
 *   Effect.provide(OpenAi.layer({ model: "gpt-4.1-mini" })),
 *   Effect.provide(WorkerPool.layer({ size: 2, resourceLimits: { maxOldGenerationSizeMb: 256 } }))
 * )
 */
export const layer = (options: Options = {}): Layer.Layer<never> => {
  assertOptions("WorkerPool.layer", options, known)
  const ms = (option: "idle" | "grace") => timerOf("WorkerPool.layer", option, options[option] ?? defaults[option])
  const settings = {
    size: countOf("WorkerPool.layer", "size", options.size ?? Pool.defaults.size),
    idleMs: ms("idle"),
    graceMs: ms("grace"),
    resourceLimits: options.resourceLimits
  }
  return Layer.effect(
    ToolWorkers,
    Effect.acquireRelease(
      Effect.sync(() => Pool.make(settings)),
      (pool) => Effect.sync(() => pool.close())
    )
  )
}

const known = namesOf<Options>({ size: true, idle: true, grace: true, resourceLimits: true })
const defaults = { idle: Pool.defaults.idleMs, grace: Pool.defaults.graceMs }
