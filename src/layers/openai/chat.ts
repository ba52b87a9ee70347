/** The Chat Completions API: requests made of prompts, parts made of answers. Pure; it does no I/O. */
import type * as LanguageModel from "effect/ai/LanguageModel"
import type * as Prompt from "effect/ai/Prompt"
import type * as Response from "effect/ai/Response"
import * as Tool from "effect/ai/Tool"
import type { OutputFormat } from "../../services/ModelInfo.ts"
import { errorIn, malformed, type Problem, Unsupported } from "./errors.ts"
import * as Files from "./files.ts"
import { type CallOptions, chatFields } from "./options.ts"
import * as Schemas from "./schema.ts"
import { parseJson } from "./sse.ts"
import {
  argumentsText,
  callIds,
  callName,
  type Fields,
  finish,
  isFields,
  list,
  number,
  parseArguments,
  resultText,
  text
} from "./wire.ts"

// -- requests ---------------------------------------------------------------------------------------------------------

/** The body of a request. */
export const encode = (
  request: LanguageModel.ProviderOptions,
  model: string,
  options: CallOptions,
  format: OutputFormat | undefined,
  compatible: boolean
): Fields => ({
  model: options.model ?? model,
  messages: request.prompt.content.flatMap(encodeMessage),
  ...(request.tools.length === 0
    ? {}
    : { tools: request.tools.map(encodeTool), tool_choice: encodeChoice(request.toolChoice) }),
  ...(format === undefined ? {} : { response_format: { type: "json_schema", json_schema: encodeFormat(format) } }),
  ...chatFields(options, compatible, request.tools.length > 0)
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

const encodeMessage = (message: Prompt.Message): ReadonlyArray<Fields> => {
  switch (message.role) {
    case "system":
      return [{ role: "system", content: message.content }]
    case "user":
      return [{ role: "user", content: encodeUser(message.content) }]
    case "assistant":
      return encodeAssistant(message.content)
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

const encodeAssistant = (content: ReadonlyArray<Prompt.AssistantMessagePart>): ReadonlyArray<Fields> => {
  const said = content.flatMap((part) => (part.type === "text" ? [part.text] : [])).join("")
  const calls = content.flatMap((part) =>
    part.type === "tool-call" && !part.providerExecuted
      ? [
          {
            id: part.id,
            type: "function",
            function: { name: callName(part.name), arguments: argumentsText(part.params) }
          }
        ]
      : []
  )
  // Reasoning alone says nothing that this API takes back.
  if (said === "" && calls.length === 0) return []
  return [
    { role: "assistant", content: said === "" ? null : said, ...(calls.length === 0 ? {} : { tool_calls: calls }) }
  ]
}

const encodeResults = (content: ReadonlyArray<Prompt.ToolMessagePart>): ReadonlyArray<Fields> => {
  const results: Array<Fields> = []
  const images: Array<Fields> = []
  for (const part of content) {
    if (part.type !== "tool-result") continue
    results.push({ role: "tool", tool_call_id: part.id, content: resultText(part) })
    for (const output of part.modelOutput ?? []) if (output.type === "file") images.push(encodeFile(output))
  }
  // This API takes no files in results, so they follow in a message of their own.
  return images.length === 0
    ? results
    : [...results, { role: "user", content: [{ type: "text", text: "Files of the tool results above:" }, ...images] }]
}

// -- answers ----------------------------------------------------------------------------------------------------------

const finishReasons: Readonly<Record<string, Response.FinishReason>> = {
  stop: "stop",
  length: "length",
  tool_calls: "tool-calls",
  function_call: "tool-calls",
  content_filter: "content-filter",
  error: "error"
}

const finishOf = (reason: string | undefined, calls: number, refused: boolean): Response.FinishReason => {
  if (refused) return "content-filter"
  const known = reason === undefined ? "unknown" : (finishReasons[reason] ?? "other")
  // Some compatible servers say "stop" when they call tools.
  return known === "stop" && calls > 0 ? "tool-calls" : known
}

const usageOf = (usage: unknown) => {
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

const reasoningOf = (message: Fields): string => text(message, "reasoning_content") ?? text(message, "reasoning") ?? ""

/** The parts of a whole answer. `newId` names calls that the server left without an id. */
export const decode = (answer: unknown, newId: () => string): Array<Response.PartEncoded> | Problem => {
  if (!isFields(answer)) return malformed("the server's answer is not an object")
  const failure = errorIn(answer)
  if (failure !== undefined) return failure
  const choice = list(answer, "choices")[0]
  const message = isFields(choice) ? choice["message"] : undefined
  if (!isFields(choice) || !isFields(message)) return malformed('the server\'s answer has no "choices[0].message"')
  const broken = errorIn(choice)
  if (broken !== undefined) return broken
  const parts: Array<Response.PartEncoded> = [metadataOf(answer)]
  const reasoning = reasoningOf(message)
  if (reasoning !== "") parts.push({ type: "reasoning", text: reasoning })
  const said = contentText(message["content"])
  if (said !== "") parts.push({ type: "text", text: said })
  const refusal = text(message, "refusal")
  if (refusal !== undefined) parts.push({ type: "text", text: refusal })
  const idOf = callIds(newId)
  const calls = list(message, "tool_calls")
  for (const call of calls) {
    const fn = isFields(call) ? call["function"] : undefined
    if (!isFields(call) || !isFields(fn)) return malformed("a tool call of the server's answer has no function")
    parts.push({
      type: "tool-call",
      id: idOf(text(call, "id")),
      name: text(fn, "name") ?? "",
      params: parseArguments(fn["arguments"])
    })
  }
  parts.push(
    finish(finishOf(text(choice, "finish_reason"), calls.length, refusal !== undefined), usageOf(answer["usage"]))
  )
  return parts
}

const metadataOf = (answer: Fields): Response.ResponseMetadataPartEncoded => ({
  type: "response-metadata",
  id: text(answer, "id"),
  modelId: text(answer, "model")
})

const contentText = (content: unknown): string => {
  if (typeof content === "string") return content
  if (!Array.isArray(content)) return ""
  return content.map((part) => (isFields(part) ? (text(part, "text") ?? "") : "")).join("")
}

interface OpenCall {
  readonly id: string
  /** The id that the server gave it, which may come late. */
  serverId: string | undefined
  name: string
  arguments: string
  announced: boolean
}

/** Reads a stream of chunks, in order; `end` gives what is left when the stream is over. */
export class StreamDecoder {
  readonly #idOf: (given: string | undefined) => string
  readonly #calls: Array<OpenCall> = []
  readonly #byIndex = new Map<number, OpenCall>()
  #metadata = false
  #open: "text" | "reasoning" | undefined
  #block = 0
  #reason: string | undefined
  #refused = false
  #usage: unknown = undefined
  /** The usage comes after the finish, so only `[DONE]` or the end of the body ends an answer. */
  readonly finished = false

  constructor(newId: () => string) {
    this.#idOf = callIds(newId)
  }

  push(chunk: unknown): ReadonlyArray<Response.StreamPartEncoded> | Problem {
    if (!isFields(chunk)) return malformed("the server sent a chunk that is not an object")
    const failure = errorIn(chunk)
    if (failure !== undefined) return failure
    if (!Array.isArray(chunk["choices"])) {
      return isFields(chunk["usage"]) ? this.#noteUsage(chunk) : malformed('the server sent a chunk without "choices"')
    }
    const out: Array<Response.StreamPartEncoded> = []
    // A first chunk may hold nothing but the verdicts of a filter.
    if (!this.#metadata && (chunk["choices"].length > 0 || text(chunk, "id") !== undefined)) {
      this.#metadata = true
      out.push(metadataOf(chunk))
    }
    if (isFields(chunk["usage"])) this.#usage = chunk["usage"]
    for (const choice of chunk["choices"]) {
      if (!isFields(choice)) return malformed("the server sent a choice that is not an object")
      if (typeof choice["index"] === "number" && choice["index"] !== 0) continue
      const problem = errorIn(choice) ?? this.#delta(choice["delta"], out)
      if (problem !== undefined) return problem
      // Some servers send an empty reason with each chunk.
      this.#reason = text(choice, "finish_reason") ?? this.#reason
    }
    return out
  }

  #noteUsage(chunk: Fields): ReadonlyArray<Response.StreamPartEncoded> {
    this.#usage = chunk["usage"]
    return []
  }

  #delta(delta: unknown, out: Array<Response.StreamPartEncoded>): Problem | undefined {
    if (delta === null || delta === undefined) return undefined
    if (!isFields(delta)) return malformed("the server sent a delta that is not an object")
    const reasoning = reasoningOf(delta)
    if (reasoning !== "") this.#say("reasoning", reasoning, out)
    const said = contentText(delta["content"])
    if (said !== "") this.#say("text", said, out)
    const refusal = text(delta, "refusal")
    if (refusal !== undefined) {
      this.#refused = true
      this.#say("text", refusal, out)
    }
    for (const call of list(delta, "tool_calls")) {
      if (!isFields(call)) return malformed("the server sent a tool call that is not an object")
      this.#call(call, out)
    }
    return undefined
  }

  #say(type: "text" | "reasoning", delta: string, out: Array<Response.StreamPartEncoded>): void {
    if (this.#open !== type) {
      this.#close(out)
      this.#open = type
      out.push({ type: `${type}-start`, id: String(++this.#block) })
    }
    out.push({ type: `${type}-delta`, id: String(this.#block), delta })
  }

  #close(out: Array<Response.StreamPartEncoded>): void {
    if (this.#open !== undefined) out.push({ type: `${this.#open}-end`, id: String(this.#block) })
    this.#open = undefined
  }

  #call(fragment: Fields, out: Array<Response.StreamPartEncoded>): void {
    const fn = isFields(fragment["function"]) ? fragment["function"] : {}
    const id = text(fragment, "id")
    const name = text(fn, "name")
    const piece = fn["arguments"]
    const delta = typeof piece === "string" ? piece : piece === undefined || piece === null ? "" : JSON.stringify(piece)
    const index = typeof fragment["index"] === "number" ? fragment["index"] : undefined
    let call = this.#current(index, id, name)
    if (call === undefined || startsAnother(call, id, name, delta)) {
      call = { id: this.#idOf(id), serverId: id, name: "", arguments: "", announced: false }
      this.#calls.push(call)
      if (index !== undefined) this.#byIndex.set(index, call)
    }
    call.serverId ??= id
    if (call.name === "") call.name = name ?? ""
    if (!call.announced && call.name !== "") {
      call.announced = true
      out.push({ type: "tool-params-start", id: call.id, name: call.name })
      if (call.arguments !== "") out.push({ type: "tool-params-delta", id: call.id, delta: call.arguments })
    }
    if (delta === "") return
    call.arguments += delta
    if (call.announced) out.push({ type: "tool-params-delta", id: call.id, delta })
  }

  /** The call that a fragment goes on with. Without an index it is the one of that id, else the last. */
  #current(index: number | undefined, id: string | undefined, name: string | undefined): OpenCall | undefined {
    if (index !== undefined) return this.#byIndex.get(index)
    const known = id === undefined ? undefined : this.#calls.find((call) => call.serverId === id)
    return known ?? (id === undefined || name === undefined ? this.#calls.at(-1) : undefined)
  }

  end(): ReadonlyArray<Response.StreamPartEncoded> | Problem {
    if (this.#reason === undefined) {
      return { kind: "network", message: "the stream ended before the answer was finished", code: undefined }
    }
    const out: Array<Response.StreamPartEncoded> = []
    this.#close(out)
    for (const call of this.#calls) {
      if (call.announced) out.push({ type: "tool-params-end", id: call.id })
      out.push({ type: "tool-call", id: call.id, name: call.name, params: parseArguments(call.arguments) })
    }
    out.push(finish(finishOf(this.#reason, this.#calls.length, this.#refused), usageOf(this.#usage)))
    return out
  }
}

/** Some servers give every call the same index, or none: another id is another call, and so is a name after complete arguments. */
const startsAnother = (call: OpenCall, id: string | undefined, name: string | undefined, delta: string): boolean => {
  if (name === undefined || call.name === "") return false
  if (id !== undefined && call.serverId !== undefined) return id !== call.serverId
  return id === undefined && delta !== "" && call.arguments !== "" && parseJson(call.arguments) !== undefined
}
