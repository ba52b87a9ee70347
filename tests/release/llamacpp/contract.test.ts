/** The contract of models by llama.cpp, on a model with random weights: the form of its answers, by both edges. */
import * as path from "node:path"
import { Effect, Exit, Layer, Scope } from "effect"
import type { LanguageModel } from "effect/ai"
import { LlamaCpp, SyncEdge } from "troupe"
import { afterAll, beforeAll } from "vitest"
import { suite } from "../../contract/model.ts"
import { temporaryFolder } from "../../support/temporaryFolder.ts"
import { writeTinyGguf } from "../../support/tinyGguf.ts"

const folder = temporaryFolder()()
const modelPath = path.join(folder, "tiny.gguf")
writeTinyGguf(modelPath)

const run = {
  async: <A, E>(effect: Effect.Effect<A, E>): Promise<A> => Effect.runPromise(effect),
  sync: async <A, E>(effect: Effect.Effect<A, E>): Promise<A> => Effect.runSync(Effect.provide(effect, SyncEdge.layer))
}

for (const edge of ["async", "sync"] as const) {
  const scope = Scope.makeUnsafe()
  let model: Layer.Layer<LanguageModel.LanguageModel>
  // The weights are loaded once, and programs of either edge follow each other on them.
  beforeAll(async () => {
    const layer = LlamaCpp.layer({
      modelPath,
      threads: 1,
      gpu: false,
      contextTokens: 2048,
      maxOutputTokens: 300,
      seed: 3
    })
    model = Layer.succeedContext(await run[edge](Layer.buildWithScope(layer, scope)))
  })
  afterAll(() => run[edge](Scope.close(scope, Exit.void)))
  suite("LlamaCpp", () => Effect.sync(() => model), {
    isMeaningless: true,
    readsNoFiles: true,
    edge: edge === "sync" ? "sync" : undefined
  })
}
