/** Text files: decoded, and given in pages of lines, without characters that cannot be seen. */
import * as Effect from "effect/Effect"
import { stripControls } from "../../../internal/text.ts"
import { FileToolError } from "./errors.ts"
import type { Tree } from "./tree.ts"

/** The text of a file, or `undefined` for bytes that are not text: null bytes, or not UTF-8. */
export const textOf = (bytes: Uint8Array): string | undefined => {
  if (bytes.subarray(0, 8192).includes(0)) return undefined
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes)
  } catch {
    return undefined
  }
}

/** The error for a file with more bytes than files may have. */
export const tooLarge = (path: string, size: number, most: number): FileToolError =>
  new FileToolError({ path, reason: "TooLarge", detail: `it has ${size} bytes; files have at most ${most}` })

/** The text of a file. Fails for one that is too large or is not text. */
export const readText = (tree: Tree, path: string, most: number): Effect.Effect<string, FileToolError> =>
  Effect.flatMap(tree.read(path, most), ({ bytes, size }) => {
    if (bytes === undefined) return Effect.fail(tooLarge(path, size, most))
    const text = textOf(bytes)
    return text === undefined
      ? Effect.fail(new FileToolError({ path, reason: "Binary", detail: "it is not UTF-8 text" }))
      : Effect.succeed(text)
  })

/** The lines of a text, without what ends them on Windows. */
export const linesOf = (text: string): ReadonlyArray<string> => text.split(/\r?\n/)

/**
 * The text in which `find` can be found: the lines that it is in lose their characters that cannot be seen, since a model
 * that looks for it was shown the lines without. Other lines stay as they are.
 */
export const visibleAround = (text: string, find: string): string => {
  if (text.includes(find)) return text
  const lines = text.split("\n")
  const visible = lines.map((line) =>
    line.endsWith("\r") ? `${stripControls(line.slice(0, -1))}\r` : stripControls(line)
  )
  const whole = visible.join("\n")
  let line = 0
  let end = visible[0]!.length
  for (let at = whole.indexOf(find); at !== -1; at = whole.indexOf(find, at + find.length)) {
    while (end < at) end += 1 + visible[++line]!.length
    lines[line] = visible[line]!
    while (end < at + find.length) {
      end += 1 + visible[++line]!.length
      lines[line] = visible[line]!
    }
  }
  return lines.join("\n")
}

/** Some lines of a text, counted from 1. */
export interface Page {
  readonly content: string
  readonly from: number
  readonly to: number
  readonly totalLines: number
  /** True when there is more than is given. */
  readonly truncated: boolean
}

/** The lines from `from` on, as many as are asked for and fit. */
export const page = (
  text: string,
  { from = 1, lines }: { readonly from?: number | undefined; readonly lines?: number | undefined },
  maxChars: number
): Page => {
  const all = linesOf(text)
  const first = Math.min(Math.max(1, from), all.length)
  const wanted = all.slice(first - 1, lines === undefined ? undefined : first - 1 + Math.max(1, lines))
  let length = 0
  // A break separates lines, so one at the end does not count.
  const fit = wanted.findIndex((line) => (length += line.length + 1) > maxChars + 1)
  const given = fit === -1 ? wanted : wanted.slice(0, Math.max(1, fit))
  const content = given.join("\n")
  return {
    content: stripControls(content.slice(0, maxChars)),
    from: first,
    to: first + given.length - 1,
    totalLines: all.length,
    truncated: first - 1 + given.length < all.length || content.length > maxChars
  }
}
