/** The Chat Completions API: requests made of prompts, parts made of whole answers. */
import type * as LanguageModel from "effect/ai/LanguageModel"
import type * as Prompt from "effect/ai/Prompt"
import type * as Response from "effect/ai/Response"
import * as Tool from "effect/ai/Tool"
import type * as Schema from "effect/Schema"
import {
  errorIn,
  errorInPlaceOf,
  isProblem,
  malformed,
  type Problem,
  quote,
  Lacking,
  Unsupported
} from "../../internal/model/problems.ts"
import { answeredBase64, inWords } from "../../internal/model/files.ts"
import * as Files from "./files.ts"
import type { LeftOut } from "./decoding.ts"
import { type CallOptions, chatFields, type Server } from "./options.ts"
import * as Schemas from "../../internal/model/jsonSchema.ts"
import { serverAt } from "./servers.ts"
import { split } from "./thinkTags.ts"
import { shapeOf, type Typed } from "../../internal/model/typedOutput.ts"
import {
  argumentsText,
  callIds,
  callName,
  callParts,
  distinctCalls,
  type Fields,
  finish,
  fitId,
  given,
  isFields,
  list,
  metadataOf,
  number,
  openaiOf,
  type RawCall,
  resultText,
  sourcesOf,
  text
} from "../../internal/model/wire.ts"
import { type MessageEncoder, type Target, toolWriter, writeMessages } from "./written.ts"

// -- requests ---------------------------------------------------------------------------------------------------------

/** How messages are encoded for a server. */
export const messagesOf = ({ compatible, host }: Server): MessageEncoder => ({
  encode: (message) => encodeMessage(message, host),
  place: (item, _index, last) => (compatible ? inTurn(item, last) : { item, replaces: false })
})

/** The body of a request. */
export const encode = (
  { format, request }: Typed,
  model: string,
  options: CallOptions,
  { memory, messages, server }: Target
): Fields => ({
  model: options.model ?? model,
  messages: writeMessages(messages, request.prompt, memory),
  ...(request.tools.length === 0
    ? {}
    : { tools: writeTools(request.tools, memory), tool_choice: encodeChoice(request.toolChoice) }),
  ...(format === undefined ? {} : { response_format: encodeFormat(format) }),
  ...chatFields(options, options.model ?? model, server, request.tools.length > 0)
})

const encodeFormat = (format: NonNullable<Typed["format"]>) => {
  if (format.type === "json_object") return format
  const { shape, strictable } = shapeOf(format.output)
  return { type: "json_schema", json_schema: { ...shape, strict: strictable } }
}

/**
 * Templates of open models want the roles to alternate, and one system message: what follows one of its own role is put
 * into that one. OpenAI takes them as they are.
 */
const inTurn = (message: Fields, last: Fields | undefined): ReturnType<MessageEncoder["place"]> => {
  const { role } = message
  const joins = last !== undefined && last["role"] === role && (role === "user" || role === "system")
  return joins
    ? { item: { ...last, content: joined(last["content"], message["content"]) }, replaces: true }
    : { item: message, replaces: false }
}

const joined = (first: unknown, second: unknown): unknown =>
  typeof first === "string" && typeof second === "string"
    ? `${first}\n\n${second}`
    : [first, second].flatMap((content) => (typeof content === "string" ? [{ type: "text", text: content }] : content))

const encodeTool = (tool: Tool.Any) => {
  if (Tool.isProviderDefined(tool)) {
    throw new Lacking(
      tool.providerName,
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

const writeTools = toolWriter(encodeTool)

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
      return encodeResults(message.content, host)
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
  const words = content.flatMap((part) => (part.type === "text" ? [part.text] : [])).join("")
  // This API takes no files of the model back.
  const files = content.flatMap((part) => (part.type === "file" ? [inWords(part)] : []))
  const said = [words, ...files].filter((one) => one !== "").join("\n")
  const calls = content.flatMap((part) =>
    part.type === "tool-call" && !part.providerExecuted
      ? [
          {
            id: sentId(part.id, host),
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
      ...reasoningBack(reasoned, host, calls.length > 0),
      ...(calls.length === 0 ? {} : { tool_calls: calls })
    }
  ]
}

/** Details, if a server gives them, replace the text too. An empty thought goes back with the calls it led to. */
const reasoningBack = (parts: ReadonlyArray<Prompt.ReasoningPart>, host: string, hasCalls: boolean): Fields => {
  const own = parts.map(({ options, text }) => ({ ...ownOf(options, host), text }) as Fields)
  const details = own.flatMap((one) => list(one, "details"))
  if (details.length > 0) return { reasoning_details: details }
  const thoughts: Partial<Record<ReasoningField, string>> = {}
  for (const one of own) {
    const field = reasoningFields.find((name) => name === one["field"])
    if (field !== undefined) thoughts[field] = `${thoughts[field] ?? ""}${String(one["text"])}`
  }
  return hasCalls ? thoughts : Object.fromEntries(Object.entries(thoughts).filter(([, thought]) => thought !== ""))
}

/** A server's own field on a part. Other servers reject it. */
const ownOf = (options: unknown, host: string): Fields => {
  const own = openaiOf(options)
  return own["server"] === host ? own : {}
}

/** Signatures and similar fields, without which a server rejects the call in the next request. */
const extraOf = (fields: Fields): Fields =>
  isFields(fields["extra_content"]) ? { extra_content: fields["extra_content"] } : {}

/** The longest id of a call that OpenAI takes back. */
const longestId = 40

const sentId = (id: string, host: string): string => fitId(id, longestId, serverAt(host).callIdLength)

const encodeResults = (content: ReadonlyArray<Prompt.ToolMessagePart>, host: string): ReadonlyArray<Fields> => {
  const results: Array<Fields> = []
  const images: Array<Fields> = []
  for (const result of content) {
    if (result.type !== "tool-result") continue
    const part = Files.ofResult(result, "chat")
    results.push({ role: "tool", tool_call_id: sentId(part.id, host), content: resultText(part) })
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
  sensitive: "content-filter",
  error: "error",
  network_error: "error",
  insufficient_system_resource: "error"
}

export const finishOf = (reason: string | undefined, calls: number, refused: boolean): Response.FinishReason => {
  if (refused) return "content-filter"
  const word = reason?.toLowerCase() ?? ""
  const known = Object.hasOwn(finishReasons, word) ? finishReasons[word] : reason === undefined ? "unknown" : "other"
  // Some compatible servers say "stop" when they call tools.
  return known === "stop" && calls > 0 ? "tool-calls" : known!
}

const first = (...counts: ReadonlyArray<number | undefined>): number | undefined =>
  counts.find((count) => count !== undefined && count > 0) ?? counts.find((count) => count !== undefined)

/** OpenAI's names for what was counted, and those of other servers (DeepSeek, Moonshot, Anthropic). */
export const usageOf = (usage: unknown) => {
  const input = isFields(usage) ? usage["prompt_tokens_details"] : undefined
  const output = isFields(usage) ? usage["completion_tokens_details"] : undefined
  return {
    input: first(number(usage, "prompt_tokens"), number(usage, "input_tokens")),
    cached: first(
      number(input, "cached_tokens"),
      number(usage, "prompt_cache_hit_tokens"),
      number(usage, "cached_tokens"),
      number(usage, "cache_read_input_tokens")
    ),
    cacheWrite: first(
      number(input, "cache_write_tokens"),
      number(input, "cache_creation_input_tokens"),
      number(usage, "cache_creation_input_tokens")
    ),
    output: first(number(usage, "completion_tokens"), number(usage, "output_tokens")),
    reasoning: first(number(output, "reasoning_tokens"), number(usage, "reasoning_tokens"))
  }
}

/** Whether something has a usage with something in it. */
const saysUsage = (owner: unknown): owner is { readonly usage: Fields } =>
  isFields(owner) && isFields(owner["usage"]) && Object.keys(owner["usage"]).length > 0

/** Groq's own word for why a stream was given up. */
export const errorOfVendor = (chunk: Fields): Problem | undefined => {
  const vendor = chunk["x_groq"]
  return isFields(vendor) ? errorIn(vendor) : undefined
}

/** The usage of an answer or a chunk: alongside its choices, in one of them, or under a name of one vendor's. */
export const usageIn = (answer: Fields): Fields | undefined => {
  if (saysUsage(answer)) return answer["usage"]
  for (const choice of list(answer, "choices")) if (saysUsage(choice)) return choice["usage"]
  const vendor = answer["x_groq"]
  return saysUsage(vendor) ? vendor["usage"] : undefined
}

const reasoningFields = ["reasoning_content", "reasoning"] as const
type ReasoningField = (typeof reasoningFields)[number]

/**
 * What a message or a delta says of the model's thoughts, and how it has to go back: some servers insist on it, also where
 * the thought is empty.
 */
export const reasoningOf = (message: Fields, host: string) => {
  const field =
    reasoningFields.find((name) => text(message, name) !== undefined) ??
    reasoningFields.find((name) => given(message, name) !== undefined)
  if (field === undefined) return undefined
  return { thought: given(message, field) ?? "", metadata: { openai: { server: host, field } } }
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
  return details.length === 0
    ? undefined
    : { openai: { server: host, details: details as ReadonlyArray<Schema.JsonObject> } }
}

/** The fields that have to go back with a call. */
export const callMetadata = (call: Fields, host: string): Response.ProviderMetadata | undefined => {
  const extra = extraOf(call)
  // What came as JSON is JSON; metadata is typed by what programs declare of providers.
  return "extra_content" in extra ? { openai: { server: host, ...(extra as Schema.JsonObject) } } : undefined
}

/** The parts of a whole answer. `newId` names calls that the server left without an id; `host` is the server's. */
export const decode = (
  answer: unknown,
  newId: () => string,
  host: string,
  leftOut: LeftOut
): Array<Response.PartEncoded> | Problem => {
  if (!isFields(answer)) return malformed(`the server's answer is not an object: ${quote(answer)}`)
  const failure = errorIn(answer)
  if (failure !== undefined) return failure
  const choice = list(answer, "choices")[0]
  const message = isFields(choice) ? choice["message"] : undefined
  if (!isFields(choice) || !isFields(message)) return errorInPlaceOf(answer) ?? noChoice(answer)
  const broken = errorIn(choice)
  if (broken !== undefined) return broken
  const calls = callsOf(message, host)
  if (isProblem(calls)) return calls
  const refusal = text(message, "refusal")
  return [
    metadataOf(answer),
    ...contentParts(message, host, calls.length > 0, leftOut),
    ...(refusal === undefined ? [] : [{ type: "text", text: refusal } as const]),
    ...sourcesOf(list(message, "annotations"), newId),
    ...idParts(calls, newId),
    finish(finishOf(text(choice, "finish_reason"), calls.length, refusal !== undefined), usageOf(usageIn(answer)))
  ]
}

/** The verdict on an answer without a choice, whole or streamed. */
export const noChoice = (answer: unknown): Problem =>
  malformed(`the server's answer has no choice ("choices[0].message"): ${quote(answer)}`)

const contentParts = (
  message: Fields,
  host: string,
  hasCalls: boolean,
  leftOut: LeftOut
): ReadonlyArray<Response.PartEncoded> => {
  const parts: Array<Response.PartEncoded> = []
  const reasoning = reasoningOf(message, host)
  if (reasoning !== undefined && (reasoning.thought !== "" || hasCalls)) {
    parts.push({ type: "reasoning", text: reasoning.thought, metadata: reasoning.metadata })
  }
  const details = detailsOf(list(message, "reasoning_details"), host)
  if (details !== undefined) parts.push({ type: "reasoning", text: "", metadata: details })
  const content = contentOf(message, leftOut)
  if (content.thought !== "") parts.push({ type: "reasoning", text: content.thought })
  const said = split(content.text, serverAt(host).thoughtTag)
  if (said.reasoning !== "") parts.push({ type: "reasoning", text: said.reasoning })
  if (said.text !== "") parts.push({ type: "text", text: said.text })
  return [...parts, ...content.files]
}

/** The calls of a message, each once. Before there were lists of them, there was one. */
const callsOf = (message: Fields, host: string): ReadonlyArray<RawCall> | Problem => {
  const calls: Array<RawCall> = []
  for (const call of toolCallsOf(message)) {
    if (call === null || (isFields(call) && Object.keys(call).length === 0)) continue
    const fn = isFields(call) ? functionOf(call) : undefined
    if (!isFields(call) || fn === undefined) {
      return malformed(`a tool call of the server's answer has no function: ${quote(call)}`)
    }
    calls.push({
      given: callIdIn(call),
      name: text(fn, "name") ?? "",
      arguments: fn["arguments"],
      metadata: callMetadata(call, host)
    })
  }
  return distinctCalls(calls)
}

/** The function that a call names, which some servers write into the call itself. */
export const functionOf = (call: Fields): Fields | undefined =>
  isFields(call["function"]) ? call["function"] : "name" in call || "arguments" in call ? call : undefined

/** The id of a call. Mistral writes the word `null` for an id that is not there. */
export const callIdIn = (call: Fields): string | undefined => {
  const id = text(call, "id")
  return id === "null" ? undefined : id
}

/** The list of calls of a message or a delta; a single call, or one in the older form, is a list of one. */
export const toolCallsOf = (message: Fields): ReadonlyArray<unknown> => {
  const { tool_calls: given } = message
  const calls = isFields(given) ? [given] : list(message, "tool_calls")
  const older = message["function_call"]
  return calls.length === 0 && isFields(older) && text(older, "name") !== undefined ? [{ function: older }] : calls
}

const idParts = (calls: ReadonlyArray<RawCall>, newId: () => string): ReadonlyArray<Response.ToolCallPartEncoded> => {
  const idOf = callIds(newId)
  return calls.flatMap((call) => callParts(call, idOf(call.given), newId))
}

/** The parts of `content`: text, and in lists also thoughts and pictures. Spoken answers have their words in another field. */
export const contentOf = (message: Fields, leftOut: LeftOut) => {
  const { content } = message
  const images = list(message, "images")
  const found = { text: "", thought: "", files: filesOf(images) }
  if (found.files.length < images.length) leftOut("image")
  if (typeof content === "string") found.text = content
  for (const part of Array.isArray(content) ? content : [content]) {
    if (!isFields(part)) continue
    const files = filesOf([part])
    const said = given(part, "text") ?? given(part, "refusal")
    if (part["type"] === "thinking" || part["type"] === "reasoning") found.thought += thoughtOf(part)
    else if (said !== undefined) found.text += said
    else if (files.length === 0) leftOut(text(part, "type"))
    found.files.push(...files)
  }
  const { audio } = message
  if (isFields(audio)) {
    if (found.text === "") found.text = text(audio, "transcript") ?? ""
    if (text(audio, "data") !== undefined) leftOut("audio")
  }
  return found
}

const thoughtOf = (part: Fields): string => {
  const said = part["thinking"] ?? part["reasoning"] ?? part["text"]
  if (typeof said === "string") return said
  return Array.isArray(said) ? said.map((one) => (isFields(one) ? (text(one, "text") ?? "") : "")).join("") : ""
}

/** Pictures that models have drawn: those that come as data, and where the others are. */
const filesOf = (parts: ReadonlyArray<unknown>): Array<Response.FilePartEncoded | Response.UrlSourcePartEncoded> =>
  parts.flatMap((part): ReadonlyArray<Response.FilePartEncoded | Response.UrlSourcePartEncoded> => {
    const image = isFields(part) ? part["image_url"] : undefined
    const url = isFields(image) ? image["url"] : image
    if (typeof url !== "string") return []
    const [data, mediaType] = /^data:([^;,]+);base64,.*$/s.exec(url) ?? []
    if (data !== undefined && mediaType !== undefined) {
      const base64 = answeredBase64(data)
      return base64 === undefined ? [] : [{ type: "file", mediaType, data: base64 }]
    }
    const isAddress = /^https?:/i.test(url) && URL.canParse(url)
    return isAddress ? [{ type: "source", sourceType: "url", id: url, url, title: "image" }] : []
  })
