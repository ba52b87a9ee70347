/** A conversation as a text, for a model that is to judge it and not to take part in it. */
import type * as Prompt from "effect/ai/Prompt"
import { toJson } from "../../internal/json.ts"
import { resultText } from "./compaction/count.ts"

/** How much of one message there is at least, where all would be too much, in characters. */
const least = 200

/** The messages as a text of about `room` characters at most: long ones are cut in their middle. */
export const render = (messages: ReadonlyArray<Prompt.Message>, room: number): string => {
  const lines = messages.flatMap(linesOf)
  const total = lines.reduce((sum, line) => sum + line.length, 0)
  if (total <= room) return lines.join("\n\n")
  // The room of short lines goes to the long ones.
  const sorted = lines.map(({ length }) => length).toSorted((a, b) => a - b)
  let left = room
  let most = least
  for (const [index, length] of sorted.entries()) {
    most = Math.max(least, Math.floor(left / (sorted.length - index)))
    if (length > most) break
    left -= length
  }
  return lines.map((line) => cut(line, most)).join("\n\n")
}

const cut = (text: string, most: number): string => {
  if (text.length <= most) return text
  const half = Math.floor(most / 2)
  return `${text.slice(0, half)} [...] ${text.slice(-half)}`
}

const linesOf = (message: Prompt.Message): ReadonlyArray<string> => {
  if (typeof message.content === "string") return [`${message.role}: ${message.content}`]
  return message.content.flatMap((part): ReadonlyArray<string> => {
    switch (part.type) {
      case "text":
        return [`${message.role}: ${part.text}`]
      case "tool-call":
        return [`assistant calls ${part.name}: ${JSON.stringify(toJson(part.params))}`]
      case "tool-result":
        return [`${part.name} ${part.isFailure ? "fails with" : "returns"}: ${resultText(part)}`]
      case "file":
        return [`${message.role}: [a file, ${part.mediaType}]`]
      default:
        return []
    }
  })
}
