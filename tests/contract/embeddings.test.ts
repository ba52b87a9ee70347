import { createOpenAICompatible } from "@ai-sdk/openai-compatible"
import { Redacted } from "effect"
import { AiSdk, OpenAi } from "troupe"
import { wireSuite } from "./embedding.ts"

wireSuite("OpenAi.layerEmbedding", (baseUrl) =>
  OpenAi.layerEmbedding({ model: "m", baseUrl, apiKey: Redacted.make("k"), retry: "none" })
)

const compatible = (baseURL: string) => createOpenAICompatible({ name: "local", baseURL }).embeddingModel("m")
wireSuite("AiSdk.layerEmbedding", (url) => AiSdk.layerEmbedding(compatible(url), { retry: "none" }), {
  keepsOrder: true
})
