/** The embeddings API. */
import * as Effect from "effect/Effect"
import type * as Config from "effect/Config"
import type * as EmbeddingModel from "effect/ai/EmbeddingModel"
import { isFields, list, number } from "../../internal/model/wire.ts"
import * as Embedding from "../../internal/model/embedding.ts"
import type { WholeAnswer } from "./answering.ts"
import type { EndpointOptions } from "./connection.ts"
import * as Endpoint from "./endpoint.ts"
import type { Problem } from "../../internal/model/problems.ts"

/** How an embedding model is reached and asked. */
export interface EmbeddingOptions extends EndpointOptions {
  /** How many numbers a vector has, for models that can be asked for fewer. Default: the model's own. */
  readonly dimensions?: number | undefined
  /**
   * The most texts, and the most tokens in sum, that one request may have. Default: those of OpenAI, 2,048 and 300,000. Smaller
   * ones are for servers that take less.
   */
  readonly limits?: { readonly inputs?: number | undefined; readonly tokens?: number | undefined } | undefined
}

/** OpenAI's own, which other servers have taken over: platform.openai.com/docs/api-reference/embeddings. */
const known: Embedding.Limits = { inputs: 2048, tokens: 300_000 }

/** Fails with `ConfigError` for options that no request can be made with. */
export const make = (options: EmbeddingOptions): Effect.Effect<EmbeddingModel.EmbeddingModel, Config.ConfigError> =>
  Effect.flatMap(Endpoint.make(options), (endpoint) => {
    const { dimensions, limits } = options
    const question = (input: ReadonlyArray<string>): Endpoint.Question => ({
      method: "embedMany",
      path: "/embeddings",
      body: {
        model: endpoint.model,
        input,
        encoding_format: "float",
        ...(dimensions === undefined ? {} : { dimensions })
      }
    })
    const provider: Embedding.Provider = {
      limits: { inputs: limits?.inputs ?? known.inputs, tokens: limits?.tokens ?? known.tokens },
      concurrency: 2,
      embed: (inputs) => endpoint.ask(question(inputs), (answer) => read(answer, inputs.length)),
      fail: (problem) => endpoint.fail(question([]), problem)
    }
    return Embedding.make(Effect.succeed(provider))
  })

/** Vectors come with the places of their texts, and not every server keeps the order. */
const read = (answer: WholeAnswer, count: number): Effect.Effect<Embedding.Embedded, Problem> =>
  Effect.flatMap(Endpoint.documentOf(answer), (document) => {
    const data = list(document, "data").filter(isFields)
    const places = new Set(data.map((one) => one["index"]))
    const isPlaced = places.size === data.length && data.every((one) => Number.isInteger(one["index"]))
    const sorted = isPlaced ? data.toSorted((a, b) => Number(a["index"]) - Number(b["index"])) : data
    const vectors = Embedding.vectorsOf(
      sorted.map((one) => one["embedding"]),
      count
    )
    return "kind" in vectors ? Effect.fail(vectors) : Effect.succeed({ vectors, tokens: tokensOf(document["usage"]) })
  })

/** All tokens are of the input; some servers give the sum alone. */
const tokensOf = (usage: unknown): number | undefined => number(usage, "prompt_tokens") ?? number(usage, "total_tokens")
