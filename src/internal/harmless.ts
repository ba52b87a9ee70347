/** Texts of others without what could steer a terminal. Pure. */
/* oxlint-disable no-control-regex -- control characters are what this file is about */
const sequences = /\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[PX^_][^\x1b]*\x1b\\|\x1b[ -/]*[0-~]/g
const controls = /[\x00-\x08\x0b-\x1f\x7f-\x9f]/g

/** A text without escape sequences and control characters; line breaks and tabs stay. */
export const harmless = (text: string): string =>
  text.replace(/\r\n?/g, "\n").replace(sequences, "").replace(controls, "")

const longestHeld = 4096

/** What a next piece may complete, at the end of a text: an escape sequence, or a line break of two characters. */
const open = /(?:\r|\x1b(?:[ -/]*|\[[0-?]*[ -/]*|[\]PX^_][^\x07\x9c\x1b]*\x1b?))$/

/** {@link harmless} for a text that comes in pieces: a sequence may be spread over several of them. */
export const harmlessPieces = (): {
  readonly next: (piece: string) => string
  /** What was held back for a sequence that has not come to its end. */
  readonly rest: () => string
} => {
  let held = ""
  return {
    next: (piece) => {
      const text = held + piece
      const at = text.search(open)
      held = at >= 0 && text.length - at <= longestHeld ? text.slice(at) : ""
      return harmless(held === "" ? text : text.slice(0, at))
    },
    rest: () => {
      const text = harmless(held)
      held = ""
      return text
    }
  }
}
