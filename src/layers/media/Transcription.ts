/** What is said in recordings, by a model: a service, which `OpenAi.layerTranscription` and `AiSdk.layerTranscription` provide, and a tool. */
import * as Effect from "effect/Effect"
import type * as AiError from "effect/ai/AiError"
import * as Schema from "effect/Schema"
import { assertOptions, namesOf } from "../../internal/definition.ts"
import type * as AgentTool from "../../AgentTool.ts"
import type { ServicesIn } from "../../internal/wiring.ts"
import * as Port from "../../services/Transcription.ts"
import { type Saves, saved, toolOf } from "./internal/tool.ts"

export { type Audio, type Request, type Result, type Segment, Transcription } from "../../services/Transcription.ts"
export type { Saves } from "./internal/tool.ts"

/**
 * Writes down what is said. Fails with `AiError`; interruption aborts the request on the wire.
 *
 * @example
 * import { Effect } from "effect"
 * import { OpenAi, Transcription } from "troupe"
 *
 * const said = (recording: Uint8Array) =>
 *   Transcription.transcribe({ mediaType: "audio/wav", data: recording, segments: true }).pipe(
 *     Effect.provide(OpenAi.layerTranscription({ model: "whisper-1" }))
 *   )
 */
export const transcribe = (request: Port.Request): Effect.Effect<Port.Result, AiError.AiError, Port.Transcription> =>
  Effect.flatMap(Port.Transcription, (service) => service.transcribe(request))

/** How an agent reads recordings. */
export interface ToolOptions<Out> extends Pick<Port.Request, "language" | "prompt"> {
  /** Default `transcribe`. */
  readonly name?: string | undefined
  /** Says which recordings there are, and how they are named. */
  readonly description: string
  /** Returns the recording of a name that the model has chosen: check it as you check any argument. */
  readonly load: Saves<string, Out>
}

/**
 * A tool with which an agent reads what is said in a recording, by the service `Transcription` around the run. A failure goes to the
 * model as that of any tool. Interrupting the run aborts the request.
 *
 * @example
 * import { Agent, Transcription } from "troupe"
 *
 * const calls = new Map<string, Transcription.Audio>()
 * const reader = Agent.make("reader", {
 *   tools: [
 *     Transcription.tool({
 *       description: "Reads a phone call by its number",
 *       load: (name) => calls.get(name) ?? Promise.reject(new Error("there is no such call"))
 *     })
 *   ]
 * })
 */
export const tool = <Out extends Loaded>(
  options: ToolOptions<Out>
): AgentTool.AgentTool<string, Port.Transcription | ServicesIn<Out>> => {
  assertOptions("Transcription.tool", options, known)
  const { description, load, name = "transcribe", ...how } = options
  return toolOf({
    name,
    description,
    parameters: Schema.Struct({ recording: Schema.String }),
    execute: ({ recording }) =>
      Effect.gen(function* () {
        // `Loaded` says what comes of it.
        const { data, mediaType } = (yield* saved(load, recording)) as Port.Audio
        const { durationSeconds, text } = yield* transcribe({ ...how, data, mediaType })
        return { text, ...(durationSeconds === undefined ? {} : { durationSeconds }) }
      })
  })
}

const known = namesOf<ToolOptions<never>>({
  name: true,
  description: true,
  load: true,
  language: true,
  prompt: true
})

/** A recording, or what gives one. */
export type Loaded = Port.Audio | PromiseLike<Port.Audio> | Effect.Effect<Port.Audio, unknown, unknown>
