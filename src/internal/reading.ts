/**
 * Schemas with two forms: a strict one, which the model is asked for, and a lenient one, which decodes its answer. An
 * invalid optional part of an answer then does not void the other parts.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"

const key = "~troupe/reading"

/** The schema `shown`, whose values are read by `reading`: its type is that of `reading`. */
export const readBy = <S extends Schema.Top>(shown: Schema.Top, reading: S): S =>
  // What is shown is never decoded with, so its type does not count.
  shown.annotate({ [key]: reading }) as unknown as S

/** For the form that reads: a field that may be absent, and whose value stands for one that does not fit. */
export const lenient = <S extends Schema.Top>(schema: S, value: S["Type"]) =>
  Schema.optionalKey(schema.pipe(Schema.catchDecoding(() => Effect.succeed(Option.some(value)))))

/** The schema that reads values of `schema`: itself, unless it was made by {@link readBy}. */
export const readingOf = (schema: Schema.Top): Schema.Top => SchemaAST.resolveAt<Schema.Top>(key)(schema.ast) ?? schema
