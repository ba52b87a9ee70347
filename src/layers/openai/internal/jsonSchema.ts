/** JSON schemas as OpenAI takes them, made once for each tool. It touches `effect/ai`'s tools only. */
import * as Tool from "effect/ai/Tool"
import * as Predicate from "effect/Predicate"

type Json = Readonly<Record<string, unknown>>

/** A schema ready to send, and whether it is in the subset that OpenAI can hold a model to strictly. */
export interface Prepared {
  readonly schema: Json
  readonly strictable: boolean
}

const prepared = new WeakMap<Tool.Any, Prepared>()

/** The parameters of a tool. */
export const ofTool = (tool: Tool.Any): Prepared => {
  let found = prepared.get(tool)
  if (found === undefined) {
    const schema = Tool.getJsonSchema(tool) as Json
    // A schema that came as JSON, from an MCP server say, means what it says.
    const isOwn = Tool.isDynamic(tool) && tool.jsonSchema !== undefined
    found = isOwn ? asIs(schema) : prepare(schema)
    prepared.set(tool, found)
  }
  return found
}

const schemas = new WeakMap<object, Prepared>()

/** A schema of an answer. */
export const ofOutput = (schema: Json): Prepared => {
  let found = schemas.get(schema)
  if (found === undefined) {
    found = prepare(schema)
    schemas.set(schema, found)
  }
  return found
}

const prepare = (schema: Json): Prepared => ready(walk(inlineRoot(schema), (node) => close(merge(spell(node)))))

const asIs = (schema: Json): Prepared => ready(walk(schema, spell))

const ready = (schema: Json): Prepared => {
  if (schema["type"] !== "object") return { schema, strictable: false }
  // An object without fields is refused unless it says so.
  const whole = "properties" in schema ? schema : { ...schema, properties: {} }
  return { schema: whole, strictable: isStrictable(whole) }
}

/** Servers want the root to be an object itself, not a reference to one. */
const inlineRoot = (schema: Json): Json => {
  const ref = schema["$ref"]
  const defs = schema["$defs"]
  if (typeof ref !== "string" || !Predicate.isObject(defs)) return schema
  const name = decodeURIComponent(ref.slice(ref.lastIndexOf("/") + 1))
  const target = (defs as Record<string, Json>)[name]
  return target === undefined ? schema : { ...target, $defs: defs }
}

/** A schema with each schema in it edited, from the inside out. */
const walk = (schema: Json, edit: (node: Json) => Json): Json => {
  const inside = (node: unknown): unknown => {
    if (Array.isArray(node)) return node.map(inside)
    return Predicate.isObject(node) ? walk(node as Json, edit) : node
  }
  const out: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(schema)) {
    out[key] = named.has(key) ? mapValues(value, inside) : plain.has(key) ? value : inside(value)
  }
  return edit(out)
}

/** Keywords of schemas by name, and those that hold none. */
const named = new Set(["properties", "patternProperties", "$defs", "definitions"])
const plain = new Set(["enum", "const", "default", "examples"])

const mapValues = (value: unknown, f: (value: unknown) => unknown): unknown =>
  Predicate.isObject(value) ? Object.fromEntries(Object.entries(value).map(([key, one]) => [key, f(one)])) : value

const lookaround = /(?<!\\)(\\\\)*\(\?<?[=!]/

/** OpenAI refuses a pattern that looks around, also where nothing is strict. The model is told of it in words. */
const spell = (node: Json): Json => {
  const { pattern, ...rest } = node
  if (typeof pattern !== "string" || !lookaround.test(pattern)) return node
  return { ...rest, description: describe(rest["description"], `Matches the regular expression ${pattern}`) }
}

/** What effect says of a key stands beside the key's schema, in an `allOf`, which nothing strict may have. */
const merge = (node: Json): Json => {
  const { allOf, ...beside } = node
  if (!Array.isArray(allOf)) return node
  const said = allOf.filter(isDescription)
  const [other, ...others] = allOf.filter((one) => !isDescription(one)) as ReadonlyArray<Json>
  const alone = other === undefined || (others.length === 0 && Object.keys(beside).length === 0)
  if (said.length === 0 || !alone) return node
  const rest = other ?? beside
  const description = said.reduce<unknown>((all, one) => describe(all, one.description), rest["description"])
  // A reference may have nothing beside it either.
  return "$ref" in rest ? { anyOf: [rest], description } : { ...rest, description }
}

const isDescription = (node: unknown): node is { readonly description: string } =>
  Predicate.hasProperty(node, "description") && typeof node.description === "string" && Object.keys(node).length === 1

const describe = (said: unknown, more: string): string => (typeof said === "string" ? `${said}\n${more}` : more)

/**
 * Effect's structs let further fields pass; a model should not invent any. Those with index signatures do want them.
 */
const close = (node: Json): Json => {
  const open = node["additionalProperties"] === undefined || node["additionalProperties"] === true
  const isStruct = node["type"] === "object" && Predicate.isObject(node["properties"]) && !("allOf" in node)
  return isStruct && open ? { ...node, additionalProperties: false } : node
}

const strictKeywords = new Set([
  "type",
  "properties",
  "required",
  "additionalProperties",
  "items",
  "enum",
  "const",
  "anyOf",
  "$ref",
  "$defs",
  "description",
  "title",
  "pattern",
  "format",
  "minimum",
  "maximum",
  "exclusiveMinimum",
  "exclusiveMaximum",
  "multipleOf",
  "minItems",
  "maxItems",
  "$schema"
])

const strictFormats = new Set<unknown>([
  "date-time",
  "time",
  "date",
  "duration",
  "email",
  "hostname",
  "ipv4",
  "ipv6",
  "uuid"
])

const isStrictable = (node: unknown): boolean => {
  if (Array.isArray(node)) return node.every(isStrictable)
  if (!Predicate.isObject(node)) return true
  const schema = node as Json
  if (!Object.keys(schema).every((key) => strictKeywords.has(key))) return false
  // A schema that allows anything cannot be held to, and a bare `enum` or `const` is refused.
  if (!("type" in schema || "anyOf" in schema || "$ref" in schema)) return false
  if ("format" in schema && !strictFormats.has(schema["format"])) return false
  const { type } = schema
  if (type === "object" || (Array.isArray(type) && type.includes("object"))) {
    if (schema["additionalProperties"] !== false) return false
    const required = new Set(Array.isArray(schema["required"]) ? schema["required"] : [])
    if (!Object.keys((schema["properties"] as object | undefined) ?? {}).every((key) => required.has(key))) return false
  }
  const inside = [schema["items"], schema["anyOf"], ...values(schema["properties"]), ...values(schema["$defs"])]
  return inside.every((one) => one === undefined || isStrictable(one))
}

const values = (value: unknown): ReadonlyArray<unknown> => (Predicate.isObject(value) ? Object.values(value) : [])
