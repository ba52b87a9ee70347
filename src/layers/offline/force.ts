/**
 * Gives a value of a JSON schema's shape: what was found where it fits, completed by what is least surprising. Pure;
 * recursion ends with the source's depth limit.
 */
import { best } from "./classify.ts"
import { choices, num, resolve, type Schema, str, strings, toSchema, typeOf, variants } from "./schema.ts"
import type { Property, Source } from "./source.ts"
import { fitString } from "./strings.ts"
import { sentences } from "./text.ts"

/** A value found; a wrapper, because `null` and `undefined` are told apart. */
export interface Found {
  readonly value: unknown
}
/** Wraps a value. */
export const found = (value: unknown): Found => ({ value })

/** How deep a schema is followed. */
export const maxDepth = 12

/** A property with what its schema says of it. */
export const propertyOf = (
  name: string,
  schema: Schema,
  required: boolean,
  siblings: ReadonlyArray<string>,
  source: Source
): Property => ({
  name,
  description: [str(schema, "title"), str(schema, "description") ?? str(resolve(schema, source.root), "description")]
    .filter((text) => text !== undefined)
    .join(". "),
  required,
  siblings: siblings.filter((other) => other !== name)
})

/** An object whose own properties may have any name, `__proto__` included. */
export const record = (entries: Iterable<readonly [string, unknown]>): { readonly [key: string]: unknown } =>
  Object.fromEntries(entries)

/** The number nearest to `value` that the schema takes. */
export const fitNumber = (value: number, schema: Schema): number => {
  const integer = typeOf(schema) === "integer"
  const step = num(schema, "multipleOf")
  let low = num(schema, "minimum") ?? -Infinity
  let high = num(schema, "maximum") ?? Infinity
  const above = num(schema, "exclusiveMinimum")
  const below = num(schema, "exclusiveMaximum")
  const gap = integer
    ? 1
    : Number.isFinite(high) && above !== undefined
      ? Math.max((high - above) / 1_000, Number.EPSILON)
      : 0.001
  if (above !== undefined)
    low = Math.max(
      low,
      integer ? Math.floor(above) + 1 : above + Math.min(gap, below === undefined ? gap : (below - above) / 3)
    )
  if (below !== undefined)
    high = Math.min(
      high,
      integer ? Math.ceil(below) - 1 : below - Math.min(gap, above === undefined ? gap : (below - above) / 3)
    )
  let out = Math.min(high, Math.max(low, Number.isFinite(value) ? value : 0))
  if (step !== undefined && step > 0) {
    out = Math.round(out / step) * step
    if (out < low) out = Math.ceil(low / step) * step
    if (out > high) out = Math.floor(high / step) * step
    out = Number(out.toPrecision(12))
  }
  if (integer) {
    out = Math.round(out)
    if (out < low) out = Math.ceil(low)
    if (out > high) out = Math.floor(high)
  }
  return Object.is(out, -0) ? 0 : out
}

/** A value of the schema's shape: `start` where it fits, completed by what is least surprising. */
export const force = (input: Schema, property: Property, source: Source, depth: number, start?: Found): unknown => {
  const schema = resolve(input, source.root)
  const listed = choices(schema, source.root)
  if (listed !== undefined && listed.length > 0) {
    if (start !== undefined && listed.some((choice) => JSON.stringify(choice.value) === JSON.stringify(start.value)))
      return start.value
    return best(listed, source.text, property.name, source.instructions)?.value
  }
  if (start === undefined && "default" in schema) return schema["default"]
  const branches = variants(schema, source.root)
  if (branches.length > 1) {
    const matchesStart =
      start === undefined
        ? undefined
        : branches.find(
            (branch) =>
              jsonType(start.value) === typeOf(branch) ||
              (typeOf(branch) === "integer" && Number.isInteger(start.value))
          )
    const flat = branches.find(
      (branch) => depth > maxDepth / 2 && typeOf(branch) !== "object" && typeOf(branch) !== "array"
    )
    const nothing = branches.find((branch) => typeOf(branch) === "null")
    return force(
      matchesStart ?? (start === undefined ? nothing : undefined) ?? flat ?? branches[0] ?? {},
      property,
      source,
      depth + 1,
      start
    )
  }
  switch (typeOf(schema)) {
    case "number":
    case "integer":
      return fitNumber(typeof start?.value === "number" ? start.value : 0, schema)
    case "boolean":
      return typeof start?.value === "boolean" ? start.value : false
    case "null":
      return null
    case "array":
      return forceArray(schema, property, source, depth, Array.isArray(start?.value) ? start.value : [])
    case "object":
      return forceObject(schema, source, depth, toSchema(start?.value))
    case "string":
    case undefined: {
      if (typeOf(schema) === undefined && start !== undefined) return start.value
      const value = typeof start?.value === "string" ? start.value : ""
      return fitString(value, schema, source.mode === "output" ? source.text.slice(0, 2_000) : "") ?? value
    }
    default:
      return null
  }
}

const jsonType = (value: unknown): string => (value === null ? "null" : Array.isArray(value) ? "array" : typeof value)

const forceArray = (
  schema: Schema,
  property: Property,
  source: Source,
  depth: number,
  start: ReadonlyArray<unknown>
): unknown => {
  const tuple = Array.isArray(schema["prefixItems"]) ? schema["prefixItems"] : []
  const items = toSchema(schema["items"])
  const min = num(schema, "minItems") ?? 0
  const max = num(schema, "maxItems") ?? Infinity
  const itemAt = (i: number) => (i < tuple.length ? toSchema(tuple[i]) : items)
  let out = start.slice(0, max).map((value, i) => force(itemAt(i), property, source, depth + 1, found(value)))
  if (schema["items"] === false) out = out.slice(0, tuple.length)
  const unique = schema["uniqueItems"] === true
  if (unique) {
    const seen = new Set<string>()
    out = out.filter((value) => !seen.has(JSON.stringify(value)) && seen.add(JSON.stringify(value)))
  }
  const wanted = Math.max(min, Math.min(tuple.length, max))
  const contains = "contains" in schema ? toSchema(schema["contains"]) : undefined
  if (contains !== undefined && out.length < Math.max(wanted, 1)) out.push(force(contains, property, source, depth + 1))
  const pieces = out.length < wanted ? sentences(source.text.slice(0, 4_000)) : []
  const limit = depth < maxDepth * 4 ? wanted * 4 + 20 : 0
  for (let i = out.length, tries = 0; out.length < wanted && tries < limit; tries++) {
    const piece = pieces[i]?.text
    const seed =
      typeOf(resolve(itemAt(out.length), source.root)) === "string"
        ? found(tries > 20 || piece === undefined ? `item ${tries + 1}` : piece)
        : unique
          ? found(tries)
          : undefined
    const listed = choices(resolve(itemAt(out.length), source.root), source.root)
    const value =
      unique && listed !== undefined
        ? listed[tries % listed.length]?.value
        : force(itemAt(out.length), property, source, depth + 1, seed)
    i++
    if (unique && out.some((other) => JSON.stringify(other) === JSON.stringify(value))) continue
    out.push(value)
  }
  return out
}

const forceObject = (schema: Schema, source: Source, depth: number, start: Schema): unknown => {
  const properties = toSchema(schema["properties"])
  const names = Object.keys(properties)
  const required = new Set(strings(schema["required"]))
  const dependent = toSchema(schema["dependentRequired"])
  const out = new Map<string, unknown>()
  const own = (name: string): Schema => {
    if (Object.hasOwn(properties, name) || name in properties) return toSchema(properties[name])
    for (const [pattern, value] of Object.entries(toSchema(schema["patternProperties"])))
      if (new RegExp(pattern, "u").test(name)) return toSchema(value)
    return schema["additionalProperties"] === undefined
      ? {}
      : toSchema(schema["additionalProperties"] === true ? {} : schema["additionalProperties"])
  }
  const add = (name: string) => {
    if (out.has(name)) return
    const value = Object.hasOwn(start, name) ? found(start[name]) : undefined
    out.set(
      name,
      force(own(name), propertyOf(name, own(name), required.has(name), names, source), source, depth + 1, value)
    )
    for (const other of strings(dependent[name])) add(other)
  }
  for (const name of names) if (required.has(name) || (Object.hasOwn(start, name) && depth <= maxDepth)) add(name)
  for (const name of required) add(name)
  if (schema["additionalProperties"] !== false)
    for (const name of Object.keys(start)) if (!names.includes(name)) add(name)
  const min = num(schema, "minProperties") ?? 0
  for (const name of names) if (out.size < min) add(name)
  for (let i = 1; out.size < min && schema["additionalProperties"] !== false && i < 100; i++) add(`item${i}`)
  const max = num(schema, "maxProperties") ?? Infinity
  for (const name of [...out.keys()].toReversed()) if (out.size > max && !required.has(name)) out.delete(name)
  return record(out)
}
