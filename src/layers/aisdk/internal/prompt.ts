/** Converts prompts to the AI SDK's form: what a provider does not take is said in words, and nothing is lost. */
import type {
  JSONValue,
  LanguageModelV4FilePart,
  LanguageModelV4Message,
  LanguageModelV4TextPart,
  LanguageModelV4ToolResultOutput,
  LanguageModelV4ToolResultPart
} from "@ai-sdk/provider"
import type * as Prompt from "effect/ai/Prompt"
import { digest } from "../../../internal/fingerprint.ts"
import { toJson } from "../../../internal/json.ts"
import { inWords } from "../../internal/model/files.ts"
import { argumentsOf, callName } from "../../internal/model/wire.ts"
import * as Files from "./files.ts"
import type { Provider } from "./provider.ts"
import { back, customKind, isForeign, isThought } from "./tags.ts"

/** The model that a prompt goes to. */
export interface PromptTarget extends Files.FileTarget {
  readonly features: Provider
}

/** The messages of a prompt. Throws `Unsupported` for what the model cannot be given. */
export const messagesOf = (prompt: Prompt.Prompt, to: PromptTarget): Array<LanguageModelV4Message> => {
  let isHead = true
  return prompt.content.flatMap((message): ReadonlyArray<LanguageModelV4Message> => {
    if (message.role === "system") return [systemOf(message, isHead || to.features.takesLateSystem, to)]
    isHead = false
    switch (message.role) {
      case "user":
        return [{ role: "user", content: message.content.map((part) => userPart(part, to)), ...ownOf(message, to) }]
      case "assistant":
        return assistantOf(message, to)
      case "tool":
        return toolOf(message, to)
    }
  })
}

const ownOf = (message: Prompt.Message, to: PromptTarget) => back(message.options, to.provider, false)

/** An instruction in the middle of a conversation is sent as a message of the user where the provider takes none there. */
const systemOf = (message: Prompt.SystemMessage, isTaken: boolean, to: PromptTarget): LanguageModelV4Message =>
  isTaken
    ? { role: "system", content: message.content, ...ownOf(message, to) }
    : { role: "user", content: [{ type: "text", text: message.content }], ...ownOf(message, to) }

const userPart = (part: Prompt.UserMessagePart, to: PromptTarget): LanguageModelV4TextPart | LanguageModelV4FilePart =>
  part.type === "text"
    ? { type: "text", text: part.text, ...back(part.options, to.provider, false) }
    : Files.ofUser(part, to)

type AssistantContent = Extract<LanguageModelV4Message, { role: "assistant" }>["content"]

const assistantOf = (message: Prompt.AssistantMessage, to: PromptTarget): ReadonlyArray<LanguageModelV4Message> => {
  const content = message.content.flatMap((part) => assistantPart(part, to))
  return content.length === 0 ? [] : [{ role: "assistant", content, ...ownOf(message, to) }]
}

const assistantPart = (part: Prompt.AssistantMessagePart, to: PromptTarget): AssistantContent => {
  const own = back(part.options, to.provider, true)
  const foreign = () => isForeign(part.options, to.provider)
  switch (part.type) {
    case "text":
      return [{ type: "text", text: part.text, ...own }]
    case "reasoning": {
      if (foreign()) return []
      const kind = customKind(part.options)
      return [kind === undefined ? { type: "reasoning", text: part.text, ...own } : { type: "custom", kind, ...own }]
    }
    case "file":
      if (!isThought(part.options)) return [answerFile(part, own, to)]
      return foreign() ? [] : thoughtFile(part, own)
    case "tool-call":
      return part.providerExecuted && foreign()
        ? []
        : [
            {
              type: "tool-call",
              toolCallId: sentId(part.id, part.providerExecuted),
              toolName: callName(part.name),
              input: argumentsOf(part.params),
              ...(part.providerExecuted ? { providerExecuted: true } : {}),
              ...own
            }
          ]
    case "tool-result":
      return foreign() ? [] : [resultOf(part, outputOf(part), part.providerExecuted, to)]
    case "tool-approval-request":
      return []
  }
}

const answerFile = (
  part: Prompt.FilePart,
  own: ReturnType<typeof back>,
  to: PromptTarget
): LanguageModelV4FilePart | LanguageModelV4TextPart => {
  const file = to.features.takesAnswerFiles ? Files.ofAnswer(part) : undefined
  return file === undefined ? { type: "text", text: inWords(part) } : { ...file, ...own }
}

/** A file of a thought goes back as it came, and to its own provider alone. */
const thoughtFile = (part: Prompt.FilePart, own: ReturnType<typeof back>): AssistantContent => {
  const file = Files.ofAnswer(part)
  return file === undefined || file.data.type !== "data"
    ? []
    : [{ type: "reasoning-file", mediaType: file.mediaType, data: file.data, ...own }]
}

/** Providers take ids of letters, digits, `_` and `-`; others have been made elsewhere. */
const sentId = (id: string, isProviders: boolean): string =>
  isProviders || /^[\w-]{1,64}$/.test(id) ? id : `call_${digest(id)}`

const resultOf = (
  part: Prompt.ToolResultPart,
  output: LanguageModelV4ToolResultOutput,
  isProviders: boolean,
  to: PromptTarget
): LanguageModelV4ToolResultPart => ({
  type: "tool-result",
  toolCallId: sentId(part.id, isProviders),
  toolName: callName(part.name),
  output,
  ...back(part.options, to.provider, true)
})

const outputOf = (part: Prompt.ToolResultPart): LanguageModelV4ToolResultOutput => {
  if (typeof part.result === "string") return { type: part.isFailure ? "error-text" : "text", value: part.result }
  // A result that a provider gave goes back as it was; JSON of ours has no other form.
  return { type: part.isFailure ? "error-json" : "json", value: toJson(part.result) as JSONValue }
}

/** The results of a step; the files of those whose provider takes none in a result follow in a message of their own. */
const toolOf = (message: Prompt.ToolMessage, to: PromptTarget): ReadonlyArray<LanguageModelV4Message> => {
  const results: Array<LanguageModelV4ToolResultPart> = []
  const after: Array<LanguageModelV4FilePart> = []
  for (const part of message.content) {
    if (part.type !== "tool-result") continue
    const { modelOutput = [] } = part
    if (modelOutput.length === 0) {
      results.push(resultOf(part, outputOf(part), false, to))
      continue
    }
    const shown = modelOutput.map((one) =>
      one.type === "text" ? ({ type: "text", text: one.text } as const) : (Files.ofAnswer(one) ?? inText(one))
    )
    const files = shown.filter((one) => one.type === "file")
    const texts = shown.flatMap((one) => (one.type === "text" ? [one.text] : []))
    if (files.length > 0 && to.features.takesResultFiles) {
      results.push(resultOf(part, { type: "content", value: shown }, false, to))
      continue
    }
    after.push(...files)
    const value = texts.length > 0 ? texts.join("\n") : "The result is in the files below."
    results.push(resultOf(part, { type: part.isFailure ? "error-text" : "text", value }, false, to))
  }
  if (results.length === 0) return []
  const answered: LanguageModelV4Message = { role: "tool", content: results, ...ownOf(message, to) }
  if (after.length === 0) return [answered]
  return [answered, { role: "user", content: [{ type: "text", text: "Files of the tool results above:" }, ...after] }]
}

const inText = (part: Prompt.FilePart) => ({ type: "text", text: inWords(part) }) as const
