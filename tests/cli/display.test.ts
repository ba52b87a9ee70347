/** The live region on a terminal, on a screen that is played here; help that is wrapped. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import type { RunEvent } from "troupe"
import { vi } from "vitest"
import { erase, progress } from "../../src/cli/display.ts"
import { wrap } from "../../src/cli/output.ts"

/** What a screen shows after a text: as far as our output needs one. */
const screenOf = (text: string): ReadonlyArray<string> => {
  const lines: Array<string> = [""]
  let [row, column] = [0, 0]
  for (const [piece] of text.replaceAll("\x1b", "␛").matchAll(/␛\[(?:\d+A|0J)|[^]/g)) {
    if (piece === "\r") column = 0
    else if (piece === "\n") {
      row++
      column = 0
      lines[row] ??= ""
    } else if (piece.endsWith("A") && piece.length > 1) row = Math.max(0, row - Number(piece.slice(2, -1)))
    else if (piece.endsWith("0J")) {
      lines[row] = lines[row]!.slice(0, column)
      lines.length = row + 1
    } else {
      lines[row] = lines[row]!.padEnd(column).slice(0, column) + piece + lines[row]!.slice(column + 1)
      column++
    }
  }
  return lines.filter((line) => line !== "")
}

const started = { v: 1, seq: 0, runId: "r", path: ["chat"], at: 0 } as unknown as RunEvent.RunEvent
const events = [
  { ...started, _tag: "RunStarted" },
  { ...started, _tag: "StepStarted", step: 1 }
] as unknown as ReadonlyArray<RunEvent.RunEvent>

/** Runs it with a terminal on standard error; gives all that was written there. */
const onTerminal = <A, E>(use: (write: (text: string) => void) => Effect.Effect<A, E, never>) =>
  Effect.acquireUseRelease(
    Effect.sync(() => {
      const { isTTY } = process.stderr
      process.stderr.isTTY = true
      let all = ""
      const write = vi.spyOn(process.stderr, "write").mockImplementation(((text: string, done?: () => void) => {
        all += text
        done?.()
        return true
      }) as never)
      return { isTTY, write, all: () => all, add: (text: string) => (all += text) }
    }),
    ({ add, all }) => Effect.map(use(add), () => all()),
    ({ isTTY, write }) =>
      Effect.sync(() => {
        write.mockRestore()
        process.stderr.isTTY = isTTY
      })
  )

describe("the live region", () => {
  it("is erased whole, also when Ctrl-C has left its mark in the line below", () => {
    for (const mark of ["", "^C"]) {
      const text = `1 running, 0 done\n  chat  step 1, thinks\n${mark}${erase(2)}troupe: interrupted\n`
      assert.deepStrictEqual(screenOf(text), ["troupe: interrupted"])
    }
  })

  it.effect("is away while something else uses the terminal, and comes back", () =>
    Effect.gen(function* () {
      const seen: Array<ReadonlyArray<string>> = []
      const written = yield* onTerminal((write) =>
        Effect.gen(function* () {
          const display = yield* progress(() => false)
          for (const event of events) yield* display.show(event)
          yield* TestClock.adjust("150 millis")
          yield* display.away(
            Effect.gen(function* () {
              write("chat wants to call pay with\n{ n: 1 }\nRun it? ")
              yield* TestClock.adjust("1 second")
              write("yes\n")
            })
          )
          yield* TestClock.adjust("150 millis")
        }).pipe(Effect.scoped)
      )
      seen.push(screenOf(written.slice(0, written.indexOf("yes"))), screenOf(written))
      const question = ["chat wants to call pay with", "{ n: 1 }", "Run it? "]
      assert.deepStrictEqual(seen, [question, [...question.slice(0, 2), "Run it? yes"]])
      assert.include(written.slice(written.indexOf("yes")), "1 running")
    })
  )
})

describe("help", () => {
  it("is wrapped at spaces, under its column", () => {
    const line = "  --model string    openai:NAME or demo; without the flag OpenAI"
    assert.deepStrictEqual(wrap(line, 40).split("\n"), [
      "  --model string    openai:NAME or demo;",
      "                    without the flag",
      "                    OpenAI"
    ])
    assert.strictEqual(wrap("short\n\n  lines", 40), "short\n\n  lines")
    assert.strictEqual(wrap("x".repeat(60), 40), "x".repeat(60))
  })
})
