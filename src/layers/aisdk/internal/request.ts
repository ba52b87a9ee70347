/** A request as the AI SDK takes it. */
import type {
  LanguageModelV4CallOptions,
  LanguageModelV4FunctionTool,
  LanguageModelV4ProviderTool,
  LanguageModelV4ToolChoice
} from "@ai-sdk/provider"
import type * as LanguageModel from "effect/ai/LanguageModel"
import * as Tool from "effect/ai/Tool"
import { Unsupported } from "../../internal/model/problems.ts"
import * as Schemas from "../../internal/model/jsonSchema.ts"
import type { Typed } from "../../internal/model/typedOutput.ts"
import { isFields } from "../../internal/model/wire.ts"
import { type Asked, type CallOptions, fields } from "./options.ts"
import { messagesOf, type PromptTarget } from "./prompt.ts"

/** Throws `Unsupported` for what the model cannot be asked. */
export const encode = (
  { format, request }: Typed,
  options: CallOptions,
  to: PromptTarget & Pick<Asked, "conversation" | "thinks">
): LanguageModelV4CallOptions => ({
  ...fields(options, { ...to.features, conversation: to.conversation, thinks: to.thinks }),
  prompt: messagesOf(request.prompt, to),
  ...(request.tools.length === 0 ? {} : { tools: request.tools.map(toolOf), toolChoice: choiceOf(request.toolChoice) }),
  ...(format === undefined ? {} : { responseFormat: formatOf(format) })
})

const formatOf = (format: NonNullable<Typed["format"]>): NonNullable<LanguageModelV4CallOptions["responseFormat"]> => {
  if (format.type === "json_object") return { type: "json" }
  const { description, jsonSchema, name } = format.output
  return {
    type: "json",
    name,
    schema: Schemas.ofOutput(jsonSchema).schema,
    ...(description === undefined ? {} : { description })
  }
}

const toolOf = (tool: Tool.Any): LanguageModelV4FunctionTool | LanguageModelV4ProviderTool => {
  if (Tool.isProviderDefined(tool)) {
    if (tool.requiresHandler) {
      throw new Unsupported(`the provider's tool "${tool.name}" needs a handler here, which is not supported yet`)
    }
    return { type: "provider", id: tool.id, name: tool.name, args: isFields(tool.args) ? { ...tool.args } : {} }
  }
  const description = Tool.getDescription(tool)
  const strict = Tool.getStrictMode(tool)
  return {
    type: "function",
    name: tool.name as string,
    inputSchema: Schemas.ofTool(tool).schema,
    ...(description === undefined ? {} : { description }),
    ...(strict === undefined ? {} : { strict })
  }
}

const choiceOf = (choice: LanguageModel.ToolChoice<string>): LanguageModelV4ToolChoice => {
  if (typeof choice === "string") return { type: choice }
  return "tool" in choice ? { type: "tool", toolName: choice.tool } : { type: choice.mode ?? "auto" }
}
