/** What of an error may leave a server, so that a client can have the same error: fields without the inside of the server. */
import * as Predicate from "effect/Predicate"
import type * as Schema from "effect/Schema"
import { isJsonObject } from "./json.ts"

/** The fields of each error that say what happened, and nothing about how the server is made. */
const fields: Readonly<Record<string, ReadonlyArray<string>>> = {
  ModelError: ["step", "attempts"],
  MaxStepsExceeded: ["maxSteps", "wasAsked"],
  MaxToolCallsExceeded: ["step", "per", "limit", "asked"],
  InvalidOutput: ["text", "finishReason", "issue", "attempts"],
  OutputTruncated: ["text"],
  ModelRefused: ["text"],
  EmptyTurn: ["step", "finishReason"],
  RunTimedOut: ["durationMs"],
  BudgetExceeded: ["limit", "allowed", "used", "wasAsked"]
}

/** The tag of an error in JSON. */
export const tagOf = (error: Schema.Json): string | undefined =>
  Predicate.hasProperty(error, "_tag") && typeof error._tag === "string" ? error._tag : undefined

/** The error for clients; `undefined` for one of which only the tag may be seen. `isExposed`: all of it may. */
export const clientError = (error: Schema.Json, isExposed: boolean): Schema.JsonObject | undefined => {
  const tag = tagOf(error)
  if (tag === undefined || !isJsonObject(error)) return undefined
  if (isExposed) return error
  const kept = Object.hasOwn(fields, tag) ? fields[tag] : undefined
  if (kept === undefined) return undefined
  const path = Array.isArray(error["path"]) ? error["path"].slice(0, 1) : []
  // The kind of a provider's error is that of its reason.
  const kind = isJsonObject(error["reason"]) ? tagOf(error["reason"]["reason"] ?? null) : undefined
  const reason = tag === "ModelError" ? { reason: { _tag: kind ?? "UnknownError" } } : {}
  const by = tag === "BudgetExceeded" ? { by: path } : {}
  const picked = kept.flatMap((key) => (error[key] === undefined ? [] : [[key, error[key]] as const]))
  return { _tag: tag, path, ...by, ...Object.fromEntries(picked), ...reason }
}
