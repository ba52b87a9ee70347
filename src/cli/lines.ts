/** Reads lines that a person types, or that come through a pipe. */
import * as readline from "node:readline"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

/** Asks for a line; `undefined` at the end of the input. */
export type Lines = (question: string) => Effect.Effect<string | undefined>

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
  const input = yield* Effect.acquireRelease(
    Effect.sync(() => readline.createInterface({ input: process.stdin })),
    (opened) => Effect.sync(() => opened.close())
  )
  const iterator = input[Symbol.asyncIterator]()
  return () =>
    Effect.map(
      Effect.promise(() => iterator.next()),
      (next) => (next.done === true ? undefined : next.value)
    )
})
