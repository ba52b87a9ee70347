/** Speech by a model: a service, which `OpenAi.layerSpeech` and `AiSdk.layerSpeech` provide, and a tool for agents. */
import * as Effect from "effect/Effect"
import type * as AiError from "effect/ai/AiError"
import * as Schema from "effect/Schema"
import { assertOptions, namesOf } from "../../internal/definition.ts"
import type * as AgentTool from "../../AgentTool.ts"
import type { ServicesIn } from "../../internal/wiring.ts"
import * as Port from "../../services/Speech.ts"
import { type Saves, saved, toolOf } from "./internal/tool.ts"

export { type Request, type Result, Speech } from "../../services/Speech.ts"
export type { Saves } from "./internal/tool.ts"

/**
 * Says a text. Fails with `AiError`; interruption aborts the request on the wire.
 *
 * @example
 * import { Effect } from "effect"
 * import { OpenAi, Speech } from "troupe"
 *
 * const hello = Speech.synthesize({ text: "Hello!", voice: "alloy", format: "wav" }).pipe(
 *   Effect.provide(OpenAi.layerSpeech({ model: "gpt-4o-mini-tts" }))
 * )
 */
export const synthesize = (request: Port.Request): Effect.Effect<Port.Result, AiError.AiError, Port.Speech> =>
  Effect.flatMap(Port.Speech, (service) => service.synthesize(request))

/** How an agent speaks. */
export interface ToolOptions<Out> extends Omit<Port.Request, "text"> {
  /** Default `speak`. */
  readonly name?: string | undefined
  readonly description?: string | undefined
  /** Keeps, sends or plays what was said, and returns where it is, such as a path or an address, which the model sees. */
  readonly save: Saves<Port.Result, Out>
}

/**
 * A tool with which an agent has a text said, by the service `Speech` around the run. A failure goes to the model as that of any tool.
 * Interrupting the run aborts the request.
 *
 * @example
 * import { Agent, Speech } from "troupe"
 *
 * const played: Array<Uint8Array> = []
 * const guide = Agent.make("guide", {
 *   tools: [Speech.tool({ voice: "nova", save: ({ data }) => `sound ${played.push(data)}` })]
 * })
 */
export const tool = <Out>(options: ToolOptions<Out>): AgentTool.AgentTool<string, Port.Speech | ServicesIn<Out>> => {
  assertOptions("Speech.tool", options, known)
  const { description = "Says a text aloud.", name = "speak", save, ...how } = options
  return toolOf({
    name,
    description,
    parameters: Schema.Struct({ text: Schema.String }),
    execute: ({ text }) =>
      Effect.gen(function* () {
        const sound = yield* synthesize({ ...how, text })
        return { mediaType: sound.mediaType, bytes: sound.data.length, saved: yield* saved(save, sound) }
      })
  })
}

const known = namesOf<ToolOptions<never>>({
  name: true,
  description: true,
  save: true,
  voice: true,
  instructions: true,
  format: true,
  speed: true
})
