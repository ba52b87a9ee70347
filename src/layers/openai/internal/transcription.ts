/** The API that writes down what is said. */
import type * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import type { Request, Result, Transcription } from "../../../services/Transcription.ts"
import { endingOf, tooLong, transcriptOf } from "../../internal/model/media.ts"
import type { Problem } from "../../internal/model/problems.ts"
import type { WholeAnswer } from "./answering.ts"
import type { EndpointOptions } from "./connection.ts"
import * as Endpoint from "./endpoint.ts"
import type { FormPart } from "./form.ts"

/** How a model that writes down what is said is reached. */
export interface TranscriptionOptions extends EndpointOptions {
  /** The most bytes of a recording. A larger one is refused before a request. Default: OpenAI's limit, 25 MiB. */
  readonly maxAudioBytes?: number | undefined
}

/** Fails with `ConfigError` for options that no request can be made with. */
export const make = (options: TranscriptionOptions): Effect.Effect<Transcription["Service"], Config.ConfigError> =>
  Effect.map(Endpoint.make(options), (endpoint) => ({
    transcribe: (request) =>
      Effect.suspend(() => {
        const question = questionOf(request, endpoint.model)
        const problem = tooLong(request, options.maxAudioBytes ?? 25 * 1024 * 1024)
        return problem === undefined ? endpoint.ask(question, read) : endpoint.fail({ ...question, body: {} }, problem)
      })
  }))

const questionOf = (request: Request, model: string): Endpoint.Question => {
  const { data, language, mediaType, prompt, segments = false } = request
  const field = (name: string, value: string | undefined): ReadonlyArray<FormPart> =>
    value === undefined ? [] : [{ name, value }]
  return {
    method: "transcribe",
    path: "/audio/transcriptions",
    body: [
      ...field("model", model),
      ...field("response_format", segments ? "verbose_json" : "json"),
      ...field("timestamp_granularities[]", segments ? "segment" : undefined),
      ...field("language", language),
      ...field("prompt", prompt),
      { name: "file", fileName: `audio.${endingOf(mediaType)}`, mediaType, data }
    ]
  }
}

const times = { start: "start", end: "end", duration: "duration" }

const read = (answer: WholeAnswer): Effect.Effect<Result, Problem> =>
  Effect.flatMap(Endpoint.documentOf(answer), (document) => transcriptOf(document, times))
