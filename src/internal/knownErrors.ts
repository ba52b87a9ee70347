/** The errors of Troupe, by their tags: so that one which was kept or sent as JSON is read back as it was. */
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as RunError from "../RunError.ts"
import { tagOf } from "./clientError.ts"

const added = new Map<string, Schema.Top>()
let core: ReadonlyMap<string, Schema.Top> | undefined

const isErrorClass = (value: unknown): value is Schema.Top & { readonly identifier: string } =>
  Schema.isSchema(value) && Predicate.hasProperty(value, "identifier") && typeof value.identifier === "string"

/** Adds the errors of a family that the core does not know. */
export const addErrors = (...classes: ReadonlyArray<unknown>): void => {
  for (const schema of classes) if (isErrorClass(schema)) added.set(schema.identifier, schema)
}

/** The schema of an error of Troupe by its tag; `undefined` for any other. */
export const schemaOf = (tag: string): Schema.Top | undefined => {
  // Made when the first one is read: the classes of the core import this module's users.
  core ??= new Map(
    Object.values<unknown>(RunError)
      .filter(isErrorClass)
      .map((schema) => [schema.identifier, schema])
  )
  return added.get(tag) ?? core.get(tag)
}

/** An error of Troupe as it was; any other JSON as it is. */
export const decodeKnown = (json: Schema.Json): unknown => {
  const tag = tagOf(json)
  const schema = tag === undefined ? undefined : schemaOf(tag)
  if (schema === undefined) return json
  return Option.getOrElse(Schema.decodeUnknownOption(schema as Schema.Codec<unknown, unknown>)(json), () => json)
}
