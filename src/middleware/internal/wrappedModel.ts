/**
 * Wraps the model of a context for the calls inside of an Effect. So it stands inside of retries and of the journal: each attempt
 * passes it, and a call whose outcome is kept does not.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as AiError from "effect/ai/AiError"
import * as LanguageModel from "effect/ai/LanguageModel"
import type * as Stream from "effect/Stream"
import * as ModelInfo from "../../services/ModelInfo.ts"

/** What is around each call of a model. */
export interface Wrapper {
  readonly call: <A, R>(call: Effect.Effect<A, AiError.AiError, R>) => Effect.Effect<A, AiError.AiError, R>
  readonly stream: <A, R>(call: Stream.Stream<A, AiError.AiError, R>) => Stream.Stream<A, AiError.AiError, R>
}

/** A model with its metadata. */
export interface Source {
  readonly model: LanguageModel.LanguageModel
  readonly known: ModelInfo.Described | undefined
}

/** What takes the place of a model. */
export interface Wrapped {
  readonly model: LanguageModel.LanguageModel
  readonly direct: ModelInfo.Direct | undefined
}

/** Goes on with the model that `wrap` makes of that of the context. */
export const provide = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  wrap: (source: Source) => Wrapped
): Effect.Effect<A, E, R> =>
  Effect.withFiber((fiber) => {
    const model = Context.getOrUndefined(fiber.context, LanguageModel.LanguageModel)
    if (model === undefined) return effect
    const known = ModelInfo.describe(fiber.context)
    const wrapped = wrap({ model, known })
    const services =
      known === undefined
        ? Context.make(LanguageModel.LanguageModel, wrapped.model)
        : ModelInfo.context(wrapped.model, known.info, wrapped.direct)
    return Effect.updateContext(effect, (context: Context.Context<R>) => Context.merge(context, services))
  })

/** The model with `wrapper` around each of its calls. */
export const around =
  ({ call, stream }: Wrapper) =>
  ({ known, model }: Source): Wrapped => {
    const direct = known?.direct
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

/** The model's name, for a key. */
export const nameOf = ({ known }: Source): string =>
  known === undefined ? "model" : `${known.info.provider}/${known.info.model}`
