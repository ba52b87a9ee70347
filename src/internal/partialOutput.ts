/** Typed output as it streams: what has come of it so far, in the shape of its schema, and the items of a list. */
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import type * as SchemaAST from "effect/SchemaAST"
import type { RunEvent } from "../RunEvent.ts"
import { type Open, PartialJson } from "./partialJson.ts"

/** A text that is not finished. */
class Unfinished {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

/**
 * What fits the schema in a value that is not whole: fields and items that have not come are absent, as is what does not
 * fit. `undefined` where nothing fits.
 */
const fitting = (ast: SchemaAST.AST, value: unknown, open: Open | undefined): unknown => {
  switch (ast._tag) {
    case "String":
      return value instanceof Unfinished ? value.text : typeof value === "string" ? value : undefined
    case "Number":
      return typeof value === "number" ? value : undefined
    case "Boolean":
      return typeof value === "boolean" ? value : undefined
    case "Null":
      return value === null ? null : undefined
    case "Literal":
      return value === ast.literal ? value : undefined
    case "Objects":
      return Predicate.isObject(value) && !(value instanceof Unfinished)
        ? fittingObject(ast, value as Readonly<Record<string, unknown>>, open)
        : undefined
    case "Arrays":
      return Array.isArray(value) ? fittingArray(ast, value, open) : undefined
    case "Union":
      for (const member of ast.types) {
        const found = fitting(member, value, open)
        if (found !== undefined) return found
      }
      return undefined
    case "Suspend":
      return fitting(ast.thunk(), value, open)
    default:
      // A template or a value of any shape is known to fit only when it is whole.
      return value instanceof Unfinished || holds(value, open) ? undefined : value
  }
}

const holds = (value: unknown, open: Open | undefined): boolean => open !== undefined && open.container === value

const fittingObject = (
  { indexSignatures, propertySignatures }: SchemaAST.Objects,
  value: Readonly<Record<string, unknown>>,
  open: Open | undefined
): unknown => {
  const given = holds(value, open) ? { ...value, [open!.key]: new Unfinished(open!.text) } : value
  const out: Record<string, unknown> = {}
  for (const { name, type } of propertySignatures) {
    if (typeof name !== "string" || !Object.hasOwn(given, name)) continue
    const found = fitting(type, given[name], open)
    if (found !== undefined) out[name] = found
    // It is another member of the union.
    else if (type._tag === "Literal" && !(given[name] instanceof Unfinished)) return undefined
  }
  const [index] = indexSignatures
  if (index === undefined) return out
  for (const key of Object.keys(given)) {
    if (key in out) continue
    const found = fitting(index.type, given[key], open)
    if (found !== undefined) out[key] = found
  }
  return out
}

const fittingArray = (
  { elements, rest }: SchemaAST.Arrays,
  value: ReadonlyArray<unknown>,
  open: Open | undefined
): unknown => {
  const given = holds(value, open) ? [...value, new Unfinished(open!.text)] : value
  const out: Array<unknown> = []
  for (const [index, item] of given.entries()) {
    const type = elements[index] ?? rest[0]
    const found = type === undefined ? undefined : fitting(type, item, open)
    // What comes after it would stand at the wrong place.
    if (found === undefined) break
    out.push(found)
  }
  return out
}

/** The text that an event adds to the answer of the root run. */
const textOf = (event: RunEvent): string | undefined =>
  event._tag === "TextDelta" && event.path.length === 1 ? event.delta : undefined

/** True where the text begins again. */
const begins = (event: RunEvent): boolean =>
  event.path.length === 1 &&
  (event._tag === "StepStarted" ||
    event._tag === "StepRetried" ||
    event._tag === "TurnReplaced" ||
    event._tag === "RunRetried")

/** How much the text has to grow until it is read again: all reading together is in proportion to the text. */
const pace = (length: number): number => Math.max(1, Math.floor(length / 16) - 64)

/** Reads events one after the other: the output as far as it has come, or `undefined` where there is nothing new. */
export const partialReader = (schema: Schema.Top): ((event: RunEvent) => unknown) => {
  const { ast } = Schema.toEncoded(Schema.toCodecJson(schema as Schema.Codec<unknown, unknown>))
  let json = new PartialJson()
  let next = 0
  return (event) => {
    if (begins(event)) {
      json = new PartialJson()
      next = 0
      return undefined
    }
    // The last value is the whole output, also of a run that has not streamed it.
    if (event._tag === "RunCompleted" && event.path.length === 1) return event.output
    const text = textOf(event)
    if (text === undefined || json.isOver) return undefined
    json.push(text)
    if (json.root === undefined || (json.length < next && !json.isOver)) return undefined
    next = json.length + pace(json.length)
    return fittingRoot(ast, json.root, json.open)
  }
}

/** A schema that is not an object stands in one, under the key `value`, because providers want an object. */
const fittingRoot = (ast: SchemaAST.AST, root: object, open: Open | undefined): unknown => {
  const isWrapped = ast._tag !== "Objects" && !Array.isArray(root)
  if (!isWrapped) return fitting(ast, root, open)
  const key = holds(root, open) ? open!.key : Object.keys(root)[0]
  if (key !== "value") return fitting(ast, root, open)
  const value = holds(root, open) ? new Unfinished(open!.text) : (root as Readonly<Record<string, unknown>>)["value"]
  return fitting(ast, value, open)
}

/** Reads events one after the other: the items that each one has completed. */
export const elementsReader = <A>(item: Schema.Codec<A, unknown>): ((event: RunEvent) => ReadonlyArray<A>) => {
  const decode = Schema.decodeUnknownOption(Schema.toCodecJson(item))
  const decoded = (items: ReadonlyArray<unknown>): ReadonlyArray<A> =>
    items.flatMap((one) => {
      const read = decode(one)
      return read._tag === "Some" ? [read.value] : []
    })
  let items: Array<unknown> = []
  let count = 0
  const begin = () => {
    count = 0
    return new PartialJson((one) => {
      count++
      items.push(one)
    })
  }
  let json = begin()
  return (event) => {
    if (begins(event)) json = begin()
    if (event._tag === "RunCompleted" && event.path.length === 1) return decoded(listIn(event.output).slice(count))
    const text = textOf(event)
    if (text === undefined || json.isOver) return []
    items = []
    json.push(text)
    return decoded(items)
  }
}

/** The first list in an output: the output itself, or the first one in the object that it is. */
const listIn = (output: Schema.Json | undefined): ReadonlyArray<unknown> => {
  if (Array.isArray(output)) return output
  return Predicate.isObject(output) ? (Object.values(output).find((value) => Array.isArray(value)) ?? []) : []
}
