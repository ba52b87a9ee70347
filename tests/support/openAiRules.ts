/**
 * What OpenAI refuses in a request, so that ours cannot get away with it: the order of calls and results, the shapes of
 * messages, tools and formats, and the subset of JSON Schema that `strict` allows. Pure.
 */

type Fields = Readonly<Record<string, any>>

/** What is wrong with a request, as a strict server would say; `undefined` when it is fine. */
export const problemWith = (address: string, body: Fields): string | undefined => {
  const path = address.replace(/\?.*/, "")
  try {
    if (path.endsWith("/chat/completions")) chat(body)
    else if (path.endsWith("/responses")) responses(body)
    else refuse(`no such path: ${path}`)
    return undefined
  } catch (error) {
    return error instanceof Refused ? error.message : `unreadable request: ${String(error)}`
  }
}

class Refused extends Error {}

const refuse = (message: string): never => {
  throw new Refused(message)
}
const need = (condition: boolean, message: string): void => {
  if (!condition) refuse(message)
}
const isObject = (u: unknown): u is Fields => typeof u === "object" && u !== null && !Array.isArray(u)
const isText = (u: unknown): u is string => typeof u === "string"
const isFilled = (u: unknown): u is string => typeof u === "string" && u !== ""
const nameRule = /^[\w-]{1,64}$/

const only = (fields: Fields, allowed: ReadonlyArray<string>, what: string): void => {
  for (const key of Object.keys(fields)) need(allowed.includes(key), `unknown parameter "${key}" in ${what}`)
}

/** Calls wait for their results, in order, before anything else is said. */
class Waiting {
  readonly #ids: Array<string> = []
  readonly #known = new Set<string>()
  call(id: unknown): void {
    need(isFilled(id), "a call has no id")
    need(!this.#known.has(id as string), `two calls have the id ${String(id)}`)
    this.#known.add(id as string)
    this.#ids.push(id as string)
  }
  result(id: unknown): void {
    need(this.#ids.shift() === id, `a result for ${String(id)}, which is not the next call that waits for one`)
  }
  none(): void {
    need(this.#ids.length === 0, `no result for ${this.#ids.join()}`)
  }
}

const argumentsOf = (text: unknown): void => {
  need(isText(text), "arguments are not text")
  let value: unknown
  try {
    value = JSON.parse(text as string)
  } catch {
    refuse(`arguments are not JSON: ${String(text)}`)
  }
  need(isObject(value), `arguments are not an object: ${String(text)}`)
}

const common = (body: Fields): void => {
  need(isFilled(body["model"]), "no model")
  const { temperature, top_p, metadata } = body
  need(temperature === undefined || (temperature >= 0 && temperature <= 2), "temperature is out of range")
  need(top_p === undefined || (top_p >= 0 && top_p <= 1), "top_p is out of range")
  need(metadata === undefined || Object.values(metadata).every(isText), "metadata holds a value that is not text")
}

// -- Chat Completions -------------------------------------------------------------------------------------------------

const chat = (body: Fields): void => {
  common(body)
  for (const key of ["input", "instructions", "text", "max_output_tokens", "include", "reasoning"]) {
    need(!(key in body), `unknown parameter "${key}"`)
  }
  const { messages, tools, tool_choice, stream_options, stop } = body
  need(Array.isArray(messages) && messages.length > 0, "no messages")
  const waiting = new Waiting()
  for (const message of messages) chatMessage(message, waiting)
  waiting.none()
  need(stream_options === undefined || body["stream"] === true, "stream_options is only allowed with stream")
  need(!Array.isArray(stop) || (stop.length > 0 && stop.length <= 4), "stop takes up to 4 texts")
  if (tools === undefined) {
    need(tool_choice === undefined, "tool_choice is only allowed with tools")
    need(body["parallel_tool_calls"] === undefined, "parallel_tool_calls is only allowed with tools")
  } else {
    toolList(tools, (tool) => {
      only(tool, ["type", "function"], "a tool")
      need(tool["type"] === "function" && isObject(tool["function"]), "a tool is not a function")
      return tool["function"]
    })
    choice(
      tool_choice,
      tools.map((tool: Fields) => tool["function"].name),
      (chosen) => chosen["function"]?.name
    )
  }
  const format = body["response_format"]
  if (format !== undefined) {
    need(["text", "json_object", "json_schema"].includes(format.type), "response_format has no known type")
    if (format.type === "json_schema") outputFormat(format.json_schema)
  }
}

const reasoningFields = ["reasoning", "reasoning_content", "reasoning_details"]

const chatMessage = (message: Fields, waiting: Waiting): void => {
  if (message["role"] === "tool") {
    only(message, ["role", "tool_call_id", "content"], "a tool message")
    waiting.result(message["tool_call_id"])
    need(isText(message["content"]), "a result is not text")
    return
  }
  waiting.none()
  const { content } = message
  switch (message["role"]) {
    case "system":
    case "developer":
      need(isText(content), "a system message is not text")
      return
    case "user":
      if (!isText(content)) {
        need(Array.isArray(content) && content.length > 0, "a user message is empty")
        for (const part of content) chatPart(part)
      }
      return
    case "assistant": {
      // Reasoning is other servers' own: only where the answers before held it may it come back.
      only(message, ["role", "content", "tool_calls", "refusal", ...reasoningFields], "an assistant message")
      const calls = message["tool_calls"]
      need(isFilled(content) || calls !== undefined, "an assistant message without content")
      need(calls === undefined || calls.length > 0, "tool_calls is empty")
      for (const call of calls ?? []) {
        only(call, ["id", "type", "function", "extra_content"], "a call")
        need(call.type === "function" && nameRule.test(call.function?.name), "a call names no function")
        argumentsOf(call.function.arguments)
        waiting.call(call.id)
      }
      return
    }
    default:
      refuse(`role ${String(message["role"])}`)
  }
}

const isPicture = (url: unknown) =>
  isText(url) && /^(https?:\/\/|data:image\/(png|jpeg|gif|webp);base64,[\w+/]+=*$)/.test(url)
const notADocument = /^data:(video|audio|image|application\/(octet-stream|zip))/

const chatPart = (part: Fields): void => {
  switch (part["type"]) {
    case "text":
      need(isText(part["text"]), "a text part has no text")
      return
    case "image_url":
      need(isPicture(part["image_url"]?.url), "an image has no address")
      need(
        ["auto", "low", "high", "original", undefined].includes(part["image_url"].detail),
        "an image has an unknown detail"
      )
      return
    case "file": {
      const file = part["file"] ?? {}
      const isData = isFilled(file.filename) && /^data:application\/pdf;base64,[\w+/]/.test(file.file_data ?? "")
      need(isFilled(file.file_id) || isData, "a file has neither an id nor data")
      return
    }
    case "input_audio":
      need(isFilled(part["input_audio"]?.data), "audio has no data")
      need(["wav", "mp3"].includes(part["input_audio"].format), "audio is neither wav nor mp3")
      return
    default:
      refuse(`content part ${String(part["type"])}`)
  }
}

// -- Responses --------------------------------------------------------------------------------------------------------

const notInResponses = ["messages", "response_format", "max_tokens", "max_completion_tokens", "stop", "seed", "n"]

const responses = (body: Fields): void => {
  common(body)
  for (const key of [...notInResponses, "reasoning_effort", "verbosity"]) {
    need(!(key in body), `unknown parameter "${key}"`)
  }
  const { input, include, tools } = body
  need(body["stream_options"]?.include_usage === undefined, "unknown parameter stream_options.include_usage")
  if (!isText(input)) {
    need(Array.isArray(input) && input.length > 0, "no input")
    items(input)
  }
  for (const one of include ?? []) need(isText(one) && one.includes("."), `unknown include ${String(one)}`)
  if (body["model"].startsWith("gpt-4")) {
    need(!(include ?? []).includes("reasoning.encrypted_content"), "encrypted content is not supported with this model")
    need(body["reasoning"]?.effort === undefined, "reasoning.effort is not supported with this model")
  }
  if (tools !== undefined) {
    toolList(tools, (tool) => {
      if (tool["type"] !== "function") {
        need(/^(web_search|file_search|image_generation|code_interpreter|mcp)/.test(tool["type"]), "an unknown tool")
        return undefined
      }
      only(tool, ["type", "name", "description", "parameters", "strict"], "a tool")
      return tool
    })
    choice(
      body["tool_choice"],
      tools.map((tool: Fields) => tool["name"] ?? tool["type"]),
      (chosen) => chosen["name"] ?? chosen["type"]
    )
  } else need(body["tool_choice"] === undefined, "tool_choice is only allowed with tools")
  const format = body["text"]?.format
  if (format !== undefined) {
    need(format.type === "json_schema", "text.format has no known type")
    const { type: _type, ...rest } = format
    outputFormat(rest)
  }
}

const items = (input: ReadonlyArray<Fields>): void => {
  const waiting = new Waiting()
  let reasoned: string | undefined
  for (const item of input) {
    const type = item["type"] ?? "message"
    if (reasoned !== undefined) {
      const follows =
        ["function_call", "reasoning", "image_generation_call"].includes(type) || item["role"] === "assistant"
      need(follows, `reasoning ${reasoned} was given without what follows it`)
    }
    reasoned = undefined
    switch (type) {
      case "message":
        waiting.none()
        responsesMessage(item)
        break
      case "function_call":
        need(nameRule.test(item["name"]), "a call names no function")
        argumentsOf(item["arguments"])
        waiting.call(item["call_id"])
        break
      case "function_call_output":
        waiting.result(item["call_id"])
        if (!isText(item["output"])) {
          need(Array.isArray(item["output"]) && item["output"].length > 0, "an output is empty")
          for (const part of item["output"]) inputPart(part)
        }
        break
      case "image_generation_call":
        need(isFilled(item["id"]) && isText(item["status"]), "an image has no id or status")
        need(/^[\w+/]+=*$/.test(item["result"]), "an image that is not stored has no data")
        break
      case "reasoning":
        need(isText(item["id"]) && item["id"].startsWith("rs_"), "reasoning has no id of its own")
        need(isFilled(item["encrypted_content"]), "reasoning that is not stored has to be encrypted")
        need(Array.isArray(item["summary"]), "reasoning has no summary")
        for (const part of item["summary"]) need(part.type === "summary_text" && isText(part.text), "a bad summary")
        reasoned = item["id"]
        break
      default:
        refuse(`item ${String(type)}`)
    }
  }
  need(reasoned === undefined, `reasoning ${String(reasoned)} was given without what follows it`)
  waiting.none()
}

const responsesMessage = (item: Fields): void => {
  const { role, content } = item
  need(["system", "developer", "user", "assistant"].includes(role), `role ${String(role)}`)
  if (isText(content)) {
    need(role === "user" || content !== "", `an empty ${String(role)} message`)
    return
  }
  need(Array.isArray(content) && content.length > 0, "a message is empty")
  for (const part of content) {
    if (role === "assistant") need(part.type === "output_text" || part.type === "refusal", "an assistant's input part")
    else inputPart(part)
  }
}

const inputPart = (part: Fields): void => {
  switch (part["type"]) {
    case "input_text":
      need(isText(part["text"]), "a text part has no text")
      return
    case "input_image":
      need(isFilled(part["file_id"]) || isPicture(part["image_url"]), "an image has no address")
      need(["auto", "low", "high", "original"].includes(part["detail"]), "an image has no detail")
      return
    case "input_file": {
      const data = part["file_data"] ?? ""
      const isData = isFilled(part["filename"]) && /^data:[\w./+-]+;base64,/.test(data) && !notADocument.test(data)
      need(isFilled(part["file_id"]) || isFilled(part["file_url"]) || isData, "a file has no id, address or data")
      return
    }
    default:
      refuse(`content part ${String(part["type"])}`)
  }
}

// -- tools, formats and schemas ---------------------------------------------------------------------------------------

const toolList = (tools: unknown, functionOf: (tool: Fields) => Fields | undefined): void => {
  if (!Array.isArray(tools) || tools.length === 0) return refuse("tools is empty")
  const names = new Set<string>()
  for (const tool of tools) {
    const fn = functionOf(tool)
    if (fn === undefined) continue
    const { name, parameters, strict } = fn
    need(nameRule.test(name ?? ""), `the tool name ${String(name)}`)
    need(!names.has(name), `two tools are named ${String(name)}`)
    names.add(name)
    need(
      parameters?.type === "object" && isObject(parameters.properties),
      `parameters of ${String(name)} are not an object`
    )
    for (const key of ["anyOf", "oneOf", "allOf", "not", "enum"]) {
      need(!(key in parameters), `parameters of ${String(name)}: "${key}" is not permitted at the top level`)
    }
    wellFormed(parameters, parameters, `parameters of ${String(name)}`)
    if (strict === true) strictly(parameters, `parameters of ${String(name)}`)
  }
}

const choice = (
  chosen: unknown,
  names: ReadonlyArray<string>,
  nameOf: (chosen: Fields) => string | undefined
): void => {
  if (chosen === undefined || chosen === "none" || chosen === "auto" || chosen === "required") return
  need(isObject(chosen) && names.includes(nameOf(chosen) ?? ""), `tool_choice ${JSON.stringify(chosen)}`)
}

const outputFormat = (format: unknown): void => {
  if (!isObject(format)) return refuse("the output format has no schema")
  only(format, ["name", "description", "schema", "strict"], "the output format")
  need(nameRule.test(format["name"] ?? ""), `the format name ${String(format["name"])}`)
  need(format["schema"]?.type === "object", "the output schema is not an object")
  if (format["strict"] === true) strictly(format["schema"], "the output schema")
}

const lookaround = /(?<!\\)(\\\\)*\(\?<?[=!]/
const types = new Set(["string", "number", "integer", "boolean", "object", "array", "null"])

/** What is refused in any schema, strict or not. */
const wellFormed = (schema: unknown, root: Fields, where: string): void => {
  if (!isObject(schema)) return refuse(`${where}: a schema that is not an object`)
  const { $ref, anyOf, enum: values, items, pattern, properties, required, type } = schema
  if (type !== undefined)
    need(
      [type].flat().every((one) => types.has(one)),
      `${where}: type ${String(type)}`
    )
  if ([type].flat().includes("array")) need(isObject(items), `${where}: array schema missing items`)
  if (values !== undefined) need(Array.isArray(values) && values.length > 0, `${where}: enum`)
  if (required !== undefined) need(Array.isArray(required) && required.every(isText), `${where}: required`)
  if (pattern !== undefined) need(isText(pattern) && !lookaround.test(pattern), `${where}: pattern`)
  if ($ref !== undefined) {
    const path = String($ref).split("/")
    const target = path.slice(1).reduce<unknown>((at, key) => (isObject(at) ? at[key] : undefined), root)
    need(path[0] === "#" && target !== undefined, `${where}: the reference ${String($ref)} leads nowhere`)
  }
  if (properties !== undefined) need(isObject(properties), `${where}: properties`)
  const named = [properties, schema["$defs"], schema["definitions"]]
  for (const [key, one] of named.flatMap((all) => Object.entries(all ?? {}))) wellFormed(one, root, `${where}.${key}`)
  for (const key of ["anyOf", "oneOf", "allOf"]) {
    for (const one of schema[key] ?? []) wellFormed(one, root, `${where}.${key}`)
  }
  if (anyOf !== undefined) need(anyOf.length > 0, `${where}: anyOf`)
  if (items !== undefined) wellFormed(items, root, `${where}[]`)
}

const forbidden = ["allOf", "oneOf", "not", "if", "then", "else", "patternProperties", "dependentRequired"]
const unsupported = [
  "minLength",
  "maxLength",
  "uniqueItems",
  "prefixItems",
  "propertyNames",
  "minProperties",
  "default"
]

/** https://platform.openai.com/docs/guides/structured-outputs#supported-schemas */
const strictly = (schema: unknown, where: string): void => {
  if (!isObject(schema)) return refuse(`${where}: a schema that is not an object`)
  for (const key of [...forbidden, ...unsupported]) need(!(key in schema), `${where}: "${key}" is not permitted`)
  need("type" in schema || "anyOf" in schema || "$ref" in schema, `${where}: schema must have a "type"`)
  if (schema["type"] === "object") {
    need(schema["additionalProperties"] === false, `${where}: "additionalProperties" must be false`)
    const properties = Object.keys(schema["properties"] ?? {})
    const required: ReadonlyArray<string> = schema["required"] ?? []
    for (const key of properties) need(required.includes(key), `${where}: "required" has no ${key}`)
  }
  for (const [key, one] of Object.entries(schema["properties"] ?? {})) strictly(one, `${where}.${key}`)
  for (const [key, one] of Object.entries(schema["$defs"] ?? {})) strictly(one, `${where}#${key}`)
  for (const one of schema["anyOf"] ?? []) strictly(one, where)
  if (schema["type"] === "array") strictly(schema["items"], `${where}[]`)
}
