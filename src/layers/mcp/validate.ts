/** Checks values against JSON schemas that servers give. The library is loaded on first use. */
import { createRequire } from "node:module"
import type { SchemaDraft, Validator } from "@cfworker/json-schema"

const require = createRequire(import.meta.url)

/** By the schema's own word, else by MCP's default. */
const draftOf = (schema: { readonly [key: string]: unknown }): SchemaDraft => {
  const dialect = String(schema["$schema"] ?? "")
  if (dialect.includes("draft-04")) return "4"
  if (dialect.includes("draft-07") || dialect.includes("draft-06")) return "7"
  return dialect.includes("2019-09") ? "2019-09" : "2020-12"
}

/** Why a value does not fit; `undefined`: it fits. */
export type Check = (value: unknown) => string | undefined

/** Makes the check of a schema. A schema that is itself broken refuses nothing: its server knows better. */
export const checker = (schema: { readonly [key: string]: unknown }): Check => {
  let validator: Validator | undefined
  return (value) => {
    try {
      if (validator === undefined) {
        const library = require("@cfworker/json-schema") as { readonly Validator: typeof Validator }
        validator = new library.Validator(schema, draftOf(schema), false)
      }
      const { errors, valid } = validator.validate(value)
      if (valid) return undefined
      // Each error is followed by those inside of it, which say it more exactly.
      const exact = errors.filter(({ keyword }) => keyword !== "properties" && keyword !== "items")
      const said = (exact.length > 0 ? exact : errors).map(
        ({ error, instanceLocation }) => `${instanceLocation.replace(/^#\/?/, "") || "arguments"}: ${error}`
      )
      return [...new Set(said)].slice(0, 8).join("; ")
    } catch {
      return undefined
    }
  }
}
