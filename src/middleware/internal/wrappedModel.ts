/**
 * Wraps the model that is called, for the calls inside of an Effect. So it stands inside of retries and of the journal: each attempt
 * passes it, and a call whose outcome is kept does not.
 */
import * as Effect from "effect/Effect"
import type * as AiError from "effect/ai/AiError"
import type * as LanguageModel from "effect/ai/LanguageModel"
import * as Prompt from "effect/ai/Prompt"
import type * as Stream from "effect/Stream"
import { CurrentWrappers, type Source, type Wrapped } from "../../internal/modelWrappers.ts"

/** What is around each call of a model. */
export interface Wrapper {
  readonly call: <A, R>(call: Effect.Effect<A, AiError.AiError, R>) => Effect.Effect<A, AiError.AiError, R>
  readonly stream: <A, R>(call: Stream.Stream<A, AiError.AiError, R>) => Stream.Stream<A, AiError.AiError, R>
}

export type { Source, Wrapped } from "../../internal/modelWrappers.ts"

/** Goes on with what `wrap` makes of the model that is called. */
export const provide = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  wrap: (source: Source) => Wrapped
): Effect.Effect<A, E, R> =>
  Effect.flatMap(CurrentWrappers, (outer) => Effect.provideService(effect, CurrentWrappers, [...outer, wrap]))

/** The model with `wrapper` around each of its calls. */
export const around =
  ({ call, stream }: Wrapper) =>
  ({ direct, model }: Source): Wrapped => {
    const wrapped = {
      ...model,
      generateText: (options: never) => call(model.generateText(options)),
      generateObject: (options: never) => call(model.generateObject(options)),
      streamText: (options: never) => stream(model.streamText(options))
    }
    return {
      // The functions take and give what those of the model do.
      model: wrapped as unknown as LanguageModel.LanguageModel,
      direct:
        direct === undefined
          ? undefined
          : {
              generateText: (request, memory) => call(direct.generateText(request, memory)),
              streamText: (request, memory) => stream(direct.streamText(request, memory))
            }
    }
  }

/** The model, sent what `change` makes of each conversation. */
export const sending =
  (change: (prompt: Prompt.Prompt) => Prompt.Prompt) =>
  ({ direct, model }: Source): Wrapped => {
    const changed = (options: { readonly prompt: Prompt.RawInput }) =>
      ({ ...options, prompt: change(Prompt.make(options.prompt)) }) as never
    const wrapped = {
      ...model,
      generateText: (options: never) => model.generateText(changed(options)),
      generateObject: (options: never) => model.generateObject(changed(options)),
      streamText: (options: never) => model.streamText(changed(options))
    }
    return {
      // The functions take and give what those of the model do.
      model: wrapped as unknown as LanguageModel.LanguageModel,
      direct:
        direct === undefined
          ? undefined
          : {
              generateText: (request, memory) => direct.generateText(changed(request), memory),
              streamText: (request, memory) => direct.streamText(changed(request), memory)
            }
    }
  }

/** The model's name, for a key. */
export const nameOf = ({ info }: Source): string => (info === undefined ? "model" : `${info.provider}/${info.model}`)
