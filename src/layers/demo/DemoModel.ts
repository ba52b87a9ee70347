/**
 * A model for trying a program out, without a key and without a network. It is not a language model: it takes literals
 * from the text, and fails where an answer would be a guess.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as AiError from "effect/ai/AiError"
import * as LanguageModel from "effect/ai/LanguageModel"
import type * as Response from "effect/ai/Response"
import type * as Tool from "effect/ai/Tool"
import * as Lacking from "../../internal/lacking.ts"
import * as ModelInfo from "../../services/ModelInfo.ts"
import { fill, type Missing } from "./internal/fill.ts"
import * as literals from "./internal/literals.ts"
import { read, type Request } from "./internal/request.ts"
import { summarise } from "./internal/summary.ts"
import { plan } from "./internal/tools.ts"
import { keyWords, without } from "./internal/words.ts"

/** `gen_ai.provider.name` of this model. */
export const provider = "troupe-demo"

const maxLength = 50_000
const advice = `Provide a language model, such as OpenAi.layer({ model: "gpt-4.1-mini" }), for what is not in the text`

/** Fails with an error that names what is not guessed. It is not retried: the same text gives the same error. */
const refuse = (parameter: string, description: string) => {
  const reason = new AiError.InvalidRequestError({ parameter, description: `The demo model ${description}. ${advice}` })
  return Effect.fail(AiError.make({ module: "DemoModel", method: "reply", reason }))
}

const doesNotGuess = ({ field, tool, why }: Missing) => {
  if (field === "tool" && tool === undefined) return refuse(field, `does not guess which tool to call: ${why}`)
  const of = tool === undefined ? "" : ` of the tool \`${tool}\``
  return refuse(field, `does not guess \`${field}\`${of}: ${why}; write it as \`${field}: ...\``)
}

/** The tools that may be called, and whether one has to be. */
const choose = (choice: LanguageModel.ToolChoice<string>, tools: ReadonlyArray<Tool.Any>) => {
  if (typeof choice === "string") return { tools: choice === "none" ? [] : tools, required: choice === "required" }
  if ("tool" in choice) return { tools: tools.filter(({ name }) => name === choice.tool), required: true }
  return { tools: tools.filter(({ name }) => choice.oneOf.includes(name)), required: choice.mode === "required" }
}

/** An answer in words: what the tools gave, a sum, or sentences of the text. */
const answer = ({ instructions, message, results }: Request): string | undefined => {
  if (results.length === 1) return results[0]!.text
  if (results.length > 1) return results.map(({ name, text }) => `${name}: ${text}`).join("\n")
  const sum = literals.arithmetic(message)
  const others = sum === undefined ? [] : keyWords(without(message, [sum]))
  const isSum = others.every((word) => word === "calculate" || word === "compute")
  return sum !== undefined && isSum ? `${sum.value} = ${sum.result}` : summarise(message, instructions)
}

const reply = Effect.fnUntraced(function* (options: LanguageModel.ProviderOptions) {
  const unrunnable = Lacking.unrunnable(options.tools, "the demo model")
  if (unrunnable !== undefined) return yield* Lacking.errorOf({ module: "DemoModel", method: "reply", ...unrunnable })
  const text = (text: string): ReadonlyArray<Response.TextPartEncoded> => [{ type: "text", text }]
  const { prompt, responseFormat, toolChoice, tools } = options
  const request = read(prompt)
  const { files, message, results } = request
  const failed = results.find(({ isFailure }) => isFailure)
  if (files.length > 0) return yield* refuse("prompt", `does not read files (${files.join(", ")})`)
  if (message.length > maxLength) return yield* refuse("prompt", `reads at most ${maxLength} characters`)
  if (failed !== undefined)
    return yield* refuse("prompt", `stops when a tool fails (${failed.name}: ${failed.text.slice(0, 500)})`)
  const calls = results.length > 0 ? Result.succeed([]) : plan(message, choose(toolChoice, tools))
  if (Result.isFailure(calls)) return yield* doesNotGuess(calls.failure)
  const id = (i: number) => `demo_${prompt.content.length}_${i + 1}`
  if (calls.success.length > 0)
    return calls.success.map((call, i) => ({ type: "tool-call" as const, id: id(i), ...call }))
  const isJson = responseFormat.type === "json"
  const wanted = isJson ? LanguageModel.defaultCodecTransformer(responseFormat.schema) : yield* ModelInfo.OutputFormat
  if (wanted !== undefined) {
    const filled = fill(wanted.jsonSchema, [message, ...results.map((result) => result.text)].join("\n"))
    return Result.isFailure(filled) ? yield* doesNotGuess(filled.failure) : text(JSON.stringify(filled.success))
  }
  const said = answer(request)
  if (said !== undefined) return text(said)
  return yield* refuse("prompt", "does not guess an answer: it calls tools, works out sums and takes sentences")
})

const none = { uncached: 0, total: 0, cacheRead: 0, cacheWrite: 0 }
const respond = (options: LanguageModel.ProviderOptions) =>
  Effect.map(reply(options), (parts) => {
    const usage = { inputTokens: none, outputTokens: { total: 0, text: 0, reasoning: 0 } }
    const reason = parts[0]?.type === "text" ? ("stop" as const) : ("tool-calls" as const)
    return [...parts, { type: "finish" as const, reason, usage, response: undefined }]
  })

const make = LanguageModel.make({
  generateText: respond,
  streamText: (options) =>
    Stream.fromIterableEffect(respond(options)).pipe(
      Stream.flatMap((part): Stream.Stream<Response.StreamPartEncoded> => {
        if (part.type !== "text") return Stream.succeed(part)
        const words = part.text.match(/\S+\s*|\s+/g) ?? []
        const deltas = words.map((delta) => ({ type: "text-delta" as const, id: "text", delta }))
        return Stream.make({ type: "text-start", id: "text" }, ...deltas, { type: "text-end", id: "text" })
      }),
      Stream.rechunk(1)
    )
})

/**
 * The demo model. It is not a language model, and it is never chosen unless it is asked for by name. It
 *
 * - calls the tools whose names and descriptions share most words with the request, once each, with literals of the text
 *   as arguments: numbers in order, quoted strings, JSON, `label: value`, members of an enum that are named, an
 *   arithmetic expression; then it answers with the tools' results
 * - fills typed output with such literals
 * - works out sums, such as "What is 2 + 40?"
 * - summarises by taking sentences of the text: two, or as many as the request says
 *
 * It fails with an `AiError` (`InvalidRequestError`, whose `parameter` is the field) for everything else: a field that has
 * no literal in the text, a failed tool, another question, a file that is not text, a message of more than 50,000
 * characters. An agent fails with `ModelError`, which says the same. It is not retried.
 *
 * It reads the last message of the user, answers at once, uses no tokens, and gives the same answer to the same prompt.
 *
 * @example
 * import { Effect } from "effect"
 * import { Agent, DemoModel } from "troupe"
 *
 * const clerk = Agent.make("clerk", { instructions: "You do arithmetic." })
 * const answer = clerk.run("What is 2 + 40?").pipe(Effect.provide(DemoModel.layer)) // "2 + 40 = 42"
 */
export const layer: Layer.Layer<LanguageModel.LanguageModel> = Layer.effectContext(
  Effect.map(make, (model) => ModelInfo.context(model, { provider, model: "demo", structuredOutput: true }))
)
