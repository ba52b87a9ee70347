/** Text of servers as models see it: without invisible characters. */
import * as Prompt from "effect/ai/Prompt"
import { stripControls } from "../../../internal/text.ts"

/** JSON with such characters removed from all of its texts and names. */
export const visible = (value: unknown): unknown => {
  if (typeof value === "string") return stripControls(value)
  if (Array.isArray(value)) return value.map(visible)
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [stripControls(key), visible(inner)]))
}

/** A part for a model; files stay as they are. */
export const visiblePart = <Part extends Prompt.TextPart | Prompt.FilePart | Prompt.ToolModelOutputPart>(
  part: Part
): Part | Prompt.TextPart => (part.type === "text" ? Prompt.textPart({ text: stripControls(part.text) }) : part)
