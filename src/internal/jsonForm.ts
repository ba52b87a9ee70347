/** The JSON form of schemas, checked when something is defined with them. */
import * as LanguageModel from "effect/ai/LanguageModel"
import type * as JsonSchema from "effect/JsonSchema"
import * as Schema from "effect/Schema"
import type * as SchemaAST from "effect/SchemaAST"
import { messageOf } from "./message.ts"
import type { InvalidDefinition } from "../RunError.ts"
import { assertSchema, invalid } from "./definition.ts"

/**
 * The codec between the values of `schema` and JSON: dates as ISO strings, bigints as strings, and so on. Throws
 * `InvalidDefinition` for what is not a schema, or has no JSON form; `option` names what it was given as.
 */
export const codec = (subject: string, schema: Schema.Top, option = "its schema"): Schema.Top => {
  assertSchema(subject, option, schema)
  const lost = findWithoutJson(Schema.toEncoded(schema).ast, "coded", "", new Set())
  if (lost !== undefined) throw noJsonForm(subject, lost)
  return Schema.toCodecJson(schema) as Schema.Top
}

/** Throws `InvalidDefinition` when the encoded side of `schema` is not JSON. */
export const assertPlain = (subject: string, schema: Schema.Top): void => {
  const lost = findWithoutJson(Schema.toEncoded(schema).ast, "plain", "", new Set())
  if (lost !== undefined) throw noJsonForm(subject, lost)
}

/** The JSON schema of `schema`, with its definitions inside. Throws `InvalidDefinition` when the schema has no JSON form. */
export const jsonSchema = (subject: string, schema: Schema.Top): JsonSchema.JsonSchema => {
  try {
    return LanguageModel.defaultCodecTransformer(schema).jsonSchema
  } catch (cause) {
    throw noJsonForm(subject, messageOf(cause))
  }
}

const noJsonForm = (subject: string, what: string): InvalidDefinition =>
  invalid(
    subject,
    `its schema has no JSON form: ${what}`,
    "Use schemas that encode to JSON, such as Schema.DateFromString for a date"
  )

/** `coded`: a declaration that knows its own JSON codec will do. `plain`: only what is JSON already. */
type Mode = "coded" | "plain"

const findWithoutJson = (
  ast: SchemaAST.AST,
  mode: Mode,
  path: string,
  seen: Set<SchemaAST.AST>
): string | undefined => {
  if (seen.has(ast)) return undefined
  seen.add(ast)
  const at = path === "" ? "" : ` at ${path}`
  const inside = (inner: SchemaAST.AST, key: string) =>
    findWithoutJson(inner, mode, path === "" ? key : `${path}.${key}`, seen)
  switch (ast._tag) {
    case "Symbol":
    case "UniqueSymbol":
    case "ObjectKeyword":
    case "Void":
      return `${ast._tag}${at}`
    case "BigInt":
      return mode === "plain" ? `BigInt${at}` : undefined
    case "Declaration":
      return isJson(ast, mode) ? undefined : `${nameOf(ast)}${at}`
    case "Suspend":
      return findWithoutJson(ast.thunk(), mode, path, seen)
    case "Union":
      return firstOf(
        ast.types.filter((type) => type._tag !== "Undefined"),
        (type) => findWithoutJson(type, mode, path, seen)
      )
    case "Arrays":
      return firstOf([...ast.elements, ...ast.rest], (type) => inside(type, "[]"))
    case "Objects":
      return (
        firstOf(ast.propertySignatures, (property) => inside(property.type, String(property.name))) ??
        firstOf(ast.indexSignatures, (signature) => inside(signature.type, "*"))
      )
    default:
      return undefined
  }
}

const firstOf = <A>(items: ReadonlyArray<A>, f: (item: A) => string | undefined): string | undefined => {
  for (const item of items) {
    const found = f(item)
    if (found !== undefined) return found
  }
  return undefined
}

const isJson = (ast: SchemaAST.Declaration, mode: Mode): boolean => {
  const annotations = ast.annotations as
    | { readonly representation?: { readonly id?: string }; readonly toCodecJson?: unknown; readonly toCodec?: unknown }
    | undefined
  if (annotations?.representation?.id === "effect/schema/Json") return true
  return mode === "coded" && (annotations?.toCodecJson !== undefined || annotations?.toCodec !== undefined)
}

const nameOf = (ast: SchemaAST.Declaration): string => {
  const annotations = ast.annotations as { readonly expected?: unknown; readonly identifier?: unknown } | undefined
  return String(annotations?.identifier ?? annotations?.expected ?? "a value without a codec")
}
