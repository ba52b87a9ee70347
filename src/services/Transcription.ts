/** The port to models that write down what is said. `layers/media/Transcription.ts` is the public module. */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as AiError from "effect/ai/AiError"

/** A recording. */
export interface Audio {
  /** Such as `audio/mpeg` or `audio/wav`. */
  readonly mediaType: string
  readonly data: Uint8Array
}

/** What is asked for. */
export interface Request extends Audio {
  /** The language that is spoken, by two letters. Default: the model finds out. */
  readonly language?: string | undefined
  /** Words that may come, such as names, or the text before. */
  readonly prompt?: string | undefined
  /** Whether pieces with their times are wanted, for models that have them. Default false. */
  readonly segments?: boolean | undefined
}

/** A piece of what was said, with its time in seconds. */
export interface Segment {
  readonly text: string
  readonly startSecond: number
  readonly endSecond: number
}

/** What was said. */
export interface Result {
  readonly text: string
  /** Empty where none were asked for, or the model gives none. */
  readonly segments: ReadonlyArray<Segment>
  readonly language: string | undefined
  readonly durationSeconds: number | undefined
}

/** A model that writes down what is said. */
export class Transcription extends Context.Service<
  Transcription,
  {
    readonly transcribe: (request: Request) => Effect.Effect<Result, AiError.AiError>
  }
>()("troupe/Transcription") {}
