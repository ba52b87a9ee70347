/** The services of a model of ours, made of how it is called. */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as LanguageModel from "effect/ai/LanguageModel"
import * as ModelInfo from "../../../services/ModelInfo.ts"

/** A model by its calls: the agent loop makes them as they are, and other programs through `effect/ai`. */
export const contextOf = (
  info: ModelInfo.ModelInfo,
  direct: ModelInfo.Direct
): Effect.Effect<Context.Context<LanguageModel.LanguageModel>> =>
  Effect.map(
    LanguageModel.make({
      generateText: (request) => Effect.map(direct.generateText(request), (parts) => [...parts]),
      streamText: (request) => direct.streamText(request)
    }),
    (model) => ModelInfo.context(model, info, direct)
  )
