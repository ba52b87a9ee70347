/** Models of the AI SDK that make images, speak, or write down what is said. */
import type { SharedV4ProviderOptions } from "@ai-sdk/provider"
import * as Effect from "effect/Effect"
import type * as AiError from "effect/ai/AiError"
import * as Option from "effect/Option"
import type * as Images from "../../../services/Images.ts"
import type * as Speech from "../../../services/Speech.ts"
import type * as Transcription from "../../../services/Transcription.ts"
import { audioType, bytesOf, imageType, secondsOf } from "../../internal/model/media.ts"
import { malformed } from "../../internal/model/problems.ts"
import { isFields, list, number, text } from "../../internal/model/wire.ts"
import * as Calls from "./calls.ts"
import type { ProviderOptions } from "./options.ts"

/** A model that answers as a whole: `ImageModelV4`, `SpeechModelV4` or `TranscriptionModelV4`, as far as it has to be known here. */
export interface Model {
  readonly specificationVersion: "v4"
  readonly provider: string
  readonly modelId: string
  doGenerate(options: never): PromiseLike<unknown>
}

/** How such a model is called. */
export interface Options extends Calls.Options {
  readonly providerOptions?: ProviderOptions | undefined
  /** The most bytes that an answer may have in sum. */
  readonly maxAnswerBytes?: number | undefined
  /** The most bytes of a recording. */
  readonly maxAudioBytes?: number | undefined
}

type Ask = (options: Readonly<Record<string, unknown>>) => PromiseLike<unknown>

// The public type leaves out what only these functions call.
const asking = (model: Model): Ask => model.doGenerate.bind(model) as unknown as Ask

const own = ({ providerOptions = {} }: Options) => ({ providerOptions: providerOptions as SharedV4ProviderOptions })

const mebi = 1024 * 1024
const tooLarge = (bytes: number, most: number) =>
  Effect.fail(
    malformed(
      `the answer has ${bytes} bytes, and ${most} are allowed: raise \`maxAnswerBytes\` if such answers are meant`
    )
  )

/** Images by a model, in as many calls as it takes. */
export const images = (model: Model, options: Options): Images.Images["Service"] => {
  const calls = Calls.make(model, "generateImages", options)
  const most = options.maxAnswerBytes ?? 256 * mebi
  const ask = asking(model)
  return {
    generate: (request) =>
      calls.ask(
        (abortSignal) =>
          ask({
            prompt: request.prompt,
            n: request.count ?? 1,
            size: request.size,
            aspectRatio: request.aspectRatio,
            seed: request.seed,
            files: request.images?.map((image) => ({ type: "file", ...image })),
            mask: request.mask === undefined ? undefined : { type: "file", ...request.mask },
            abortSignal,
            ...own(options)
          }),
        (answer) => {
          const given = isFields(answer) ? list(answer, "images") : []
          const made = given.flatMap((one) => Option.toArray(bytesOf(one)))
          if (made.length === 0 || made.length < given.length)
            return Effect.fail(malformed("the answer has no image that can be read"))
          const size = made.reduce((sum, { length }) => sum + length, 0)
          if (size > most) return tooLarge(size, most)
          const usage = isFields(answer) ? answer["usage"] : undefined
          return Effect.succeed({
            images: made.map((data) => ({ mediaType: imageType(data), data })),
            usage: { inputTokens: number(usage, "inputTokens"), outputTokens: number(usage, "outputTokens") }
          })
        }
      )
  }
}

/** Speech by a model. */
export const speech = (model: Model, options: Options, voice: string | undefined): Speech.Speech["Service"] => {
  const calls = Calls.make(model, "synthesize", options)
  const most = options.maxAnswerBytes ?? 256 * mebi
  const ask = asking(model)
  return {
    synthesize: ({ format = "mp3", instructions, speed, text, voice: wanted = voice }) =>
      calls.ask(
        (abortSignal) =>
          ask({ text, voice: wanted, instructions, speed, outputFormat: format, abortSignal, ...own(options) }),
        (answer) => {
          const data = Option.getOrUndefined(bytesOf(isFields(answer) ? answer["audio"] : undefined))
          if (data === undefined) return Effect.fail(malformed("the answer has no sound"))
          return data.length > most
            ? tooLarge(data.length, most)
            : Effect.succeed({ mediaType: audioType(format), data })
        }
      )
  }
}

/** Texts of recordings by a model. */
export const transcription = (model: Model, options: Options): Transcription.Transcription["Service"] => {
  const calls = Calls.make(model, "transcribe", options)
  const most = options.maxAudioBytes ?? 25 * mebi
  const ask = asking(model)
  return {
    transcribe: (request): Effect.Effect<Transcription.Result, AiError.AiError> => {
      const { length } = request.data
      if (length > most) {
        const message = `the recording has ${length} bytes, and ${most} are allowed: send it in pieces, or raise \`maxAudioBytes\``
        return calls.fail({ kind: "unsupported", message })
      }
      if (request.language !== undefined || request.prompt !== undefined) {
        const message =
          "a model of the AI SDK takes no `language` or `prompt` of its own: give them in `providerOptions`"
        return calls.fail({ kind: "unsupported", lacks: request.prompt === undefined ? "language" : "prompt", message })
      }
      return calls.ask(
        (abortSignal) =>
          ask({
            audio: request.data,
            mediaType: request.mediaType,
            ...(request.segments === true ? { timestampGranularities: ["segment"] } : {}),
            abortSignal,
            ...own(options)
          }),
        (answer) =>
          isFields(answer) && typeof answer["text"] === "string"
            ? Effect.succeed({
                text: answer["text"],
                segments: list(answer, "segments").flatMap(segmentOf),
                language: text(answer, "language"),
                durationSeconds: secondsOf(answer, "durationInSeconds")
              })
            : Effect.fail(malformed("the answer has no text"))
      )
    }
  }
}

const segmentOf = (one: unknown): ReadonlyArray<Transcription.Segment> => {
  const [startSecond, endSecond] = [secondsOf(one, "startSecond"), secondsOf(one, "endSecond")]
  const said = isFields(one) ? text(one, "text") : undefined
  return startSecond === undefined || endSecond === undefined || said === undefined
    ? []
    : [{ text: said, startSecond, endSecond }]
}
