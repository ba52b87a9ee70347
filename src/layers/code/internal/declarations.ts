/**
 * What a model is shown of the tools that its programs call: TypeScript, printed from their JSON schemas, in their order. What a
 * server or a user has written in a schema is data: comments cannot be ended by it, names are quoted, and all is bounded.
 */
import * as Tool from "effect/ai/Tool"
import * as Schema from "effect/Schema"
import type { Any as AgentTool } from "../../../AgentTool.ts"
import { jsonSchema } from "../../../internal/jsonForm.ts"
import { oneLine } from "../../../internal/text.ts"

/** How deep a type is printed. What is deeper is `any`. */
const maxDepth = 5
/** The longest declaration of one tool, and of all, in characters. */
const maxTool = 3_000
const maxAll = 30_000
/** The longest comment, in characters. */
const maxComment = 500

type Json = { readonly [key: string]: unknown }

/** The declarations of all tools, and the names of those that there was no room for. */
export const declarations = (
  tools: ReadonlyArray<AgentTool>
): { readonly text: string; readonly left: ReadonlyArray<string> } => {
  const lines: Array<string> = []
  const left: Array<string> = []
  let size = 0
  for (const { name, tool } of tools) {
    const whole = declaration(name, tool)
    const line =
      whole.length > maxTool ? `${comment(tool.description, "  ")}  ${key(name)}(input: any): Promise<any>` : whole
    if (size + line.length > maxAll) left.push(name)
    else lines.push(line)
    size += line.length
  }
  return { text: `declare const tools: {\n${lines.join("\n")}\n}`, left }
}

const declaration = (name: string, tool: Tool.Any): string => {
  const parameters = Tool.isProviderDefined(tool) ? {} : (Tool.getJsonSchema(tool) as Json)
  const input = printer(parameters)(parameters, 1, "  ")
  const isOptional = !Array.isArray(parameters["required"]) || parameters["required"].length === 0
  const argument = input === "{}" ? "" : `input${isOptional ? "?" : ""}: ${input}`
  return `${comment(tool.description, "  ")}  ${key(name)}(${argument}): Promise<${resultOf(name, tool)}>`
}

/** The type of a result, where the tool declares one. */
const resultOf = (name: string, tool: Tool.Any): string => {
  if (Tool.isProviderDefined(tool) || !Schema.isSchema(tool.successSchema)) return "any"
  const { _tag } = tool.successSchema.ast
  if (_tag === "Unknown" || _tag === "Any" || _tag === "Void") return "any"
  try {
    const schema = jsonSchema(`the result of "${name}"`, tool.successSchema) as Json
    return printer(schema)(schema, 1, "  ")
  } catch {
    return "any"
  }
}

const comment = (text: unknown, indent: string): string =>
  typeof text !== "string" || text.trim() === ""
    ? ""
    : `${indent}/** ${oneLine(text).slice(0, maxComment).replaceAll("*/", "* /").trim()} */\n`

/** A name as the key of an object type. */
const key = (name: string): string => (/^[A-Za-z_$][\w$]*$/.test(name) ? name : JSON.stringify(name))

/** Prints schemas, with the definitions of `root`. */
const printer = (root: Json) => {
  const resolve = (ref: string): Json | undefined => {
    const path = ref.startsWith("#/") ? ref.slice(2).split("/") : []
    let at: unknown = root
    for (const step of path) {
      const name = step.replaceAll("~1", "/").replaceAll("~0", "~")
      at = typeof at === "object" && at !== null && Object.hasOwn(at, name) ? (at as Json)[name] : undefined
    }
    return path.length > 0 && typeof at === "object" && at !== null ? (at as Json) : undefined
  }
  const print = (schema: unknown, depth: number, indent: string): string => {
    if (typeof schema !== "object" || schema === null || depth > maxDepth) return "any"
    const { $ref, allOf, anyOf, const: constant, enum: members, oneOf, type } = schema as Json
    if (typeof $ref === "string") return print(resolve($ref), depth + 1, indent)
    if (constant !== undefined) return literal(constant)
    if (Array.isArray(members)) return union(members.slice(0, 100).map(literal))
    const any = anyOf ?? oneOf
    if (Array.isArray(any)) return union(any.slice(0, 50).map((one) => print(one, depth + 1, indent)))
    if (Array.isArray(allOf) && allOf.length === 1 && type === undefined) return print(allOf[0], depth + 1, indent)
    if (Array.isArray(type)) return union(type.map((one) => print({ ...schema, type: one }, depth, indent)))
    return typed(schema as Json, depth, indent)
  }
  const typed = (schema: Json, depth: number, indent: string): string => {
    switch (schema["type"]) {
      case "string":
      case "boolean":
      case "null":
        return schema["type"]
      case "number":
      case "integer":
        return "number"
      case "array":
        return array(schema, depth, indent)
      case "object":
        return object(schema, depth, indent)
      default:
        return "any"
    }
  }
  const array = (schema: Json, depth: number, indent: string): string => {
    const item = print(schema["items"], depth + 1, indent)
    return /^[\w."]+$/.test(item) ? `${item}[]` : `Array<${item}>`
  }
  const object = (schema: Json, depth: number, indent: string): string => {
    const fields = Object.entries((schema["properties"] ?? {}) as Json)
    const required = new Set(Array.isArray(schema["required"]) ? schema["required"] : [])
    const rest = schema["additionalProperties"]
    if (fields.length === 0) {
      return typeof rest === "object" ? `Record<string, ${print(rest, depth + 1, indent)}>` : "{}"
    }
    const inner = `${indent}  `
    const lines = fields.map(([name, field]) => {
      const about = comment((field as Json | null)?.["description"], inner)
      return `${about}${inner}${key(name)}${required.has(name) ? "" : "?"}: ${print(field, depth + 1, inner)}`
    })
    return `{\n${lines.join("\n")}\n${indent}}`
  }
  return print
}

const literal = (value: unknown): string =>
  value === null || ["string", "number", "boolean"].includes(typeof value) ? JSON.stringify(value) : "any"

const union = (types: ReadonlyArray<string>): string => [...new Set(types)].join(" | ") || "any"
