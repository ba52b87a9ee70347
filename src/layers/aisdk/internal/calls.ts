/** Calls of models that answer as a whole, with their time, their retries and their errors. */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as AiError from "effect/ai/AiError"
import * as Predicate from "effect/Predicate"
import { kindOf, positiveDurationOf } from "../../../internal/definition.ts"
import { InvalidDefinition } from "../../../RunError.ts"
import * as Calling from "../../internal/model/calling.ts"
import type { Problem } from "../../internal/model/problems.ts"
import type * as Errors from "./errors.ts"
import { providerOf } from "./provider.ts"
import { failWith, Known } from "./failed.ts"
import { asked, assertAsync } from "./waiting.ts"

/** How a model is called. */
export interface Options {
  readonly timeout?: Duration.Input | undefined
  readonly retry?: Calling.Retry
}

/** A model, by its calls. */
export interface Calls {
  /** Fails with the error of a problem. */
  readonly fail: (problem: Problem) => Effect.Effect<never, AiError.AiError>
  /** Waits for what the model says of itself. */
  readonly within: <A>(ask: () => PromiseLike<A>) => Effect.Effect<A, AiError.AiError>
  /** Asks, again as the policy says, and reads the answer. Interruption aborts the request. */
  readonly ask: <A, B>(
    ask: (signal: AbortSignal) => PromiseLike<A>,
    read: (answer: A) => Effect.Effect<B, Problem>
  ) => Effect.Effect<B, AiError.AiError>
}

/** The calls of a model. Under `Effect.runSync` they fail. Throws `InvalidDefinition` for a timeout that is not one. */
export const make = (
  model: { readonly provider: string; readonly modelId: string },
  method: Errors.Failing["method"],
  { retry, timeout: given = "10 minutes" }: Options
): Calls => {
  const provider = providerOf(model.provider, model.modelId)
  const failed = failWith({ method, provider, model: model.modelId, secrets: [] })
  const timeout = positiveDurationOf("AiSdk", "timeout", given)
  const waiting = <A>(ask: (signal: AbortSignal) => PromiseLike<A>): Effect.Effect<A, unknown> =>
    Effect.andThen(assertAsync, asked(timeout, ask))
  return {
    fail: (problem) => failed(new Known(problem)),
    within: (ask) => Effect.catch(waiting(ask), failed),
    ask: (ask, read) =>
      Effect.withFiber((fiber) => {
        const once = waiting(ask).pipe(
          Effect.flatMap((answer) => Effect.mapError(read(answer), (problem) => new Known(problem))),
          Effect.catch(failed)
        )
        return Calling.retried(retry, fiber, once)
      })
  }
}

/** Throws `InvalidDefinition` for what is not a model with a method of the fourth version of the interface. */
export const assertModel = (subject: string, model: unknown, method: string, example: string): void => {
  if (!Predicate.hasProperty(model, "specificationVersion") || !Predicate.hasProperty(model, method)) {
    throw new InvalidDefinition({
      subject,
      problem: `its model is ${kindOf(model)}, not a model of the AI SDK with a ${method}`,
      remedy: `Give it one of a provider package, such as ${example}`
    })
  }
  if (model.specificationVersion === "v4") return
  throw new InvalidDefinition({
    subject,
    problem: `its model is of version ${JSON.stringify(model.specificationVersion)} of the AI SDK's interface, and this Layer reads "v4"`,
    remedy: "Install the version of the provider package that depends on @ai-sdk/provider 4"
  })
}
