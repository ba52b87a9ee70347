/**
 * The weights of files, once for all Layers, and contexts on them that are freed with the scope that they are made in: in this process
 * on the async edge, in a process of its own on the sync edge.
 */
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { messageOf } from "../../../internal/message.ts"
import { ModelUnavailable } from "../../../RunError.ts"
import { isSync } from "../../../services/SyncBridge.ts"
import * as Elsewhere from "./elsewhere.ts"
import * as Here from "./here.ts"
import type { Chunk, ContextOptions, Embedded, Reply, Source, Task } from "./protocol.ts"
import { failureOf } from "./failureOf.ts"

export type { Gpu, Source } from "./protocol.ts"
export { loaded } from "./here.ts"

/** A context for generating. */
export interface Generating {
  /** Its tokens. */
  readonly size: number
  /**
   * Makes an answer on one of its sequences. Interruption stops it after the token that is being made, and waits for that. Fails
   * with what the package throws.
   */
  readonly generate: (sequence: number, task: Task, onChunk: (chunk: Chunk) => void) => Effect.Effect<Reply, unknown>
}

/** Makes the vector of a text. Fails with what the package throws. */
export type Embed = (text: string) => Effect.Effect<Embedded, unknown>

/** A file that is loaded. Its contexts fail with what the package throws. */
export interface Weights {
  readonly context: (options: ContextOptions) => Effect.Effect<Generating, unknown, Scope.Scope>
  readonly embedding: (options: Omit<ContextOptions, "sequences">) => Effect.Effect<Embed, unknown, Scope.Scope>
}

const packageName = "node-llama-cpp"

const unavailable = (modelPath: string, problem: string, install?: string): ModelUnavailable =>
  new ModelUnavailable({ model: `llamacpp:${modelPath}`, problem, ...(install === undefined ? {} : { install }) })

/**
 * The weights of a file, for the scope. Fails with `ModelUnavailable` for a file that is not there or not a model, for a missing
 * package, and under `Effect.runSync` without the sync edge.
 */
export const weights = ({ gpu, modelPath }: Source): Effect.Effect<Weights, ModelUnavailable, Scope.Scope> =>
  Effect.gen(function* () {
    const file = yield* Effect.try({
      try: () => fs.realpathSync(path.resolve(modelPath)),
      catch: () => unavailable(modelPath, "there is no such file")
    })
    const source = { modelPath: file, gpu }
    const made: Effect.Effect<Weights, unknown, Scope.Scope> = (yield* isSync)
      ? Elsewhere.weights(source)
      : Here.weights(source)
    return yield* Effect.catch(made, (error) => Effect.fail(whyNot(modelPath, error)))
  })

const whyNot = (modelPath: string, error: unknown): ModelUnavailable => {
  if (error instanceof Elsewhere.NoEdge) return unavailable(modelPath, error.message)
  const { code, name } = failureOf(error)
  if (code === "ERR_MODULE_NOT_FOUND" || code === "MODULE_NOT_FOUND") {
    return unavailable(modelPath, `the package ${packageName} is not installed`, `npm install ${packageName}`)
  }
  if (name === "NoBinaryFoundError") {
    return unavailable(
      modelPath,
      "node-llama-cpp has no binary for this machine: run npx node-llama-cpp source download"
    )
  }
  return unavailable(modelPath, `the file cannot be loaded: ${messageOf(error)}`)
}

/** A context of weights. Fails with `ModelUnavailable` when it does not fit into memory. */
export const roomFor = <A>(
  modelPath: string,
  context: Effect.Effect<A, unknown, Scope.Scope>
): Effect.Effect<A, ModelUnavailable, Scope.Scope> =>
  Effect.catch(context, (error) =>
    Effect.fail(unavailable(modelPath, `its context does not fit into memory: ${messageOf(error)}`))
  )

/** Half of the machine: a model that takes more threads than there are cores waits for itself. */
export const defaultThreads = (): number => Math.max(1, Math.floor(os.availableParallelism() / 2))
