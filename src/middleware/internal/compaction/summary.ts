/** Summaries in the place of older messages. */
import * as Effect from "effect/Effect"
import * as Prompt from "effect/ai/Prompt"
import { loopMessage } from "../../../internal/input.ts"
import { messageOf } from "../../../internal/message.ts"
import type { Runner } from "../../../Runner.ts"
import { render } from "../rendered.ts"
import type { OwnInfo } from "./compact.ts"
import * as Units from "./units.ts"

/** Puts a summary in the place of all units before the last turns that are not kept and not summarised yet. */
export const summarise = (
  prompt: Prompt.Prompt,
  keepTurns: number,
  { keeping, window }: OwnInfo,
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
    const text = `[Summary of earlier messages, which were left out here]\n${summary}`
    const message = loopMessage(text, Units.markOf("summary"))
    return Prompt.fromMessages(
      units.flatMap((unit, index) => (older.has(unit) ? (index === at ? [message] : []) : unit.messages))
    )
  })
  if (!isOptional) return written
  return Effect.catch(written, (error) =>
    Effect.as(Effect.logWarning(`compaction: no summary was made: ${messageOf(error)}`), prompt)
  )
}
