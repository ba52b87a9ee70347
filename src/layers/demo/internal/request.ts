/** What a prompt asks for: the instructions, the last message of the user, and the tool results since. */
import type * as Prompt from "effect/ai/Prompt"

export interface Request {
  readonly instructions: string
  readonly message: string
  readonly results: ReadonlyArray<{ readonly name: string; readonly isFailure: boolean; readonly text: string }>
  /** The media types of the files of the message. */
  readonly files: ReadonlyArray<string>
}

/** Reads a prompt. */
export const read = ({ content }: Prompt.Prompt): Request => {
  const last = content.findLastIndex((item) => item.role === "user")
  const parts = content
    .slice(last)
    .flatMap((item): ReadonlyArray<Prompt.Part> => (item.role === "system" ? [] : item.content))
  return {
    instructions: content.flatMap((item) => (item.role === "system" ? [item.content] : [])).join("\n"),
    message: content
      .slice(last, last + 1)
      .flatMap((item) => (item.role === "user" ? item.content : []))
      .flatMap((part) => (part.type === "text" ? [part.text] : []))
      .join("\n"),
    results: parts.flatMap((part) => {
      if (part.type !== "tool-result") return []
      const { isFailure, name, result } = part
      return [{ name, isFailure, text: typeof result === "string" ? result : (JSON.stringify(result) ?? "") }]
    }),
    files: parts.flatMap((part) => (part.type === "file" ? [part.mediaType] : []))
  }
}
