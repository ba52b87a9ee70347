/** The Responses API: requests made of prompts, parts made of whole answers. */
import type * as LanguageModel from "effect/ai/LanguageModel"
import type * as Prompt from "effect/ai/Prompt"
import type * as Response from "effect/ai/Response"
import * as Tool from "effect/ai/Tool"
import {
  errorIn,
  errorInPlaceOf,
  malformed,
  ofErrorObject,
  type Problem,
  quote,
  Unsupported
} from "../../internal/model/problems.ts"
import { answeredBase64, inWords, knownType } from "../../internal/model/files.ts"
import * as Files from "./files.ts"
import { type CallOptions, responsesFields, type Server } from "./options.ts"
import * as OwnTools from "./ownTools.ts"
import { argumentsOf } from "../../internal/model/providerTool.ts"
import type { LeftOut } from "./decoding.ts"
import * as Schemas from "../../internal/model/jsonSchema.ts"
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
  resultText,
  sourcesOf,
  text
} from "../../internal/model/wire.ts"
import { Deferred, markOf } from "../../../internal/toolMarks.ts"
import * as ToolSearch from "./toolSearch.ts"
import { type MessageEncoder, type Target, toolWriter, writeMessages, type Written } from "./written.ts"

// -- requests ---------------------------------------------------------------------------------------------------------

/** The body of a request. */
export const encode = ({ format, request }: Typed, model: string, options: CallOptions, target: Target): Fields => {
  const { memory, messages, server } = target
  const includes = server.compatible ? [] : OwnTools.includesOf(request.tools)
  const fields = responsesFields(options, options.model ?? model, includes)
  return {
    model: options.model ?? model,
    input: writeMessages(messages, request.prompt, memory),
    ...(request.tools.length === 0
      ? {}
      : { tools: toolsOf(request, target), tool_choice: encodeChoice(request.toolChoice, request.tools) }),
    ...fields,
    ...(format === undefined
      ? {}
      : { text: { ...(isFields(fields["text"]) ? fields["text"] : {}), format: encodeFormat(format) } })
  }
}

/**
 * How messages are encoded for a server. Compatible servers want an id on each message of the model; one that has none is
 * named by its place.
 */
export const messagesOf = ({ compatible, host }: Server): MessageEncoder => ({
  encode: (message) => encodeMessage(message, host),
  place: (item, index) => ({
    item: compatible && item["role"] === "assistant" && !("id" in item) ? { id: `msg_${index}`, ...item } : item,
    replaces: false
  })
})

const encodeFormat = (format: NonNullable<Typed["format"]>) => {
  if (format.type === "json_object") return format
  const { shape, strictable } = shapeOf(format.output)
  return { type: "json_schema", ...shape, strict: strictable }
}

const encodeTool = (tool: Tool.Any): Fields => {
  if (Tool.isProviderDefined(tool)) {
    if (tool.requiresHandler) {
      throw new Unsupported(`the provider's tool "${tool.name}" needs a handler here, which is not supported yet`)
    }
    return { ...argumentsOf(tool), type: tool.providerName }
  }
  const { schema, strictable } = Schemas.ofTool(tool)
  return {
    type: "function",
    name: tool.name as string,
    description: Tool.getDescription(tool),
    parameters: schema,
    // This API is strict by default, and rejects schemas that it cannot enforce.
    strict: Tool.getStrictMode(tool) ?? strictable
  }
}

const writeTools = toolWriter(encodeTool)

/** Tools behind the provider's search have their schemas sent, and not shown. */
const writeSearched = toolWriter(
  (tool) => (markOf(tool, Deferred) ? { ...encodeTool(tool), defer_loading: true } : encodeTool(tool)),
  [ToolSearch.tool]
)

const toolsOf = ({ toolChoice, tools }: LanguageModel.ProviderOptions, { memory, searchesTools }: Target): Written => {
  const forced = typeof toolChoice === "object" && "tool" in toolChoice ? toolChoice.tool : undefined
  // A tool that has to be called has to be shown.
  const isSearched = searchesTools && tools.some((tool) => markOf(tool, Deferred) && tool.name !== forced)
  if (!isSearched) return writeTools(tools, memory)
  const isForced = tools.some((tool) => tool.name === forced && markOf(tool, Deferred))
  if (!isForced) return writeSearched(tools, memory)
  const shown = tools.map((tool) => (tool.name === forced ? tool.annotate(Deferred, false) : tool))
  return writeSearched(shown, undefined)
}

const encodeChoice = (choice: LanguageModel.ToolChoice<string>, tools: ReadonlyArray<Tool.Any>) => {
  if (typeof choice === "string") return choice
  if (!("tool" in choice)) return choice.mode ?? "auto"
  const tool = tools.find(({ name }) => name === choice.tool)
  if (tool === undefined || !Tool.isProviderDefined(tool)) return { type: "function", name: choice.tool }
  const label = isFields(tool.args) ? tool.args["server_label"] : undefined
  return { type: tool.providerName, ...(label === undefined ? {} : { server_label: label }) }
}

const encodeMessage = (message: Prompt.Message, host: string): ReadonlyArray<Fields> => {
  switch (message.role) {
    case "system":
      return [{ type: "message", role: "system", content: [{ type: "input_text", text: message.content }] }]
    case "user":
      return [{ type: "message", role: "user", content: message.content.map(encodeUserPart) }]
    case "assistant":
      return encodeAssistant(message.content, host)
    case "tool":
      return message.content.flatMap((part) =>
        part.type === "tool-result"
          ? [{ type: "function_call_output", call_id: sentId(part.id), output: encodeOutput(part) }]
          : []
      )
  }
}

const encodeUserPart = (part: Prompt.UserMessagePart): Fields =>
  part.type === "text" ? { type: "input_text", text: part.text } : encodeFile(part)

const encodeFile = (part: Prompt.FilePart): Fields => {
  const file = Files.read(part)
  if (file.mediaType.startsWith("image/")) {
    return file.fileId === undefined
      ? { type: "input_image", image_url: file.url, detail: file.detail }
      : { type: "input_image", file_id: file.fileId, detail: file.detail }
  }
  if (file.fileId !== undefined) return { type: "input_file", file_id: file.fileId }
  if (file.text !== undefined) return { type: "input_text", text: `${file.name}:\n${file.text}` }
  if (file.mediaType.startsWith("audio/")) {
    throw new Unsupported('the Responses API takes no audio: use `api: "chat"` with a model that hears')
  }
  return file.base64 === undefined
    ? { type: "input_file", file_url: file.url }
    : { type: "input_file", filename: file.name, file_data: file.url }
}

const encodeOutput = (given: Prompt.ToolResultPart): string | ReadonlyArray<Fields> => {
  const part = Files.ofResult(given, "responses")
  return part.modelOutput?.some((output) => output.type === "file") === true
    ? part.modelOutput.map((output) => encodeUserPart(output))
    : resultText(part)
}

/** The longest id of a call that OpenAI takes back. */
const longestId = 64
const sentId = (id: string): string => fitId(id, longestId, undefined)

/**
 * What the model has said, in the API's full form: some servers take no shorter one. With encrypted reasoning items keep
 * the ids that they came with, since each needs what followed it; without it none has one, since nothing is stored.
 */
const encodeAssistant = (content: ReadonlyArray<Prompt.AssistantMessagePart>, host: string): ReadonlyArray<Fields> => {
  const sealed = sealedReasoning(content, host)
  const idOf = (options: unknown): Fields => {
    const id = sealed.size === 0 ? undefined : text(openaiOf(options), "itemId")
    return id === undefined ? {} : { id }
  }
  const items: Array<Fields> = []
  const begun = new Map<string, Array<unknown>>()
  for (const part of content) {
    if (part.type === "text" && part.text !== "") {
      const own = openaiOf(part.options)
      const phase = text(own, "phase")
      const itemId = text(own, "itemId")
      const said = { type: "output_text", text: part.text, annotations: [] }
      const message = itemId === undefined ? undefined : begun.get(itemId)
      if (message !== undefined) {
        message.push(said)
        continue
      }
      const texts: Array<unknown> = [said]
      if (itemId !== undefined) begun.set(itemId, texts)
      items.push({
        type: "message",
        ...idOf(part.options),
        status: "completed",
        role: "assistant",
        content: texts,
        ...(phase === undefined ? {} : { phase })
      })
    }
    if (part.type === "tool-call" && !part.providerExecuted) {
      const call = { call_id: sentId(part.id), name: callName(part.name), arguments: argumentsText(part.params) }
      const namespace = text(openaiOf(part.options), "namespace")
      const own = namespace === undefined ? {} : { namespace }
      items.push({ type: "function_call", ...idOf(part.options), ...call, ...own })
    }
    if (part.type === "file") items.push(fileBack(part, host))
    if (part.type === "tool-call" || part.type === "tool-result") {
      const searched = isOf(part.options, host) ? ToolSearch.itemOf(part) : undefined
      if (searched !== undefined) items.push({ ...searched, ...idOf(part.options) })
    }
    if (part.type === "reasoning") {
      const id = text(openaiOf(part.options), "itemId") ?? ""
      const item = sealed.get(id)
      if (item !== undefined && !begun.has(id)) {
        begun.set(id, [])
        items.push(item)
      }
    }
  }
  // Reasoning is refused without what came of it, as when an answer was cut off, or when that was a tool of the provider.
  return items.filter((item, index) => {
    const next = items[index + 1]
    return item["type"] !== "reasoning" || (next !== undefined && next["type"] !== "reasoning")
  })
}

/**
 * A file of an answer. An image that this server has drawn goes back as it came, so that the model sees it and can change it; nothing
 * else of the model's is taken back but in words.
 */
const fileBack = (part: Prompt.FilePart, host: string): Fields => {
  const { itemId, server } = openaiOf(part.options)
  const drawn = typeof itemId === "string" && server === host ? Files.read(part).base64 : undefined
  return drawn === undefined
    ? {
        type: "message",
        status: "completed",
        role: "assistant",
        content: [{ type: "output_text", text: inWords(part), annotations: [] }]
      }
    : { type: "image_generation_call", id: itemId, status: "completed", result: drawn }
}

/** Whether a server has given a part: what one has encrypted, another one cannot read, and refuses. */
const isOf = (options: unknown, host: string): boolean => {
  const server = text(openaiOf(options), "server")
  return server === undefined || server === host
}

/** Reasoning can go back only as the provider encrypted it, which may be on any part of the item. */
const sealedReasoning = (
  content: ReadonlyArray<Prompt.AssistantMessagePart>,
  host: string
): ReadonlyMap<string, Fields> => {
  const found = new Map<string, { sealed: string | undefined; readonly summary: Array<Fields> }>()
  for (const part of content) {
    if (part.type !== "reasoning" || !isOf(part.options, host)) continue
    const { itemId, encryptedContent } = openaiOf(part.options)
    if (typeof itemId !== "string") continue
    const item = found.get(itemId) ?? { sealed: undefined, summary: [] }
    found.set(itemId, item)
    if (typeof encryptedContent === "string") item.sealed = encryptedContent
    if (part.text !== "") item.summary.push({ type: "summary_text", text: part.text })
  }
  return new Map(
    [...found].flatMap(([id, { sealed, summary }]) =>
      sealed === undefined ? [] : [[id, { type: "reasoning", id, encrypted_content: sealed, summary }] as const]
    )
  )
}

// -- answers ----------------------------------------------------------------------------------------------------------

export const usageOf = (usage: unknown) => ({
  input: number(usage, "input_tokens"),
  cached: number(isFields(usage) ? usage["input_tokens_details"] : undefined, "cached_tokens"),
  cacheWrite: number(isFields(usage) ? usage["input_tokens_details"] : undefined, "cache_write_tokens"),
  output: number(usage, "output_tokens"),
  reasoning: number(isFields(usage) ? usage["output_tokens_details"] : undefined, "reasoning_tokens")
})

export const finishOf = (response: Fields, calls: number, refused: boolean): Response.FinishReason => {
  if (refused) return "content-filter"
  if (response["status"] === "incomplete") {
    const details = response["incomplete_details"]
    const reason = isFields(details) ? details["reason"] : undefined
    return reason === "max_output_tokens" ? "length" : reason === "content_filter" ? "content-filter" : "other"
  }
  return calls > 0 ? "tool-calls" : "stop"
}

export const reasoningMetadata = (item: Fields, host: string) => ({
  openai: {
    server: host,
    itemId: text(item, "id") ?? null,
    encryptedContent: text(item, "encrypted_content") ?? null
  }
})

/**
 * A message's id, and whether it is on the way to an answer or the answer: the model wants to know it when it reads it
 * again.
 */
export const messageMetadata = (item: Fields) => {
  const itemId = text(item, "id")
  const phase = text(item, "phase")
  const own = { ...(itemId === undefined ? {} : { itemId }), ...(phase === undefined ? {} : { phase }) }
  return itemId === undefined && phase === undefined ? {} : { metadata: { openai: own } }
}

/** A call's own id, in addition to the one that results refer to. */
export const callMetadata = (item: Fields): Response.ProviderMetadata | undefined => {
  const itemId = text(item, "id")
  const namespace = text(item, "namespace")
  if (itemId === undefined && namespace === undefined) return undefined
  return { openai: { itemId: itemId ?? null, ...(namespace === undefined ? {} : { namespace }) } }
}

export const reasoningTexts = (item: Fields): ReadonlyArray<string> =>
  [...list(item, "summary"), ...list(item, "content")].flatMap((one) =>
    isFields(one) ? [text(one, "text") ?? ""] : []
  )

export const failureOf = (response: Fields): Problem | undefined => {
  const failure = errorIn(response)
  if (failure !== undefined) return failure
  return response["status"] === "failed" ? ofErrorObject({ message: "the provider failed to answer" }) : undefined
}

type Extra =
  | Response.UrlSourcePartEncoded
  | Response.FilePartEncoded
  | Response.ToolCallPartEncoded
  | Response.ToolResultPartEncoded

/** Reads the citations of messages, and what the provider's own tools gave: images, and the tools that a search has found. */
export const extraReader = (newId: () => string, host: string): ((item: Fields) => ReadonlyArray<Extra>) => {
  const searched = ToolSearch.reader(newId, host)
  return (item) => [...searched(item), ...extrasOf(item, newId, host)]
}

const imageIn = (item: Fields): string | undefined => answeredBase64(text(item, "result") ?? "")

const extrasOf = (
  item: Fields,
  newId: () => string,
  host: string
): ReadonlyArray<Response.UrlSourcePartEncoded | Response.FilePartEncoded> => {
  if (item["type"] === "image_generation_call") {
    const data = imageIn(item)
    if (data === undefined) return []
    const format = text(item, "output_format") ?? "png"
    const metadata = { openai: { server: host, itemId: text(item, "id") ?? null } }
    return [
      { type: "file", mediaType: format === "svg" ? "image/svg+xml" : knownType(`image/${format}`), data, metadata }
    ]
  }
  return list(item, "content").flatMap((one) => (isFields(one) ? sourcesOf(list(one, "annotations"), newId) : []))
}

const readItems =
  /^(message|reasoning|function_call|image_generation_call|mcp_list_tools|tool_search_(call|output)|(web_search|file_search|code_interpreter|mcp)_call)$/

/** What of an item has no place in an answer here, for a warning; `undefined` where all of it is read. */
export const unreadIn = (item: Fields): string | undefined => {
  const type = text(item, "type") ?? ""
  if (!readItems.test(type)) return type
  if (type === "image_generation_call") {
    return text(item, "result") !== undefined && imageIn(item) === undefined ? type : undefined
  }
  if (type !== "message") return undefined
  const part = list(item, "content").find(
    (one) => isFields(one) && text(one, "type") !== undefined && given(one, "text") === undefined && !("refusal" in one)
  )
  return isFields(part) ? text(part, "type") : undefined
}

/** The id that results refer to a call by. */
export const givenId = (item: Fields): string | undefined => text(item, "call_id") ?? text(item, "id")

/** The text of a message, refusals included; empty for other items. */
export const textsOf = (item: Fields): ReadonlyArray<string> => {
  if (item["type"] !== "message") return []
  const only = text(item, "content")
  if (only !== undefined) return [only]
  return list(item, "content").flatMap((one) => {
    const said = isFields(one) ? (text(one, "text") ?? text(one, "refusal")) : undefined
    return said === undefined ? [] : [said]
  })
}

/** A tool that the provider runs for itself waits to be allowed to, which this Layer cannot answer. */
export const approvalProblem = (item: Fields): Problem | undefined =>
  item["type"] === "mcp_approval_request"
    ? {
        kind: "unsupported",
        message: `the provider asks for approval of its MCP tool ${JSON.stringify(text(item, "name") ?? "")}, which is not supported: use OpenAi.tools.mcp, set require_approval: "never" on that tool, or give the agent the server's tools by Mcp.layer`
      }
    : undefined

/** True for a message that refuses to answer. */
export const isRefusal = (item: Fields): boolean =>
  item["type"] === "message" && list(item, "content").some((one) => isFields(one) && one["type"] === "refusal")

/**
 * The parts of a whole answer of a server. `newId` names calls that the server left without an id; `ran` reads those of the
 * provider's tools, and `leftOut` takes the kind of what is not read.
 */
export const decode = (
  answer: unknown,
  newId: () => string,
  host: string,
  ran: OwnTools.Reader,
  leftOut: LeftOut
): Array<Response.PartEncoded> | Problem => {
  if (!isFields(answer)) return malformed(`the server's answer is not an object: ${quote(answer)}`)
  const failure = failureOf(answer)
  if (failure !== undefined) return failure
  const { output, status } = answer
  if (!Array.isArray(output)) {
    return errorInPlaceOf(answer) ?? malformed(`the server's answer has no "output": ${quote(answer)}`)
  }
  if (status === "queued" || status === "in_progress" || status === "cancelled") {
    return malformed(`the answer is not there, it is ${status}: leave out \`background\`, which is not supported`)
  }
  const items = distinctItems(output.filter((item) => item !== null))
  const problem = items
    .map((item) =>
      isFields(item)
        ? approvalProblem(item)
        : malformed(`an item of the server's answer is not an object: ${quote(item)}`)
    )
    .find((one) => one !== undefined)
  if (problem !== undefined) return problem
  const known = items.filter(isFields)
  for (const item of known) leftOut(unreadIn(item))
  return decodeItems(known, answer, newId, host, ran)
}

/** An item that comes again, as it was, counts once. */
const distinctItems = (items: ReadonlyArray<unknown>): ReadonlyArray<unknown> => {
  const seen = new Set<string>()
  return items.filter((item) => {
    if (!isFields(item) || text(item, "id") === undefined) return true
    const written = JSON.stringify(item)
    const isNew = !seen.has(written)
    seen.add(written)
    return isNew
  })
}

const decodeItems = (
  items: ReadonlyArray<Fields>,
  answer: Fields,
  newId: () => string,
  host: string,
  ran: OwnTools.Reader
): Array<Response.PartEncoded> => {
  const parts: Array<Response.PartEncoded> = [metadataOf(answer)]
  const idOf = callIds(newId)
  const raw = items.flatMap((item) =>
    item["type"] !== "function_call"
      ? []
      : [
          {
            item,
            given: givenId(item),
            name: text(item, "name") ?? "",
            arguments: item["arguments"],
            metadata: callMetadata(item)
          }
        ]
  )
  const calls = distinctCalls(raw)
  const extras = extraReader(newId, host)
  for (const item of items) {
    if (item["type"] === "reasoning") {
      const texts = reasoningTexts(item)
      const metadata = reasoningMetadata(item, host)
      for (const one of texts.length === 0 ? [""] : texts) parts.push({ type: "reasoning", text: one, metadata })
    } else if (item["type"] === "message") {
      for (const said of textsOf(item)) parts.push({ type: "text", text: said, ...messageMetadata(item) })
    } else if (item["type"] === "function_call") {
      const call = calls.find((one) => one.item === item)
      if (call !== undefined) parts.push(...callParts(call, idOf(call.given), newId))
    }
    parts.push(...ran(item), ...extras(item))
  }
  parts.push(finish(finishOf(answer, calls.length, items.some(isRefusal)), usageOf(answer["usage"])))
  return parts
}
