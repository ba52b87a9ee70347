/** The text of a run as protocols of chats want it: pieces that are only ever added to. */
import type { RunEvent } from "../../../../RunEvent.ts"

/** What a protocol sees of an event of the root run. */
export type TextChange =
  | { readonly _tag: "Text"; readonly delta: string }
  /** Text that was sent is void, which the protocol cannot say. */
  | { readonly _tag: "Void" }
  | { readonly _tag: "Nothing" }

/** The text of an output: as it is, or as JSON. */
export const textOf = (output: unknown): string =>
  typeof output === "string" ? output : output === undefined ? "" : JSON.stringify(output)

/**
 * Reads the text of the root run. Texts of several steps are one text, with an empty line between them. A run without a text
 * of its own, as that of a workflow, has its output as text, at its end.
 */
export const textReader = (): ((event: RunEvent) => TextChange) => {
  /** The text of the step under way. */
  let current = ""
  let isSent = false
  let isNewStep = false
  const say = (delta: string): TextChange => {
    if (delta === "") return { _tag: "Nothing" }
    const between = isSent && isNewStep ? "\n\n" : ""
    isSent = true
    isNewStep = false
    current += delta
    return { _tag: "Text", delta: `${between}${delta}` }
  }
  return (event) => {
    if (event.path.length > 1) return { _tag: "Nothing" }
    switch (event._tag) {
      case "StepStarted":
        isNewStep = true
        current = ""
        return { _tag: "Nothing" }
      case "TextDelta":
        return say(event.delta)
      case "RunRetried":
        return isSent ? { _tag: "Void" } : { _tag: "Nothing" }
      case "StepRetried":
      case "TurnReplaced":
        return current === "" ? { _tag: "Nothing" } : { _tag: "Void" }
      case "RunCompleted": {
        const output = textOf(event.output)
        if (output === current) return { _tag: "Nothing" }
        isNewStep = true
        return say(output)
      }
      default:
        return { _tag: "Nothing" }
    }
  }
}
