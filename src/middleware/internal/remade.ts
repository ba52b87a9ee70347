/** A message with other content or options. */
import * as Prompt from "effect/ai/Prompt"
import { isOfLoop, ownMessage } from "../../internal/input.ts"

/**
 * The message with another content, of parts that a message of its role has, and other options. One that the loop has said stays
 * one.
 */
export const remade = (
  message: Prompt.Message,
  content: Prompt.Message["content"],
  options: Prompt.Message["options"]
): Prompt.Message => {
  const made = of(message, content, options)
  return isOfLoop(message) ? ownMessage(made) : made
}

const of = (
  message: Prompt.Message,
  content: Prompt.Message["content"],
  options: Prompt.Message["options"]
): Prompt.Message => {
  switch (message.role) {
    case "system":
      return Prompt.systemMessage({ content: content as Prompt.SystemMessage["content"], options })
    case "user":
      return Prompt.userMessage({ content: content as Prompt.UserMessage["content"], options })
    case "assistant":
      return Prompt.assistantMessage({ content: content as Prompt.AssistantMessage["content"], options })
    case "tool":
      return Prompt.toolMessage({ content: content as Prompt.ToolMessage["content"], options })
  }
}
