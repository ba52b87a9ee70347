/** Reads lines that a person types, or that come through a pipe. */
import * as readline from "node:readline"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { badInput, type CliFailure } from "./failure.ts"
import { maxInput } from "./files.ts"

/** Asks for a line; `undefined` at the end of the input. */
export type Lines = (question: string) => Effect.Effect<string | undefined, CliFailure>

/** Lines of standard input. */
export const lines: Effect.Effect<Lines, never, Scope.Scope> = Effect.suspend(() =>
  process.stdin.isTTY === true ? Effect.succeed(fromTerminal) : fromPipe
)

/**
 * The terminal is in a special mode only while a line is read: an answer under way is stopped by the signal of Ctrl-C, and
 * approvals read lines of their own. Ctrl-C in a line that is not empty drops the line, and in an empty one it ends the input.
 */
const fromTerminal: Lines = (question) =>
  Effect.callback((resume) => {
    const input = readline.createInterface({ input: process.stdin, output: process.stdout })
    let isAnswered = false
    const end = (line: string | undefined) => {
      if (isAnswered) return
      isAnswered = true
      input.close()
      resume(Effect.succeed(line))
    }
    input.on("SIGINT", () => {
      process.stdout.write("\n")
      end(input.line === "" ? undefined : "")
    })
    input.on("close", () => end(undefined))
    input.question(question, end)
    return Effect.sync(() => input.close())
  })

const fromPipe: Effect.Effect<Lines, never, Scope.Scope> = Effect.gen(function* () {
  const iterator = yield* Effect.acquireRelease(
    Effect.sync(() => linesOf(process.stdin)),
    (opened) => Effect.promise(() => opened.return(undefined))
  )
  return () =>
    Effect.flatMap(
      Effect.promise(() => iterator.next()),
      ({ done, value }) => {
        if (done === true) return Effect.undefined
        return value === tooLong
          ? badInput(`a line is too long; the limit is ${maxInput} bytes. Split it.`)
          : Effect.succeed(value)
      }
    )
})

const tooLong = Symbol("too long")

/** The lines of a text; the last of them, when one is longer than what is read at all, is {@link tooLong}. */
export async function* linesOf(
  input: AsyncIterable<Uint8Array>,
  most = maxInput
): AsyncGenerator<string | typeof tooLong, void> {
  const decoder = new TextDecoder()
  let begun = ""
  for await (const chunk of input) {
    const [first = "", ...others] = decoder.decode(chunk, { stream: true }).split("\n")
    begun += first
    for (const next of others) {
      yield begun.replace(/\r$/, "")
      begun = next
    }
    if (begun.length > most) return yield tooLong
  }
  if (begun !== "") yield begun
}
