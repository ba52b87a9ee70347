/**
 * Makes untrusted text safe to show. All text of a model, server, skill or file passes through this module on its way
 * to a terminal, a log line, an approver or a model.
 */
/* oxlint-disable no-control-regex, no-misleading-character-class -- such characters are what this file is about */
const sequences =
  /(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[PX^_][^\x1b]*\x1b\\|\x1b[ -/]*[0-~]/g

/** Control characters, and those that no reader sees: zero-width, direction, filler and tag characters. */
const invisible = /[[\p{Cc}\p{Default_Ignorable_Code_Point}\ufff9-\ufffb]--[\n\t]]/gv

/** A joiner between letters of a script that joins them, or inside of an emoji. */
const joins =
  /[[\p{L}\p{M}\p{Extended_Pictographic}\p{Emoji_Modifier}\ufe0f]--[\p{sc=Latin}\p{sc=Greek}\p{sc=Cyrillic}\p{sc=Han}]]$/v
const joined = /^[[\p{L}\p{M}\p{Extended_Pictographic}]--[\p{sc=Latin}\p{sc=Greek}\p{sc=Cyrillic}\p{sc=Han}]]/v
/** The characters that a variation selector can modify. */
const varies = /[\p{Emoji}\p{sc=Han}]$/v

/** Whether an invisible character changes what its neighbors look like, as in a family emoji or a Persian word. */
const shapes = (character: string, before: string, after: string): boolean => {
  if (character === "\u200c" || character === "\u200d") return joins.test(before) && joined.test(after)
  return /^[\ufe00-\ufe0f\u{e0100}-\u{e01ef}]$/u.test(character) && varies.test(before)
}

/**
 * A text without escape sequences, control characters and characters that cannot be seen. Line breaks and tabs stay, and
 * so do the joiners and variation selectors that emoji and some scripts are written with. Takes linear time.
 */
export const stripControls = (text: string): string =>
  text
    .replace(/\r\n?|[\u2028\u2029]/g, "\n")
    .replace(sequences, "")
    .replace(invisible, (character: string, at: number, whole: string) =>
      shapes(character, whole.slice(Math.max(0, at - 2), at), whole.slice(at + character.length, at + 3))
        ? character
        : ""
    )

/** A sentence without its full stop, for use within another sentence. */
export const asClause = (sentence: string): string => sentence.replace(/[.\s]+$/, "")

/** A text of at most `most` characters, none of them halved: what is longer ends with an ellipsis. */
export const cut = (text: string, most: number): string =>
  text.length <= most ? text : `${text.slice(0, Math.max(0, most - 1)).replace(/[\ud800-\udbff]$/, "")}…`

/** {@link stripControls} on one line: each run of white space becomes one space. */
export const oneLine = (text: string): string => stripControls(text).replace(/\s+/g, " ").trim()

const longestHeld = 4096

/**
 * What a next piece may complete, at the end of a text: an escape sequence, a line break of two characters, a joiner, or
 * one half of a character.
 */
const open =
  /(?:\r|[\u200c\u200d][\ud800-\udbff]?|[\ud800-\udbff]|\x1b(?:[ -/]*|\[[0-?]*[ -/]*|[\]PX^_][^\x07\x9c\x1b]*\x1b?)|\x9b[0-?]*[ -/]*)$/

/** {@link stripControls} for a text that comes in pieces: a sequence may be spread over several of them. */
export const stripControlsPieces = (): {
  readonly next: (piece: string) => string
  /** Returns what was held back for a sequence that has not come to its end. */
  readonly rest: () => string
} => {
  let held = ""
  /** The end of what was returned, which a joiner or a variation selector may belong to. */
  let shown = ""
  const strip = (text: string): string => {
    const safe = stripControls(shown + text).slice(shown.length)
    const last = Array.from((shown + safe).slice(-8)).slice(-3)
    // A character that modifies the one before it cannot begin the next text.
    while (/^[\u200c\u200d\ufe00-\ufe0f\u{e0100}-\u{e01ef}]$/u.test(last[0] ?? "")) last.shift()
    shown = last.join("")
    return safe
  }
  return {
    next: (piece) => {
      const text = held + piece
      const at = text.search(open)
      held = at >= 0 && text.length - at <= longestHeld ? text.slice(at) : ""
      return strip(held === "" ? text : text.slice(0, at))
    },
    rest: () => {
      const text = held
      held = ""
      return strip(text)
    }
  }
}

/**
 * A text on one line in which nothing is hidden: characters that cannot be seen are written as escapes. For arguments that
 * a person approves, where what was removed would run all the same.
 */
export const escapeControls = (text: string): string =>
  text
    .replace(/[\n\t\u2028\u2029]/g, " ")
    .replace(invisible, (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`)
