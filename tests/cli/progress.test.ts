import { assert, describe, it } from "vitest"
import type { RunEvent } from "troupe"
import { Progress } from "../../src/cli/progress.ts"
import { lineOf } from "../../src/internal/render.ts"

const usage = { inputTokens: { total: 30 }, outputTokens: { total: 12 } }
const spent = { usage, steps: 1, text: "", toolCalls: [] }
const event = (fields: object, path = ["review", "style a.md"]): RunEvent.RunEvent =>
  ({ v: 1, seq: 0, runId: path.join(), path, at: 1000, ...fields }) as unknown as RunEvent.RunEvent

describe("progress", () => {
  it("is a line an event where there is no terminal", () => {
    assert.deepStrictEqual(
      [
        event({ _tag: "RunStarted" }),
        event({ _tag: "StepStarted", step: 1 }),
        event({ _tag: "TextDelta", step: 1, delta: "abc" }),
        event({ _tag: "ToolCalled", step: 1, toolCallId: "1", tool: "look", params: {} }),
        event({ _tag: "RunCompleted", output: "", spent, durationMs: 1234 })
      ].map(lineOf),
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
