/** Brings the arguments of calls, as models write them, to the form of a tool's schema. */
import { type Fields, isFields } from "./fields.ts"

/** How many references are followed to see whether a schema takes `null`. */
const maxReferences = 20

const resolve = (reference: string, root: Fields): unknown => {
  if (!reference.startsWith("#/")) return undefined
  let at: unknown = root
  for (const step of reference.slice(2).split("/")) {
    const key = step.replaceAll("~1", "/").replaceAll("~0", "~")
    at = isFields(at) && Object.hasOwn(at, key) ? at[key] : undefined
  }
  return at
}

/** Whether a schema may take `null`; `true` where it cannot be decided. */
const takesNull = (schema: unknown, root: Fields, references = 0): boolean => {
  if (!isFields(schema)) return schema !== false
  const { allOf, anyOf, enum: values, nullable, oneOf, type, $ref: reference } = schema
  if (nullable === true) return true
  if ("const" in schema) return schema["const"] === null
  if (Array.isArray(values)) return values.includes(null)
  if (type !== undefined) return type === "null" || (Array.isArray(type) && type.includes("null"))
  const inner = (one: unknown) => takesNull(one, root, references + 1)
  if (references > maxReferences) return true
  if (typeof reference === "string") return inner(resolve(reference, root))
  for (const some of [anyOf, oneOf]) if (Array.isArray(some)) return some.some(inner)
  return Array.isArray(allOf) ? allOf.every(inner) : true
}

/** Leaves out optional fields that are `null` where their schema takes no `null`: models write it for "not given". */
export const withoutNulls = (value: unknown, schema: unknown, root: Fields): unknown => {
  if (!isFields(schema)) return value
  if (Array.isArray(value)) return value.map((one: unknown) => withoutNulls(one, schema["items"], root))
  const { properties, required } = schema
  if (!isFields(value) || !isFields(properties)) return value
  const isRequired = (key: string) => Array.isArray(required) && required.includes(key)
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, one]) => {
      if (!Object.hasOwn(properties, key)) return [[key, one]]
      if (one === null && !isRequired(key) && !takesNull(properties[key], root)) return []
      return [[key, withoutNulls(one, properties[key], root)]]
    })
  )
}
