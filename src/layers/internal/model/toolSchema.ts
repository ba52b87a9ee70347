/**
 * JSON schemas of tools in a form that OpenAI takes. What it refuses is said in a form that it takes, or left out: the
 * arguments of a call are checked against the tool's own schema in any case.
 */
import * as Predicate from "effect/Predicate"

type Json = Readonly<Record<string, unknown>>

const isJson = (value: unknown): value is Json => Predicate.isObject(value)

/** How many schemas may replace references: two references to one schema double it at each level. */
const maxInlined = 2000
/** How many levels of unions, references included, are merged at the top. */
const maxLevels = 8

// -- schemas inside ---------------------------------------------------------------------------------------------------

/** Keywords that hold schemas by name, lists of schemas, one schema, and lists of texts. */
const byName = new Set(["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"])
const lists = new Set(["anyOf", "oneOf", "allOf", "prefixItems"])
const single = new Set(["not", "if", "then", "else", "contains", "propertyNames"])
const singleOrBoolean = new Set(["additionalProperties", "unevaluatedProperties", "unevaluatedItems"])
const texts = new Set(["title", "description", "format", "pattern", "$comment"])
/** Keywords that name a schema for references that are resolved here, and those of references that are not. */
const dropped = new Set(["$id", "$anchor", "$dynamicAnchor", "$recursiveAnchor", "$dynamicRef", "$recursiveRef"])

/** Names that other languages have for the types. */
const spellings: Readonly<Record<string, string>> = {
  str: "string",
  text: "string",
  int: "integer",
  long: "integer",
  float: "number",
  double: "number",
  bool: "boolean",
  list: "array",
  dict: "object",
  map: "object"
}
const types = new Set(["string", "number", "integer", "boolean", "object", "array", "null"])

const typeOf = (type: unknown): ReadonlyArray<string> =>
  (Array.isArray(type) ? type : [type]).flatMap((one: unknown) => {
    const name = typeof one === "string" && Object.hasOwn(spellings, one) ? spellings[one]! : String(one)
    return types.has(name) ? [name] : []
  })

const resolve = (reference: string, root: Json): unknown => {
  let at: unknown = root
  for (const step of reference.slice(2).split("/")) {
    let key = step.replaceAll("~1", "/").replaceAll("~0", "~")
    try {
      key = decodeURIComponent(key)
    } catch {
      // A percent sign that encodes nothing is a literal.
    }
    at = (isJson(at) || Array.isArray(at)) && Object.hasOwn(at, key) ? (at as Json)[key] : undefined
  }
  return at
}

/** One pass over a schema: what its references are resolved in, and how many have been replaced. */
interface Pass {
  readonly root: Json
  inlined: number
}

/** A schema in an accepted form; `undefined` for a schema that no value fits. */
const sound = (schema: unknown, pass: Pass, above: ReadonlyArray<string>): Json | undefined => {
  if (schema === false) return undefined
  if (!isJson(schema)) return {}
  const entries = Object.entries(schema).flatMap(([key, value]) => soundKeyword(key, value, pass, above))
  const node: Json = Object.fromEntries(entries)
  const isArray = node["type"] === "array" || (Array.isArray(node["type"]) && node["type"].includes("array"))
  const whole = isArray && !("items" in node) ? { ...node, items: {} } : node
  return "$ref" in schema ? referred(schema["$ref"], whole, pass, above) : whole
}

const soundKeyword = (
  key: string,
  value: unknown,
  pass: Pass,
  above: ReadonlyArray<string>
): ReadonlyArray<readonly [string, unknown]> => {
  const inner = (one: unknown) => sound(one, pass, above)
  const kept = (one: unknown): ReadonlyArray<readonly [string, unknown]> => (one === undefined ? [] : [[key, one]])
  if (dropped.has(key) || key === "$ref" || (value === null && key !== "const" && key !== "default")) return []
  if (texts.has(key)) return typeof value === "string" ? [[key, value]] : []
  if (byName.has(key)) {
    if (!isJson(value)) return []
    const named = Object.entries(value).flatMap(([name, one]) => {
      const schema = inner(one)
      return schema === undefined ? [] : [[name, schema] as const]
    })
    return [[key, Object.fromEntries(named)]]
  }
  if (lists.has(key)) {
    const schemas = Array.isArray(value) ? value.flatMap((one) => inner(one) ?? []) : []
    return schemas.length === 0 ? [] : [[key, schemas]]
  }
  if (key === "items") {
    // A list is how older drafts write the items of a tuple.
    const some = Array.isArray(value) ? value.flatMap((one) => inner(one) ?? []) : undefined
    return [[key, some === undefined ? (inner(value) ?? {}) : some.length === 0 ? {} : { anyOf: distinct(some) }]]
  }
  if (single.has(key)) return isJson(value) ? kept(inner(value)) : []
  if (singleOrBoolean.has(key)) return typeof value === "boolean" ? [[key, value]] : kept(inner(value))
  if (key === "type") {
    const names = typeOf(value)
    return names.length === 0 ? [] : [[key, Array.isArray(value) ? names : names[0]]]
  }
  if (key === "required") return Array.isArray(value) ? [[key, [...new Set(value.filter(Predicate.isString))]]] : []
  if (key === "enum") return Array.isArray(value) && value.length > 0 ? [[key, distinct(value)]] : []
  return [[key, value]]
}

/** A schema with a reference: to a definition it stays, to another place it is replaced, to nowhere it is "anything". */
const referred = (reference: unknown, beside: Json, pass: Pass, above: ReadonlyArray<string>): Json => {
  if (typeof reference !== "string" || (reference !== "#" && !reference.startsWith("#/"))) return beside
  if (reference === "#") return { $ref: reference, ...beside }
  const target = resolve(reference, pass.root)
  if (target === undefined) return beside
  if (/^#\/(\$defs|definitions)\/[^/]+$/.test(reference)) return { $ref: reference, ...beside }
  if (above.includes(reference) || ++pass.inlined > maxInlined) return beside
  return { ...sound(target, pass, [...above, reference]), ...beside }
}

const distinct = (values: ReadonlyArray<unknown>): ReadonlyArray<unknown> => [
  ...new Map(values.map((value) => [JSON.stringify(value), value])).values()
]

// -- the top ----------------------------------------------------------------------------------------------------------

/** The fields of an object schema. */
interface Shape {
  readonly properties: Readonly<Record<string, unknown>>
  readonly required: ReadonlyArray<string>
  /** In words: which fields go together. */
  readonly choices: ReadonlyArray<string>
}

const nothing: Shape = { properties: {}, required: [], choices: [] }

const isObjectSchema = ({ type }: Json): boolean =>
  type === undefined || type === "object" || (Array.isArray(type) && type.includes("object"))

/** Merges by name; `join` makes one schema of several for a name that more than one shape has. */
const merged = (
  shapes: ReadonlyArray<Shape>,
  join: (schemas: ReadonlyArray<unknown>) => unknown
): Readonly<Record<string, unknown>> => {
  const all = new Map<string, Array<unknown>>()
  for (const { properties } of shapes) {
    for (const [name, schema] of Object.entries(properties)) all.set(name, [...(all.get(name) ?? []), schema])
  }
  return Object.fromEntries(
    [...all].map(([name, schemas]) => {
      const [first, ...others] = distinct(schemas)
      return [name, others.length === 0 ? first : join([first, ...others])]
    })
  )
}

const choiceOf = (shapes: ReadonlyArray<Shape>): ReadonlyArray<string> => {
  const sets = shapes.map(({ properties, required }) => (required.length > 0 ? required : Object.keys(properties)))
  const isChoice = sets.length > 1 && sets.length <= 10 && sets.every((names) => names.length > 0)
  return isChoice ? [`Give the fields of one of: ${distinct(sets.map((names) => names.join(", "))).join("; ")}.`] : []
}

/** The merge of several shapes: the fields of each; a field is required if all require it. */
const oneOf = (shapes: ReadonlyArray<Shape>): Shape => {
  const [first, ...others] = shapes
  if (first === undefined) return nothing
  return {
    properties: merged(shapes, (schemas) => ({ anyOf: schemas })),
    required: first.required.filter((name) => others.every(({ required }) => required.includes(name))),
    choices: choiceOf(shapes)
  }
}

const allOf = (shapes: ReadonlyArray<Shape>): Shape => ({
  properties: merged(shapes, (schemas) => ({ allOf: schemas })),
  required: [...new Set(shapes.flatMap(({ required }) => required))],
  choices: shapes.flatMap(({ choices }) => choices)
})

const shapeOf = (node: Json, root: Json, level: number): Shape => {
  const { properties, required, $ref: reference } = node
  const own: Shape = {
    properties: isJson(properties) ? properties : {},
    required: Array.isArray(required) ? required.filter(Predicate.isString) : [],
    choices: []
  }
  if (level > maxLevels) return own
  const inner = (one: unknown): ReadonlyArray<Shape> =>
    isJson(one) && isObjectSchema(one) ? [shapeOf(one, root, level + 1)] : []
  const branches = (key: string) => (Array.isArray(node[key]) ? node[key].flatMap(inner) : [])
  const target = typeof reference === "string" && reference !== "#" ? inner(resolve(reference, root)) : []
  const must = allOf([own, ...target, ...branches("allOf")])
  const may = [oneOf(branches("anyOf")), oneOf(branches("oneOf"))]
  const more = merged(may, (schemas) => ({ anyOf: schemas }))
  // A field's schema at the top holds for each branch; a branch may add to it.
  const isBare = (name: string) => JSON.stringify(must.properties[name] ?? {}) === "{}"
  const added = Object.entries(more).filter(([name]) => isBare(name))
  return {
    properties: { ...must.properties, ...Object.fromEntries(added) },
    required: [...new Set([must, ...may].flatMap((shape) => shape.required))],
    choices: [must, ...may].flatMap(({ choices }) => choices)
  }
}

/** The schema of a tool's arguments as OpenAI takes it: an object at the top, without unions there. */
export const takeable = (schema: Json): Json => {
  const root = sound(schema, { root: schema, inlined: 0 }, []) ?? {}
  const { allOf: all, anyOf, const: _const, enum: _enum, not: _not, oneOf: one, $ref: reference, ...rest } = root
  const isPlain = [all, anyOf, one, reference].every((value) => value === undefined)
  if (isPlain) return rest
  const { choices, properties, required } = shapeOf(root, root, 0)
  const said = [rest["description"], ...choices].filter(Predicate.isString)
  return {
    ...rest,
    type: "object",
    properties,
    ...(required.length > 0 ? { required } : {}),
    ...(said.length > 0 ? { description: said.join("\n") } : {})
  }
}
