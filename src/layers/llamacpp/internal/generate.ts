/** Generates one answer at a time on a sequence of a context, token by token, until it ends, is long enough, or is given up. */
import type {
  ChatModelFunctions,
  GbnfJsonSchema,
  LlamaChatResponse,
  LlamaChatResponseChunk,
  LlamaContextSequence,
  LlamaGrammar
} from "node-llama-cpp"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as LanguageModel from "effect/ai/LanguageModel"
import type * as Response from "effect/ai/Response"
import * as Predicate from "effect/Predicate"
import { messageOf } from "../../../internal/message.ts"
import type { CallSettings, OutputFormat, Reasoning } from "../../../services/ModelInfo.ts"
import * as Schemas from "../../internal/model/jsonSchema.ts"
import { after } from "../../internal/model/timer.ts"
import * as TypedOutput from "../../internal/model/typedOutput.ts"
import type { Weights } from "./engine.ts"
import * as Grammar from "./grammar.ts"
import { historyOf } from "./history.ts"

/** How an answer is generated. */
export interface Settings extends CallSettings {
  readonly topP?: number | undefined
  readonly topK?: number | undefined
  readonly seed?: number | undefined
  /** The most tokens of an answer. */
  readonly maxTokens: number
  readonly timeout: Duration.Duration
}

/** What is asked. */
export interface Question {
  readonly request: LanguageModel.ProviderOptions
  readonly output: OutputFormat | undefined
  readonly settings: Settings
}

/** An answer took too long. */
export class Late extends Error {}

/** A whole answer. */
export interface Answer {
  readonly parts: ReadonlyArray<Response.PartEncoded>
  readonly finish: Response.FinishPartEncoded
}

const thoughts: Readonly<Record<Exclude<Reasoning, object>, number>> = {
  none: 0,
  minimal: 128,
  low: 512,
  medium: 2048,
  high: 8192,
  xhigh: 32_768,
  max: Infinity
}

type Chunk = (chunk: LlamaChatResponseChunk) => void

interface Plan {
  readonly request: LanguageModel.ProviderOptions
  readonly grammar: LlamaGrammar | undefined
  readonly functions: ChatModelFunctions | undefined
  /** True where the answer is a call, in a form of ours. */
  readonly isCall: boolean
}

/** The package types the value by a schema that is written out; ours is made at run time, and its value is read as text. */
const grammarFor = (llama: Weights["llama"], schema: GbnfJsonSchema): Promise<LlamaGrammar> =>
  llama.createGrammarForJsonSchema(schema as { readonly type: "string" })

const planOf = async ({ llama }: Weights, { output, request }: Question): Promise<Plan> => {
  const tools = Grammar.forced(request)
  if (tools !== undefined && tools.length > 0) {
    const words = `Call ${tools.length === 1 ? `the tool ${tools[0]!.name}` : "one of the tools"}: answer with a JSON object that has the fields "tool" and "arguments".`
    const described = TypedOutput.instructed(request, words, tools)
    const grammar = await grammarFor(llama, Grammar.ofCall(tools))
    return { request: described, grammar, functions: undefined, isCall: true }
  }
  const hasTools = request.tools.length > 0 && request.toolChoice !== "none"
  // A grammar for the answer would keep the model from calling tools.
  const typed = TypedOutput.ask(hasTools ? request : { ...request, tools: [] }, output, undefined, {
    alone: "json_schema",
    withTools: "prompt"
  })
  const grammar =
    typed.format?.type === "json_schema"
      ? await grammarFor(llama, Grammar.ofSchema(Schemas.ofOutput(typed.format.output.jsonSchema).schema))
      : undefined
  const functions = Object.fromEntries(
    typed.request.tools.map((tool) => [
      tool.name,
      { description: TypedOutput.describe(tool), params: Grammar.ofTool(tool) }
    ])
  )
  return {
    request: typed.request,
    grammar,
    functions: grammar === undefined && hasTools ? functions : undefined,
    isCall: false
  }
}

/**
 * Generates an answer. Interruption, and the end of its time, stop it after the token that is being made, and wait for that.
 * Fails with what the package throws, with `Unsupported` for a conversation that the model cannot be given, or with {@link Late}.
 */
export const generate = (
  weights: Weights,
  sequence: LlamaContextSequence,
  question: Question,
  onChunk: Chunk,
  newId: () => string
): Effect.Effect<Answer, unknown> =>
  Effect.withFiber((fiber) =>
    Effect.callback<Answer, unknown>((resume) => {
      const controller = new AbortController()
      let isLate = false
      const { timeout } = question.settings
      const stop = after(fiber.context, Duration.toMillis(timeout), () => {
        isLate = true
        controller.abort()
      })
      const running = run(weights, sequence, question, onChunk, newId, controller.signal).then(
        (answer) => resume(isLate ? Effect.fail(late(timeout)) : Effect.succeed(answer)),
        (error: unknown) => resume(Effect.fail(isLate ? late(timeout) : error))
      )
      return Effect.andThen(
        Effect.sync(() => {
          stop()
          controller.abort()
        }),
        // The sequence is free once the token is made.
        Effect.promise(() => running)
      )
    })
  )

const late = (timeout: Duration.Duration): Late => new Late(`no answer within ${Duration.format(timeout)}`)

const run = async (
  weights: Weights,
  sequence: LlamaContextSequence,
  question: Question,
  onChunk: Chunk,
  newId: () => string,
  signal: AbortSignal
): Promise<Answer> => {
  const { grammar, functions, isCall, request } = await planOf(weights, question)
  const chat = new weights.package.LlamaChat({ contextSequence: sequence })
  const before = sequence.tokenMeter.getState()
  try {
    const { maxTokens, reasoning, seed, temperature = 0.8, topK, topP } = question.settings
    const budget =
      reasoning === undefined ? undefined : typeof reasoning === "object" ? reasoning.tokens : thoughts[reasoning]
    const common = {
      signal,
      maxTokens,
      temperature,
      ...(topP === undefined ? {} : { topP }),
      ...(topK === undefined ? {} : { topK }),
      ...(seed === undefined ? {} : { seed }),
      ...(budget === undefined ? {} : { budgets: { thoughtTokens: budget } }),
      ...(isCall ? {} : { onResponseChunk: onChunk })
    }
    const form =
      grammar === undefined ? (functions === undefined ? {} : { functions, maxParallelFunctionCalls: 8 }) : { grammar }
    const result: LlamaChatResponse<ChatModelFunctions> = await chat.generateResponse<ChatModelFunctions>(
      historyOf(request.prompt),
      { ...common, ...form } as typeof common
    )
    const used = sequence.tokenMeter.diff(before)
    const output = used.usedOutputTokens
    const total = Math.max(used.usedInputTokens, sequence.contextTokens.length - output)
    const usage = {
      inputTokens: { total, uncached: used.usedInputTokens, cacheRead: total - used.usedInputTokens },
      outputTokens: { total: output }
    }
    const { parts, reason } = isCall ? forcedCall(result, newId) : partsOf(result, newId)
    return { parts, finish: { type: "finish", reason, usage } }
  } finally {
    chat.dispose()
  }
}

interface Read {
  readonly parts: ReadonlyArray<Response.PartEncoded>
  readonly reason: Response.FinishReason
}

const wasCut = ({ metadata }: LlamaChatResponse<ChatModelFunctions>): boolean => metadata.stopReason === "maxTokens"

/** The call that a grammar held the model to; what was cut off is left in words. */
const forcedCall = (result: LlamaChatResponse<ChatModelFunctions>, newId: () => string): Read => {
  try {
    const call: unknown = JSON.parse(result.response)
    if (Predicate.hasProperty(call, "tool") && Predicate.hasProperty(call, "arguments")) {
      return {
        parts: [{ type: "tool-call", id: newId(), name: String(call.tool), params: call.arguments }],
        reason: "tool-calls"
      }
    }
  } catch {
    // Not whole.
  }
  return { parts: [{ type: "text", text: result.response }], reason: wasCut(result) ? "length" : "stop" }
}

const partsOf = (result: LlamaChatResponse<ChatModelFunctions>, newId: () => string): Read => {
  const parts: Array<Response.PartEncoded> = []
  for (const item of result.fullResponse) {
    if (typeof item === "string") parts.push({ type: "text", text: item })
    else if (item.segmentType === "thought") parts.push({ type: "reasoning", text: item.text })
  }
  const calls = result.functionCalls ?? []
  for (const call of calls) {
    parts.push({ type: "tool-call", id: newId(), name: call.functionName, params: call.params })
  }
  return { parts, reason: calls.length > 0 ? "tool-calls" : wasCut(result) ? "length" : "stop" }
}

/** True for an error that says that the conversation is too long for the context. */
export const isOverflow = (error: unknown): boolean =>
  /context (size|length)|too (long|large).*context|context.*too (long|small|large)|no space left/i.test(
    messageOf(error)
  )
