/** The usage of a run in the words of OpenAI. */
import type * as Response from "effect/ai/Response"

const count = (value: number | undefined): number => value ?? 0

/** As chat completions count. */
export const chatUsage = ({ inputTokens, outputTokens }: Response.Usage) => ({
  prompt_tokens: count(inputTokens.total),
  completion_tokens: count(outputTokens.total),
  total_tokens: count(inputTokens.total) + count(outputTokens.total),
  prompt_tokens_details: { cached_tokens: count(inputTokens.cacheRead) },
  completion_tokens_details: { reasoning_tokens: count(outputTokens.reasoning) }
})

/** As responses count. */
export const responsesUsage = ({ inputTokens, outputTokens }: Response.Usage) => ({
  input_tokens: count(inputTokens.total),
  input_tokens_details: { cached_tokens: count(inputTokens.cacheRead) },
  output_tokens: count(outputTokens.total),
  output_tokens_details: { reasoning_tokens: count(outputTokens.reasoning) },
  total_tokens: count(inputTokens.total) + count(outputTokens.total)
})
