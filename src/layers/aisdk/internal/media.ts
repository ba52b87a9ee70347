/** Models of the AI SDK that make images, speak, or write down what is said. */
import type { SharedV4ProviderOptions } from "@ai-sdk/provider"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as AiError from "effect/ai/AiError"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import { countOf } from "../../../internal/definition.ts"
import type * as Images from "../../../services/Images.ts"
import type * as Speech from "../../../services/Speech.ts"
import type * as Transcription from "../../../services/Transcription.ts"
import type * as Calling from "../../internal/model/calling.ts"
import { audioType, bytesOf, imageType, tooLong, transcriptOf } from "../../internal/model/media.ts"
import { malformed, type Problem } from "../../internal/model/problems.ts"
import { isFields, list, number } from "../../internal/model/wire.ts"
import * as Calls from "./calls.ts"
import type { ProviderOptions } from "./options.ts"

/** A model that answers as a whole: `ImageModelV4`, `SpeechModelV4` or `TranscriptionModelV4`, as far as it has to be known here. */
export interface Model {
  readonly specificationVersion: "v4"
  readonly provider: string
  readonly modelId: string
  doGenerate(options: never): PromiseLike<unknown>
}

/** How a model that answers as a whole is called. */
export interface MediaOptions {
  /** How long an answer may take. Then the request is aborted and counts as a lost connection. Default 10 minutes. */
  readonly timeout?: Duration.Input | undefined
  /** Retry policy for transient failures. Default: twice more, with backoff and `retry-after`. */
  readonly retry?: Calling.Retry
  readonly providerOptions?: ProviderOptions | undefined
  /** The most bytes that an answer may have in sum. More fails the call. Default 256 MiB. */
  readonly maxAnswerBytes?: number | undefined
}

/** Options of a model that speaks. */
export interface SpeechOptions extends MediaOptions {
  /** The voice of requests that name none. */
  readonly voice?: string | undefined
}

/** Options of a model that writes down what is said. */
export interface TranscriptionOptions extends Omit<MediaOptions, "maxAnswerBytes"> {
  /** The most bytes that a recording may have. Default 25 MiB. */
  readonly maxAudioBytes?: number | undefined
}

type Ask = (options: Readonly<Record<string, unknown>>) => PromiseLike<unknown>

// The public type leaves out what only these functions call.
const asking = (model: Model): Ask => model.doGenerate.bind(model) as unknown as Ask

const own = ({ providerOptions = {} }: Pick<MediaOptions, "providerOptions">) => ({
  providerOptions: providerOptions as SharedV4ProviderOptions
})

const mebi = 1024 * 1024
const tooLarge = (bytes: number, most: number): Problem =>
  malformed(
    `the answer has ${bytes} bytes, and ${most} are allowed: raise \`maxAnswerBytes\` if such answers are meant`
  )

/** Images by a model, in as many requests as it takes, two at once. */
export const images = (model: Model, options: MediaOptions): Images.Images["Service"] => {
  const calls = Calls.make(model, "generateImages", options)
  const most = countOf("AiSdk.layerImages", "maxAnswerBytes", options.maxAnswerBytes ?? 256 * mebi)
  const ask = asking(model)
  const some = (request: Images.Request, n: number): Effect.Effect<Images.Result, AiError.AiError> =>
    calls.ask(
      (abortSignal) =>
        ask({
          prompt: request.prompt,
          n,
          size: request.size,
          aspectRatio: request.aspectRatio,
          seed: request.seed,
          files: request.images?.map((image) => ({ type: "file", ...image })),
          mask: request.mask === undefined ? undefined : { type: "file", ...request.mask },
          abortSignal,
          ...own(options)
        }),
      imagesIn
    )
  return {
    generate: (request) =>
      Effect.gen(function* () {
        const counts = shares(request.count ?? 1, yield* calls.within(async () => await maxPerCall(model)))
        const answers = yield* Effect.forEach(counts, (n) => some(request, n), { concurrency: 2 })
        const made = answers.flatMap((one) => one.images)
        const size = made.reduce((sum, { data }) => sum + data.length, 0)
        if (size > most) return yield* calls.fail(tooLarge(size, most))
        return {
          images: made,
          usage: { inputTokens: sum(answers, "inputTokens"), outputTokens: sum(answers, "outputTokens") }
        }
      })
  }
}

/** How many images one request makes. Unset: one, which every model makes. */
const maxPerCall = async (model: Model): Promise<number> => {
  const given = Predicate.hasProperty(model, "maxImagesPerCall") ? model.maxImagesPerCall : undefined
  const most: unknown = typeof given === "function" ? await given({ modelId: model.modelId }) : given
  return typeof most === "number" && most >= 1 ? Math.floor(most) : 1
}

const shares = (count: number, most: number): ReadonlyArray<number> =>
  Array.from({ length: Math.ceil(count / most) }, (_, index) => Math.min(most, count - index * most))

const sum = (answers: ReadonlyArray<Images.Result>, name: keyof Images.Result["usage"]): number | undefined => {
  const known = answers.flatMap(({ usage }) => usage[name] ?? [])
  return known.length === 0 ? undefined : known.reduce((all, one) => all + one, 0)
}

const imagesIn = (answer: unknown): Effect.Effect<Images.Result, Problem> => {
  const given = isFields(answer) ? list(answer, "images") : []
  const made = given.flatMap((one) => Option.toArray(bytesOf(one)))
  if (made.length === 0 || made.length < given.length) {
    return Effect.fail(malformed("the answer has no image that can be read"))
  }
  const usage = isFields(answer) ? answer["usage"] : undefined
  return Effect.succeed({
    images: made.map((data) => ({ mediaType: imageType(data), data })),
    usage: { inputTokens: number(usage, "inputTokens"), outputTokens: number(usage, "outputTokens") }
  })
}

/** Speech by a model. */
export const speech = (model: Model, options: MediaOptions, voice: string | undefined): Speech.Speech["Service"] => {
  const calls = Calls.make(model, "synthesize", options)
  const most = countOf("AiSdk.layerSpeech", "maxAnswerBytes", options.maxAnswerBytes ?? 256 * mebi)
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
            ? Effect.fail(tooLarge(data.length, most))
            : Effect.succeed({ mediaType: audioType(format), data })
        }
      )
  }
}

const times = { start: "startSecond", end: "endSecond", duration: "durationInSeconds" }

/** Texts of recordings by a model. */
export const transcription = (model: Model, options: TranscriptionOptions): Transcription.Transcription["Service"] => {
  const calls = Calls.make(model, "transcribe", options)
  const most = countOf("AiSdk.layerTranscription", "maxAudioBytes", options.maxAudioBytes ?? 25 * mebi)
  const ask = asking(model)
  return {
    transcribe: (request): Effect.Effect<Transcription.Result, AiError.AiError> => {
      const problem = tooLong(request, most)
      if (problem !== undefined) return calls.fail(problem)
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
        (answer) => transcriptOf(answer, times)
      )
    }
  }
}
