/**
 * llama.cpp in this process, by the package `node-llama-cpp`: its library once, the weights of a file once for all Layers, and
 * contexts that are freed with the scope that they are made in.
 */
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Scheduler from "effect/Scheduler"
import type * as Scope from "effect/Scope"
import type { Llama, LlamaContext, LlamaEmbeddingContext, LlamaModel } from "node-llama-cpp"
import { messageOf } from "../../../internal/message.ts"
import { ModelUnavailable } from "../../../RunError.ts"

/** The package. */
export type Package = typeof import("node-llama-cpp")

/** What runs the model: `false` is the processor alone. */
export type Gpu = "auto" | "cuda" | "metal" | "vulkan" | false

/** A file, and how it is run. */
export interface Source {
  readonly modelPath: string
  readonly gpu: Gpu
}

/** The weights of a file, in memory. */
export interface Weights {
  readonly package: Package
  readonly llama: Llama
  readonly model: LlamaModel
}

const packageName = "node-llama-cpp"

const unavailable = (modelPath: string, problem: string, install?: string): ModelUnavailable =>
  new ModelUnavailable({ model: `llamacpp:${modelPath}`, problem, ...(install === undefined ? {} : { install }) })

/** Not written as a literal, which bundlers would look for. */
const load = (name: string): Promise<Package> => import(name) as Promise<Package>

const libraries = new Map<Gpu, Promise<{ readonly package: Package; readonly llama: Llama }>>()

/** The library, loaded once for each kind of hardware. Nothing is built or downloaded. */
const libraryFor = (gpu: Gpu): Promise<{ readonly package: Package; readonly llama: Llama }> => {
  let found = libraries.get(gpu)
  if (found === undefined) {
    found = load(packageName).then(async (library) => {
      const options = {
        build: "never",
        skipDownload: true,
        progressLogs: false,
        logLevel: library.LlamaLogLevel.error
      } as const
      return { package: library, llama: await library.getLlama({ ...options, gpu }) }
    })
    libraries.set(gpu, found)
    found.catch(() => libraries.delete(gpu))
  }
  return found
}

interface Entry {
  users: number
  readonly loading: Promise<Weights>
}

const entries = new Map<string, Entry>()
const counts = { loads: 0 }

/** How many files have been loaded, and how many are in memory now. */
export const loaded = (): { readonly loads: number; readonly now: number } => ({
  loads: counts.loads,
  now: entries.size
})

const take = (key: string, { gpu, modelPath }: Source): Entry => {
  let entry = entries.get(key)
  if (entry === undefined) {
    const loading = libraryFor(gpu).then(async ({ llama, package: library }) => {
      counts.loads++
      return { package: library, llama, model: await llama.loadModel({ modelPath }) }
    })
    entry = { users: 0, loading }
    entries.set(key, entry)
    loading.catch(() => {
      if (entries.get(key)?.loading === loading) entries.delete(key)
    })
  }
  entry.users++
  return entry
}

/** The last user frees the weights. */
const leave = (key: string, entry: Entry): Promise<void> => {
  entry.users--
  if (entry.users > 0) return Promise.resolve()
  if (entries.get(key) === entry) entries.delete(key)
  return entry.loading.then(
    ({ model }) => model.dispose(),
    () => undefined
  )
}

/**
 * The weights of a file, for the scope. Fails with `ModelUnavailable` for a file that is not there or not a model, for a missing
 * package, and under `Effect.runSync`.
 */
export const weights = (source: Source): Effect.Effect<Weights, ModelUnavailable, Scope.Scope> =>
  Effect.gen(function* () {
    const { gpu, modelPath } = source
    const isSync = yield* Effect.withFiber((fiber) =>
      Effect.succeed(fiber.getRef(Scheduler.Scheduler).executionMode === "sync")
    )
    if (isSync) {
      const problem =
        "llama.cpp gives promises, which Effect.runSync cannot wait for: run the program with Effect.runPromise, or run llama-server and use compatible:NAME@URL"
      return yield* Effect.fail(unavailable(modelPath, problem))
    }
    const file = yield* Effect.try({
      try: () => fs.realpathSync(path.resolve(modelPath)),
      catch: () => unavailable(modelPath, "there is no such file")
    })
    const key = `${String(gpu)} ${file}`
    const entry = yield* Effect.acquireRelease(
      Effect.sync(() => take(key, { gpu, modelPath: file })),
      (entry) => Effect.promise(() => leave(key, entry))
    )
    return yield* Effect.tryPromise({ try: () => entry.loading, catch: (error) => whyNot(modelPath, error) })
  })

const whyNot = (modelPath: string, error: unknown): ModelUnavailable => {
  const isMissing = Predicate.hasProperty(error, "code") && error.code === "ERR_MODULE_NOT_FOUND"
  if (isMissing)
    return unavailable(modelPath, `the package ${packageName} is not installed`, `npm install ${packageName}`)
  const isBare = Predicate.hasProperty(error, "name") && error.name === "NoBinaryFoundError"
  if (isBare) {
    return unavailable(
      modelPath,
      "node-llama-cpp has no binary for this machine: run npx node-llama-cpp source download"
    )
  }
  return unavailable(modelPath, `the file cannot be loaded: ${messageOf(error)}`)
}

/** Half of the machine: a model that takes more threads than there are cores waits for itself. */
export const defaultThreads = (): number => Math.max(1, Math.floor(os.availableParallelism() / 2))

/** How a context is made. */
export interface ContextOptions {
  readonly modelPath: string
  readonly threads: number
  readonly contextTokens: number | undefined
  readonly sequences: number
}

/** A context for generating, for the scope. */
export const context = (
  { model }: Weights,
  { contextTokens, modelPath, sequences, threads }: ContextOptions
): Effect.Effect<LlamaContext, ModelUnavailable, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.tryPromise({
      try: () =>
        model.createContext({
          sequences,
          threads,
          ...(contextTokens === undefined ? { contextSize: { max: 8192 } } : { contextSize: contextTokens })
        }),
      catch: (error) => unavailable(modelPath, `there is no room for its context: ${messageOf(error)}`)
    }),
    (made) => Effect.promise(() => made.dispose())
  )

/** A context for embedding, for the scope. */
export const embeddingContext = (
  { model }: Weights,
  { contextTokens, modelPath, threads }: Omit<ContextOptions, "sequences">
): Effect.Effect<LlamaEmbeddingContext, ModelUnavailable, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.tryPromise({
      try: () =>
        model.createEmbeddingContext({
          threads,
          ...(contextTokens === undefined ? {} : { contextSize: contextTokens })
        }),
      catch: (error) => unavailable(modelPath, `there is no room for its context: ${messageOf(error)}`)
    }),
    (made) => Effect.promise(() => made.dispose())
  )
