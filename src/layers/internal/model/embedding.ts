/** Embedding models of all providers: texts in chunks that a provider takes, in their order, with the usage of all. */
import * as Effect from "effect/Effect"
import type * as AiError from "effect/ai/AiError"
import * as EmbeddingModel from "effect/ai/EmbeddingModel"
import { malformed, type Problem } from "./problems.ts"

/** The most that one request may have. */
export interface Limits {
  readonly inputs: number
  /** In sum. A token has at least one byte, so a chunk never has more than so many bytes, but for a single text. */
  readonly tokens: number
}

/** The answer to one request. */
export interface Embedded {
  readonly vectors: ReadonlyArray<ReadonlyArray<number>>
  readonly tokens: number | undefined
}

/** A provider, by one request. */
export interface Provider {
  readonly limits: Limits
  /** How many requests may be made at once. */
  readonly concurrency: number
  readonly embed: (inputs: ReadonlyArray<string>) => Effect.Effect<Embedded, AiError.AiError>
  /** Fails with the error of an answer that is not what was asked for. */
  readonly fail: (problem: Problem) => Effect.Effect<never, AiError.AiError>
}

const bytesIn = (text: string): number => encoder.encode(text).length
const encoder = new TextEncoder()

/** Texts in chunks within the limits, in their order. */
export const chunksOf = (inputs: ReadonlyArray<string>, limits: Limits): ReadonlyArray<ReadonlyArray<string>> => {
  const chunks: Array<Array<string>> = []
  let chunk: Array<string> = []
  let size = 0
  for (const input of inputs) {
    const bytes = bytesIn(input)
    if (chunk.length > 0 && (chunk.length >= limits.inputs || size + bytes > limits.tokens)) {
      chunks.push(chunk)
      chunk = []
      size = 0
    }
    chunk.push(input)
    size += bytes
  }
  if (chunk.length > 0) chunks.push(chunk)
  return chunks
}

/** The vectors of an answer, or what is wrong with them. */
export const vectorsOf = (
  given: unknown,
  count: number
): ReadonlyArray<ReadonlyArray<number>> | (Problem & { readonly kind: "malformed" }) => {
  const isWhole =
    Array.isArray(given) &&
    given.length === count &&
    given.every(
      (one: unknown) => Array.isArray(one) && one.length > 0 && one.every((number) => Number.isFinite(number))
    )
  return isWhole
    ? (given as ReadonlyArray<ReadonlyArray<number>>)
    : malformed(`there is not one vector for each of ${count} texts`)
}

/** A model that makes embeddings by `provider`, asked for each call. One chunk that fails fails the call, and interrupts the others. */
export const make = (
  provider: Effect.Effect<Provider, AiError.AiError>
): Effect.Effect<EmbeddingModel.EmbeddingModel> =>
  EmbeddingModel.make({
    embedMany: ({ inputs }) =>
      Effect.flatMap(provider, ({ concurrency, embed, fail, limits }) =>
        Effect.flatMap(Effect.forEach(chunksOf(inputs, limits), embed, { concurrency }), (answers) => {
          const results = answers.flatMap(({ vectors }) => vectors.map((vector) => [...vector]))
          const length = results[0]?.length
          if (results.some((vector) => vector.length !== length)) {
            return fail(malformed("the vectors have different lengths"))
          }
          const tokens = answers.map((one) => one.tokens)
          const isKnown = tokens.every((one) => one !== undefined)
          const inputTokens = isKnown ? tokens.reduce((sum, one) => sum + one, 0) : undefined
          return Effect.succeed({ results, usage: { inputTokens } })
        })
      )
  })
