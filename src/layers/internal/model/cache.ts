/** How long a provider keeps the beginning of a conversation in its cache. */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import type { Cache } from "../../../services/ModelInfo.ts"
import { Lacking } from "./problems.ts"

export type { Cache } from "../../../services/ModelInfo.ts"

/** The times for which a provider can be asked to keep a conversation, the shortest first, each with how it is asked. */
export type Times<A> = ReadonlyArray<readonly [upTo: Duration.Input, ask: A]>

/**
 * How a provider is asked to keep a conversation: by the shortest of its times that is long enough; `undefined` for `"auto"`.
 * Throws `Lacking` for a time that it cannot be asked for.
 */
export const askFor = <A>(cache: Cache, times: Times<A>, provider: string): A | undefined => {
  if (cache === "auto") return undefined
  const ttl = Option.getOrUndefined(Duration.fromInput(cache.ttl))
  const found =
    ttl === undefined
      ? undefined
      : times.find(([upTo]) => Duration.isLessThanOrEqualTo(ttl, Duration.fromInputUnsafe(upTo)))
  if (found !== undefined) return found[1]
  const last = times.at(-1)
  const limit =
    last === undefined
      ? "it takes no time"
      : `it keeps it for ${Duration.format(Duration.fromInputUnsafe(last[0]))} at most`
  const asked = ttl === undefined ? "the given time" : Duration.format(ttl)
  throw new Lacking(
    "cache",
    `${provider} cannot be asked to keep a conversation in its cache for ${asked}: ${limit}. Use \`cache: "auto"\``
  )
}
