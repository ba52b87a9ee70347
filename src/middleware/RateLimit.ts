/**
 * Rate limits of model calls, on `RateLimiter` of `effect/persistence`: in memory, or on Redis for several processes. Agents that
 * share a limiter and a key share the limit, so give it with `Middleware.layer` to limit all agents of a program together.
 *
 * It stands inside of retries and of the journal: each attempt counts, and a call whose outcome is kept does not.
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as AiError from "effect/ai/AiError"
import type * as RateLimiter from "effect/persistence/RateLimiter"
import * as Stream from "effect/Stream"
import { assertOneOf, assertOptions, countOf, durationOf, invalid, namesOf } from "../internal/definition.ts"
import * as Middleware from "../Middleware.ts"
import { estimate } from "./internal/compaction/count.ts"
import * as WrappedModel from "./internal/wrappedModel.ts"

/** Options of {@link make}. */
export interface Options {
  /** How many model calls there may be in a window. Default: any number. */
  readonly requests?: number | undefined
  /** How many tokens of prompts there may be in a window, as they are estimated before the call. Default: any number. */
  readonly tokens?: number | undefined
  /** How long the window is. */
  readonly per: Duration.Input
  /** What shares the limit. Default: the provider and the name of the model. */
  readonly key?: string | undefined
  /**
   * At the limit: wait (default), or fail as a provider does that limits, with a `RateLimitError` that says when to try again.
   * The agent's retries wait for that. A prompt of more than `tokens` waits for several windows, or fails as an invalid request.
   */
  readonly onExceeded?: "delay" | "fail" | undefined
}

/** The service of `effect/persistence`, by its key: its module loads more than this one needs. */
const Limiter = Context.Service<RateLimiter.RateLimiter, RateLimiter.RateLimiter>("~effect/persistence/RateLimiter")

/**
 * Makes the middleware that limits. It needs a `RateLimiter`. Throws `InvalidDefinition` for limits that are not whole numbers
 * from 1, without any limit, and for a `per` that is not a duration.
 *
 * @example
 * import { Effect, Layer } from "effect"
 * import { RateLimiter } from "effect/persistence"
 * import { Agent, Middleware, RateLimit } from "troupe"
 *
 * const limit = Middleware.layer(RateLimit.make({ requests: 60, per: "1 minute" })).pipe(
 *   Layer.provide(RateLimiter.layer),
 *   Layer.provide(RateLimiter.layerStoreMemory)
 * )
 * const program = Agent.make("agent", {}).run("Hello").pipe(Effect.provide(limit))
 */
export const make = (options: Options): Middleware.Middleware<never, RateLimiter.RateLimiter> => {
  const { key, onExceeded = "delay", requests, tokens } = options
  const subject = "rate limit"
  assertOptions(
    subject,
    options,
    namesOf<Options>({ requests: true, tokens: true, per: true, key: true, onExceeded: true })
  )
  assertOneOf(subject, "onExceeded", options.onExceeded, ["delay", "fail"])
  const window = durationOf(subject, "per", options.per)
  if (requests !== undefined) countOf(subject, "requests", requests)
  if (tokens !== undefined) countOf(subject, "tokens", tokens)
  if (requests === undefined && tokens === undefined) {
    throw invalid(subject, "it limits nothing", "Give it requests or tokens")
  }
  return Middleware.make("rate limit", {
    model: (request, next) =>
      Effect.flatMap(Limiter, (limiter) =>
        WrappedModel.provide(next(request), (source) => {
          const name = key ?? WrappedModel.nameOf(source)
          const take = (what: string, limit: number | undefined, count: number) =>
            limit === undefined
              ? Effect.void
              : Effect.flatMap(
                  limiter.consume({ key: `troupe/${what}/${name}`, limit, window, tokens: count, onExceeded }),
                  ({ delay }) => (Duration.isZero(delay) ? Effect.void : Effect.sleep(delay))
                )
          const size = tokens === undefined ? 0 : estimate.messages(request.prompt.content)
          const taken =
            onExceeded === "fail" && tokens !== undefined && size > tokens
              ? Effect.fail(tooLarge(size, tokens))
              : Effect.mapError(Effect.andThen(take("requests", requests, 1), take("tokens", tokens, size)), asAiError)
          return WrappedModel.around({
            call: (call) => Effect.andThen(taken, call),
            stream: (call) => Stream.unwrap(Effect.as(taken, call))
          })(source)
        })
      )
  })
}

/** A request that fits in no window: waiting does not help. */
const tooLarge = (size: number, tokens: number): AiError.AiError =>
  AiError.make({
    module: "RateLimit",
    method: "consume",
    reason: new AiError.InvalidRequestError({
      description: `the prompt has about ${Math.ceil(size)} tokens, and the rate limit allows ${tokens} in a window. Raise \`tokens\` of RateLimit.make, or shorten the conversation`
    })
  })

const asAiError = ({ reason }: RateLimiter.RateLimiterError): AiError.AiError =>
  AiError.make({
    module: "RateLimit",
    method: "consume",
    reason:
      reason._tag === "RateLimitExceeded"
        ? new AiError.RateLimitError({ retryAfter: reason.retryAfter })
        : new AiError.InternalProviderError({ description: `the store of rate limits failed: ${reason.message}` })
  })
