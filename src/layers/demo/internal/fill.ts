/** Fills a JSON schema with literals of a text. A required field without one is {@link Missing}; nothing is made up. */
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as literals from "./literals.ts"
import { keyWords, without } from "./words.ts"

/** A field that the text has no literal for. */
export type Missing = { readonly field: string; readonly why: string; readonly tool?: string }

type JsonSchema = { readonly [key: string]: unknown }
type Filled = Result.Result<unknown, Missing>

/** Where literals are looked for: `text` without its JSON, the JSON objects, and literals without a label, by field. */
interface Source {
  readonly root: JsonSchema
  readonly text: string
  readonly objects: ReadonlyArray<JsonSchema>
  readonly inOrder: ReadonlyMap<string, unknown>
  readonly numbers: ReadonlyArray<number>
}

const objectOf = (value: unknown): JsonSchema => (Predicate.isObject(value) ? value : {})
const listOf = (value: unknown): ReadonlyArray<unknown> => (Array.isArray(value) ? value : [])
const missing = (field: string, why: string): Filled => Result.fail({ field, why })
const one = <A>(values: ReadonlyArray<A>): A | undefined => (new Set(values).size === 1 ? values[0] : undefined)

/** Follows references, and the only alternative that is not null. */
const resolve = (given: unknown, root: JsonSchema, depth = 0): JsonSchema & { readonly nullable?: boolean } => {
  const schema = objectOf(given)
  const types = listOf(schema["type"])
  if (types.length > 0)
    return { ...schema, type: one(types.filter((type) => type !== "null")), nullable: types.includes("null") }
  if (typeof schema["$ref"] === "string" && depth < 16) {
    const name = schema["$ref"].split("/").at(-1)!
    return resolve(name === "#" ? root : objectOf(root["$defs"])[name], root, depth + 1)
  }
  const key = ["anyOf", "oneOf", "allOf"].find((name) => Array.isArray(schema[name]))
  const all = key === undefined ? [] : listOf(schema[key])
  const others = all.filter((item) => objectOf(item)["type"] !== "null")
  if (others.length !== 1 || depth >= 16) return schema
  const only = resolve(others[0], root, depth + 1)
  return { ...only, nullable: only.nullable === true || all.length > 1 }
}

/** The values that a schema allows by name; `undefined` when it is not an enum. */
const members = (schema: JsonSchema, root: JsonSchema): ReadonlyArray<unknown> | undefined => {
  if ("const" in schema) return [schema["const"]]
  if (Array.isArray(schema["enum"])) return schema["enum"]
  const list = listOf(schema["anyOf"] ?? schema["oneOf"]).map((item) => members(resolve(item, root), root))
  return list.length > 0 && list.every((item) => item !== undefined) ? list.flat() : undefined
}

/** A value that satisfies `root`, made of literals of `text`. `known` are the words that may be next to numbers. */
export const fill = (root: JsonSchema, text: string, known: Iterable<string> = []): Filled => {
  const parsed = literals.json(text)
  const schema = resolve(root, root)
  const objects = parsed.map(({ value }) => value).filter(Predicate.isObject)
  const rest = without(text, parsed)
  const needed = listOf(schema["required"])
  const fields = Object.entries(objectOf(schema["properties"])).map(([name, given]) => {
    const labels = literals.labelled(rest, name)
    const type = members(resolve(given, root), root) === undefined ? resolve(given, root)["type"] : undefined
    return { name, type, labels, isOpen: labels.length === 0 && !objects.some((object) => Object.hasOwn(object, name)) }
  })
  const labels = fields.flatMap((field) => field.labels)
  const spoken = without(rest, labels)
  const strings = literals.quoted(spoken)
  const bare = without(spoken, strings)
  const words = new Set([...known, ...fields.flatMap(({ name }) => literals.nameWords(name))])
  const isKnown = keyWords(bare).every((word) => words.has(word) || /^(?:[-+*/^]|plus|minus|times)$/.test(word))
  const numbers = isKnown && !/[%€$£]/.test(bare) ? inOrderAsSaid(bare) : []
  const inOrder = new Map<string, unknown>()
  const assign = (types: ReadonlyArray<unknown>, found: ReadonlyArray<unknown>) => {
    const all = fields.filter(({ isOpen, type }) => isOpen && types.includes(type)).map(({ name }) => name)
    const must = all.filter((name) => needed.includes(name))
    for (const names of [all, must])
      if (names.length === found.length) names.forEach((name, i) => inOrder.set(name, found[i]))
  }
  assign(["number", "integer"], numbers)
  const quoted = strings.map((literal) => literal.value)
  assign(["string"], quoted)
  return value(root, "", { root, text: rest, objects, inOrder, numbers }, 0)
}

/** The numbers, unless a word between two of them turns their order around, as in "subtract 5 from 20". */
const inOrderAsSaid = (text: string): ReadonlyArray<number> => {
  const found = literals.numbers(text)
  const isTurned = found.some(({ start }, i) => {
    const between = i === 0 ? "" : text.slice(found[i - 1]!.end, start)
    return /\b(?:from|into|less|than|fewer|under|below|after|before)\b/i.test(between)
  })
  return isTurned ? [] : found.map((literal) => literal.value)
}

const value = (given: unknown, field: string, source: Source, depth: number): Filled => {
  const schema = resolve(given, source.root)
  const filled = depth > 16 ? missing(field, "its schema is nested too deeply") : find(schema, field, source, depth)
  return Result.isFailure(filled) && schema.nullable === true ? Result.succeed(null) : filled
}

const find = (schema: JsonSchema, field: string, source: Source, depth: number): Filled => {
  const { text } = source
  const type = schema["type"]
  const keys = source.objects.filter((object) => Object.hasOwn(object, field))
  if (keys.length === 1) return ofType(type, keys[0]![field], field)
  const label = one(literals.labelled(text, field).map((literal) => literal.value))
  const allowed = members(schema, source.root)
  if (allowed !== undefined) return member(allowed, field, label, text)
  switch (type) {
    case "object":
      return object(schema, field, source, depth)
    case "array":
      return ofType(type, list(resolve(schema["items"], source.root)["type"], label, source), field)
    case "number":
    case "integer":
      return ofType(type, label === undefined ? source.inOrder.get(field) : numbersOf(label)?.[0], field)
    case "boolean": {
      const said = /^(?:(true|yes)|false|no)\.?$/i.exec(label ?? "")
      return ofType(type, said === null ? undefined : said[1] !== undefined, field)
    }
    case "string": {
      const isExpression = literals.nameWords(field).includes("expression")
      const found = label ?? source.inOrder.get(field)
      return ofType(type, found ?? (isExpression ? literals.arithmetic(text)?.value : undefined), field)
    }
    default:
      return missing(field, "it may be of several types")
  }
}

/** The numbers of a text that holds nothing else. */
const numbersOf = (text: string): ReadonlyArray<number> | undefined => {
  const found = literals.numbers(text)
  return found.length > 0 && /^(?:[\s,;.]|and)*$/.test(without(text, found))
    ? found.map(({ value }) => value)
    : undefined
}

const ofType = (type: unknown, found: unknown, field: string): Filled => {
  if (found === undefined) return missing(field, `the text has no ${String(type)} for it`)
  const is = Array.isArray(found) ? "array" : Number.isInteger(found) ? "integer" : typeof found
  const fits = type === undefined || type === is || (type === "number" && is === "integer")
  return fits ? Result.succeed(found) : missing(field, `what the text says is not of type ${String(type)}`)
}

const negation = /(?:\b(?:not|no|never|nor|without)|n['’]t)\s(?:\p{L}{1,20}\s)?$/iu

/** The one member of an enum that the text names: by the field's label, else anywhere, and not as what it is not. */
const member = (allowed: ReadonlyArray<unknown>, field: string, label: string | undefined, text: string): Filled => {
  if (allowed.length === 1) return Result.succeed(allowed[0])
  const isNamed = (item: unknown): boolean => {
    if (label !== undefined) return label.replace(/\.$/, "").toLowerCase() === String(item).toLowerCase()
    const name = new RegExp(`(?<![\\p{L}\\p{N}])${literals.namePattern(String(item))}(?![\\p{L}\\p{N}])`, "giu")
    const before = Array.from(text.matchAll(name), ({ index }) => text.slice(Math.max(0, index - 40), index))
    const isNegated = before.some((words) => negation.test(words))
    return before.length > 0 && !isNegated
  }
  const named = allowed.filter(isNamed)
  if (named.length === 1) return Result.succeed(named[0])
  return missing(field, `the text names ${named.length === 0 ? "none" : "several"} of its choices`)
}

const object = (schema: JsonSchema, field: string, source: Source, depth: number): Filled => {
  const properties = Object.entries(objectOf(schema["properties"]))
  if (properties.length === 0 && depth > 0) return missing(field, "the text has no JSON for it")
  const out: Array<readonly [string, unknown]> = []
  for (const [name, property] of properties) {
    const filled = value(property, name, source, depth + 1)
    if (Result.isSuccess(filled)) out.push([name, filled.success])
    else if (listOf(schema["required"]).includes(name)) return filled
  }
  return Result.succeed(Object.fromEntries(out))
}

/** A list after the field's label, all numbers, or all quoted strings. */
const list = (type: unknown, label: string | undefined, { numbers, text }: Source): unknown => {
  const isNumeric = type === "number" || type === "integer"
  if (!isNumeric && type !== "string") return undefined
  const strings = () =>
    label?.split(/[,;]| and /).map((part) => part.trim()) ?? literals.quoted(text).map(({ value }) => value)
  const found = isNumeric ? (label === undefined ? numbers : (numbersOf(label) ?? [])) : strings()
  return found.length > 0 && (type !== "integer" || found.every(Number.isInteger)) ? found : undefined
}
