/** JSON of any value, for events and tool results that have no schema, and of texts that may not be JSON. Never throws. */
import { memoize } from "effect/Function"
import * as Predicate from "effect/Predicate"
import * as Base64 from "effect/encoding/Base64"
import * as Schema from "effect/Schema"

/** True for an object, and not for a list. */
export const isJsonObject = (json: Schema.Json | undefined): json is Schema.JsonObject => Predicate.isObject(json)

/** Converts `value` to JSON: class instances by their fields, errors by tag and message, cycles cut. */
export const toJson = (value: unknown): Schema.Json => convert(value, [])

const convert = (value: unknown, above: Array<object>): Schema.Json => {
  switch (typeof value) {
    case "string":
    case "boolean":
      return value
    case "number":
      return Number.isFinite(value) ? value : String(value)
    case "bigint":
    case "symbol":
      return String(value)
    case "undefined":
    case "function":
      return null
    default:
      return value === null ? null : convertObject(value as object, above)
  }
}

/** `above` are the objects around the value: one list, because a list for each object would cost more than the rest. */
const convertObject = (value: object, above: Array<object>): Schema.Json => {
  if (above.includes(value)) return "[circular]"
  const depth = above.length
  if (depth > 64) return "[too deep]"
  above.push(value)
  try {
    return convertFields(value, above)
  } catch {
    return String(value)
  } finally {
    above.length = depth
  }
}

const convertFields = (value: object, above: Array<object>): Schema.Json => {
  if (Array.isArray(value)) return value.map((item) => convert(item, above))
  if (Object.getPrototypeOf(value) === Object.prototype && !("toJSON" in value)) return convertPlain(value, above)
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString()
  if (value instanceof Uint8Array) return Base64.encode(value)
  if (value instanceof Map) return convert([...value.entries()], above)
  if (value instanceof Set) return convert([...value.values()], above)
  if ("toJSON" in value && typeof value.toJSON === "function") return convert(value.toJSON(), above)
  const entries = Object.entries(value).filter(([, item]) => item !== undefined && typeof item !== "function")
  const fields = Object.fromEntries(entries.map(([key, item]) => [key, convert(item, above)]))
  return value instanceof Error ? { name: value.name, message: value.message, ...fields } : fields
}

/** Most of what comes here has no class, so it has a quicker way. */
const convertPlain = (value: object, above: Array<object>): Schema.JsonObject => {
  const fields: Record<string, Schema.Json> = {}
  for (const key of Object.keys(value)) {
    const item = (value as Readonly<Record<string, unknown>>)[key]
    if (item === undefined || typeof item === "function") continue
    const json = convert(item, above)
    // An assignment would set the prototype.
    if (key === "__proto__") Object.defineProperty(fields, key, { value: json, ...own })
    else fields[key] = json
  }
  return fields
}
const own = { configurable: true, enumerable: true, writable: true }

/** Encodes a value by `schema`. Without a schema, or for a value that it cannot encode, takes the value's own JSON shape. */
export const encodeBy = (schema: Schema.Top | undefined, value: unknown): Schema.Json => {
  if (schema === undefined || schema === Schema.String) return toJson(value)
  const encoded = encoderOf(schema)(value)
  return toJson(encoded._tag === "Some" ? encoded.value : value)
}

const encoderOf = memoize((schema: Schema.Top) => Schema.encodeUnknownOption(schema as Schema.Codec<unknown, unknown>))

/** Encodes an error by its own schema where it has one, otherwise by its fields. */
export const encodeError = (error: unknown): Schema.Json => {
  const schema =
    typeof error === "object" && error !== null && Schema.isSchema(error.constructor) ? error.constructor : undefined
  return encodeBy(schema, error)
}

/** JSON as a text: a text is itself. The reverse of {@link jsonOrText}. */
export const textOfJson = (json: unknown): string => (typeof json === "string" ? json : JSON.stringify(json))

/** A JSON text's value; `undefined` for a text that is not JSON. */
export const parseJson = (text: string): Schema.Json | undefined => {
  try {
    return JSON.parse(text) as Schema.Json
  } catch {
    return undefined
  }
}

/** A JSON text's value; the text itself when it is not JSON. */
export const jsonOrText = (text: string): Schema.Json => {
  const json = parseJson(text)
  return json === undefined ? text : json
}
