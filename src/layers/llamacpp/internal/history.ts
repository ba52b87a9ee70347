/** Converts prompts to the form of `node-llama-cpp`, in which a call and its result are one item. */
import type { ChatHistoryItem, ChatModelFunctionCall, ChatModelResponse } from "node-llama-cpp"
import type * as Prompt from "effect/ai/Prompt"
import { toJson } from "../../../internal/json.ts"
import * as Files from "../../internal/model/files.ts"
import { Unsupported } from "../../internal/model/problems.ts"
import { argumentsOf } from "../../internal/model/wire.ts"

/** The conversation, which ends with the answer that is to be written. Throws `Unsupported` for a file that is not text. */
export const historyOf = (prompt: Prompt.Prompt): Array<ChatHistoryItem> => {
  const history: Array<ChatHistoryItem> = []
  const open = new Map<string, ChatModelFunctionCall>()
  const answer = (): ChatModelResponse => {
    const last = history.at(-1)
    if (last?.type === "model") return last
    const made: ChatModelResponse = { type: "model", response: [] }
    history.push(made)
    return made
  }
  for (const message of prompt.content) {
    switch (message.role) {
      case "system":
        history.push({ type: "system", text: message.content })
        break
      case "user":
        history.push({ type: "user", text: message.content.map(textOf).join("\n") })
        break
      case "assistant":
        for (const part of message.content) addPart(answer(), part, open)
        break
      case "tool":
        for (const part of message.content) {
          const call = part.type === "tool-result" ? open.get(part.id) : undefined
          if (call !== undefined && part.type === "tool-result") call.result = valueOf(part)
        }
    }
  }
  answer()
  return history
}

const addPart = (
  { response }: ChatModelResponse,
  part: Prompt.AssistantMessagePart,
  open: Map<string, ChatModelFunctionCall>
): void => {
  if (part.type === "text") response.push(part.text)
  if (part.type === "reasoning" && part.text !== "") {
    response.push({ type: "segment", segmentType: "thought", text: part.text, ended: true })
  }
  if (part.type === "file") response.push(Files.inWords(part))
  if (part.type === "tool-call" && !part.providerExecuted) {
    const call: ChatModelFunctionCall = {
      type: "functionCall",
      name: part.name,
      params: argumentsOf(part.params),
      result: { error: "no result" }
    }
    open.set(part.id, call)
    response.push(call)
  }
}

/** Files that are not text are only described: a tool, unlike a prompt, is not the program's to correct. */
const valueOf = ({ isFailure, modelOutput = [], result }: Prompt.ToolResultPart): unknown => {
  const words = modelOutput.map((output) => (output.type === "text" ? output.text : Files.inWords(output)))
  const value = words.length > 0 ? words.join("\n") : toJson(result)
  return isFailure ? { error: value } : value
}

const textOf = (part: Prompt.UserMessagePart): string => {
  if (part.type === "text") return part.text
  if (Files.textOf(Files.locate(part)) !== undefined) return Files.inWords(part)
  throw new Unsupported(
    `LlamaCpp.layer does not read files of type ${part.mediaType}: give their text, or use another model`
  )
}
