/** What a request is to a model of llama.cpp, and what its reply is to `effect/ai`. */
import type * as LanguageModel from "effect/ai/LanguageModel"
import type * as Response from "effect/ai/Response"
import * as Predicate from "effect/Predicate"
import { parseJson } from "../../../internal/json.ts"
import type { CallSettings, OutputFormat, Reasoning } from "../../../services/ModelInfo.ts"
import * as Schemas from "../../internal/model/jsonSchema.ts"
import * as TypedOutput from "../../internal/model/typedOutput.ts"
import * as Grammar from "./grammar.ts"
import { historyOf } from "./history.ts"
import type { Item, Reply, Task } from "./protocol.ts"

/** How an answer is generated. */
export interface Settings extends CallSettings {
  readonly topP?: number | undefined
  readonly topK?: number | undefined
  readonly seed?: number | undefined
  /** The most tokens of an answer. */
  readonly maxTokens: number
}

/** What is asked. */
export interface Question {
  readonly request: LanguageModel.ProviderOptions
  readonly output: OutputFormat | undefined
  readonly settings: Settings
}

const thoughts: Readonly<Record<Exclude<Reasoning, object>, number>> = {
  none: 0,
  minimal: 128,
  low: 512,
  medium: 2048,
  high: 8192,
  xhigh: 32_768,
  max: Number.MAX_SAFE_INTEGER
}

/** Throws `Unsupported` for a conversation that the model cannot be given. */
export const taskOf = (question: Question): Task => {
  const { maxTokens, reasoning, seed, temperature = 0.8, topK, topP } = question.settings
  const { request, ...form } = formOf(question)
  return {
    ...form,
    history: historyOf(request.prompt),
    maxTokens,
    temperature,
    topP,
    topK,
    seed,
    thoughtTokens:
      reasoning === undefined ? undefined : typeof reasoning === "object" ? reasoning.tokens : thoughts[reasoning]
  }
}

interface Form extends Pick<Task, "grammar" | "functions" | "isCall"> {
  readonly request: LanguageModel.ProviderOptions
}

const formOf = ({ output, request }: Question): Form => {
  const tools = Grammar.forced(request)
  if (tools !== undefined && tools.length > 0) {
    const words = `Call ${tools.length === 1 ? `the tool ${tools[0]!.name}` : "one of the tools"}: answer with a JSON object that has the fields "tool" and "arguments".`
    const described = TypedOutput.instructed(request, words, tools)
    return { request: described, grammar: Grammar.ofCall(tools), functions: undefined, isCall: true }
  }
  const hasTools = request.tools.length > 0 && request.toolChoice !== "none"
  // A grammar for the answer would keep the model from calling tools.
  const typed = TypedOutput.ask(hasTools ? request : { ...request, tools: [] }, output, undefined, {
    alone: "json_schema",
    withTools: "prompt"
  })
  const grammar =
    typed.format?.type === "json_schema"
      ? Grammar.ofSchema(Schemas.ofOutput(typed.format.output.jsonSchema).schema)
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

/** A whole answer. */
export interface Answer {
  readonly parts: ReadonlyArray<Response.PartEncoded>
  readonly finish: Response.FinishPartEncoded
}

/** The answer in a reply to a task. */
export const answerOf = ({ isCall }: Task, reply: Reply, newId: () => string): Answer => {
  const call = isCall ? forcedCall(reply) : undefined
  const items: ReadonlyArray<Item> = call ?? (isCall ? [{ kind: "text", text: reply.response }] : reply.items)
  const isCalling = items.some(({ kind }) => kind === "call")
  const { cachedTokens, inputTokens, outputTokens } = reply
  return {
    parts: items.map((item) => partOf(item, newId)),
    finish: {
      type: "finish",
      reason: isCalling ? "tool-calls" : reply.wasCut ? "length" : "stop",
      usage: {
        inputTokens: { total: inputTokens, uncached: inputTokens - cachedTokens, cacheRead: cachedTokens },
        outputTokens: { total: outputTokens }
      }
    }
  }
}

/** The call that a grammar held the model to; what was cut off is left in words. */
const forcedCall = ({ response }: Reply): ReadonlyArray<Item> | undefined => {
  const call = parseJson(response)
  return Predicate.hasProperty(call, "tool") && Predicate.hasProperty(call, "arguments")
    ? [{ kind: "call", name: String(call.tool), params: call.arguments }]
    : undefined
}

const partOf = (item: Item, newId: () => string): Response.PartEncoded => {
  switch (item.kind) {
    case "text":
      return { type: "text", text: item.text }
    case "thought":
      return { type: "reasoning", text: item.text }
    case "call":
      return { type: "tool-call", id: newId(), name: item.name, params: item.params }
  }
}
