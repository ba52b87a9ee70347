/** Images by a model: a service, which `OpenAi.layerImages` and `AiSdk.layerImages` provide, and a tool for agents. */
import * as Effect from "effect/Effect"
import type * as AiError from "effect/ai/AiError"
import * as Prompt from "effect/ai/Prompt"
import * as Schema from "effect/Schema"
import { assertOptions, namesOf } from "../../internal/definition.ts"
import type * as AgentTool from "../../AgentTool.ts"
import type { ServicesIn } from "../../internal/wiring.ts"
import * as Port from "../../services/Images.ts"
import { type Saves, saved, toolOf } from "./internal/tool.ts"

export { type Image, Images, type Request, type Result } from "../../services/Images.ts"
export type { Saves } from "./internal/tool.ts"

/**
 * Makes images. Fails with `AiError`; interruption aborts the request on the wire.
 *
 * @example
 * import { Effect } from "effect"
 * import { Images, OpenAi } from "troupe"
 *
 * const cat = Images.generate({ prompt: "A cat in the rain", size: "1024x1024" }).pipe(
 *   Effect.provide(OpenAi.layerImages({ model: "gpt-image-1" }))
 * )
 */
export const generate = (request: Port.Request): Effect.Effect<Port.Result, AiError.AiError, Port.Images> =>
  Effect.flatMap(Port.Images, (service) => service.generate(request))

const known = namesOf<ToolOptions<never>>({ name: true, description: true, size: true, save: true })

/** How an agent makes images. */
export interface ToolOptions<Out> {
  /** Default `generate_image`. */
  readonly name?: string | undefined
  readonly description?: string | undefined
  /** Width and height of each image in pixels. Default: the model's own. */
  readonly size?: Port.Request["size"]
  /**
   * Keeps an image and returns where it is, such as a path or an address, which is all that the model then sees. Default: the model
   * sees the image, and the transcript has it.
   */
  readonly save?: Saves<Port.Image, Out> | undefined
}

/**
 * A tool with which an agent has an image made, by the service `Images` around the run. A failure goes to the model as that of any tool.
 * Interrupting the run aborts the request.
 *
 * @example
 * import { Agent, Images } from "troupe"
 *
 * const painter = Agent.make("painter", { instructions: "Draw what is asked for.", tools: [Images.tool({ size: "1024x1024" })] })
 */
export const tool = <Out = never>(
  options: ToolOptions<Out> = {}
): AgentTool.AgentTool<string, Port.Images | ServicesIn<Out>> => {
  assertOptions("Images.tool", options, known)
  const { description = "Makes an image of a description.", name = "generate_image", save, size } = options
  const outputs = new WeakMap<object, ReadonlyArray<Prompt.ToolModelOutputPart>>()
  return toolOf({
    name,
    description,
    parameters: Schema.Struct({ prompt: Schema.String }),
    toModelOutput: outputs,
    execute: ({ prompt }) =>
      Effect.gen(function* () {
        const { images } = yield* generate({ prompt, ...(size === undefined ? {} : { size }) })
        const [image] = images
        if (image === undefined) return yield* Effect.fail("the model made no image")
        const about = { mediaType: image.mediaType, bytes: image.data.length }
        if (save !== undefined) return { ...about, saved: yield* saved(save, image) }
        outputs.set(about, [
          Prompt.textPart({ text: "The image:" }),
          Prompt.filePart({ mediaType: image.mediaType, data: image.data })
        ])
        return about
      })
  })
}
