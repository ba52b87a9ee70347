/** The Chat Completions API: requests made of prompts, parts made of whole answers. Pure; it does no I/O. */
import type * as LanguageModel from "effect/ai/LanguageModel"
import type * as Prompt from "effect/ai/Prompt"
import type * as Response from "effect/ai/Response"
import * as Tool from "effect/ai/Tool"
import type { OutputFormat } from "../../../services/ModelInfo.ts"
import { errorIn, malformed, type Problem, Unsupported } from "./errors.ts"
import * as Files from "./files.ts"
import { type CallOptions, chatFields, type Server } from "./options.ts"
import * as Schemas from "./jsonSchema.ts"
import { split } from "./thinkTags.ts"
import {
  argumentsText,
  callIds,
  callName,
  type Fields,
  finish,
  isFields,
  list,
  number,
  openaiOf,
  parseArguments,
  resultText,
  sourcesOf,
  text
} from "./wire.ts"

// -- requests ---------------------------------------------------------------------------------------------------------

/** The body of a request. */
export const encode = (
  request: LanguageModel.ProviderOptions,
  model: string,
  options: CallOptions,
  format: OutputFormat | undefined,
  server: Server
): Fields => ({
  model: options.model ?? model,
  messages: request.prompt.content.flatMap((message) => encodeMessage(message, server.host)),
  ...(request.tools.length === 0
    ? {}
    : { tools: request.tools.map(encodeTool), tool_choice: encodeChoice(request.toolChoice) }),
  ...(format === undefined ? {} : { response_format: { type: "json_schema", json_schema: encodeFormat(format) } }),
  ...chatFields(options, options.model ?? model, server, request.tools.length > 0)
})

const encodeFormat = (format: OutputFormat) => {
  const { schema, strictable } = Schemas.ofOutput(format.jsonSchema)
  return {
    name: format.name,
    ...(format.description === undefined ? {} : { description: format.description }),
    schema,
    strict: strictable
  }
}

const encodeTool = (tool: Tool.Any) => {
  if (Tool.isProviderDefined(tool)) {
    throw new Unsupported(
      `the tool "${tool.name}" is run by the provider, which Chat Completions does not do: use \`api: "responses"\` or a tool of your own`
    )
  }
  const strict = Tool.getStrictMode(tool)
  return {
    type: "function",
    function: {
      name: tool.name as string,
      description: Tool.getDescription(tool),
      parameters: Schemas.ofTool(tool).schema,
      ...(strict === undefined ? {} : { strict })
    }
  }
}

const encodeChoice = (choice: LanguageModel.ToolChoice<string>) =>
  typeof choice === "string"
    ? choice
    : "tool" in choice
      ? { type: "function", function: { name: choice.tool } }
      : (choice.mode ?? "auto")

const encodeMessage = (message: Prompt.Message, host: string): ReadonlyArray<Fields> => {
  switch (message.role) {
    case "system":
      return [{ role: "system", content: message.content }]
    case "user":
      return [{ role: "user", content: encodeUser(message.content) }]
    case "assistant":
      return encodeAssistant(message.content, host)
    case "tool":
      return encodeResults(message.content)
  }
}

const encodeUser = (content: ReadonlyArray<Prompt.UserMessagePart>): string | ReadonlyArray<Fields> => {
  const only = content[0]
  // A plain string is what every compatible server understands.
  if (content.length === 1 && only?.type === "text") return only.text
  return content.map((part) => (part.type === "text" ? { type: "text", text: part.text } : encodeFile(part)))
}

const encodeFile = (part: Prompt.FilePart): Fields => {
  const file = Files.read(part)
  if (file.fileId !== undefined) return { type: "file", file: { file_id: file.fileId } }
  if (file.mediaType.startsWith("image/")) {
    return { type: "image_url", image_url: { url: file.url, detail: file.detail } }
  }
  if (file.text !== undefined) return { type: "text", text: `${file.name}:\n${file.text}` }
  if (file.base64 === undefined) {
    throw new Unsupported(
      `Chat Completions takes no ${file.mediaType} by its address: give its bytes, or use \`api: "responses"\``
    )
  }
  if (file.mediaType.startsWith("audio/")) {
    return { type: "input_audio", input_audio: { data: file.base64, format: Files.audioFormat(file.mediaType) } }
  }
  return { type: "file", file: { filename: file.name, file_data: file.url } }
}

const encodeAssistant = (content: ReadonlyArray<Prompt.AssistantMessagePart>, host: string): ReadonlyArray<Fields> => {
  const said = content.flatMap((part) => (part.type === "text" ? [part.text] : [])).join("")
  const calls = content.flatMap((part) =>
    part.type === "tool-call" && !part.providerExecuted
      ? [
          {
            id: part.id,
            type: "function",
            function: { name: callName(part.name), arguments: argumentsText(part.params) },
            ...extraOf(ownOf(part.options, host))
          }
        ]
      : []
  )
  // Reasoning alone says nothing that this API takes back.
  if (said === "" && calls.length === 0) return []
  const reasoned = content.filter((part) => part.type === "reasoning")
  return [
    {
      role: "assistant",
      content: said === "" ? null : said,
      ...reasoningBack(reasoned, host),
      ...(calls.length === 0 ? {} : { tool_calls: calls })
    }
  ]
}

/** Details, where a server gives them, stand for the text too. */
const reasoningBack = (parts: ReadonlyArray<Prompt.ReasoningPart>, host: string): Fields => {
  const own = parts.map(({ options, text }) => ({ ...ownOf(options, host), text }) as Fields)
  const details = own.flatMap((one) => list(one, "details"))
  if (details.length > 0) return { reasoning_details: details }
  const thoughts: Partial<Record<ReasoningField, string>> = {}
  for (const one of own) {
    const field = reasoningFields.find((name) => name === one["field"])
    if (field !== undefined) thoughts[field] = `${thoughts[field] ?? ""}${String(one["text"])}`
  }
  return thoughts
}

/** What a server has put on a part for itself. Others refuse it. */
const ownOf = (options: unknown, host: string): Fields => {
  const own = openaiOf(options)
  return own["server"] === host ? own : {}
}

/** Signatures and the like, without which a server does not take a call back. */
const extraOf = (fields: Fields): Fields =>
  isFields(fields["extra_content"]) ? { extra_content: fields["extra_content"] } : {}

const encodeResults = (content: ReadonlyArray<Prompt.ToolMessagePart>): ReadonlyArray<Fields> => {
  const results: Array<Fields> = []
  const images: Array<Fields> = []
  for (const given of content) {
    if (given.type !== "tool-result") continue
    const part = Files.ofResult(given, "chat")
    results.push({ role: "tool", tool_call_id: part.id, content: resultText(part) })
    for (const output of part.modelOutput ?? []) if (output.type === "file") images.push(encodeFile(output))
  }
  // This API takes no files in results, so they follow in a message of their own.
  return images.length === 0
    ? results
    : [...results, { role: "user", content: [{ type: "text", text: "Files of the tool results above:" }, ...images] }]
}

// -- answers ----------------------------------------------------------------------------------------------------------

/** OpenAI's words, and those of other servers. */
const finishReasons: Readonly<Record<string, Response.FinishReason>> = {
  stop: "stop",
  stop_sequence: "stop",
  end_turn: "stop",
  eos: "stop",
  eos_token: "stop",
  length: "length",
  max_tokens: "length",
  model_length: "length",
  tool_calls: "tool-calls",
  tool_use: "tool-calls",
  function_call: "tool-calls",
  content_filter: "content-filter",
  error: "error",
  insufficient_system_resource: "error"
}

export const finishOf = (reason: string | undefined, calls: number, refused: boolean): Response.FinishReason => {
  if (refused) return "content-filter"
  const known = reason === undefined ? "unknown" : (finishReasons[reason.toLowerCase()] ?? "other")
  // Some compatible servers say "stop" when they call tools.
  return known === "stop" && calls > 0 ? "tool-calls" : known
}

export const usageOf = (usage: unknown) => {
  const input = isFields(usage) ? usage["prompt_tokens_details"] : undefined
  const output = isFields(usage) ? usage["completion_tokens_details"] : undefined
  return {
    input: number(usage, "prompt_tokens"),
    cached: number(input, "cached_tokens"),
    cacheWrite: number(input, "cache_write_tokens"),
    output: number(usage, "completion_tokens"),
    reasoning: number(output, "reasoning_tokens")
  }
}

const reasoningFields = ["reasoning_content", "reasoning"] as const
type ReasoningField = (typeof reasoningFields)[number]

/** What a message or a delta says of the model's thoughts, and how it has to go back: some servers insist on it. */
export const reasoningOf = (message: Fields, host: string) => {
  for (const field of reasoningFields) {
    const thought = text(message, field)
    if (thought !== undefined) return { thought, metadata: { openai: { server: host, field } } }
  }
  return undefined
}

/**
 * Signed or encrypted reasoning, as OpenRouter gives it: pieces of one index, in a stream, are one detail. It has no text
 * of its own.
 */
export const detailsOf = (pieces: ReadonlyArray<unknown>, host: string) => {
  const details: Array<Record<string, unknown>> = []
  for (const piece of pieces) {
    if (!isFields(piece)) continue
    const last = details.at(-1)
    if (last === undefined || last["type"] !== piece["type"] || last["index"] !== piece["index"]) {
      details.push({ ...piece })
      continue
    }
    for (const [key, value] of Object.entries(piece)) {
      const said = last[key]
      const goesOn = key === "text" || key === "summary" || key === "data"
      if (goesOn && typeof said === "string" && typeof value === "string") last[key] = said + value
      else if (value !== null && value !== undefined) last[key] = value
    }
  }
  // What came as JSON is JSON; metadata is typed by what programs declare of providers.
  return details.length === 0 ? undefined : ({ openai: { server: host, details } } as never)
}

/** What has to go back with a call. */
export const callMetadata = (call: Fields, host: string) => {
  const extra = extraOf(call)
  // What came as JSON is JSON; metadata is typed by what programs declare of providers.
  return "extra_content" in extra ? { metadata: { openai: { server: host, ...extra } } as never } : {}
}

/** The parts of a whole answer. `newId` names calls that the server left without an id; `host` is the server's. */
export const decode = (answer: unknown, newId: () => string, host: string): Array<Response.PartEncoded> | Problem => {
  if (!isFields(answer)) return malformed("the server's answer is not an object")
  const failure = errorIn(answer)
  if (failure !== undefined) return failure
  const choice = list(answer, "choices")[0]
  const message = isFields(choice) ? choice["message"] : undefined
  if (!isFields(choice) || !isFields(message)) return malformed('the server\'s answer has no "choices[0].message"')
  const broken = errorIn(choice)
  if (broken !== undefined) return broken
  const parts: Array<Response.PartEncoded> = [metadataOf(answer)]
  const reasoning = reasoningOf(message, host)
  if (reasoning !== undefined) parts.push({ type: "reasoning", text: reasoning.thought, metadata: reasoning.metadata })
  const details = detailsOf(list(message, "reasoning_details"), host)
  if (details !== undefined) parts.push({ type: "reasoning", text: "", metadata: details })
  const said = split(contentText(message["content"]))
  if (said.reasoning !== "") parts.push({ type: "reasoning", text: said.reasoning })
  if (said.text !== "") parts.push({ type: "text", text: said.text })
  const refusal = text(message, "refusal")
  if (refusal !== undefined) parts.push({ type: "text", text: refusal })
  parts.push(...sourcesOf(list(message, "annotations"), newId))
  const idOf = callIds(newId)
  const calls = list(message, "tool_calls")
  for (const call of calls) {
    const fn = isFields(call) ? call["function"] : undefined
    if (!isFields(call) || !isFields(fn)) return malformed("a tool call of the server's answer has no function")
    parts.push({
      type: "tool-call",
      id: idOf(text(call, "id")),
      name: text(fn, "name") ?? "",
      params: parseArguments(fn["arguments"]),
      ...callMetadata(call, host)
    })
  }
  parts.push(
    finish(finishOf(text(choice, "finish_reason"), calls.length, refusal !== undefined), usageOf(answer["usage"]))
  )
  return parts
}

export const metadataOf = (answer: Fields): Response.ResponseMetadataPartEncoded => ({
  type: "response-metadata",
  id: text(answer, "id"),
  modelId: text(answer, "model")
})

export const contentText = (content: unknown): string => {
  if (typeof content === "string") return content
  if (!Array.isArray(content)) return ""
  return content.map((part) => (isFields(part) ? (text(part, "text") ?? "") : "")).join("")
}
