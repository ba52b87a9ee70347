/** JSON schemas as OpenAI takes them, made once for each tool. */
import * as Tool from "effect/ai/Tool"
import { memoize } from "effect/Function"
import * as Predicate from "effect/Predicate"
import { takeable } from "./toolSchema.ts"

type Json = Readonly<Record<string, unknown>>

/** A schema ready to send, and whether it is in the subset that OpenAI can hold a model to strictly. */
export interface Prepared {
  readonly schema: Json
  readonly strictable: boolean
}

/** The parameters of a tool. */
export const ofTool = memoize((tool: Tool.Any): Prepared =>
  ofParameters(Tool.getJsonSchema(tool) as Json, Tool.isDynamic(tool) && tool.jsonSchema !== undefined)
)

const ofParameters = (schema: Json, isForeign: boolean): Prepared => {
  // A schema that came as JSON, from an MCP server for example, may be open and hold any keyword.
  if (isForeign) return asIs(takeable(schema))
  const own = prepare(schema)
  const isObject = own.schema["type"] === "object" && !["allOf", "anyOf", "oneOf"].some((key) => key in own.schema)
  return isObject ? own : asIs(takeable(own.schema))
}

/** A schema of an answer. */
export const ofOutput = memoize((schema: Json): Prepared => prepare(schema))

const prepare = (schema: Json): Prepared => ready(walk(inlineRoot(schema), (node) => close(merge(spell(node)))))

const asIs = (schema: Json): Prepared => ready(walk(schema, spell))

const ready = (schema: Json): Prepared => {
  if (schema["type"] !== "object") return { schema, strictable: false }
  // An object without fields is rejected unless that is explicit.
  const whole = "properties" in schema ? schema : { ...schema, properties: {} }
  return { schema: whole, strictable: isStrictable(whole) && isWithinLimits(whole) }
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

/** Groups that look around, or have a name; classes of Unicode; ranges from a class: Python reads some of it otherwise. */
const refusedPattern = /(?<!\\)(\\\\)*(\(\?<?[=!]|\(\?<[a-z_]|\\[pP]\{|\[[^\]]*\\[dswDSW]-[^\]])/i

const isRefused = (pattern: string): boolean => {
  if (pattern.length > 1000) return true
  try {
    return refusedPattern.test(new RegExp(pattern).source)
  } catch {
    return true
  }
}

/** OpenAI refuses some patterns, also where nothing is strict. The model gets them in words. */
const spell = (node: Json): Json => {
  const { pattern, ...rest } = node
  if (typeof pattern !== "string" || !isRefused(pattern)) return node
  return { ...rest, description: describe(rest["description"], `Matches the regular expression ${pattern}`) }
}

/** Effect puts annotations of a key next to its schema, in an `allOf`, which a strict schema may not have. */
const merge = (node: Json): Json => {
  const { allOf, ...beside } = node
  if (!Array.isArray(allOf)) return node
  const said = allOf.filter(isDescription)
  const [other, ...others] = allOf.filter((one) => !isDescription(one)) as ReadonlyArray<Json>
  const alone = other === undefined || (others.length === 0 && Object.keys(beside).length === 0)
  if (said.length === 0 || !alone) return node
  const rest = other ?? beside
  const description = said.reduce<unknown>((all, one) => describe(all, one.description), rest["description"])
  // A reference may have no siblings either.
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
  // A reference may have no siblings.
  if ("$ref" in schema) return Object.keys(schema).length === 1
  // A schema that allows anything cannot be held to, and a bare `enum` or `const` is refused.
  if (!("type" in schema || "anyOf" in schema)) return false
  if ("format" in schema && !strictFormats.has(schema["format"])) return false
  const { type } = schema
  if (type === "object" || (Array.isArray(type) && type.includes("object"))) {
    if (schema["additionalProperties"] !== false) return false
    const required = new Set(Array.isArray(schema["required"]) ? schema["required"] : [])
    if (!Object.keys((schema["properties"] as object | undefined) ?? {}).every((key) => required.has(key))) return false
  }
  const inside = [schema["items"], schema["anyOf"], ...valuesOf(schema["properties"]), ...valuesOf(schema["$defs"])]
  return inside.every((one) => one === undefined || isStrictable(one))
}

const valuesOf = (value: unknown): ReadonlyArray<unknown> => (Predicate.isObject(value) ? Object.values(value) : [])

/** How large a schema may be that a model is held to. */
const strictLimits = { levels: 10, properties: 5000, values: 1000, chars: 120_000 }

const isWithinLimits = (schema: Json): boolean => {
  const count = { levels: 0, properties: 0, values: 0, chars: 0 }
  const visit = (node: unknown, level: number): void => {
    if (Array.isArray(node)) for (const one of node) visit(one, level)
    if (!Predicate.isObject(node)) return
    const { enum: values, properties, $defs, items, anyOf } = node as Json
    const isNested = Predicate.isObject(properties) || items !== undefined
    const here = isNested ? level + 1 : level
    count.levels = Math.max(count.levels, here)
    const names = [properties, $defs].flatMap((named) => (Predicate.isObject(named) ? Object.keys(named) : []))
    count.properties += Predicate.isObject(properties) ? Object.keys(properties).length : 0
    count.values += Array.isArray(values) ? values.length : 0
    for (const text of [...names, ...(Array.isArray(values) ? values : [])]) count.chars += String(text).length
    for (const one of valuesOf(properties)) visit(one, here)
    for (const one of valuesOf($defs)) visit(one, 0)
    visit(items, here)
    visit(anyOf, here)
  }
  visit(schema, 0)
  return (Object.keys(strictLimits) as ReadonlyArray<keyof typeof strictLimits>).every(
    (limit) => count[limit] <= strictLimits[limit]
  )
}
