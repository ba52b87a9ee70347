/**
 * Typed output: the shape that a model is asked for, and the reading of what it gives. Internal to the agents; it
 * touches schemas and the model's port only.
 */
import * as Effect from "effect/Effect"
import * as Tool from "effect/ai/Tool"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import { codec, jsonSchema } from "../internal/jsonForm.ts"
import type { OutputFormat } from "../services/ModelInfo.ts"

/** An output schema, made ready when the agent is defined. */
export interface OutputSpec {
  readonly format: OutputFormat
  /** The schema as effect/ai's `generateObject` takes it: always an object at the root. */
  readonly objectSchema: Schema.Top
  /** True when the shape is not an object by itself and stands under the key `value`. */
  readonly wrapped: boolean
  /** What a model without native structured output is told. */
  readonly instruction: string
  /** Reads an answer. Fails with the reason why it does not fit. */
  readonly decode: (text: string) => Effect.Effect<unknown, string, unknown>
}

/** Throws `InvalidDefinition` for a schema without a JSON form. */
export const makeSpec = (subject: string, name: string, schema: Schema.Top): OutputSpec => {
  const itself = codec(subject, schema)
  const own = jsonSchema(subject, itself)
  const wrapped = own["type"] !== "object"
  const objectSchema = wrapped ? (Schema.Struct({ value: itself }) as Schema.Top) : itself
  const format: OutputFormat = {
    name: formatName(schema, name),
    description: SchemaAST.resolveDescription(schema.ast),
    jsonSchema: wrapped ? jsonSchema(subject, objectSchema) : own
  }
  const decodeValue = Schema.decodeUnknownEffect(itself as Schema.Codec<unknown, unknown, unknown, unknown>)
  const read = (value: unknown) => Effect.mapError(decodeValue(value), (error) => error.message)
  const decodeJson = (value: unknown): Effect.Effect<unknown, string, unknown> =>
    wrapped && isWrapper(value) ? Effect.catch(read(value["value"]), () => read(value)) : read(value)
  return {
    format,
    objectSchema,
    wrapped,
    instruction: `Answer with only a JSON value that fits this JSON schema, without any other text:\n${JSON.stringify(format.jsonSchema)}`,
    decode: (text) => {
      const json = findJson(text)
      if (Result.isSuccess(json)) return decodeJson(json.success)
      // A bare label or sentence is a fine answer where a string is asked for.
      return wrapped ? Effect.mapError(read(stripThinking(text).trim()), () => json.failure) : Effect.fail(json.failure)
    }
  }
}

const isWrapper = (value: unknown): value is { readonly value: unknown } =>
  Predicate.hasProperty(value, "value") && Object.keys(value).length === 1

const formatName = (schema: Schema.Top, fallback: string): string =>
  (SchemaAST.resolveIdentifier(schema.ast) ?? fallback).replace(/[^a-zA-Z0-9_-]/g, "_").slice(0, 64) || "output"

/** Some models put their reasoning before the answer, in a tag that the server did not take out. */
const stripThinking = (text: string): string => {
  const opened = /^\s*<(think|thinking|reasoning)>/i.exec(text)
  if (opened !== null) {
    const close = text.toLowerCase().indexOf(`</${opened[1]!.toLowerCase()}>`)
    return close < 0 ? "" : text.slice(close + opened[1]!.length + 3)
  }
  // The opening tag can be part of the prompt's template, so that only the closing one arrives.
  const lone = text.toLowerCase().indexOf("</think>")
  return lone < 0 ? text : text.slice(lone + "</think>".length)
}

/** The JSON value in an answer: the whole of it, what stands in a code fence, or the first object or array in it. */
const findJson = (text: string): Result.Result<unknown, string> => {
  const body = stripThinking(text)
    .replace(/^\uFEFF/, "")
    .trim()
  if (body === "") return Result.fail("the answer is empty")
  const whole = parse(body)
  if (Result.isSuccess(whole)) return whole
  const fence = /```[a-zA-Z0-9]*\s*\n?([\s\S]*?)```/.exec(body)
  if (fence !== null) {
    const fenced = parse(fence[1]!.trim())
    if (Result.isSuccess(fenced)) return fenced
  }
  const start = body.search(/[{[]/)
  if (start >= 0) {
    const end = closing(body, start)
    if (end > start) {
      const embedded = parse(body.slice(start, end))
      if (Result.isSuccess(embedded)) return embedded
    }
  }
  return whole
}

const parse = (text: string): Result.Result<unknown, string> =>
  Result.try({
    try: () => Tool.unsafeSecureJsonParse(text),
    catch: (cause) => `the answer is not JSON: ${cause instanceof Error ? cause.message : String(cause)}`
  })

/** Where the bracket that opens at `start` closes, outside of strings; -1 when it does not. */
const closing = (text: string, start: number): number => {
  let depth = 0
  let quoted = false
  for (let i = start; i < text.length; i++) {
    const char = text[i]
    if (quoted) {
      if (char === "\\") i++
      else if (char === '"') quoted = false
    } else if (char === '"') quoted = true
    else if (char === "{" || char === "[") depth++
    else if (char === "}" || char === "]") {
      depth--
      if (depth === 0) return i + 1
    }
  }
  return -1
}
