/** What became of the tools that the provider ran itself, as calls and results. */
import type * as Response from "effect/ai/Response"
import * as Tool from "effect/ai/Tool"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { jsonOrText, toJson } from "../../../internal/json.ts"
import { type Fields, isFields, list, text } from "../../internal/model/wire.ts"

/** A call, and its result. */
export type Ran = ReadonlyArray<Response.ToolCallPartEncoded | Response.ToolResultPartEncoded>

/** Reads an item of an answer; nothing for one that is not a call of a tool that was offered. */
export type Reader = (item: Fields) => Ran

interface Outcome {
  readonly params: Schema.Json
  readonly result: Schema.Json
}

const none: Ran = []
/** Nothing was offered. */
export const readNothing: Reader = () => none

const only = (item: Fields, ...names: ReadonlyArray<string>): Schema.JsonObject =>
  Object.fromEntries(names.flatMap((name) => (item[name] == null ? [] : [[name, toJson(item[name])]])))

/** By the type of item, without `_call`. */
const outcomes: Readonly<Record<string, (item: Fields) => Outcome>> = {
  web_search: (item) => {
    const { sources, ...action } = isFields(item["action"]) ? item["action"] : {}
    return {
      params: toJson(action),
      result: { status: text(item, "status") ?? "completed", sources: toJson(sources ?? []) }
    }
  },
  file_search: (item) => ({
    params: { queries: toJson(list(item, "queries")) },
    result: { results: toJson(list(item, "results")) }
  }),
  code_interpreter: (item) => ({
    params: only(item, "code", "container_id"),
    result: { outputs: toJson(list(item, "outputs")) }
  }),
  // The image is a file of the answer.
  image_generation: (item) => ({
    params: { prompt: text(item, "revised_prompt") ?? "" },
    result: only(item, "status", "size", "quality", "background", "output_format")
  }),
  mcp: (item) => ({
    params: { name: text(item, "name") ?? "", arguments: jsonOf(item["arguments"]) },
    result: item["error"] == null ? jsonOf(item["output"]) : toJson(item["error"])
  })
}

const jsonOf = (value: unknown): Schema.Json =>
  typeof value === "string" ? toJson(jsonOrText(value)) : toJson(value ?? null)

/** OpenAI names two versions of one tool. */
const kindOf = (type: string): string => type.replace(/_preview(_\d+)*$/, "")

/** Reads the calls of the provider's tools among `tools`, under the names that they were offered by. */
export const readerOf = (tools: ReadonlyArray<Tool.Any>): Reader => {
  const offered = tools.filter(Tool.isProviderDefined)
  if (offered.length === 0) return readNothing
  return (item) => {
    const kind = /^(.+)_call$/.exec(text(item, "type") ?? "")?.[1] ?? ""
    const tool = offered.find((one) => kindOf(one.providerName) === kind && isServerOf(one, item))
    const outcome = Object.hasOwn(outcomes, kind) ? outcomes[kind]?.(item) : undefined
    const id = text(item, "id")
    if (tool === undefined || outcome === undefined || id === undefined) return none
    return takes(tool, outcome) ? partsOf(tool.name, id, item, outcome) : none
  }
}

/** An agent can have several MCP servers; their calls have the label of theirs. */
const isServerOf = ({ args }: { readonly args: unknown }, item: Fields): boolean =>
  !isFields(args) || args["server_label"] === undefined || args["server_label"] === item["server_label"]

/** Programs that ask through `effect/ai` have results decoded by the schemas of a tool; what they do not take is left out. */
const takes = (tool: Tool.Any, { params, result }: Outcome): boolean =>
  fits(tool.parametersSchema, params) && fits(tool.successSchema, result)

const fits = (schema: unknown, value: Schema.Json): boolean =>
  !Schema.isSchema(schema) ||
  Option.isSome(Schema.decodeUnknownOption(schema as unknown as Schema.Decoder<unknown>)(value))

const partsOf = (name: string, id: string, item: Fields, { params, result }: Outcome): Ran => {
  const own = { id, name, providerExecuted: true, metadata: { openai: { itemId: id } } } as const
  const isFailure = text(item, "status") === "failed" || (item["type"] === "mcp_call" && item["error"] != null)
  return [
    { type: "tool-call", ...own, params },
    { type: "tool-result", ...own, result, isFailure }
  ]
}

/** What the API has to be asked for, so that calls come with their results. */
export const includesOf = (tools: ReadonlyArray<Tool.Any>): ReadonlyArray<string> =>
  tools.flatMap((tool) => (Tool.isProviderDefined(tool) ? (included[kindOf(tool.providerName)] ?? []) : []))

const included: Readonly<Record<string, ReadonlyArray<string>>> = {
  web_search: ["web_search_call.action.sources"],
  file_search: ["file_search_call.results"],
  code_interpreter: ["code_interpreter_call.outputs"]
}
