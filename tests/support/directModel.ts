/** The provider behind a model of ours, as the agent loop calls it. */
import { Effect } from "effect"
import type { LanguageModel } from "effect/ai"
import { ModelInfo } from "troupe"

export const directModel: Effect.Effect<ModelInfo.Direct, never, LanguageModel.LanguageModel> = Effect.withFiber(
  (fiber) => {
    const direct = ModelInfo.describe(fiber.context)?.direct
    return direct === undefined ? Effect.die(new Error("the model cannot be called directly")) : Effect.succeed(direct)
  }
)
