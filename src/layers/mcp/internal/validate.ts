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

/** How long the first check of a schema may work. Milliseconds. */
const patience = 500
/** How long one may work at least, once checks of its schema have taken too long. Milliseconds. */
const leastPatience = 20

/** How long this thread has worked; in Node before 23.9, all threads. A machine that does other things does not count. Milliseconds. */
const timeWorked = (): number => {
  const { system, user } = process.threadCpuUsage?.() ?? process.cpuUsage()
  return (system + user) / 1000
}

let context: Context | undefined

/** Runs a function that may turn out endless, which can be stopped in no other way in this thread. */
const bounded = <A>(run: () => A, ms: number): A => {
  const vm = require("node:vm") as typeof import("node:vm")
  const made = (context ??= vm.createContext({}))
  made["run"] = run
  try {
    return vm.runInContext("run()", made, { timeout: ms }) as A
  } finally {
    delete made["run"]
  }
}

/** Why a value does not fit; `undefined`: it fits. */
export type Check = (value: unknown) => string | undefined

/**
 * Makes the check of a schema. A schema that is itself broken refuses nothing: its server knows better. A value whose check
 * works for too long is refused, and the next check gets half the time, so that no schema of a server can keep the program
 * busy. A check that was stopped before it had worked for its time is made again, with more of the clock's.
 */
export const checker = (schema: { readonly [key: string]: unknown }, worked = timeWorked): Check => {
  let validator: Validator | undefined
  let ms = patience
  const check = (value: unknown, library: { readonly Validator: typeof Validator }): string | undefined => {
    validator ??= new library.Validator(schema, draftOf(schema), false)
    const { errors, valid } = validator.validate(value)
    if (valid) return undefined
    // Each error is followed by those inside of it, which say it more exactly.
    const exact = errors.filter(({ keyword }) => keyword !== "properties" && keyword !== "items")
    const found = (exact.length > 0 ? exact : errors).map(
      ({ error, instanceLocation }) => `${instanceLocation.replace(/^#\/?/, "") || "arguments"}: ${error}`
    )
    return [...new Set(found)].slice(0, 8).join("; ").slice(0, 2000)
  }
  return (value) => {
    // Loaded before: that takes the time of a disk.
    const library = require("@cfworker/json-schema") as { readonly Validator: typeof Validator }
    const begun = worked()
    for (let timeout = ms; ; timeout *= 2) {
      try {
        return bounded(() => check(value, library), timeout)
      } catch (error) {
        if (error instanceof RangeError) return "it is nested too deeply to be checked, or the schema refers to itself"
        if ((error as NodeJS.ErrnoException).code !== "ERR_SCRIPT_EXECUTION_TIMEOUT") return undefined
        // It was stopped halfway.
        validator = undefined
        // The clock and the time worked are never quite the same. The last condition ends it where the system tells no time.
        if (worked() - begun < ms / 2 && timeout < 100 * ms) continue
        const taken = ms
        ms = Math.max(leastPatience, Math.floor(ms / 2))
        return `it could not be checked within ${taken} ms, because the schema takes too long to check`
      }
    }
  }
}
