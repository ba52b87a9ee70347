/** What a run has used, in the server's own words and those of OpenAI. */
import * as Response from "effect/ai/Response"
import * as Schema from "effect/Schema"
import type { Ended } from "../../../../services/Runs.ts"

const encodeUsage = Schema.encodeSync(Response.Usage)

/** What a run has used, as JSON. */
export const billOf = ({ spent: { cost, steps, usage } }: Ended) => ({
  usage: encodeUsage(usage) as Schema.Json,
  ...(cost === undefined ? {} : { cost }),
  steps
})

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
