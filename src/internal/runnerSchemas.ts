/**
 * The schemas of what runners take and return, where they are known: edges such as servers and command lines decode inputs
 * and encode outputs with them. Workflows compose them of those of their members.
 */
import * as Prompt from "effect/ai/Prompt"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import { encodeBy } from "./json.ts"

/** A schema that is made when it is first needed; `undefined` where it is not known. */
export type Lazy = () => Schema.Top | undefined

/** The schemas of a runner. */
export interface Schemas {
  /** Of the input. */
  readonly input: Lazy
  /** Of the output. */
  readonly output: Lazy
}

interface Described {
  readonly definition: Schemas
}

/** For what is not known. */
export const unknown: Lazy = () => undefined

/** Returns `schema`. */
export const always = (schema: Schema.Top | undefined): Lazy => (schema === undefined ? unknown : () => schema)

/** Makes the schema once. */
export const once = (make: Lazy): Lazy => {
  let made: { readonly schema: Schema.Top | undefined } | undefined
  return () => (made ??= { schema: make() }).schema
}

const isDescribed = (u: unknown): u is Described => Predicate.hasProperty(u, "definition")

/** The schema of what a runner takes; `undefined` also for anything that is not a runner. */
export const inputOf = (runner: unknown): Schema.Top | undefined =>
  isDescribed(runner) ? runner.definition.input() : undefined

/** The schema of what a runner returns; `undefined` also for anything that is not a runner. */
export const outputOf = (runner: unknown): Schema.Top | undefined =>
  isDescribed(runner) ? runner.definition.output() : undefined

/** The output of a runner as JSON. */
export const encodeOutput = (runner: unknown, output: unknown): Schema.Json => encodeBy(outputOf(runner), output)

const allKnown = (
  schemas: ReadonlyArray<Schema.Top | undefined>
): schemas is readonly [Schema.Top, ...ReadonlyArray<Schema.Top>] =>
  schemas.length > 0 && schemas.every((schema) => schema !== undefined)

/** The schema that all of them are. */
export const sameOf = (schemas: ReadonlyArray<Schema.Top | undefined>): Schema.Top | undefined =>
  schemas.every((schema) => schema === schemas[0]) ? schemas[0] : undefined

/** Any of the values. */
export const unionOf = (schemas: ReadonlyArray<Schema.Top | undefined>): Schema.Top | undefined => {
  const unique = [...new Set(schemas)]
  return allKnown(unique) ? (unique.length === 1 ? unique[0] : Schema.Union(unique)) : undefined
}

/** A record of the values; with `isPartial`, any of them may be absent. */
export const structOf = (
  fields: ReadonlyArray<readonly [key: string, schema: Schema.Top | undefined]>,
  isPartial = false
): Schema.Top | undefined => {
  const schemas = fields.map(([, schema]) => schema)
  if (!allKnown(schemas)) return undefined
  return Schema.Struct(
    Object.fromEntries(fields.map(([key], i) => [key, isPartial ? Schema.optionalKey(schemas[i]!) : schemas[i]!]))
  )
}

/** An array of the values, in their order. */
export const tupleOf = (schemas: ReadonlyArray<Schema.Top | undefined>): Schema.Top | undefined =>
  allKnown(schemas) ? Schema.Tuple(schemas) : undefined

/** Any number of values. */
export const arrayOf = (schema: Schema.Top | undefined): Schema.Top | undefined =>
  schema === undefined ? undefined : Schema.Array(schema)

const RawInput = Schema.declare(
  (u): u is Prompt.RawInput => typeof u === "string" || Prompt.isPrompt(u) || Predicate.isIterable(u)
)

/** The input of agents: a text or a conversation. Any form of a conversation is encoded as a prompt is. */
export const conversation: Schema.Codec<Prompt.RawInput, string | typeof Prompt.Prompt.Encoded> = Schema.Union([
  Schema.String,
  Prompt.Prompt
]).pipe(
  Schema.decodeTo(
    RawInput,
    SchemaTransformation.transform({
      decode: (input): Prompt.RawInput => input,
      encode: (input) => (typeof input === "string" ? input : Prompt.make(input))
    })
  )
)

/** True for a schema of inputs that can be a plain text, and where none is known. */
export const takesText = (schema: Schema.Top | undefined): boolean =>
  schema === undefined || schema === conversation || schema === Schema.String
