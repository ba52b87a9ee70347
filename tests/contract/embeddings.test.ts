import { createOpenAICompatible } from "@ai-sdk/openai-compatible"
import { assert, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { EmbeddingModel } from "effect/ai"
import { AiSdk, OpenAi } from "troupe"
import { json, serve } from "../support/wire.ts"
import { wireSuite } from "./embedding.ts"

wireSuite("OpenAi.layerEmbedding", (baseUrl) =>
  OpenAi.layerEmbedding({ model: "m", baseUrl, apiKey: Redacted.make("k"), retry: "none" })
)

const compatible = (baseURL: string) => createOpenAICompatible({ name: "local", baseURL }).embeddingModel("m")
wireSuite("AiSdk.layerEmbedding", (url) => AiSdk.layerEmbedding(compatible(url), { retry: "none" }), {
  keepsOrder: true
})

it.live("OpenAi.layerEmbedding reads the usage of servers that give the sum of tokens alone", () =>
  Effect.gen(function* () {
    const server = yield* serve(json({ data: [{ index: 0, embedding: [1] }], usage: { total_tokens: 7 } }))
    const model = OpenAi.layerEmbedding({ model: "m", baseUrl: server.url, apiKey: Redacted.make("k"), retry: "none" })
    const embedded = Effect.flatMap(EmbeddingModel.EmbeddingModel, (self) => self.embedMany(["x"]))
    assert.strictEqual((yield* Effect.provide(embedded, model)).usage.inputTokens, 7)
  })
)
