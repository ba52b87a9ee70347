/** What a runner takes, from the JSON schema of its input. */
import { Validator } from "@cfworker/json-schema"

/** A schema, or a part of one. */
export interface JsonSchema {
  readonly [key: string]: unknown
}

/** A schema of a value; anything else accepts all. */
export const schemaIn = (value: unknown): JsonSchema =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as JsonSchema) : {}

const alternatives = (schema: JsonSchema): ReadonlyArray<JsonSchema> => {
  const given = schema["anyOf"] ?? schema["oneOf"]
  return Array.isArray(given) ? given.map(schemaIn) : [schema]
}

/** Whether a text is an input. */
export const takesText = (schema: JsonSchema): boolean => alternatives(schema).some(({ type }) => type === "string")

/** Whether messages are an input, and so what was said before can be sent along. */
export const takesMessages = (schema: JsonSchema): boolean =>
  takesText(schema) && alternatives(schema).some(({ type }) => type === "array")

const referred = (schema: JsonSchema, whole: JsonSchema): JsonSchema => {
  const { $ref: reference } = schema
  if (typeof reference !== "string" || !reference.startsWith("#")) return schema
  let found: unknown = whole
  for (const name of reference.slice(1).split("/").filter(Boolean)) {
    found = schemaIn(found)[decodeURIComponent(name).replaceAll("~1", "/").replaceAll("~0", "~")]
  }
  return schemaIn(found)
}

/** An input to begin from: its required fields, with values of their types. */
export const skeleton = (schema: JsonSchema, whole = schema, depth = 0): unknown => {
  const own = alternatives(referred(schema, whole))[0] ?? {}
  if (depth > 6) return null
  if ("default" in own) return own["default"]
  if ("const" in own) return own["const"]
  if (Array.isArray(own["enum"])) return own["enum"][0]
  if ("$ref" in own) return skeleton(own, whole, depth + 1)
  if (Array.isArray(own["allOf"]) && own["type"] === undefined) {
    return skeleton(schemaIn(own["allOf"][0]), whole, depth + 1)
  }
  switch (own["type"]) {
    case "string":
      return ""
    case "number":
    case "integer":
      return typeof own["minimum"] === "number" ? own["minimum"] : 0
    case "boolean":
      return false
    case "array":
      return []
    case "object": {
      const properties = schemaIn(own["properties"])
      const required = Array.isArray(own["required"]) ? own["required"].map(String) : Object.keys(properties)
      return Object.fromEntries(required.map((name) => [name, skeleton(schemaIn(properties[name]), whole, depth + 1)]))
    }
    default:
      return null
  }
}

/** A text as JSON: its value, or what is wrong with it. */
export type Parsed = { readonly value: unknown } | { readonly problem: string }

/** Reads JSON that fits a schema. */
export const parse = (text: string, schema?: JsonSchema): Parsed => {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    return { problem: `This is not JSON: ${error instanceof Error ? error.message : "it cannot be read"}` }
  }
  const problem = schema === undefined ? undefined : problemOf(value, schema)
  return problem === undefined ? { value } : { problem }
}

/** Says where a value does not fit. The server has the last word, also where a schema cannot be read here. */
const problemOf = (value: unknown, schema: JsonSchema): string | undefined => {
  try {
    const { errors, valid } = new Validator(schema, "2020-12", false).validate(value)
    if (valid) return undefined
    // The last ones are those deepest inside.
    const deepest = errors.toSorted((a, b) => b.instanceLocation.length - a.instanceLocation.length)[0]
    const at = deepest?.instanceLocation.replace(/^#\/?/, "").replaceAll("/", ".") ?? ""
    return `${at === "" ? "The input" : at} does not fit: ${deepest?.error ?? "it has another form"}`
  } catch {
    return undefined
  }
}
