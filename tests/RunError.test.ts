/** What errors of a run say. */
import { assert, describe, it } from "@effect/vitest"
import { Duration } from "effect"
import { AiError } from "effect/ai"
import { oneLine } from "../src/RunError.ts"

const lineOf = (reason: AiError.AiErrorReason) =>
  oneLine(AiError.make({ module: "OpenAi", method: "generateText", reason }))
const saying = (description: string) => ({ openai: { description } })

describe("the line of a model error", () => {
  it("has the provider's words after what happened, and when to ask again", () => {
    assert.strictEqual(
      lineOf(new AiError.QuotaExhaustedError({ metadata: saying("You exceeded your quota.") })),
      "Quota exhausted: You exceeded your quota (QuotaExhaustedError)"
    )
    assert.strictEqual(
      lineOf(new AiError.RateLimitError({ retryAfter: Duration.seconds(5), metadata: saying("Slow down.") })),
      "Rate limit exceeded: Slow down. Retry after 5s (RateLimitError)"
    )
    assert.strictEqual(
      lineOf(new AiError.RateLimitError({ retryAfter: Duration.zero, metadata: saying("Slow down") })),
      "Rate limit exceeded: Slow down (RateLimitError)"
    )
  })

  it("is what the error says where the provider said nothing", () => {
    assert.strictEqual(lineOf(new AiError.RateLimitError({})), "Rate limit exceeded (RateLimitError)")
  })
})
