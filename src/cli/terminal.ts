/** Writing to the standard streams, whole texts at a time. */
import * as Effect from "effect/Effect"
import { CliFailure } from "./failure.ts"

let gone = false

/** True when the reader has closed the output, as `head` does. This is not a failure. */
export const readerIsGone = (): boolean => gone

/**
 * Writes and waits until the stream has taken it. A reader that is gone, as in `| head`, ends the program quietly; any other
 * failure, such as a full disk, ends it as a defect.
 */
const write = (stream: NodeJS.WriteStream, text: string): Effect.Effect<void> =>
  Effect.callback((resume) => {
    stream.write(text, (error?: NodeJS.ErrnoException | null) => {
      if (error === null || error === undefined) return resume(Effect.void)
      if (error.code !== "EPIPE") {
        return resume(
          Effect.die(new CliFailure({ message: `the output cannot be written: ${error.message}`, code: 1 }))
        )
      }
      gone = true
      return resume(Effect.interrupt)
    })
  })

/** To standard output. */
export const out = (text: string): Effect.Effect<void> => write(process.stdout, text)

/** To standard error. */
export const err = (text: string): Effect.Effect<void> => write(process.stderr, text)

/** A stream that cannot be written to must not end the process with a stack trace: `write` says what became of its text. */
export const quietPipes = (): void => {
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {})
}
