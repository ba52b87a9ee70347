/** Answers of models as the servers of vendors write them. */
import { type Answer, json } from "./wire.ts"

/** A whole answer of Anthropic's. */
export const claudeSays = (text: string): Answer =>
  json({
    id: "m",
    type: "message",
    role: "assistant",
    model: "m",
    content: [{ type: "text", text }],
    stop_reason: "end_turn",
    usage: { input_tokens: 1, output_tokens: 1 }
  })

/** A whole answer of Google's. */
export const geminiSays = (text: string): Answer =>
  json({ candidates: [{ content: { parts: [{ text }] }, finishReason: "STOP" }] })

/** A whole answer by Chat Completions. */
export const chatSays = (text: string): Answer =>
  json({ choices: [{ index: 0, message: { content: text }, finish_reason: "stop" }] })

/** How a streamed answer of Anthropic's begins: its first words are `text`. */
export const claudeBegins = (text: string): ReadonlyArray<object> => [
  {
    type: "message_start",
    message: {
      id: "m",
      type: "message",
      role: "assistant",
      model: "m",
      content: [],
      usage: { input_tokens: 1, output_tokens: 0 }
    }
  },
  { type: "content_block_start", index: 0, content_block: { type: "text", text: "" } },
  { type: "content_block_delta", index: 0, delta: { type: "text_delta", text } }
]
