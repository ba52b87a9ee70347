/** What all embedding models keep. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, type Layer, type Scope } from "effect"
import { EmbeddingModel } from "effect/ai"
import { type Answer, json, serve, type Wire } from "../support/wire.ts"

type Model = Layer.Layer<EmbeddingModel.EmbeddingModel, unknown>

const embedMany = (inputs: ReadonlyArray<string>, model: Model) =>
  Effect.flatMap(EmbeddingModel.EmbeddingModel, (service) => service.embedMany(inputs)).pipe(Effect.provide(model))

/** Vectors by the length of a text, with a token for each text; the answers to several requests may come in any order. */
const answering =
  (keepsOrder: boolean): Answer =>
  (response, body, count, request) => {
    const data = body.input.map((text: string, index: number) => ({ index, embedding: [text.length, 1] }))
    const answer = json({ data: keepsOrder ? data : data.toReversed(), usage: { prompt_tokens: body.input.length } })
    setTimeout(() => answer(response, body, count, request), count === 1 ? 20 : 0)
  }

/** The order and the sum, for any model whose vectors tell two texts apart. */
export const orderSuite = (name: string, model: Effect.Effect<Model, never, Scope.Scope>): void => {
  it.live(`${name}: vectors come in the order of their texts, as of each alone, and tokens are added up`, () =>
    Effect.gen(function* () {
      const layer = yield* model
      const texts = Array.from({ length: 40 }, (_, n) => "ab".repeat(1 + (n % 3)))
      const { embeddings, usage } = yield* embedMany(texts, layer)
      assert.lengthOf(embeddings, 40)
      const alone = yield* embedMany(texts.slice(0, 3), layer)
      for (const [index, { vector }] of embeddings.entries()) {
        assert.deepStrictEqual(vector, alone.embeddings[index % 3]!.vector)
      }
      assert.isTrue(usage.inputTokens! > alone.usage.inputTokens!)
      assert.deepStrictEqual((yield* embedMany([], layer)).embeddings, [])
    })
  )
}

/** For models at a server that speaks OpenAI's language. `keepsOrder`: the model takes vectors as they come. */
export const wireSuite = (name: string, modelAt: (url: string) => Model, { keepsOrder = false } = {}): void => {
  describe(name, () => {
    const vectors = answering(keepsOrder)
    const atServer = (...answers: ReadonlyArray<Answer>): Effect.Effect<readonly [Wire, Model], never, Scope.Scope> =>
      Effect.map(serve(...answers), (server) => [server, modelAt(server.url)] as const)

    orderSuite(
      name,
      Effect.map(atServer(vectors), ([, model]) => model)
    )

    it.live("sends what one request may have, in number and in tokens", () =>
      Effect.gen(function* () {
        const [server, model] = yield* atServer(vectors)
        const many = Array.from({ length: 2050 }, (_, n) => "x".repeat(n % 5))
        const { embeddings, usage } = yield* embedMany(many, model)
        assert.deepStrictEqual(
          embeddings.map(({ vector }) => vector[0]),
          many.map((text) => text.length)
        )
        assert.strictEqual(usage.inputTokens, 2050)
        const long = ["a".repeat(200_000), "b".repeat(200_000), "c"]
        yield* embedMany(long, model)
        const sizes = server.bodies.map((body) => body.input.length).toSorted((a, b) => a - b)
        assert.deepStrictEqual(sizes, [1, 2, 2, 2048])
      })
    )

    it.live("fails as a whole, and typed, where one request fails or has other vectors than were asked for", () =>
      Effect.gen(function* () {
        const inputs = Array.from({ length: 2049 }, () => "x")
        const [, refused] = yield* atServer(vectors, json({ error: { message: "too much" } }, 400))
        const first = yield* Effect.flip(embedMany(inputs, refused))
        assert.strictEqual((first as { readonly reason: { readonly _tag: string } }).reason._tag, "InvalidRequestError")
        for (const data of [
          [],
          [{ index: 0, embedding: ["a"] }],
          [
            { index: 0, embedding: [1] },
            { index: 1, embedding: [1, 2] }
          ]
        ]) {
          const [, model] = yield* atServer(json({ data, usage: { prompt_tokens: 1 } }))
          const error = yield* Effect.flip(embedMany(["a", "b"].slice(0, Math.max(1, data.length)), model))
          const { _tag } = (error as { readonly reason: { readonly _tag: string } }).reason
          assert.include(["InvalidResponseError", "InvalidOutputError"], _tag)
        }
      })
    )

    it.live("is interrupted on the wire", () =>
      Effect.gen(function* () {
        const [server, model] = yield* atServer(() => {})
        const fiber = yield* Effect.forkChild(embedMany(["x"], model), { startImmediately: true })
        while (server.bodies.length === 0) yield* Effect.sleep(2)
        yield* Fiber.interrupt(fiber)
        while (server.aborted() === 0) yield* Effect.sleep(2)
        assert.strictEqual(server.aborted(), 1)
      })
    )
  })
}
