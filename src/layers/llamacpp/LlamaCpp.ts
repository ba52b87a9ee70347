/**
 * GGUF models in the program itself, by llama.cpp and the package `node-llama-cpp` (`npm install node-llama-cpp`). Answers are made
 * one at a time on each context: running several agents at once is convenient here, and not faster.
 */
import * as path from "node:path"
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as AiError from "effect/ai/AiError"
import * as EmbeddingModel from "effect/ai/EmbeddingModel"
import type * as LanguageModel from "effect/ai/LanguageModel"
import type * as Response from "effect/ai/Response"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { assertOptions, countOf, namesOf, positiveDurationOf } from "../../internal/definition.ts"
import * as Lacking from "../../internal/lacking.ts"
import { messageOf } from "../../internal/message.ts"
import type { ModelUnavailable } from "../../RunError.ts"
import * as ModelInfo from "../../services/ModelInfo.ts"
import { Blocks } from "../internal/model/blocks.ts"
import { contextOf } from "../internal/model/direct.ts"
import * as Embedding from "../internal/model/embedding.ts"
import { contextLengthPrefix } from "../internal/model/errors.ts"
import { Unsupported } from "../internal/model/problems.ts"
import * as TypedOutput from "../internal/model/typedOutput.ts"
import { randomId } from "../internal/model/wire.ts"
import * as Engine from "./internal/engine.ts"
import type { Chunk } from "./internal/protocol.ts"
import * as Task from "./internal/task.ts"
import * as Turns from "./internal/turns.ts"

/** How a model is run. */
export interface Options {
  /** The GGUF file. */
  readonly modelPath: string
  /** How many threads compute. Default: half of the machine's. */
  readonly threads?: number | undefined
  /** The tokens of a conversation and its answer together. Default: what the model was trained for, at most 8192. */
  readonly contextTokens?: number | undefined
  /**
   * How many answers are made at once, each with a context of its own, in one batch. Default 1: calls wait for each other, the
   * first one first.
   */
  readonly sequences?: number | undefined
  /** What computes: `"auto"` (default) takes what is there, `false` the processor. */
  readonly gpu?: "auto" | "cuda" | "metal" | "vulkan" | false | undefined
  /** The most tokens an answer may have. Default: half of the context. */
  readonly maxOutputTokens?: number | undefined
  /** How long an answer may take, waiting for others not counted. Default 10 minutes. */
  readonly timeout?: Duration.Input | undefined
  /** 0 to 2. Default 0.8. */
  readonly temperature?: number | undefined
  readonly topP?: number | undefined
  readonly topK?: number | undefined
  readonly seed?: number | undefined
}

const embeddingNames = { modelPath: true, threads: true, contextTokens: true, gpu: true } as const
const known = namesOf<Options>({
  ...embeddingNames,
  sequences: true,
  maxOutputTokens: true,
  timeout: true,
  temperature: true,
  topP: true,
  topK: true,
  seed: true
})
const knownOfEmbedding = namesOf<EmbeddingOptions>(embeddingNames)

const positive = (option: string, value: number | undefined): void => {
  if (value !== undefined) countOf("LlamaCpp.layer", option, value)
}

/**
 * A model of a GGUF file, in this process; under `Effect.runSync`, where `SyncEdge.layer` is needed, in a process alongside it. The weights
 * of a file are loaded once, for any number of Layers, and are freed with the last scope that uses them; programs of `Effect.runSync` load
 * them in addition to this process, which then uses theirs where they came first. A grammar holds the model to an `output` schema, and to a
 * call where a tool has to be called. It reads no images.
 *
 * Calls wait for each other, the first one first, except for as many as there are `sequences`. Interrupting a call stops it
 * after the token that is being made.
 *
 * Building it fails with `ModelUnavailable` for a file that is not there or cannot be loaded, a missing package, and under
 * `Effect.runSync` without the sync edge. Calls fail with `AiError`, and are not retried.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, LlamaCpp } from "troupe"
 *
 * const Local = LlamaCpp.layer({ modelPath: "./model.gguf", contextTokens: 8192 })
 * const program = Agent.make("agent", { instructions: "Be brief." }).run("Hello").pipe(Effect.provide(Local))
 */
export const layer = (options: Options): Layer.Layer<LanguageModel.LanguageModel, ModelUnavailable> => {
  assertOptions("LlamaCpp.layer", options, known)
  for (const option of ["threads", "contextTokens", "sequences", "maxOutputTokens"] as const)
    positive(option, options[option])
  const timeout = positiveDurationOf("LlamaCpp.layer", "timeout", options.timeout ?? "10 minutes")
  return Layer.effectContext(make(options, timeout))
}

const make = (
  options: Options,
  timeout: Duration.Duration
): Effect.Effect<Context.Context<LanguageModel.LanguageModel>, ModelUnavailable, Scope.Scope> =>
  Effect.gen(function* () {
    const { contextTokens, gpu = "auto", modelPath, sequences = 1, threads = Engine.defaultThreads() } = options
    const context = yield* Engine.generating({ modelPath, gpu }, { threads, contextTokens, sequences })
    const info: ModelInfo.ModelInfo = {
      provider: "llamacpp",
      model: path.basename(modelPath),
      structuredOutput: true,
      readsSettings: true,
      capabilities: { tools: true, images: false, structuredOutput: true, contextTokens: context.size },
      retry: "none"
    }
    return yield* contextOf(info, directOf(context, Turns.make(sequences), settingsOf(options, context.size), timeout))
  })

const settingsOf = (options: Options, contextSize: number): Task.Settings => ({
  maxTokens: options.maxOutputTokens ?? Math.max(1, Math.floor(contextSize / 2)),
  topP: options.topP,
  topK: options.topK,
  seed: options.seed,
  ...(options.temperature === undefined ? {} : { temperature: options.temperature })
})

/** An answer took too long. */
class Late extends Error {}

const directOf = (
  context: Engine.Generating,
  turns: Turns.Turns,
  own: Task.Settings,
  timeout: Duration.Duration
): ModelInfo.Direct => {
  const late = new Late(`no answer within ${Duration.format(timeout)}`)
  const answer = (
    request: LanguageModel.ProviderOptions,
    method: string,
    onChunk: (chunk: Chunk) => void
  ): Effect.Effect<Task.Answer, AiError.AiError> =>
    Effect.withFiber((fiber) => {
      const { cache, ...set } = fiber.getRef(ModelInfo.CurrentSettings)
      if (typeof cache === "object") return Effect.fail(noTimedCache(method))
      const limits = [own.maxTokens, set.maxOutputTokens, fiber.getRef(ModelInfo.MaxOutputTokens)]
      const maxTokens = Math.min(...limits.filter((limit) => limit !== undefined))
      const unrunnable = Lacking.unrunnable(request.tools, "llama.cpp")
      if (unrunnable !== undefined) {
        return Effect.fail(Lacking.errorOf({ module: "LlamaCpp", method, ...unrunnable }))
      }
      const question: Task.Question = {
        request,
        output: TypedOutput.formatOf(request) ?? fiber.getRef(ModelInfo.OutputFormat),
        settings: { ...own, ...set, maxTokens }
      }
      return Effect.try({ try: () => Task.taskOf(question), catch: (error) => error }).pipe(
        Effect.flatMap((task) =>
          turns
            .at((sequence) =>
              Effect.timeoutOrElse(context.generate(sequence, task, onChunk), {
                duration: timeout,
                orElse: () => Effect.fail<unknown>(late)
              })
            )
            .pipe(Effect.map((reply) => Task.answerOf(task, reply, () => randomId(fiber.getRef(Random.Random)))))
        ),
        Effect.catch((error) => Effect.fail(toAiError(error, method)))
      )
    })
  return {
    generateText: (request) =>
      Effect.map(answer(request, "generateText", ignore), ({ finish, parts }) => [...parts, finish]),
    streamText: (request) => streamed((onChunk) => answer(request, "streamText", onChunk))
  }
}

const ignore = (): void => {}

/** The parts of an answer as it is made: its texts and thoughts, and at the end what no chunk had. */
const streamed = (
  answer: (onChunk: (chunk: Chunk) => void) => Effect.Effect<Task.Answer, AiError.AiError>
): Stream.Stream<Response.StreamPartEncoded, AiError.AiError> =>
  Stream.callback((queue) => {
    const blocks = new Blocks()
    let hasSaid = false
    const emit = (add: (out: Array<Response.StreamPartEncoded>) => void): void => {
      const out: Array<Response.StreamPartEncoded> = []
      add(out)
      Queue.offerAllUnsafe(queue, out)
    }
    const made = answer(({ kind, text }) => {
      hasSaid ||= kind === "text"
      emit((out) => blocks.say(kind === "thought" ? "reasoning" : "text", text, out))
    })
    return Effect.matchEffect(made, {
      onFailure: (error) => Queue.fail(queue, error),
      onSuccess: ({ finish, parts }) => {
        emit((out) => {
          for (const part of parts) {
            if (part.type === "text" && !hasSaid && part.text !== "") blocks.say("text", part.text, out)
          }
          blocks.close(out)
          out.push(...parts.filter((part) => part.type === "tool-call"), finish)
        })
        return Queue.end(queue)
      }
    })
  })

const noTimedCache = (method: string): AiError.AiError =>
  Lacking.errorOf({
    module: "LlamaCpp",
    method,
    what: "cache",
    description:
      'llama.cpp keeps what is in its context, and for no time that could be set: use `cache: "auto"`, or leave it out'
  })

const toAiError = (error: unknown, method: string): AiError.AiError => {
  const make = (reason: AiError.AiErrorReason) => AiError.make({ module: "LlamaCpp", method, reason })
  if (error instanceof Unsupported) return make(new AiError.InvalidUserInputError({ description: error.message }))
  if (error instanceof Late) {
    const description = `${error.message}\n\nRaise \`timeout\`, or lower \`maxOutputTokens\`.`
    return make(new AiError.InternalProviderError({ description }))
  }
  if (isOverflow(error)) {
    const description = `${contextLengthPrefix}: ${messageOf(error)}\n\nShorten the conversation, or raise \`contextTokens\`.`
    return make(new AiError.InvalidRequestError({ description }))
  }
  return make(new AiError.UnknownError({ description: `llama.cpp failed: ${messageOf(error)}` }))
}

/** True for an error that says that the conversation is too long for the context. */
const isOverflow = (error: unknown): boolean =>
  /context (size|length)|too (long|large).*context|context.*too (long|small|large)|no space left/i.test(
    messageOf(error)
  )

/** How a file makes embeddings. */
export type EmbeddingOptions = Pick<Options, "modelPath" | "threads" | "contextTokens" | "gpu">

/**
 * Embeddings by a GGUF file, one text after the other, in turns with other calls; usage has their tokens. The weights are shared with {@link layer}. Fails as that does; a text that
 * is longer than the context fails the call with `InvalidRequestError`.
 *
 * @example
 * import { Effect } from "effect"
 * import { EmbeddingModel } from "effect/ai"
 * import { LlamaCpp } from "troupe"
 *
 * const vector = Effect.flatMap(EmbeddingModel.EmbeddingModel, (model) => model.embed("hello")).pipe(
 *   Effect.provide(LlamaCpp.layerEmbedding({ modelPath: "./embedding.gguf" }))
 * )
 */
export const layerEmbedding = (
  options: EmbeddingOptions
): Layer.Layer<EmbeddingModel.EmbeddingModel, ModelUnavailable> => {
  assertOptions("LlamaCpp.layerEmbedding", options, knownOfEmbedding)
  for (const option of ["threads", "contextTokens"] as const) positive(option, options[option])
  return Layer.effect(
    EmbeddingModel.EmbeddingModel,
    Effect.gen(function* () {
      const { contextTokens, gpu = "auto", modelPath, threads = Engine.defaultThreads() } = options
      const embed = yield* Engine.embedding({ modelPath, gpu }, { threads, contextTokens })
      const turns = Turns.make(1)
      const one = (input: string) => Effect.mapError(embed(input), (error) => toAiError(error, "embedMany"))
      return yield* Embedding.make(
        Effect.succeed({
          // After so many texts another caller has its turn.
          limits: { inputs: 16, tokens: Number.POSITIVE_INFINITY },
          concurrency: 1,
          embed: (inputs) =>
            Effect.map(
              turns.at(() => Effect.forEach(inputs, one)),
              (made) => ({
                vectors: made.map(({ vector }) => vector),
                tokens: made.reduce((sum, { tokens }) => sum + tokens, 0)
              })
            ),
          fail: (problem) => Effect.fail(toAiError(new Error(problem.message), "embedMany"))
        })
      )
    })
  )
}
