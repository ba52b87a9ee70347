/** Embeddings by models of the AI SDK: in batches that the provider takes, in order, with the errors of the others. */
import { createGoogle } from "@ai-sdk/google"
import { createOpenAICompatible } from "@ai-sdk/openai-compatible"
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { EmbeddingModel } from "effect/ai"
import { AiSdk } from "troupe"
import { type Answer, json, serve } from "../../support/wire.ts"

const vectors: Answer = (response, body, count, request) =>
  json({
    data: body.input.map((text: string, index: number) => ({ index, embedding: [text.length, index] })),
    usage: { prompt_tokens: body.input.length }
  })(response, body, count, request)

it.live("are made in batches of what the provider takes, and come back in order", () =>
  Effect.gen(function* () {
    const server = yield* serve(vectors)
    const local = createOpenAICompatible({ name: "local", baseURL: server.url })
    const inputs = Array.from({ length: 2050 }, (_, n) => "x".repeat(n % 7))
    const { embeddings, usage } = yield* Effect.flatMap(EmbeddingModel.EmbeddingModel, (model) =>
      model.embedMany(inputs)
    ).pipe(Effect.provide(AiSdk.layerEmbedding(local.embeddingModel("m"))))
    assert.isTrue(server.bodies.length > 1)
    assert.deepStrictEqual(
      embeddings.map(({ vector }) => vector[0]),
      inputs.map((text) => text.length)
    )
    assert.strictEqual(usage.inputTokens, 2050)
  })
)

it.live("fail as other calls do, and for an answer that has too few vectors", () =>
  Effect.gen(function* () {
    const server = yield* serve(json({ error: { message: "no key" } }, 401), json({ data: [] }))
    const local = createOpenAICompatible({ name: "local", baseURL: server.url })
    const embed = Effect.flatMap(EmbeddingModel.EmbeddingModel, (model) => model.embed("x")).pipe(
      Effect.provide(AiSdk.layerEmbedding(local.embeddingModel("m"), { retry: "none" })),
      Effect.flip
    )
    assert.strictEqual((yield* embed).reason._tag, "AuthenticationError")
    assert.strictEqual((yield* embed).reason._tag, "InvalidResponseError")
    assert.throws(
      () => AiSdk.layerEmbedding("text-embedding-3-small" as never),
      /not a model of the AI SDK with a doEmbed/
    )
    for (const timeout of ["soon", 0])
      assert.throws(() => AiSdk.layerEmbedding(local.embeddingModel("m"), { timeout: timeout as never }), /timeout/)
  })
)

it.live("are made by Google too", () =>
  Effect.gen(function* () {
    const server = yield* serve(json({ embedding: { values: [1, 2] } }))
    const google = createGoogle({ apiKey: "k", baseURL: server.url })
    const { vector } = yield* Effect.flatMap(EmbeddingModel.EmbeddingModel, (model) => model.embed("x")).pipe(
      Effect.provide(AiSdk.layerEmbedding(google.embeddingModel("gemini-embedding-001")))
    )
    assert.deepStrictEqual([...vector], [1, 2])
  })
)
