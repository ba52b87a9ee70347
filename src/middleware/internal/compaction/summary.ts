/** Summaries in the place of older messages. */
import * as Effect from "effect/Effect"
import * as Prompt from "effect/ai/Prompt"
import { messageOf } from "../../../internal/message.ts"
import { toJson } from "../../../internal/json.ts"
import type { Runner } from "../../../Runner.ts"
import { resultText } from "./count.ts"
import type { PolicyInfo } from "./compact.ts"
import * as Units from "./units.ts"

/** Puts a summary in the place of all units before the last turns that are not kept and not summarised yet. */
export const summarise = (
  prompt: Prompt.Prompt,
  keepTurns: number,
  { keeping, window }: PolicyInfo,
  by: Runner<string, string, unknown, unknown>,
  isOptional: boolean
): Effect.Effect<Prompt.Prompt, unknown, unknown> => {
  const units = Units.unitsOf(prompt.content, keeping)
  const end = Units.beforeTurns(units, keepTurns)
  const older = new Set(units.slice(0, end).filter(({ isKept, isSummary }) => !isKept && !isSummary))
  if (older.size === 0) return Effect.succeed(prompt)
  const at = units.findIndex((unit) => older.has(unit))
  const text = render(Units.flat([...older]), Math.floor(window * 2))
  const written = Effect.map(by.run(text), (summary) => {
    const message = Prompt.userMessage({
      content: [Prompt.textPart({ text: `[Summary of earlier messages, which were left out here]\n${summary}` })],
      options: Units.markOf("summary")
    })
    return Prompt.fromMessages(
      units.flatMap((unit, index) => (older.has(unit) ? (index === at ? [message] : []) : unit.messages))
    )
  })
  if (!isOptional) return written
  return Effect.catch(written, (error) =>
    Effect.as(Effect.logWarning(`compaction: no summary was made: ${messageOf(error)}`), prompt)
  )
}

/** The most of one message that is summarised, where all would be too much, in characters. */
const least = 200

/** The messages as a text of about `room` characters at most: long ones are cut in their middle. */
const render = (messages: ReadonlyArray<Prompt.Message>, room: number): string => {
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
