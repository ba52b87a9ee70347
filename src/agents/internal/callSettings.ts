/** The settings of model calls that an agent has itself: `reasoning` and `cache`. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import { invalid } from "../../internal/definition.ts"
import * as ModelInfo from "../../services/ModelInfo.ts"

/** The options of an agent that are settings of its model calls. */
export interface Options {
  readonly reasoning?: ModelInfo.Reasoning | undefined
  readonly cache?: ModelInfo.Cache | undefined
}

const isReasoning = Schema.is(ModelInfo.Reasoning)

/** The settings of the options; `undefined` for none. Throws `InvalidDefinition` for values that no model has. */
export const settingsOf = (subject: string, { cache, reasoning }: Options): ModelInfo.CallSettings | undefined => {
  if (cache === undefined && reasoning === undefined) return undefined
  if (reasoning !== undefined && !(isReasoning(reasoning) && (typeof reasoning === "string" || reasoning.tokens > 0))) {
    throw invalid(
      subject,
      `reasoning is ${JSON.stringify(reasoning)}`,
      'Use "none", "minimal", "low", "medium", "high", "xhigh", "max", or { tokens } with a whole number from 1'
    )
  }
  return {
    ...(reasoning === undefined ? {} : { reasoning }),
    ...(cache === undefined ? {} : { cache: cacheOf(subject, cache) })
  }
}

const cacheOf = (subject: string, cache: ModelInfo.Cache): NonNullable<ModelInfo.CallSettings["cache"]> => {
  if (cache === "auto") return cache
  const ttl = Predicate.isObject(cache) ? Option.getOrUndefined(Duration.fromInput(cache.ttl)) : undefined
  if (ttl !== undefined && Duration.isFinite(ttl) && Duration.isPositive(ttl)) return { ttl: Duration.toMillis(ttl) }
  throw invalid(
    subject,
    `cache is ${JSON.stringify(cache)}`,
    'Use "auto", or { ttl } with a duration above 0, such as "1 hour"'
  )
}

/** The settings around a call, with those of the agent over them. */
export const merged = (
  around: ModelInfo.CallSettings,
  own: ModelInfo.CallSettings | undefined
): ModelInfo.CallSettings => (own === undefined ? around : { ...around, ...own })

/** A model call with the settings of the agent. What stands around it, such as its tools, has those of its caller. */
export const withOwn = <A, E, R>(
  own: ModelInfo.CallSettings | undefined,
  call: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  own === undefined
    ? call
    : Effect.flatMap(ModelInfo.CurrentSettings, (around) =>
        Effect.provideService(call, ModelInfo.CurrentSettings, merged(around, own))
      )
