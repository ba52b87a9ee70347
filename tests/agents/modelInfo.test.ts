/** What a Layer says of its model holds for that model alone, not for one that wraps it or takes its place. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schema, Stream } from "effect"
import { LanguageModel, type Response } from "effect/ai"
import { Agent, ModelInfo } from "troupe"

const info: ModelInfo.ModelInfo = { provider: "ours", model: "one", structuredOutput: true }
const parts = (text: string): ReadonlyArray<Response.PartEncoded> => [
  { type: "text", text },
  {
    type: "finish",
    reason: "stop",
    usage: { inputTokens: {}, outputTokens: {} } as never,
    response: undefined
  }
]
/** A model that notes who was asked, and in which shape an answer was wanted. */
const model = (name: string, asked: Array<string>) =>
  LanguageModel.make({
    generateText: () =>
      Effect.map(ModelInfo.OutputFormat, (format) => {
        asked.push(`${name}${format === undefined ? "" : ` as ${format.name}`}`)
        return [...parts('{"n":1}')]
      }),
    streamText: () => Stream.empty
  })
const ours = (asked: Array<string>) =>
  Layer.effectContext(
    Effect.map(model("ours", asked), (made) =>
      ModelInfo.context(made, info, {
        generateText: () =>
          Effect.map(ModelInfo.OutputFormat, (format) => {
            asked.push(`direct${format === undefined ? "" : ` as ${format.name}`}`)
            return parts('{"n":1}')
          }),
        streamText: () => Stream.empty
      })
    )
  )
const agent = Agent.make("counter", { output: Schema.Struct({ n: Schema.Int }) })

describe("a model whose Layer describes it", () => {
  it.effect("is known, and is called as its Layer says", () =>
    Effect.gen(function* () {
      const asked: Array<string> = []
      const known = yield* Effect.provide(ModelInfo.get, ours(asked))
      assert.deepStrictEqual(known, info)
      assert.deepStrictEqual(yield* Effect.provide(agent.run("go"), ours(asked)), { n: 1 })
      assert.deepStrictEqual(asked, ["direct as counter"])
    })
  )

  it.effect("is not known where it is wrapped, and every call goes through the wrapper", () =>
    Effect.gen(function* () {
      const asked: Array<string> = []
      const wrapped = Effect.map(LanguageModel.LanguageModel, (inner): LanguageModel.LanguageModel => ({
        ...inner,
        generateObject: ((options: never) => {
          asked.push("wrapper")
          return inner.generateObject(options)
        }) as never
      }))
      const use = <A, E>(effect: Effect.Effect<A, E, LanguageModel.LanguageModel>) =>
        effect.pipe(Effect.provideServiceEffect(LanguageModel.LanguageModel, wrapped), Effect.provide(ours(asked)))
      assert.isUndefined(yield* use(ModelInfo.get))
      assert.deepStrictEqual(yield* use(agent.run("go")), { n: 1 })
      assert.deepStrictEqual(asked, ["wrapper", "ours"])
    })
  )

  it.effect("says nothing of a foreign model that takes its place", () =>
    Effect.gen(function* () {
      const asked: Array<string> = []
      const foreign = yield* model("foreign", asked)
      const use = <A, E>(effect: Effect.Effect<A, E, LanguageModel.LanguageModel>) =>
        effect.pipe(Effect.provideService(LanguageModel.LanguageModel, foreign), Effect.provide(ours(asked)))
      assert.isUndefined(yield* use(ModelInfo.get))
      assert.deepStrictEqual(yield* use(agent.run("go")), { n: 1 })
      assert.deepStrictEqual(asked, ["foreign"])
    })
  )
})

describe("an agent that is a service", () => {
  class Counter extends Agent.Service<Counter>()("test/Counter", { output: Schema.Struct({ n: Schema.Int }) }) {}

  it.effect("keeps the metadata of its own model, not of its caller's", () =>
    Effect.gen(function* () {
      const asked: Array<string> = []
      const callers: Array<string> = []
      const program = Counter.run("go").pipe(Effect.provide(Layer.provide(Counter.layer, ours(asked))))
      yield* Effect.provide(program, ours(callers))
      assert.deepStrictEqual([asked, callers], [["direct as Counter"], []])
    })
  )

  it.effect("has no metadata for a foreign model of its own, not even its caller's", () =>
    Effect.gen(function* () {
      const asked: Array<string> = []
      const callers: Array<string> = []
      const foreign = Layer.effect(LanguageModel.LanguageModel, model("foreign", asked))
      const program = Counter.run("go").pipe(Effect.provide(Layer.provide(Counter.layer, foreign)))
      yield* Effect.provide(program, ours(callers))
      assert.deepStrictEqual([asked, callers], [["foreign"], []])
    })
  )
})
