/** Writing to the standard streams, whole texts at a time. */
import * as Effect from "effect/Effect"

let gone = false

/** True when the reader has closed the output, as `head` does. This is not a failure. */
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
