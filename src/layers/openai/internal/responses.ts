/** The Responses API: requests made of prompts, parts made of whole answers. Pure; it does no I/O. */
import type * as LanguageModel from "effect/ai/LanguageModel"
import type * as Prompt from "effect/ai/Prompt"
import type * as Response from "effect/ai/Response"
import * as Tool from "effect/ai/Tool"
import type { OutputFormat } from "../../../services/ModelInfo.ts"
import { errorIn, malformed, ofErrorObject, type Problem, Unsupported } from "./errors.ts"
import * as Files from "./files.ts"
import { type CallOptions, responsesFields } from "./options.ts"
import * as Schemas from "./jsonSchema.ts"
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
  format: OutputFormat | undefined
): Fields => {
  const fields = responsesFields(options, options.model ?? model)
  return {
    model: options.model ?? model,
    input: request.prompt.content.flatMap(encodeMessage),
    ...(request.tools.length === 0
      ? {}
      : { tools: request.tools.map(encodeTool), tool_choice: encodeChoice(request.toolChoice, request.tools) }),
    ...fields,
    ...(format === undefined
      ? {}
      : { text: { ...(isFields(fields["text"]) ? fields["text"] : {}), format: encodeFormat(format) } })
  }
}

const encodeFormat = (format: OutputFormat) => {
  const { schema, strictable } = Schemas.ofOutput(format.jsonSchema)
  return {
    type: "json_schema",
    name: format.name,
    ...(format.description === undefined ? {} : { description: format.description }),
    schema,
    strict: strictable
  }
}

const encodeTool = (tool: Tool.Any): Fields => {
  if (Tool.isProviderDefined(tool)) {
    if (tool.requiresHandler) {
      throw new Unsupported(`the provider's tool "${tool.name}" needs a handler here, which is not supported yet`)
    }
    return { ...(isFields(tool.args) ? tool.args : {}), type: tool.providerName }
  }
  const { schema, strictable } = Schemas.ofTool(tool)
  return {
    type: "function",
    name: tool.name as string,
    description: Tool.getDescription(tool),
    parameters: schema,
    // This API holds tools to their schema unless told otherwise, and refuses schemas that it cannot.
    strict: Tool.getStrictMode(tool) ?? strictable
  }
}

const encodeChoice = (choice: LanguageModel.ToolChoice<string>, tools: ReadonlyArray<Tool.Any>) => {
  if (typeof choice === "string") return choice
  if (!("tool" in choice)) return choice.mode ?? "auto"
  const tool = tools.find(({ name }) => name === choice.tool)
  return tool !== undefined && Tool.isProviderDefined(tool)
    ? { type: tool.providerName }
    : { type: "function", name: choice.tool }
}

const encodeMessage = (message: Prompt.Message): ReadonlyArray<Fields> => {
  switch (message.role) {
    case "system":
      return [{ role: "system", content: message.content }]
    case "user":
      return [{ role: "user", content: message.content.map(encodeUserPart) }]
    case "assistant":
      return encodeAssistant(message.content)
    case "tool":
      return message.content.flatMap((part) =>
        part.type === "tool-result"
          ? [{ type: "function_call_output", call_id: part.id, output: encodeOutput(part) }]
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

const encodeAssistant = (content: ReadonlyArray<Prompt.AssistantMessagePart>): ReadonlyArray<Fields> => {
  const items: Array<Fields> = []
  const reasoning = new Map<string, { summary: Array<Fields> }>()
  for (const part of content) {
    if (part.type === "text" && part.text !== "") {
      const phase = text(openaiOf(part.options), "phase")
      items.push({ role: "assistant", content: part.text, ...(phase === undefined ? {} : { phase }) })
    }
    if (part.type === "tool-call" && !part.providerExecuted) {
      items.push({
        type: "function_call",
        call_id: part.id,
        name: callName(part.name),
        arguments: argumentsText(part.params)
      })
    }
    if (part.type === "reasoning") {
      const { itemId, encryptedContent } = openaiOf(part.options)
      // Reasoning can be given back only as the provider encrypted it.
      if (typeof itemId !== "string" || typeof encryptedContent !== "string") continue
      let item = reasoning.get(itemId)
      if (item === undefined) {
        item = { summary: [] }
        reasoning.set(itemId, item)
        items.push({ type: "reasoning", id: itemId, encrypted_content: encryptedContent, summary: item.summary })
      }
      if (part.text !== "") item.summary.push({ type: "summary_text", text: part.text })
    }
  }
  // Reasoning is refused without what came of it, as when an answer was cut off.
  while (items.at(-1)?.["type"] === "reasoning") items.pop()
  return items
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

export const metadataOf = (response: Fields): Response.ResponseMetadataPartEncoded => ({
  type: "response-metadata",
  id: text(response, "id"),
  modelId: text(response, "model")
})

export const reasoningMetadata = (item: Fields) => ({
  openai: {
    itemId: text(item, "id") ?? null,
    encryptedContent: text(item, "encrypted_content") ?? null
  }
})

/** Whether a message is on the way to an answer or the answer: the model wants to know it when it reads it again. */
export const messageMetadata = (item: Fields) => {
  const phase = text(item, "phase")
  return phase === undefined ? {} : { metadata: { openai: { phase } } }
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

/** What a message cites, and what the provider's own tools have drawn. */
export const extrasOf = (
  item: Fields,
  newId: () => string
): ReadonlyArray<Response.UrlSourcePartEncoded | Response.FilePartEncoded> => {
  if (item["type"] === "image_generation_call") {
    const data = text(item, "result")
    return data === undefined
      ? []
      : [{ type: "file", mediaType: `image/${text(item, "output_format") ?? "png"}`, data }]
  }
  return list(item, "content").flatMap((one) => (isFields(one) ? sourcesOf(list(one, "annotations"), newId) : []))
}

export const callOf = (item: Fields, idOf: (given: string | undefined) => string): Response.ToolCallPartEncoded => ({
  type: "tool-call",
  id: idOf(givenId(item)),
  name: text(item, "name") ?? "",
  params: parseArguments(item["arguments"])
})

/** The id that results refer to a call by. */
export const givenId = (item: Fields): string | undefined => text(item, "call_id") ?? text(item, "id")

/** What a message says, refusals included; nothing for other items. */
export const textsOf = (item: Fields): ReadonlyArray<string> =>
  item["type"] !== "message"
    ? []
    : list(item, "content").flatMap((one) => {
        const said = isFields(one) ? (text(one, "text") ?? text(one, "refusal")) : undefined
        return said === undefined ? [] : [said]
      })

/** True for a message that refuses to answer. */
export const isRefusal = (item: Fields): boolean =>
  item["type"] === "message" && list(item, "content").some((one) => isFields(one) && one["type"] === "refusal")

/** The parts of a whole answer. `newId` names calls that the server left without an id. */
export const decode = (answer: unknown, newId: () => string): Array<Response.PartEncoded> | Problem => {
  if (!isFields(answer)) return malformed("the server's answer is not an object")
  const failure = failureOf(answer)
  if (failure !== undefined) return failure
  if (!Array.isArray(answer["output"])) return malformed('the server\'s answer has no "output"')
  const { status } = answer
  if (status === "queued" || status === "in_progress" || status === "cancelled") {
    return malformed(`the answer is not there, it is ${status}: leave out \`background\`, which is not supported`)
  }
  const parts: Array<Response.PartEncoded> = [metadataOf(answer)]
  const idOf = callIds(newId)
  let calls = 0
  let refused = false
  for (const item of answer["output"]) {
    if (!isFields(item)) return malformed("an item of the server's answer is not an object")
    if (item["type"] === "reasoning") {
      const texts = reasoningTexts(item)
      const metadata = reasoningMetadata(item)
      for (const one of texts.length === 0 ? [""] : texts) parts.push({ type: "reasoning", text: one, metadata })
    } else if (item["type"] === "message") {
      if (isRefusal(item)) refused = true
      for (const said of textsOf(item)) parts.push({ type: "text", text: said, ...messageMetadata(item) })
    } else if (item["type"] === "function_call") {
      calls++
      parts.push(callOf(item, idOf))
    }
    parts.push(...extrasOf(item, newId))
  }
  parts.push(finish(finishOf(answer, calls, refused), usageOf(answer["usage"])))
  return parts
}
