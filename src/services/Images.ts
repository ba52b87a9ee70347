/** The port to models that make images. `layers/media/Images.ts` is the public module. */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as AiError from "effect/ai/AiError"

/** An image. */
export interface Image {
  /** Such as `image/png`. */
  readonly mediaType: string
  readonly data: Uint8Array
}

/** What is asked for. */
export interface Request {
  readonly prompt: string
  /** How many images. Default 1. */
  readonly count?: number | undefined
  /** Width and height in pixels, such as `1024x1024`. Default: the model's own. */
  readonly size?: `${number}x${number}` | undefined
  /** Such as `16:9`, for models that take no size. */
  readonly aspectRatio?: `${number}:${number}` | undefined
  readonly seed?: number | undefined
  /** Images that the new one is made of. */
  readonly images?: ReadonlyArray<Image> | undefined
  /** What of the first image is to be made again: where it is transparent. */
  readonly mask?: Image | undefined
}

/** What was made. */
export interface Result {
  readonly images: ReadonlyArray<Image>
  readonly usage: { readonly inputTokens: number | undefined; readonly outputTokens: number | undefined }
}

/** A model that makes images. */
export class Images extends Context.Service<
  Images,
  {
    readonly generate: (request: Request) => Effect.Effect<Result, AiError.AiError>
  }
>()("troupe/Images") {}
