/**
 * Schemas with two faces: the strict one that a model is shown and held to, and one that forgives more, by which its
 * answer is read. So a part of an answer that decides nothing cannot void the parts beside it.
 */
import type * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"

const key = "~troupe/reading"

/** The schema `shown`, whose values are read by `reading`: its type is that of `reading`. */
export const readBy = <S extends Schema.Top>(shown: Schema.Top, reading: S): S =>
  // What is shown is never decoded with, so its type does not count.
  shown.annotate({ [key]: reading }) as unknown as S

/** The schema that reads values of `schema`: itself, unless it was made by {@link readBy}. */
export const readingOf = (schema: Schema.Top): Schema.Top => SchemaAST.resolveAt<Schema.Top>(key)(schema.ast) ?? schema
