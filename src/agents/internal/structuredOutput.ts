/**
 * Typed output: the shape that the model is asked for, and the decoding of its answer.
 */
import * as Effect from "effect/Effect"
import * as Tool from "effect/ai/Tool"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import { messageOf } from "../../internal/message.ts"
import { allIssues, issuesOf } from "../../internal/issues.ts"
import { codec, jsonSchema } from "../../internal/jsonForm.ts"
import { readingOf } from "../../internal/reading.ts"
import type { OutputFormat } from "../../services/ModelInfo.ts"

/** An output schema, made ready when the agent is defined. */
export interface OutputSpec {
  readonly format: OutputFormat
  /** The schema as effect/ai's `generateObject` takes it: always an object at the root. */
  readonly objectSchema: Schema.Top
  /** True when the shape is not an object, and is wrapped in one under the key `value`. */
  readonly wrapped: boolean
  /** The instruction for a model without native structured output. */
  readonly instruction: string
  /** Reads an answer. Fails with the reason why it does not fit. */
  readonly decode: (text: string) => Effect.Effect<unknown, string, unknown>
}

/** Throws `InvalidDefinition` for a schema without a JSON form. */
export const makeSpec = (subject: string, name: string, schema: Schema.Top): OutputSpec => {
  const itself = codec(subject, schema, "output")
  const own = jsonSchema(subject, itself)
  const wrapped = own["type"] !== "object"
  const objectSchema = wrapped ? (Schema.Struct({ value: itself }) as Schema.Top) : itself
  const format: OutputFormat = {
    name: formatName(schema, name),
    description: SchemaAST.resolveDescription(schema.ast),
    jsonSchema: wrapped ? jsonSchema(subject, objectSchema) : own
  }
  const reading = readingOf(schema)
  const decodeValue = Schema.decodeUnknownEffect(
    (reading === schema ? itself : reading) as Schema.Codec<unknown, unknown, unknown, unknown>,
    allIssues
  )
  const read = (value: unknown) => Effect.mapError(decodeValue(value), issuesOf)
  const decodeJson = (value: unknown): Effect.Effect<unknown, string, unknown> =>
    wrapped && isWrapper(value) ? Effect.catch(read(value["value"]), () => read(value)) : read(value)
  return {
    format,
    objectSchema,
    wrapped,
    instruction: `Answer with only a JSON value that fits this JSON schema, without any other text:\n${JSON.stringify(format.jsonSchema)}`,
    decode: (text) => {
      const found = findJson(text)
      const tries = Result.isSuccess(found) ? found.success.map(decodeJson) : [Effect.fail(found.failure)]
      // A bare label or sentence is a fine answer where a string is asked for.
      if (wrapped) tries.push(read(stripThinking(text).trim()))
      // The first candidate is most likely what the model meant, so the model sees that one's issue.
      return Effect.catch(Effect.firstSuccessOf(tries), () => tries[0]!)
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
  // The opening tag can be part of the prompt's template, so that only the closing one arrives.
  const close = new RegExp(`</${opened?.[1] ?? "think"}>`, "i").exec(text)
  if (close !== null) return text.slice(close.index + close[0].length)
  return opened === null ? text : ""
}

/** The JSON values in an answer, likeliest first: the whole answer, those in code fences, those within the text. */
const findJson = (text: string): Result.Result<ReadonlyArray<unknown>, string> => {
  const untouched = parse(text.trim())
  if (Result.isSuccess(untouched)) return Result.succeed([untouched.success])
  const body = stripThinking(text)
    .replace(/^\uFEFF/, "")
    .trim()
  if (body === "") return Result.fail("the answer is empty")
  const whole = parse(body)
  if (Result.isSuccess(whole)) return Result.succeed([whole.success])
  const fenced = body
    .split("```")
    .filter((_, index, all) => index % 2 === 1 && index < all.length - 1)
    .map((fence) => fence.replace(/^[a-zA-Z0-9]*/, "").trim())
  const found = [...fenced, ...embedded(body)].flatMap((candidate) => {
    const parsed = parse(candidate)
    return Result.isSuccess(parsed) ? [parsed.success] : []
  })
  return found.length > 0 ? Result.succeed(found) : Result.fail(whole.failure)
}

/**
 * Each bracket that does not close has the rest of the text read, and a model that repeats itself can give thousands.
 */
const maxUnclosed = 100

/** The texts in brackets, outermost ones only, in order. */
const embedded = (text: string): ReadonlyArray<string> => {
  const found: Array<string> = []
  const opening = /[{[]/g
  for (let unclosed = 0; unclosed < maxUnclosed;) {
    const at = opening.exec(text)?.index
    if (at === undefined) break
    const end = closing(text, at)
    if (end < 0) unclosed++
    else {
      found.push(text.slice(at, end))
      opening.lastIndex = end
    }
  }
  return found
}

const parse = (text: string): Result.Result<unknown, string> =>
  Result.try({
    try: () => Tool.unsafeSecureJsonParse(text),
    catch: (cause) => `the answer is not JSON: ${messageOf(cause)}`
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
