/** The API that speaks. */
import type * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import type { Result, Speech } from "../../../services/Speech.ts"
import { joined } from "../../internal/bytes.ts"
import { audioType } from "../../internal/model/media.ts"
import { malformed, type Problem, quote } from "../../internal/model/problems.ts"
import type { WholeAnswer } from "./answering.ts"
import { textOf } from "./asking.ts"
import type { EndpointOptions } from "./connection.ts"
import * as Endpoint from "./endpoint.ts"

/** How a model that speaks is reached. */
export interface SpeechOptions extends EndpointOptions {
  /** The voice of requests that name none. Default `alloy`. */
  readonly voice?: string | undefined
}

/** Fails with `ConfigError` for options that no request can be made with. */
export const make = (options: SpeechOptions): Effect.Effect<Speech["Service"], Config.ConfigError> =>
  Effect.map(Endpoint.make(options), (endpoint) => ({
    synthesize: ({ format = "mp3", instructions, speed, text, voice = options.voice ?? "alloy" }) =>
      endpoint.ask(
        {
          method: "synthesize",
          path: "/audio/speech",
          body: {
            model: endpoint.model,
            input: text,
            voice,
            response_format: format,
            ...(instructions === undefined ? {} : { instructions }),
            ...(speed === undefined ? {} : { speed })
          }
        },
        (answer) => read(answer, format)
      )
  }))

/** Servers that cannot speak answer with words. */
const read = (answer: WholeAnswer, format: string): Effect.Effect<Result, Problem> =>
  Effect.suspend(() => {
    const { chunks, contentType } = answer
    if (/json/i.test(contentType)) {
      return Effect.flatMap(Endpoint.documentOf(answer), () =>
        Effect.fail(malformed(`the server's answer is not a sound: ${quote(textOf(chunks))}`))
      )
    }
    if (/^text\//i.test(contentType))
      return Effect.fail(malformed(`the server's answer is not a sound: ${quote(textOf(chunks))}`))
    const data = joined(chunks)
    if (data.length === 0) return Effect.fail(malformed("the server's answer is empty"))
    const type = contentType.split(";")[0]!.trim()
    return Effect.succeed({ mediaType: /^audio\//i.test(type) ? type : audioType(format), data })
  })
