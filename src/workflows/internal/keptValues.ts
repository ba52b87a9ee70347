/**
 * Values that a workflow keeps while members of it wait, as JSON: by their schema where that is known, otherwise in a form that
 * has plain data, `undefined`, dates, conversations, `Result`s, and the errors of Troupe. What has another form is not
 * kept: as something else it would be a wrong value later.
 */
import * as Prompt from "effect/ai/Prompt"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { exactJson } from "../../internal/fingerprint.ts"
import { decodeKnown } from "../../internal/knownErrors.ts"
import type { Kept } from "../../internal/workflowSuspension.ts"
import { encodeKnown } from "./errors.ts"

type Codec = Schema.Codec<unknown, unknown>

/** A value as JSON; `None` where that would lose something. */
export const keep = (value: unknown, schema?: Schema.Top): Option.Option<Schema.Json> => {
  if (schema === undefined || schema === Schema.String) return keptAs(value, 0)
  const encoded = Schema.encodeUnknownOption(schema as Codec)(value)
  return Option.flatMap(encoded, (json) => Option.fromUndefinedOr(exactJson(json)))
}

/** Why nothing is kept. */
class NotKept {
  readonly problem: string
  constructor(problem: string) {
    this.problem = problem
  }
}

/** A value as JSON, for the state that {@link saving} makes. `what` names it where it cannot be kept. */
export const kept = (what: string, value: unknown, schema?: Schema.Top): Schema.Json =>
  Option.getOrThrowWith(
    keep(value, schema),
    () =>
      new NotKept(`${what} cannot be kept as JSON, because it is ${formOf(value)}; give its runner an output schema`)
  )

/** What a workflow has to know to go on; or what of it cannot be kept. */
export const saving = (state: () => object): Kept => {
  try {
    return { state: state() as Schema.JsonObject }
  } catch (error) {
    if (error instanceof NotKept) return { problem: error.problem }
    throw error
  }
}

/** The value that was kept; `None` for JSON that was not made by {@link keep}, or by another schema. */
export const restore = (json: Schema.Json, schema?: Schema.Top): Option.Option<unknown> =>
  schema === undefined || schema === Schema.String ? restored(json) : Schema.decodeUnknownOption(schema as Codec)(json)

/** Names the form of what is not plain data. */
const tag = "~kept"
/** As deep as JSON is looked at elsewhere. */
const maxDepth = 64

const keptAs = (value: unknown, depth: number): Option.Option<Schema.Json> => {
  if (value === undefined) return Option.some({ [tag]: "undefined" })
  if (typeof value !== "object" || value === null) return Option.fromUndefinedOr(exactJson(value))
  if (depth > maxDepth) return Option.none()
  const inside = (form: string, inner: unknown, more: Schema.JsonObject = {}) =>
    Option.map(keptAs(inner, depth + 1), (kept): Schema.Json => ({ [tag]: form, ...more, value: kept }))
  if (Array.isArray(value)) return Option.map(all(value, depth), (items): Schema.Json => items)
  if (Result.isResult(value)) {
    return Result.isSuccess(value) ? inside("success", value.success) : inside("failure", value.failure)
  }
  if (Prompt.isPrompt(value)) {
    const encoded = Schema.encodeUnknownOption(Prompt.Prompt as unknown as Codec)(value)
    return Option.map(encoded, (prompt): Schema.Json => ({ [tag]: "prompt", value: prompt as Schema.Json }))
  }
  if (value instanceof Date) return Option.some({ [tag]: "date", value: value.getTime() })
  if (value instanceof Error) {
    return Option.map(encodeKnown(value), (error): Schema.Json => ({ [tag]: "error", value: error }))
  }
  return keptObject(value, depth)
}

const keptObject = (value: object, depth: number): Option.Option<Schema.Json> => {
  const prototype: unknown = Object.getPrototypeOf(value)
  if ((prototype !== Object.prototype && prototype !== null) || Object.getOwnPropertySymbols(value).length > 0) {
    return Option.none()
  }
  const entries = Object.entries(value)
  return Option.map(
    all(
      entries.map(([, item]) => item as unknown),
      depth
    ),
    (items): Schema.Json => {
      const fields = Object.fromEntries(entries.map(([key], index) => [key, items[index]!]))
      return tag in fields ? { [tag]: "object", value: fields } : fields
    }
  )
}

const all = (values: ReadonlyArray<unknown>, depth: number): Option.Option<ReadonlyArray<Schema.Json>> => {
  const kept: Array<Schema.Json> = []
  for (const value of values) {
    const one = keptAs(value, depth + 1)
    if (Option.isNone(one)) return Option.none()
    kept.push(one.value)
  }
  return Option.some(kept)
}

const restored = (json: Schema.Json): Option.Option<unknown> => {
  if (typeof json !== "object" || json === null) return Option.some(json)
  if (Array.isArray(json)) return Option.all((json as ReadonlyArray<Schema.Json>).map(restored))
  const fields = json as Schema.JsonObject
  return tag in fields ? untagged(fields[tag], fields["value"] ?? null) : restoredFields(fields)
}

const restoredFields = (fields: Schema.JsonObject): Option.Option<unknown> => {
  const entries = Object.entries(fields)
  return Option.map(Option.all(entries.map(([, value]) => restored(value!))), (values) =>
    Object.fromEntries(entries.map(([key], index) => [key, values[index]]))
  )
}

const untagged = (form: Schema.Json | undefined, value: Schema.Json): Option.Option<unknown> => {
  switch (form) {
    case "undefined":
      return Option.some(undefined)
    case "success":
      return Option.map(restored(value), Result.succeed)
    case "failure":
      return Option.map(restored(value), Result.fail)
    case "prompt":
      return Schema.decodeUnknownOption(Prompt.Prompt as unknown as Codec)(value)
    case "date":
      return typeof value === "number" ? Option.some(new Date(value)) : Option.none()
    case "error":
      return Option.filter(Option.some(decodeKnown(value)), Predicate.isError)
    case "object":
      return Predicate.isObject(value) ? restoredFields(value as Schema.JsonObject) : Option.none()
    default:
      return Option.none()
  }
}

/** What a value is, for the sentence that says that it cannot be kept. */
export const formOf = (value: unknown): string => {
  if (typeof value !== "object" || value === null) return typeof value
  if (Predicate.hasProperty(value, "_tag")) return String(value._tag)
  const { name } = value.constructor ?? {}
  return typeof name === "string" && name !== "" && name !== "Object"
    ? `a ${name}`
    : "an object with such a value in it"
}
