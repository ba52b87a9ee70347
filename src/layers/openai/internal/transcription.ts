/** The API that writes down what is said. */
import type * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import type { Request, Result, Segment, Transcription } from "../../../services/Transcription.ts"
import { endingOf, secondsOf } from "../../internal/model/media.ts"
import { malformed, type Problem } from "../../internal/model/problems.ts"
import { isFields, list, text } from "../../internal/model/wire.ts"
import type { WholeAnswer } from "./answering.ts"
import * as Endpoint from "./endpoint.ts"
import type { FormPart } from "./form.ts"

/** What it may be given. */
export interface Asked {
  readonly maxAudioBytes: number
}

/** Fails with `ConfigError` for options that no request can be made with. */
export const make = (
  options: Endpoint.Options,
  { maxAudioBytes }: Asked
): Effect.Effect<Transcription["Service"], Config.ConfigError> =>
  Effect.map(Endpoint.make(options), (endpoint) => ({
    transcribe: (request) =>
      Effect.suspend(() => {
        const question = questionOf(request, endpoint.model)
        const { length } = request.data
        if (length > maxAudioBytes) {
          const message = `the recording has ${length} bytes, and ${maxAudioBytes} are allowed: send it in pieces, or raise \`maxAudioBytes\``
          return endpoint.fail({ ...question, body: {} }, { kind: "unsupported", message })
        }
        return endpoint.ask(question, read)
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

const segmentOf = (one: unknown): ReadonlyArray<Segment> => {
  const [startSecond, endSecond] = [secondsOf(one, "start"), secondsOf(one, "end")]
  const said = isFields(one) ? text(one, "text") : undefined
  return startSecond === undefined || endSecond === undefined || said === undefined
    ? []
    : [{ text: said.trim(), startSecond, endSecond }]
}

const read = (answer: WholeAnswer): Effect.Effect<Result, Problem> =>
  Effect.flatMap(Endpoint.documentOf(answer), (document) =>
    typeof document["text"] === "string"
      ? Effect.succeed({
          text: document["text"],
          segments: list(document, "segments").flatMap(segmentOf),
          language: text(document, "language"),
          durationSeconds: secondsOf(document, "duration")
        })
      : Effect.fail(malformed("the server's answer has no text"))
  )
