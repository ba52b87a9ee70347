/** What a run has spent is counted in all runs above it, for all who want to know. */
import { assert, describe, it } from "@effect/vitest"
import { Bill } from "../../src/internal/bill.ts"
import { makeUsage } from "../../src/internal/usage.ts"

const used = (input: number, output: number) =>
  makeUsage({
    inputTokens: { uncached: input, total: input, cacheRead: undefined, cacheWrite: undefined },
    outputTokens: { total: output, text: output, reasoning: undefined }
  })

describe("a bill", () => {
  it("counts usage and steps of nested runs, and texts and calls of its own run only", () => {
    const above = new Bill(undefined)
    const nested = new Bill(above)
    nested.addStep()
    nested.addAnswer({ text: "hello", finishReason: "stop", usage: used(3, 4) })
    nested.addToolCall(1, "a", "look").mark("completed")
    above.addUsage(used(1, 1))
    assert.deepStrictEqual([above.tokens, above.steps, nested.tokens, nested.steps], [9, 1, 7, 1])
    assert.deepStrictEqual([above.spent().text, above.spent().toolCalls, above.finishReason], ["", [], undefined])
    assert.deepStrictEqual(nested.spent().toolCalls, [{ step: 1, toolCallId: "a", tool: "look", status: "completed" }])
  })
})
