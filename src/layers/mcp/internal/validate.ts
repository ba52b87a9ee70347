/** Checks values against JSON schemas that servers give. The library is loaded on first use. */
import { createRequire } from "node:module"
import type { Context } from "node:vm"
import type { SchemaDraft, Validator } from "@cfworker/json-schema"

const require = createRequire(import.meta.url)

/** By the schema's own word, else by MCP's default. */
const draftOf = (schema: { readonly [key: string]: unknown }): SchemaDraft => {
  const dialect = String(schema["$schema"] ?? "")
  if (dialect.includes("draft-04")) return "4"
  if (dialect.includes("draft-07") || dialect.includes("draft-06")) return "7"
  return dialect.includes("2019-09") ? "2019-09" : "2020-12"
}

/** How long a check may take that runs regular expressions of the server's. Milliseconds. */
const patience = 500

let context: Context | undefined

/** Runs a function that may turn out endless. Regular expressions can be stopped in no other way in this thread. */
const bounded = <A>(run: () => A): A => {
  const vm = require("node:vm") as typeof import("node:vm")
  const made = (context ??= vm.createContext({}))
  made["run"] = run
  try {
    return vm.runInContext("run()", made, { timeout: patience }) as A
  } finally {
    delete made["run"]
  }
}

const hasPattern = (schema: object): boolean => /"(pattern|patternProperties|format)":/.test(JSON.stringify(schema))

/** Why a value does not fit; `undefined`: it fits. */
export type Check = (value: unknown) => string | undefined

/**
 * Makes the check of a schema. A schema that is itself broken refuses nothing: its server knows better. One that cannot
 * be checked to an end refuses the value.
 */
export const checker = (schema: { readonly [key: string]: unknown }): Check => {
  let validator: Validator | undefined
  let isSlow = false
  return (value) => {
    try {
      if (validator === undefined) {
        const library = require("@cfworker/json-schema") as { readonly Validator: typeof Validator }
        isSlow = hasPattern(schema)
        validator = new library.Validator(schema, draftOf(schema), false)
      }
      const made = validator
      const { errors, valid } = isSlow ? bounded(() => made.validate(value)) : made.validate(value)
      if (valid) return undefined
      // Each error is followed by those inside of it, which say it more exactly.
      const exact = errors.filter(({ keyword }) => keyword !== "properties" && keyword !== "items")
      const said = (exact.length > 0 ? exact : errors).map(
        ({ error, instanceLocation }) => `${instanceLocation.replace(/^#\/?/, "") || "arguments"}: ${error}`
      )
      return [...new Set(said)].slice(0, 8).join("; ")
    } catch (error) {
      if (error instanceof RangeError) return "it is nested too deeply to be checked, or the schema refers to itself"
      if ((error as NodeJS.ErrnoException).code === "ERR_SCRIPT_EXECUTION_TIMEOUT") {
        return `it could not be checked within ${patience} ms; the schema's patterns are too slow for it`
      }
      return undefined
    }
  }
}
