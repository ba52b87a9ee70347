/** Writing to the terminal: whole texts to the standard streams, nothing that could steer the terminal. */
import * as Effect from "effect/Effect"

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

/* oxlint-enable no-control-regex */

let gone = false

/** True when whoever read the output has closed it, as `head` does: no failure, and nothing is left to do. */
export const readerIsGone = (): boolean => gone

/** Writes and waits until the stream has taken it. A reader that is gone, as in `| head`, ends the program quietly. */
const write = (stream: NodeJS.WriteStream, text: string): Effect.Effect<void> =>
  Effect.callback((resume) => {
    stream.write(text, (error) => {
      if (error === null || error === undefined) return resume(Effect.void)
      gone = true
      return resume(Effect.interrupt)
    })
  })

/** To standard output. */
export const out = (text: string): Effect.Effect<void> => write(process.stdout, text)

/** To standard error. */
export const err = (text: string): Effect.Effect<void> => write(process.stderr, text)

/** A reader that is gone must not end the process with a stack trace. */
export const quietPipes = (): void => {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE") throw error
    })
  }
}
