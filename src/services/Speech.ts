/** The port to models that speak. `layers/media/Speech.ts` is the public module. */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as AiError from "effect/ai/AiError"

/** What is to be said. */
export interface Request {
  readonly text: string
  /** A voice of the model, such as `alloy`. Default: that of the Layer, otherwise the model's own. */
  readonly voice?: string | undefined
  /** How it is to be said, for models that can be directed. */
  readonly instructions?: string | undefined
  /** Such as `mp3` (default), `wav`, `opus`, `flac`. */
  readonly format?: string | undefined
  /** 1 is as usual. */
  readonly speed?: number | undefined
}

/** What was said. */
export interface Result {
  /** Such as `audio/mpeg`. */
  readonly mediaType: string
  readonly data: Uint8Array
}

/** A model that speaks. */
export class Speech extends Context.Service<
  Speech,
  {
    readonly synthesize: (request: Request) => Effect.Effect<Result, AiError.AiError>
  }
>()("troupe/Speech") {}
