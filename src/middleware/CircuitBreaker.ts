/**
 * Circuit breakers of models, on `CircuitBreaker` of `effect/persistence`: when a provider is down, calls fail at once for a while
 * and do not wait for it one by one. Agents that share a breaker and a key share the circuit.
 *
 * It stands inside of retries and of the journal: each attempt counts. What a provider refuses, such as a request that is wrong, is
 * not a failure of the provider; nor is an interruption.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as AiError from "effect/ai/AiError"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as CircuitBreaker from "effect/persistence/CircuitBreaker"
import * as Stream from "effect/Stream"
import { assertOptions, assertText, namesOf } from "../internal/definition.ts"
import * as Middleware from "../Middleware.ts"
import * as WrappedModel from "./internal/wrappedModel.ts"

/** Options of {@link make}. */
export interface Options {
  /** What shares the circuit. Default: the provider and the name of the model. */
  readonly key?: string | undefined
}

/** The service of `effect/persistence`, by its key: its module loads more than this one needs. */
const Breaker = Context.Service<CircuitBreaker.CircuitBreaker, CircuitBreaker.CircuitBreaker>(
  "~effect/persistence/CircuitBreaker"
)

/**
 * Makes the middleware that breaks the circuit. It needs a `CircuitBreaker`, which says when it opens and for how long. A call
 * while it is open fails as one to a provider that is down, and is not retried.
 *
 * @example
 * import { Effect, Layer } from "effect"
 * import { CircuitBreaker as Breaker } from "effect/persistence"
 * import { Agent, CircuitBreaker, Middleware } from "troupe"
 *
 * const breaker = Middleware.layer(CircuitBreaker.make()).pipe(
 *   Layer.provide(Breaker.layer({ tripPolicy: Breaker.consecutive(5), openDuration: "30 seconds" })),
 *   Layer.provide(Breaker.layerStoreMemory())
 * )
 * const program = Agent.make("agent", {}).run("Hello").pipe(Effect.provide(breaker))
 */
export const make = (options: Options = {}): Middleware.Middleware<never, CircuitBreaker.CircuitBreaker> => {
  assertOptions("circuit breaker", options, namesOf<Options>({ key: true }))
  assertText("circuit breaker", "key", options.key)
  return Middleware.make("circuit breaker", {
    model: (request, next) =>
      Effect.flatMap(Breaker, (breaker) =>
        WrappedModel.provide(next(request), (source) => {
          const key = `troupe/${options.key ?? WrappedModel.nameOf(source)}`
          const call = <A, R>(effect: Effect.Effect<A, AiError.AiError, R>) =>
            Effect.mapError(breaker.execute(effect, { key, classify: outcomeOf }), asAiError)
          return WrappedModel.around({ call, stream: (stream) => streaming(stream, call) })(source)
        })
      )
  })
}

/** A stream within a call that ends as the stream does. */
const streaming = <A, R>(
  stream: Stream.Stream<A, AiError.AiError, R>,
  call: <B>(effect: Effect.Effect<B, AiError.AiError>) => Effect.Effect<B, AiError.AiError>
): Stream.Stream<A, AiError.AiError, R> =>
  Stream.unwrap(
    Effect.gen(function* () {
      const admitted = yield* Deferred.make<void, AiError.AiError>()
      const ended = yield* Deferred.make<void, AiError.AiError>()
      const within = call(Effect.andThen(Deferred.succeed(admitted, undefined), Deferred.await(ended)))
      const fiber = yield* Effect.forkScoped(Effect.onExit(within, (exit) => Deferred.done(admitted, exit)))
      yield* Deferred.await(admitted)
      // The outcome is recorded before anything else is done with it.
      return Stream.onExit(stream, (exit) =>
        Effect.andThen(Deferred.done(ended, Exit.asVoid(exit)), Effect.asVoid(Fiber.await(fiber)))
      )
    })
  )

const outcomeOf = <A>(exit: Exit.Exit<A, AiError.AiError>): CircuitBreaker.Outcome => {
  if (Exit.isSuccess(exit)) return { _tag: "Success" }
  const failed = exit.cause.reasons.find(Cause.isFailReason)
  if (failed === undefined) return { _tag: "Ignored" }
  const { reason } = failed.error
  const isOfProvider =
    reason._tag === "InternalProviderError" || reason._tag === "NetworkError" || reason._tag === "RateLimitError"
  if (!isOfProvider) return { _tag: "Ignored" }
  return { _tag: "Failure", retryAfter: reason._tag === "RateLimitError" ? reason.retryAfter : undefined }
}

const asAiError = (error: AiError.AiError | CircuitBreaker.CircuitBreakerError): AiError.AiError => {
  if (AiError.isAiError(error)) return error
  return AiError.make({
    module: "CircuitBreaker",
    method: "execute",
    reason: new AiError.InternalProviderError({
      description: `the model is not called: ${error.message}\n\nWait until its circuit closes, or provide another model`,
      // Another attempt would be refused too.
      metadata: { openai: { shouldRetry: false } }
    })
  })
}
