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
import { failureOf } from "./failureOf.ts"
import type { Answers, Chunk, ContextOptions, Embedded, Question, Reply, Source, Task } from "./protocol.ts"

/** Asks a file that is loaded. Interruption aborts what is asked, and waits for that. Fails with what the package throws. */
export type Ask = <Q extends Question>(
  question: Q,
  onChunk?: (chunk: Chunk) => void
) => Effect.Effect<Answers[Q["type"]], unknown>

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

const packageName = "node-llama-cpp"

const unavailable = (modelPath: string, problem: string, install?: string): ModelUnavailable =>
  new ModelUnavailable({ model: `llamacpp:${modelPath}`, problem, ...(install === undefined ? {} : { install }) })

/** A context of a file, for the scope. Fails with `ModelUnavailable` for a file that cannot be loaded, or has no room in memory. */
export const generating = (
  source: Source,
  options: ContextOptions
): Effect.Effect<Generating, ModelUnavailable, Scope.Scope> =>
  Effect.map(opened(source, { type: "context", options }), ({ answer: { id, size }, ask }) => ({
    size,
    generate: (sequence, task, onChunk) => ask({ type: "generate", context: id, sequence, task }, onChunk)
  }))

/** As {@link generating}, for vectors. */
export const embedding = (
  source: Source,
  options: Omit<ContextOptions, "sequences">
): Effect.Effect<Embed, ModelUnavailable, Scope.Scope> =>
  Effect.map(
    opened(source, { type: "embedding", options }),
    ({ answer: { id }, ask }) =>
      (text) =>
        ask({ type: "embed", context: id, text })
  )

const opened = <Q extends Extract<Question, { readonly type: "context" | "embedding" }>>(
  source: Source,
  question: Q
): Effect.Effect<{ readonly ask: Ask; readonly answer: Answers[Q["type"]] }, ModelUnavailable, Scope.Scope> =>
  Effect.gen(function* () {
    const { modelPath } = source
    const ask = yield* weights(source)
    const answer = yield* Effect.acquireRelease(ask(question), ({ id }) =>
      Effect.ignore(ask({ type: "free", context: id }))
    ).pipe(
      Effect.mapError((error) => unavailable(modelPath, `its context does not fit into memory: ${messageOf(error)}`))
    )
    return { ask, answer }
  })

/**
 * The weights of a file, for the scope. Fails with `ModelUnavailable` for a file that is not there or not a model, for a missing
 * package, and under `Effect.runSync` without the sync edge.
 */
const weights = ({ gpu, modelPath }: Source): Effect.Effect<Ask, ModelUnavailable, Scope.Scope> =>
  Effect.gen(function* () {
    const file = yield* Effect.try({
      try: () => fs.realpathSync(path.resolve(modelPath)),
      catch: () => unavailable(modelPath, "there is no such file")
    })
    const source = { modelPath: file, gpu }
    // Both edges can wait for a process, so that a file of one is not loaded again.
    const isElsewhere = (yield* isSync) || Elsewhere.runs(source)
    const made = isElsewhere ? Elsewhere.weights(source) : Here.weights(source)
    return yield* Effect.mapError(made, (error) => whyNot(modelPath, error))
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

/** Half of the machine: a model that takes more threads than there are cores waits for itself. */
export const defaultThreads = (): number => Math.max(1, Math.floor(os.availableParallelism() / 2))
