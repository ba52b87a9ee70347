/** What middleware puts around the model itself: each attempt of a call passes it, and a call whose outcome is kept does not. */
import * as Context from "effect/Context"
import type * as LanguageModel from "effect/ai/LanguageModel"
import type * as ModelInfo from "../services/ModelInfo.ts"

/** A model with its metadata. */
export interface Source {
  readonly model: LanguageModel.LanguageModel
  readonly info: ModelInfo.ModelInfo | undefined
  readonly direct: ModelInfo.Direct | undefined
}

/** What takes the place of a model. */
export type Wrapped = Pick<Source, "model" | "direct">

/** Puts something around a model. */
export type Wrapper = (source: Source) => Wrapped

/** The wrappers of a model call, outermost first. */
export const CurrentWrappers: Context.Reference<ReadonlyArray<Wrapper>> = Context.Reference<ReadonlyArray<Wrapper>>(
  "troupe/internal/ModelWrappers",
  { defaultValue: () => none }
)
const none: ReadonlyArray<never> = []
