/**
 * Reads JSON schemas: follows references, joins `allOf`, lists the variants of a union. Pure; recursion is bounded by
 * whoever walks the schema.
 */
import { decoded } from "../../internal/percent.ts"

/** A JSON schema as an object. `true` and `{}` are the same here. */
export interface Schema {
  readonly [keyword: string]: unknown
}

/** A schema out of whatever stands where one is expected. */
export const toSchema = (value: unknown): Schema =>
  value === false
    ? { not: {} }
    : typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Schema)
      : {}

const asArray = (value: unknown): ReadonlyArray<unknown> => (Array.isArray(value) ? value : [])
/** The strings of a list. */
export const strings = (value: unknown): ReadonlyArray<string> =>
  asArray(value).filter((item): item is string => typeof item === "string")
/** A keyword's number, if it is one. */
export const num = (schema: Schema, key: string): number | undefined =>
  typeof schema[key] === "number" ? schema[key] : undefined
/** A keyword's text, if it is one. */
export const str = (schema: Schema, key: string): string | undefined =>
  typeof schema[key] === "string" ? schema[key] : undefined

/** What a `$ref` inside `root` points at. */
export const lookup = (ref: string, root: Schema): Schema | undefined => {
  if (ref === "#" || ref === "") return root
  if (!ref.startsWith("#/")) return byAnchor(ref, root)
  let at: unknown = root
  for (const raw of ref.slice(2).split("/")) {
    const key = decoded(raw.replaceAll("~1", "/").replaceAll("~0", "~"))
    if (typeof at !== "object" || at === null || !Object.hasOwn(at, key)) return undefined
    at = (at as { readonly [key: string]: unknown })[key]
  }
  return toSchema(at)
}

const byAnchor = (ref: string, root: Schema): Schema | undefined => {
  const name = ref.replace(/^.*#/, "")
  for (const group of ["$defs", "definitions"]) {
    for (const item of Object.values(toSchema(root[group]))) {
      const schema = toSchema(item)
      if (schema["$id"] === ref || schema["$anchor"] === name) return schema
    }
  }
  return undefined
}

const tighter = (key: string, a: unknown, b: unknown): unknown => {
  if (typeof a === "number" && typeof b === "number") {
    return /^(?:min|exclusiveMin)/.test(key) ? Math.max(a, b) : Math.min(a, b)
  }
  return b
}

const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b)

/** A schema for what satisfies both, as far as keywords can be joined. */
export const merge = (a: Schema, b: Schema): Schema => {
  const out: { [keyword: string]: unknown } = Object.assign(Object.create(null), a)
  for (const [key, value] of Object.entries(b)) {
    if (!(key in out)) out[key] = value
    else if (key === "properties" || key === "patternProperties" || key === "$defs" || key === "definitions") {
      const joined: { [key: string]: unknown } = Object.assign(Object.create(null), toSchema(out[key]))
      for (const [name, schema] of Object.entries(toSchema(value))) {
        joined[name] = name in joined ? { allOf: [joined[name], schema] } : schema
      }
      out[key] = joined
    } else if (key === "required") out[key] = [...new Set([...strings(out[key]), ...strings(value)])]
    else if (key === "enum")
      out[key] = asArray(out[key]).filter((item) => asArray(value).some((other) => same(item, other)))
    else if (key === "type") {
      const mine = typeList(out[key])
      const theirs = typeList(value)
      const both = mine.filter((type) => theirs.includes(type) || (type === "integer" && theirs.includes("number")))
      out[key] = both.length > 0 ? both : theirs.filter((type) => type === "integer" && mine.includes("number"))
    } else if (key === "allOf" || key === "anyOf" || key === "oneOf") {
      if (key === "allOf") out[key] = [...asArray(out[key]), ...asArray(value)]
      else if (!same(out[key], value)) out["allOf"] = [...asArray(out["allOf"]), { [key]: value }]
    } else if (key === "items" && typeof value === "object") out[key] = { allOf: [out[key], value] }
    else if (key === "additionalProperties") out[key] = out[key] === false || value === false ? false : value
    else if (key === "pattern" && out[key] !== value) out["allPatterns"] = [...asArray(out["allPatterns"]), value]
    else if (key === "description" || key === "title") continue
    else out[key] = tighter(key, out[key], value)
  }
  return out
}

const typeList = (value: unknown): ReadonlyArray<string> => (typeof value === "string" ? [value] : strings(value))

/** The schema with its `$ref` and `allOf` resolved one level; at most 32 references are followed. */
export const resolve = (schema: Schema, root: Schema, hops = 0): Schema => {
  let out = schema
  const ref = str(out, "$ref") ?? str(out, "$dynamicRef")
  if (ref !== undefined) {
    const target = hops > 32 ? undefined : lookup(ref, root)
    const { $ref: _ref, $dynamicRef: _dynamic, ...rest } = out
    out = target === undefined ? rest : merge(rest, resolve(target, root, hops + 1))
  }
  const all = asArray(out["allOf"])
  if (all.length > 0 && hops <= 32) {
    const { allOf: _all, ...rest } = out
    const unions = all.filter(
      (item) => asArray(toSchema(item)["anyOf"]).length + asArray(toSchema(item)["oneOf"]).length > 0
    )
    out = all.reduce<Schema>((acc, item) => merge(acc, resolve(toSchema(item), root, hops + 1)), rest)
    if (Array.isArray(out["allOf"]) && unions.length > 0) {
      // More than one union: the first is expanded here, the validator checks the others.
      const { allOf: _left, ...kept } = out
      out = kept
    } else if (Array.isArray(out["allOf"])) {
      out = resolve(out, root, hops + 1)
    }
  }
  return out
}

/** The branches of a union, each joined with what surrounds it; the schema alone when it is no union. */
export const variants = (schema: Schema, root: Schema): ReadonlyArray<Schema> => {
  const key = asArray(schema["anyOf"]).length > 0 ? "anyOf" : asArray(schema["oneOf"]).length > 0 ? "oneOf" : undefined
  if (key !== undefined) {
    const { [key]: options, ...rest } = schema
    return asArray(options).map((option) => resolve(merge(rest, resolve(toSchema(option), root)), root))
  }
  const types = typeList(schema["type"])
  return types.length > 1 ? types.map((type) => ({ ...schema, type })) : [schema]
}

/** The type that a schema asks for; guessed from its keywords when it is not stated. */
export const typeOf = (schema: Schema): string | undefined => {
  const stated = typeList(schema["type"])[0]
  if (stated !== undefined) return stated
  if ("const" in schema) return jsonType(schema["const"])
  const first = asArray(schema["enum"])[0]
  if (first !== undefined) return jsonType(first)
  if ("properties" in schema || "required" in schema || "additionalProperties" in schema) return "object"
  if ("items" in schema || "prefixItems" in schema || "minItems" in schema) return "array"
  if ("format" in schema || "pattern" in schema || "minLength" in schema || "maxLength" in schema) return "string"
  if ("minimum" in schema || "maximum" in schema || "multipleOf" in schema || "exclusiveMinimum" in schema)
    return "number"
  return undefined
}

const jsonType = (value: unknown): string =>
  value === null ? "null" : Array.isArray(value) ? "array" : typeof value === "object" ? "object" : typeof value

/** The values a schema lists (`const`, `enum`, or a union of constants), each with what is said of it. */
export const choices = (
  schema: Schema,
  root: Schema
): ReadonlyArray<{ readonly value: unknown; readonly description: string }> | undefined => {
  if ("const" in schema) return [{ value: schema["const"], description: "" }]
  if (Array.isArray(schema["enum"])) {
    const said = asArray(schema["enumDescriptions"] ?? schema["x-enumDescriptions"])
    return schema["enum"].map((value: unknown, i) => ({
      value,
      description: typeof said[i] === "string" ? said[i] : ""
    }))
  }
  const options = asArray(schema["anyOf"] ?? schema["oneOf"])
  if (options.length < 2) return undefined
  const out: Array<{ readonly value: unknown; readonly description: string }> = []
  for (const option of options) {
    const resolved = resolve(toSchema(option), root)
    const said = [str(resolved, "title"), str(resolved, "description")].filter((text) => text !== undefined).join(". ")
    if ("const" in resolved) out.push({ value: resolved["const"], description: said })
    else if (Array.isArray(resolved["enum"]))
      for (const value of resolved["enum"] as Array<unknown>) out.push({ value, description: said })
    else return undefined
  }
  return out
}
