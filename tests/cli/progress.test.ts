import { assert, describe, it } from "vitest"
import type { RunEvent } from "troupe"
import { Progress } from "../../src/cli/progress.ts"
import { harmless, harmlessPieces } from "../../src/internal/harmless.ts"

const usage = { inputTokens: { total: 30 }, outputTokens: { total: 12 } }
const spent = { usage, steps: 1, text: "", toolCalls: [] }
const event = (fields: object, path = ["review", "style a.md"]): RunEvent.RunEvent =>
  ({ v: 1, seq: 0, runId: path.join(), path, at: 1000, ...fields }) as unknown as RunEvent.RunEvent

describe("progress", () => {
  it("is a line an event where there is no terminal", () => {
    const progress = new Progress()
    assert.deepStrictEqual(
      [
        event({ _tag: "RunStarted" }),
        event({ _tag: "StepStarted", step: 1 }),
        event({ _tag: "TextDelta", step: 1, delta: "abc" }),
        event({ _tag: "ToolCalled", step: 1, toolCallId: "1", tool: "look", params: {} }),
        event({ _tag: "RunCompleted", output: "", spent, durationMs: 1234 })
      ].map((one) => progress.push(one)),
      ["style a.md: started", undefined, undefined, "style a.md: calls look", "style a.md: done in 1.2 s, 42 tokens"]
    )
  })

  it("shows what runs, for how long, and the tokens, within the terminal's size", () => {
    const progress = new Progress()
    for (let n = 0; n < 20; n++) {
      const path = ["review", `reviewer ${n} with a very long name indeed`]
      progress.push(event({ _tag: "RunStarted" }, path))
      progress.push(event({ _tag: "StepStarted", step: 1 }, path))
      progress.push(event({ _tag: "StepCompleted", step: 1, finishReason: "stop", usage }, path))
    }
    const lines = progress.render(3500, 40, 6)
    assert.isAtMost(lines.length, 6)
    assert.isTrue(lines.every((line) => line.length <= 40))
    assert.include(lines[0], "20 running, 0 done, 840 tokens")
    assert.include(lines.at(-1), "more")
    assert.include(progress.render(3500, 200, 30)[1], "2.5 s")
  })
})

describe("text for a terminal", () => {
  it("keeps lines and tabs and nothing that could steer it", () => {
    assert.strictEqual(
      harmless("a\tb\r\nc\u001B[2J\u001B]8;;http://x\u0007link\u001B]8;;\u0007\u0000\u009B31m\b\u001Bc"),
      "a\tb\nclink31m"
    )
  })

  it("takes sequences out that come in pieces, and loses no text", () => {
    const text = "one \u001B[31mtwo\u001B[0m \u001B]0;title\u0007three \u001Bcfour"
    for (const size of [1, 2, 3, 5, 8, 100]) {
      const clean = harmlessPieces()
      const pieces = Array.from({ length: Math.ceil(text.length / size) }, (_, n) =>
        text.slice(n * size, (n + 1) * size)
      )
      assert.strictEqual(pieces.map(clean.next).join(""), "one two three four")
    }
  })

  it("reads pieces as it reads the whole, wherever they are cut", () => {
    const text = "one\r\ntwo \u001B]0;title\u001B\\three \u001B(Bfour \u001BPdata\u001B\\five\r\nsix"
    assert.strictEqual(harmless(text), "one\ntwo three four five\nsix")
    for (let at = 1; at < text.length; at++) {
      const clean = harmlessPieces()
      assert.strictEqual(clean.next(text.slice(0, at)) + clean.next(text.slice(at)), harmless(text), `cut at ${at}`)
    }
  })

  it("gives back at the end what it held for a sequence that never ended", () => {
    const clean = harmlessPieces()
    assert.strictEqual(clean.next("see \u001B]0;lost?"), "see ")
    assert.strictEqual(clean.rest(), "0;lost?")
    assert.strictEqual(clean.rest(), "")
  })
})
