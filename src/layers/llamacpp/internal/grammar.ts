/** JSON schemas as grammars of `node-llama-cpp`: a model cannot write anything else. */
import type { GbnfJsonSchema } from "node-llama-cpp"
import type * as LanguageModel from "effect/ai/LanguageModel"
import type * as Tool from "effect/ai/Tool"
import * as Schemas from "../../internal/model/jsonSchema.ts"
import { type Fields, isFields } from "../../internal/model/wire.ts"

const named = new Set(["properties", "$defs"])
/** Keywords that a grammar has, and `description`. */
const kept = new Set([
  "type",
  "const",
  "enum",
  "oneOf",
  "properties",
  "required",
  "additionalProperties",
  "items",
  "prefixItems",
  "$ref",
  "$defs",
  "minLength",
  "maxLength",
  "minItems",
  "maxItems",
  "minProperties",
  "maxProperties",
  "description"
])
const formats = new Set<unknown>(["date-time", "time", "date"])

const convert = (node: unknown): unknown => {
  if (Array.isArray(node)) return node.map(convert)
  if (!isFields(node)) return node
  const out: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(node)) {
    if (key === "anyOf") out["oneOf"] = convert(value)
    else if (key === "format" && formats.has(value)) out[key] = value
    else if (named.has(key) && isFields(value)) {
      out[key] = Object.fromEntries(Object.entries(value).map(([name, one]) => [name, convert(one)]))
    } else if (key === "enum" || key === "const" || key === "required" || key === "type") out[key] = value
    else if (kept.has(key)) out[key] = convert(value)
  }
  return out
}

/** A schema as a grammar takes it. What a grammar cannot hold is left to the check of the answer. */
export const ofSchema = (schema: Fields): GbnfJsonSchema => convert(schema) as GbnfJsonSchema

/** The parameters of a tool. */
export const ofTool = (tool: Tool.Any): GbnfJsonSchema => ofSchema(Schemas.ofTool(tool).schema)

/** The tools that have to be called; `undefined` where the model may also answer in words. */
export const forced = ({ toolChoice, tools }: LanguageModel.ProviderOptions): ReadonlyArray<Tool.Any> | undefined => {
  if (tools.length === 0) return undefined
  if (toolChoice === "required") return tools
  if (typeof toolChoice !== "object") return undefined
  if ("tool" in toolChoice) return tools.filter(({ name }) => name === toolChoice.tool)
  return toolChoice.mode === "required" ? tools.filter(({ name }) => toolChoice.oneOf.includes(name)) : undefined
}

/** One call of one of the tools. */
export const ofCall = (tools: ReadonlyArray<Tool.Any>): GbnfJsonSchema => {
  const calls = tools.map((tool) => ({
    type: "object",
    properties: { tool: { const: tool.name as string }, arguments: ofTool(tool) },
    required: ["tool", "arguments"],
    additionalProperties: false
  }))
  return (calls.length === 1 ? calls[0] : { oneOf: calls }) as unknown as GbnfJsonSchema
}
