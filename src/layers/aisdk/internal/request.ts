/** A request as the AI SDK takes it. */
import type {
  LanguageModelV4CallOptions,
  LanguageModelV4FunctionTool,
  LanguageModelV4ProviderTool,
  LanguageModelV4ToolChoice
} from "@ai-sdk/provider"
import type * as LanguageModel from "effect/ai/LanguageModel"
import * as Tool from "effect/ai/Tool"
import { Deferred, markOf } from "../../../internal/toolMarks.ts"
import { Lacking, Unsupported } from "../../internal/model/problems.ts"
import type { Provider } from "./provider.ts"
import { argumentsOf, inCamelCase } from "../../internal/model/providerTool.ts"
import * as Schemas from "../../internal/model/jsonSchema.ts"
import { shapeOf, type Typed } from "../../internal/model/typedOutput.ts"
import { type AskedModel, type CallOptions, fields, marked } from "./options.ts"
import { messagesOf, type PromptTarget } from "./prompt.ts"

/** Throws `Unsupported` for what the model cannot be asked. */
export const encode = (
  { format, request }: Typed,
  options: CallOptions,
  to: PromptTarget & Pick<AskedModel, "conversation" | "thinks"> & { readonly searchesTools: boolean }
): LanguageModelV4CallOptions => ({
  ...fields(options, { ...to.features, conversation: to.conversation, thinks: to.thinks }),
  prompt: marked(messagesOf(request.prompt, to), options.cache, to.features),
  ...(request.tools.length === 0 ? {} : { tools: toolsOf(request, to), toolChoice: choiceOf(request.toolChoice) }),
  ...(format === undefined ? {} : { responseFormat: formatOf(format) })
})

const formatOf = (format: NonNullable<Typed["format"]>): NonNullable<LanguageModelV4CallOptions["responseFormat"]> =>
  format.type === "json_object" ? { type: "json" } : { type: "json", ...shapeOf(format.output).shape }

/** Anthropic's search among tools that were sent and not shown: in words, as our own is. */
const searchTool: LanguageModelV4ProviderTool = {
  type: "provider",
  id: "anthropic.tool_search_bm25_20251119",
  name: "tool_search_tool_bm25",
  args: {}
}

const toolsOf = (
  { toolChoice, tools }: LanguageModel.ProviderOptions,
  { features, searchesTools }: { readonly features: Provider; readonly searchesTools: boolean }
): NonNullable<LanguageModelV4CallOptions["tools"]> => {
  const forced = typeof toolChoice === "object" && "tool" in toolChoice ? toolChoice.tool : undefined
  // A tool that has to be called has to be shown.
  const isDeferred = (tool: Tool.Any) => searchesTools && tool.name !== forced && markOf(tool, Deferred)
  const sent = tools.map((tool) => {
    const own = toolOf(tool, features)
    return isDeferred(tool) ? { ...own, providerOptions: { anthropic: { deferLoading: true } } } : own
  })
  return tools.some(isDeferred) ? [searchTool, ...sent] : sent
}

/** Whose models run the tools of a provider, by the beginning of their ids. */
const runners: Readonly<Record<string, ReadonlyArray<string>>> = {
  openai: ["openai", "azure.ai.openai"],
  anthropic: ["anthropic", "aws.bedrock"],
  google: ["gcp.gemini", "gcp.vertex_ai"],
  xai: ["x_ai"],
  groq: ["groq"]
}

const toolOf = (
  tool: Tool.Any,
  { name: provider }: Provider
): LanguageModelV4FunctionTool | LanguageModelV4ProviderTool => {
  if (Tool.isProviderDefined(tool)) {
    const known = runners[tool.id.split(".")[0] ?? ""]
    if (known !== undefined && !known.includes(provider)) {
      throw new Lacking(tool.providerName, `${provider} does not run the tool ${tool.id}, which is of another provider`)
    }
    if (tool.requiresHandler) {
      throw new Unsupported(`the provider's tool "${tool.name}" needs a handler here, which is not supported yet`)
    }
    const args = argumentsOf(tool)
    return {
      type: "provider",
      id: tool.id,
      name: tool.name,
      args: tool.id.startsWith("openai.") ? inCamelCase(args) : { ...args }
    }
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
