/** Refuses, before a request, what a model is known not to do. */
import * as Effect from "effect/Effect"
import type * as AiError from "effect/ai/AiError"
import type * as LanguageModel from "effect/ai/LanguageModel"
import * as Prompt from "effect/ai/Prompt"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import type { Capabilities } from "../../../data/models.ts"
import * as Lacking from "../../../internal/lacking.ts"
import * as ModelInfo from "../../../services/ModelInfo.ts"
import { typeOf } from "../../internal/model/files.ts"
import { contextOf } from "../../internal/model/direct.ts"

/** What a request asks for that the model lacks; `undefined` for nothing that is known. */
export const lacking = (
  request: LanguageModel.ProviderOptions,
  { images, reasoning, tools }: Capabilities,
  wanted: ModelInfo.Reasoning | undefined
): string | undefined => {
  if (tools === false && request.tools.length > 0 && request.toolChoice !== "none") return "tools"
  if (reasoning === false && wanted !== undefined && wanted !== "none") return "reasoning"
  if (images === false && hasImage(request.prompt.content)) return "images"
  return undefined
}

const isImage = ({ mediaType }: Prompt.FilePart): boolean => /^image\//i.test(mediaType.trim())

const hasImage = (messages: LanguageModel.ProviderOptions["prompt"]["content"]): boolean =>
  messages.some(
    (message) => message.role === "user" && message.content.some((part) => part.type === "file" && isImage(part))
  )

const givesImage = (part: Prompt.ToolMessagePart): part is Prompt.ToolResultPart =>
  part.type === "tool-result" && part.modelOutput?.some((output) => output.type === "file" && isImage(output)) === true

/**
 * The request with words in place of images that tools have given, for a model that reads none: a tool, unlike a prompt, is not the
 * program's to correct.
 */
const withoutToolImages = (request: LanguageModel.ProviderOptions): LanguageModel.ProviderOptions => {
  const { content } = request.prompt
  if (!content.some((message) => message.role === "tool" && message.content.some(givesImage))) return request
  const inWords = (part: Prompt.ToolMessagePart): Prompt.ToolMessagePart =>
    givesImage(part)
      ? Prompt.toolResultPart({
          ...part,
          modelOutput: part.modelOutput!.map((output) =>
            output.type === "file" && isImage(output)
              ? Prompt.textPart({ text: `[${typeOf(output.mediaType)} image; this model reads no images]` })
              : output
          )
        })
      : part
  const messages = content.map((message) =>
    message.role === "tool"
      ? Prompt.toolMessage({ content: message.content.map(inWords), options: message.options })
      : message
  )
  return { ...request, prompt: Prompt.fromMessages(messages) }
}

const advice: Readonly<Record<string, string>> = {
  tools: "Use another model, or an agent without tools",
  reasoning: "Use another model, or leave out `reasoning`",
  images: "Use another model, or describe the image in words"
}

/**
 * A model whose requests for what it lacks fail with `InvalidRequestError`, and whose `ModelInfo` has its capabilities. A model
 * of which it is not known how to call it directly stays as it is.
 */
export const within = <E, R>(
  model: Layer.Layer<LanguageModel.LanguageModel, E, R>,
  name: string,
  capabilities: Capabilities
): Layer.Layer<LanguageModel.LanguageModel, E, R> =>
  Layer.effectContext(
    Effect.flatMap(Layer.build(model), (context) => {
      const known = ModelInfo.describe(context)
      const direct = known?.direct
      if (known === undefined || direct === undefined) return Effect.succeed(context)
      const refusal = (request: LanguageModel.ProviderOptions, method: string) =>
        Effect.withFiber<void, AiError.AiError>((fiber) => {
          const lacks = lacking(request, capabilities, fiber.getRef(ModelInfo.CurrentSettings).reasoning)
          if (lacks === undefined) return Effect.void
          const description = `the model ${name} does not take ${lacks}, as the catalog of models says. ${advice[lacks]}; if the catalog is wrong, correct it with Models.withCatalog.`
          return Effect.fail(Lacking.errorOf({ module: "Models", method, what: lacks, description }))
        })
      const shown = (
        request: LanguageModel.ProviderOptions,
        memory: ModelInfo.RunMemory | undefined
      ): Parameters<ModelInfo.Direct["generateText"]> => {
        const sent = capabilities.images === false ? withoutToolImages(request) : request
        // What is kept for the next call is of the conversation as it is.
        return [sent, sent === request || memory === undefined ? memory : { kept: undefined }]
      }
      return contextOf(
        { ...known.info, capabilities },
        {
          generateText: (request, memory) =>
            Effect.andThen(refusal(request, "generateText"), direct.generateText(...shown(request, memory))),
          streamText: (request, memory) =>
            Stream.unwrap(Effect.as(refusal(request, "streamText"), direct.streamText(...shown(request, memory))))
        }
      )
    })
  )
