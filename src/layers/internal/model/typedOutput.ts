/** Asks for typed output: by a schema, in JSON mode, by a tool, or in words. Decodes answers that come by a tool. */
import * as LanguageModel from "effect/ai/LanguageModel"
import type * as Response from "effect/ai/Response"
import * as Tool from "effect/ai/Tool"
import { withInstruction } from "../../../internal/input.ts"
import { textOfJson } from "../../../internal/json.ts"
import type { OutputFormat } from "../../../services/ModelInfo.ts"
import * as Schemas from "./jsonSchema.ts"

/** A request that asks for typed output, and what the encoders have to add to it. */
export interface Typed {
  readonly request: LanguageModel.ProviderOptions
  /** The format field of the body. */
  readonly format:
    | { readonly type: "json_schema"; readonly output: OutputFormat }
    | { readonly type: "json_object" }
    | undefined
  /** The tool whose arguments are the answer. */
  readonly answerTool: string | undefined
}

/** The ways to ask a model for typed output. */
export type StructuredOutput = "json_schema" | "json_object" | "tool" | "prompt"

/** How to ask for typed output where no tools are offered, and where some are. */
export interface Ways {
  readonly alone: StructuredOutput
  readonly withTools: StructuredOutput
}

/** The shape that `generateObject` asks for. */
export const formatOf = (request: LanguageModel.ProviderOptions): OutputFormat | undefined => {
  const { responseFormat } = request
  if (responseFormat.type !== "json") return undefined
  const { jsonSchema } = LanguageModel.defaultCodecTransformer(responseFormat.schema)
  return {
    name: responseFormat.objectName.replace(/[^a-zA-Z0-9_-]/g, "_").slice(0, 64),
    description: undefined,
    jsonSchema
  }
}

/** The shape as APIs take it, and whether the model can be held to it strictly. */
export const shapeOf = ({ description, jsonSchema, name }: OutputFormat) => {
  const { schema, strictable } = Schemas.ofOutput(jsonSchema)
  return { shape: { name, ...(description === undefined ? {} : { description }), schema }, strictable }
}

/** Asks for typed output in the way that is wanted, or in the one that the model is known to take. */
export const ask = (
  request: LanguageModel.ProviderOptions,
  output: OutputFormat | undefined,
  wanted: StructuredOutput | undefined,
  known: Ways
): Typed => {
  if (output === undefined) return { request, format: undefined, answerTool: undefined }
  const hasTools = request.tools.length > 0
  const way = wanted ?? (hasTools ? known.withTools : known.alone)
  switch (way) {
    case "json_schema":
      return { request, format: { type: "json_schema", output }, answerTool: undefined }
    case "json_object": {
      // Servers with JSON mode only reject it together with tools, or call no tool.
      const format = hasTools ? undefined : ({ type: "json_object" } as const)
      return { request: instruct(request, output), format, answerTool: undefined }
    }
    case "prompt":
      return { request: instruct(request, output), format: undefined, answerTool: undefined }
    case "tool":
      return withAnswerTool(request, output)
  }
}

/** Puts the schema into the instructions. One server insists on the word "json", in small letters. */
const instruct = (request: LanguageModel.ProviderOptions, output: OutputFormat): LanguageModel.ProviderOptions => {
  const how =
    request.tools.length === 0
      ? "Answer in json format: only a JSON object"
      : "Call tools as you need them. Then answer in json format: only a JSON object"
  const schema = JSON.stringify(Schemas.ofOutput(output.jsonSchema).schema)
  const text = `${how} that fits this JSON schema, without any other text:\n${schema}`
  return { ...request, prompt: withInstruction(request.prompt, text) }
}

/** What a tool does, for a model. */
export const describe = (tool: Tool.Any): string => Tool.getDescription(tool) ?? ""

/** The request without tools, which are described in the instructions, after `words`. */
export const instructed = (
  request: LanguageModel.ProviderOptions,
  words: string,
  tools: ReadonlyArray<Tool.Any>
): LanguageModel.ProviderOptions => {
  const described = tools.map(
    (tool) => `${tool.name}: ${describe(tool)}\n${JSON.stringify(Schemas.ofTool(tool).schema)}`
  )
  return { ...request, tools: [], prompt: withInstruction(request.prompt, [words, ...described].join("\n\n")) }
}

/** Offers a tool that takes the answer, and has the model call that one or another. */
const withAnswerTool = (request: LanguageModel.ProviderOptions, output: OutputFormat): Typed => {
  const { toolChoice, tools } = request
  const isForced =
    typeof toolChoice === "object" ? "tool" in toolChoice || toolChoice.mode === "required" : toolChoice === "required"
  // The tool that has to be called is not the answer.
  if (isForced && tools.length > 0) return { request, format: undefined, answerTool: undefined }
  const name = freeName(tools)
  return {
    request: {
      ...request,
      tools: [...tools, answerTool(name, output)],
      toolChoice: tools.length === 0 || toolChoice === "none" ? { tool: name } : "required"
    },
    format: undefined,
    answerTool: name
  }
}

const freeName = (tools: ReadonlyArray<Tool.Any>): string => {
  const taken = new Set(tools.map((tool) => tool.name as string))
  let name = "answer"
  for (let n = 2; taken.has(name); n++) name = `answer_${n}`
  return name
}

/** One for each output, so that its schema is made ready once. */
const answerTools = new WeakMap<OutputFormat, Map<string, Tool.Any>>()

const answerTool = (name: string, output: OutputFormat): Tool.Any => {
  const made = answerTools.get(output) ?? new Map<string, Tool.Any>()
  answerTools.set(output, made)
  const found = made.get(name)
  if (found !== undefined) return found
  const description = ["Gives the final answer. Call it when you have the answer.", output.description ?? ""]
  const tool = Tool.dynamic(name, {
    description: description.join(" ").trim(),
    parameters: Schemas.ofOutput(output.jsonSchema).schema
  })
  made.set(name, tool)
  return tool
}

/** Makes texts of the calls of the answer's tool, part by part. */
export class AnswerReader {
  readonly #tool: string
  /** The calls of the tool, and whether deltas came of them. */
  readonly #begun = new Map<string, boolean>()
  #otherCalls = 0

  constructor(tool: string) {
    this.#tool = tool
  }

  read(part: Response.StreamPartEncoded): ReadonlyArray<Response.StreamPartEncoded> {
    switch (part.type) {
      case "tool-params-start":
        if (part.name !== this.#tool) return [part]
        this.#begun.set(part.id, false)
        return [{ type: "text-start", id: `answer:${part.id}` }]
      case "tool-params-delta":
        if (!this.#begun.has(part.id)) return [part]
        this.#begun.set(part.id, true)
        return [{ type: "text-delta", id: `answer:${part.id}`, delta: part.delta }]
      case "tool-params-end":
        // The call that follows may hold what no delta did.
        return this.#begun.has(part.id) ? [] : [part]
      case "tool-call":
        if (part.name === this.#tool) return this.#answer(part)
        this.#otherCalls++
        return [part]
      case "finish":
        return [this.#otherCalls === 0 ? ended(part) : part]
      default:
        return [part]
    }
  }

  #answer({ id: callId, params }: Response.ToolCallPartEncoded): ReadonlyArray<Response.StreamPartEncoded> {
    const id = `answer:${callId}`
    const hasDeltas = this.#begun.get(callId)
    return [
      ...(hasDeltas === undefined ? [{ type: "text-start", id } as const] : []),
      ...(hasDeltas === true ? [] : [{ type: "text-delta", id, delta: textOfJson(params) } as const]),
      { type: "text-end", id }
    ]
  }
}

/** Without other calls the answer is an end. */
const ended = (part: Response.FinishPartEncoded): Response.FinishPartEncoded =>
  part.reason === "tool-calls" ? { ...part, reason: "stop" } : part

/** The parts of a whole answer, with the calls of the answer's tool as texts. */
export const answered = (
  parts: ReadonlyArray<Response.PartEncoded>,
  tool: string
): ReadonlyArray<Response.PartEncoded> =>
  finished(
    parts.map((part) =>
      part.type === "tool-call" && part.name === tool ? { type: "text", text: textOfJson(part.params) } : part
    )
  )

const finished = (parts: ReadonlyArray<Response.PartEncoded>): ReadonlyArray<Response.PartEncoded> =>
  parts.some(({ type }) => type === "tool-call")
    ? parts
    : parts.map((part) => (part.type === "finish" ? ended(part) : part))
