/** Checks values against JSON schemas that servers give. The library is loaded on first use. */
import { createRequire } from "node:module"
import type { Context } from "node:vm"
import type { SchemaDraft, Validator } from "@cfworker/json-schema"
import { isFields, textOf } from "./fields.ts"

const require = createRequire(import.meta.url)

/** By the schema's own word, else by MCP's default. */
const draftOf = (schema: { readonly [key: string]: unknown }): SchemaDraft => {
  const dialect = String(schema["$schema"] ?? "")
  if (dialect.includes("draft-04")) return "4"
  if (dialect.includes("draft-07") || dialect.includes("draft-06")) return "7"
  return dialect.includes("2019-09") ? "2019-09" : "2020-12"
}

/** How long the first check of a schema may work, and how often it may look at a part of the schema. Milliseconds. */
const most = { ms: 500, looks: 10_000 }
/** The same for each of the next ones at least, once checks of the schema have taken too long. */
const least = { ms: 20, looks: 2000 }
/** How often it may look in addition for each character of the value. */
const looksPerCharacter = 10

/** How long this thread has worked; in Node before 23.9, all threads. A machine that does other things does not count. Milliseconds. */
const timeWorked = (): number => {
  const { system, user } = process.threadCpuUsage?.() ?? process.cpuUsage()
  return (system + user) / 1000
}

type Library = typeof import("@cfworker/json-schema")

let found: { readonly library: Library | undefined } | undefined

/** The library; `undefined` where a bundle stands without it. It is looked for once: not to find it takes as long each time. */
const libraryOf = (): Library | undefined => (found ??= { library: load() }).library

const load = (): Library | undefined => {
  try {
    return require("@cfworker/json-schema") as Library
  } catch {
    return undefined
  }
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

/** A check has looked too often. */
const tooMany = Symbol("tooMany")

/** A copy of a schema that calls `look` each time that a check looks at a part of it. */
const watched = (schema: object, look: () => void): object =>
  JSON.parse(JSON.stringify(schema), (_, part: unknown) => {
    if (!isFields(part)) return part
    // The library reads this keyword once each time.
    const { $recursiveAnchor } = part
    return Object.defineProperty(part, "$recursiveAnchor", {
      enumerable: false,
      get: () => {
        look()
        return $recursiveAnchor
      }
    })
  }) as object

/** Why a value does not fit; `undefined`: it fits. */
export type Check = (value: unknown) => string | undefined

/** The sentences of the library that say it most exactly. */
const reasonOf = (errors: ReturnType<Validator["validate"]>["errors"]): string => {
  // Each error is followed by those inside of it, which say it more exactly.
  const exact = errors.filter(({ keyword }) => keyword !== "properties" && keyword !== "items")
  const found = (exact.length > 0 ? exact : errors).map(
    ({ error, instanceLocation }) => `${instanceLocation.replace(/^#\/?/, "") || "arguments"}: ${error}`
  )
  return [...new Set(found)].slice(0, 8).join("; ").slice(0, 2000)
}

/**
 * Makes the check of a schema. A schema that is itself broken refuses nothing: its server knows better. A value whose check
 * takes too long is refused, and the next check gets half of it, so that no schema of a server can keep the program busy. What
 * counts are looks at parts of the schema, and for a pattern, in which there is nothing to count, the time that it works: a check
 * that was stopped before it had worked for its time is made again, with more of the clock's.
 */
export const checker = (schema: { readonly [key: string]: unknown }, worked = timeWorked): Check => {
  let validator: Validator | undefined
  let looks = 0
  let allowed = Infinity
  let share = 1
  const look = () => {
    if (++looks > allowed) throw tooMany
  }
  const check = (value: unknown, { Validator }: Library): string | undefined => {
    validator ??= new Validator(watched(schema, look), draftOf(schema), false)
    looks = 0
    allowed = Math.max(least.looks, most.looks * share) + looksPerCharacter * textOf(value, "").length
    const { errors, valid } = validator.validate(value)
    return valid ? undefined : reasonOf(errors)
  }
  const tooLong = (within: string): string => {
    share /= 2
    return `it could not be checked within ${within}, because the schema takes too long to check`
  }
  return (value) => {
    // Loaded before: that takes the time of a disk. What is not checked here is checked by the server.
    const library = libraryOf()
    if (library === undefined) return undefined
    const ms = Math.max(least.ms, Math.floor(most.ms * share))
    const begun = worked()
    for (let timeout = ms; ; timeout *= 2) {
      try {
        return bounded(() => check(value, library), timeout)
      } catch (error) {
        if (error === tooMany) return tooLong(`${allowed} steps`)
        if (error instanceof RangeError) return "it is nested too deeply to be checked, or the schema refers to itself"
        if ((error as NodeJS.ErrnoException).code !== "ERR_SCRIPT_EXECUTION_TIMEOUT") return undefined
        // It was stopped halfway.
        validator = undefined
        // The clock and the time worked are never quite the same. The last condition ends it where the system tells no time.
        if (worked() - begun < ms / 2 && timeout < 100 * ms) continue
        return tooLong(`${ms} ms`)
      }
    }
  }
}
