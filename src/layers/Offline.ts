/**
 * A language model without a language model: tools, structured output, summaries, answers and reviews by rule. It needs
 * no key and opens no connection. It touches Effect's Console once, to say what it is, and the Clock for dates.
 */
import * as Clock from "effect/Clock"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as AiError from "effect/ai/AiError"
import * as LanguageModel from "effect/ai/LanguageModel"
import * as Telemetry from "effect/ai/Telemetry"
import * as Tool from "effect/ai/Tool"
import * as ModelInfo from "../services/ModelInfo.ts"
import { answer } from "./offline/answer.ts"
import { read } from "./offline/conversation.ts"
import { load } from "./offline/libraries.ts"
import { fillOutput } from "./offline/output.ts"
import { parts, type Reply, streamParts, weigh } from "./offline/parts.ts"
import { offered } from "./offline/relevance.ts"
import { type Choice, plan } from "./offline/tools.ts"
import { toSchema } from "./offline/schema.ts"

/** `gen_ai.provider.name` of this model. */
export const provider = "troupe-offline"

/** The line that is written to standard error when the Layer is built. */
export const notice =
  "troupe: answering with the offline rules engine (provider troupe-offline), which is not an LLM. For one, set OPENAI_API_KEY (and OPENAI_BASE_URL for another endpoint) or provide a model Layer."

/** What {@link layerWith} takes. */
export interface Options {
  /** Whether to write {@link notice} to standard error, once per process. Default `true`. */
  readonly announce?: boolean | undefined
}

/** The consoles that have been told; a process has one, a test may bring its own. */
const told = new WeakSet<Console.Console>()

const announce: Effect.Effect<void> = Console.consoleWith((console) => {
  if (told.has(console)) return Effect.void
  told.add(console)
  return Effect.sync(() => console.error(notice))
})

const failure = (method: string, reason: AiError.AiErrorReason): AiError.AiError =>
  AiError.make({ module: "Offline", method, reason })

/** The tools that may be called, and how pressing that is. */
const toolsOf = (
  options: LanguageModel.ProviderOptions
): { readonly tools: ReadonlyArray<Tool.Any>; readonly choice: Choice } | undefined => {
  const choice = options.toolChoice
  const tools = options.tools.filter((tool) => !Tool.isProviderDefined(tool))
  if (choice === "none" || tools.length === 0) return undefined
  if (choice === "auto" || choice === "required") return { tools, choice }
  if ("tool" in choice) return { tools, choice: { tool: String(choice.tool) } }
  const names = new Set(choice.oneOf.map(String))
  return { tools: tools.filter((tool) => names.has(tool.name)), choice: choice.mode ?? "auto" }
}

const reply = (method: string, options: LanguageModel.ProviderOptions): Effect.Effect<Reply, AiError.AiError> =>
  Effect.gen(function* (): Effect.fn.Return<Reply, AiError.AiError> {
    const now = yield* Clock.currentTimeMillis
    const format = yield* ModelInfo.OutputFormat
    const conversation = read(options.prompt)
    const using = toolsOf(options)
    if (using !== undefined) {
      const calls = plan(conversation, using.tools.map(offered), using.choice, now)
      if (calls.length > 0) return { _tag: "Calls", calls }
    }
    const schema =
      options.responseFormat.type === "json"
        ? LanguageModel.defaultCodecTransformer(options.responseFormat.schema as never).jsonSchema
        : format?.jsonSchema
    if (schema === undefined) return { _tag: "Text", text: answer(conversation) }
    const value = fillOutput(toSchema(schema), conversation, now)
    if (value !== undefined) return { _tag: "Text", text: JSON.stringify(value.value) }
    return yield* failure(
      method,
      new AiError.UnsupportedSchemaError({
        description: `no value of the schema ${JSON.stringify(format?.name ?? "output")} was found by rule; loosen it (often a pattern) or configure a model`
      })
    )
  }).pipe(
    // The rules are total; this guards the one thing outside of them, a schema that has no JSON form.
    Effect.catchDefect((defect) =>
      Effect.fail(
        failure(
          method,
          new AiError.InvalidRequestError({
            description: `the request cannot be read: ${defect instanceof Error ? defect.message : String(defect)}`
          })
        )
      )
    )
  )

const make: Effect.Effect<LanguageModel.LanguageModel> = Effect.gen(function* () {
  load()
  const annotate = (options: LanguageModel.ProviderOptions, said: Reply, inputTokens: number): void =>
    Telemetry.addGenAIAnnotations(options.span, {
      provider: { name: provider },
      operation: { name: "chat" },
      request: { model: "offline" },
      response: { model: "offline", finishReasons: [said._tag === "Calls" ? "tool-calls" : "stop"] },
      usage: { inputTokens }
    })
  const model = yield* LanguageModel.make({
    generateText: (options) =>
      Effect.map(reply("generateText", options), (said) => {
        const { tokens, hash } = weigh(options.prompt)
        annotate(options, said, tokens)
        return parts(said, tokens, hash)
      }),
    streamText: (options) =>
      Stream.unwrap(
        Effect.map(reply("streamText", options), (said) => {
          const { tokens, hash } = weigh(options.prompt)
          annotate(options, said, tokens)
          return Stream.fromIterable(streamParts(said, tokens, hash)).pipe(Stream.rechunk(1))
        })
      )
  })
  return ModelInfo.attach(model, { provider, model: "offline", structuredOutput: true })
})

/**
 * The offline model. It calls the tools that a text asks for and fills in their arguments, fills structured output from
 * the text, summarises, reviews, merges reports, answers questions from a given text and does stated arithmetic. All of
 * it by rule: the same prompt gives the same answer (relative dates such as "tomorrow" follow the Clock).
 *
 * It is no LLM and says so: the provider is `troupe-offline`, and building the Layer writes {@link notice} to standard
 * error, once per process. Usage is an estimate of a token for every four UTF-8 bytes.
 *
 * At most 1,000,000 characters of a message are read; the answer says when there was more. It fails with
 * `AiError` (`UnsupportedSchemaError`) when no value of an output schema is found, and never with network or
 * authentication errors.
 *
 * @example
 * import { Effect } from "effect"
 * import { LanguageModel } from "effect/ai"
 * import { Offline } from "troupe"
 *
 * const program = LanguageModel.generateText({ prompt: "What is 2 + 40?" }).pipe(
 *   Effect.map((response) => response.text),
 *   Effect.provide(Offline.layer)
 * )
 */
export const layer: Layer.Layer<LanguageModel.LanguageModel> = Layer.effect(
  LanguageModel.LanguageModel,
  Effect.andThen(announce, make)
)

/**
 * As {@link layer}, with options.
 *
 * @example
 * import { Offline } from "troupe"
 *
 * const quiet = Offline.layerWith({ announce: false })
 */
export const layerWith = (options: Options): Layer.Layer<LanguageModel.LanguageModel> =>
  options.announce === false ? Layer.effect(LanguageModel.LanguageModel, make) : layer
