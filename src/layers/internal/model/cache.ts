/** How long a provider keeps the beginning of a conversation in its cache. */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"

/** `"auto"`: as long as the provider has it by default. */
export type Cache = "auto" | { readonly ttl: Duration.Input }

/** True for a time that is longer than what providers keep by default. */
export const isLongCache = (cache: Cache, limit: Duration.Input = "10 minutes"): boolean => {
  const ttl = cache === "auto" ? Option.none() : Duration.fromInput(cache.ttl)
  return Option.isSome(ttl) && Duration.isGreaterThan(ttl.value, Duration.fromInputUnsafe(limit))
}
