/** Advice for a failed request, by its cause; empty for an unknown cause. */
import * as Advice from "../../internal/model/advice.ts"
import type { Problem, StatusProblem } from "../../internal/model/problems.ts"

/** Where the request went, for messages: no query, no credentials. */
export interface Target {
  readonly method: string
  /** The server: no path. */
  readonly url: string
  readonly baseUrl: string
  /** The whole address that was asked. */
  readonly address: string
  readonly model: string
  /** The names of the fields that were sent. */
  readonly sent: ReadonlySet<string>
  /** Secrets that no message may hold, such as the key. */
  readonly secrets: ReadonlyArray<string>
}

/** The next step for a problem; `undefined` if unknown. */
export const remedyOf = (problem: Problem, target: Target): string | undefined => {
  switch (problem.kind) {
    case "network":
      if (problem.isCut === true)
        return "Try again: the connection was lost, or the server did not say that it had finished."
      return `Check that the server is up and that the base URL ${target.baseUrl} is right (\`baseUrl\` or OPENAI_BASE_URL).`
    case "timeout":
      return "Raise `timeout` if the model needs longer to answer."
    case "malformed":
      return problem.remedy ?? (problem.isPage === true ? wrongAddress(target) : undefined)
    case "unsupported":
      return undefined
    case "status":
      return Advice.ofStatus(problem, target.model, {
        key: "Check the API key (`apiKey` or OPENAI_API_KEY).",
        request: (refused) => ofRequest(refused, target)
      })
  }
}

const ofRequest = (problem: StatusProblem, target: Target): string | undefined => {
  const { message, status } = problem
  if (status >= 300 && status < 400) return wrongAddress(target)
  if (status === 404 || status === 405) {
    return problem.code === "model_not_found" || /\bmodel\b/i.test(message)
      ? Advice.wrongModel(target.model)
      : wrongAddress(target)
  }
  if (status === 413) return Advice.tooLarge
  const refused = refusals.find(({ field, words }) => target.sent.has(field) && words.test(message))
  return refused?.remedy
}

const wrongAddress = ({ address, baseUrl }: Target): string => {
  const version = /\/v\d/.test(baseUrl) ? "" : ' Most servers want it to end in "/v1".'
  return `The address that was asked is ${address}. Check the base URL ${baseUrl} (\`baseUrl\` or OPENAI_BASE_URL).${version}`
}

/** What not every server takes: the field of a request, how a refusal of it is known, and the option that changes it. */
const refusals: ReadonlyArray<{ readonly field: string; readonly words: RegExp; readonly remedy: string }> = [
  {
    field: "response_format",
    words: /response.?format|json.?(schema|object|mode)|structured.?output|grammar/i,
    remedy: 'Ask for typed output in another way: `structuredOutput: "json_object"`, "tool" or "prompt".'
  },
  {
    field: "text",
    words: /text\.format|json.?(schema|object|mode)|structured.?output|grammar/i,
    remedy: 'Ask for typed output in another way: `structuredOutput: "json_object"`, "tool" or "prompt".'
  },
  {
    field: "stream_options",
    words: /stream.?options|include.?usage/i,
    remedy: "Set `streamUsage: false`: usage of streamed answers is then unknown."
  },
  {
    field: "tool_choice",
    words: /tool.?choice/i,
    remedy:
      'Let the model choose: `toolChoice: "auto"` of the agent; with `structuredOutput: "tool"`, another way of typed output.'
  },
  {
    field: "parallel_tool_calls",
    words: /parallel.?tool.?calls/i,
    remedy: "Leave out `options.parallelToolCalls`."
  },
  {
    field: "max_completion_tokens",
    words: /max.?completion.?tokens/i,
    remedy: "Give the limit by its older name: `options: { body: { max_tokens: ... } }` in place of `maxOutputTokens`."
  },
  {
    field: "max_tokens",
    words: /max.?tokens/i,
    remedy:
      "Give the limit by its newer name: `options: { chat: { max_completion_tokens: ... } }` in place of `maxOutputTokens`."
  },
  {
    field: "include",
    words: /encrypted.?content|\binclude\b/i,
    remedy: "Do not ask for encrypted reasoning: `options: { responses: { include: null } }`."
  },
  {
    field: "store",
    words: /\bstore\b|not persisted/i,
    remedy: "Set `options: { responses: { store: true } }`: the provider then keeps the conversation."
  },
  {
    field: "reasoning_effort",
    words: /reasoning.?effort/i,
    remedy: "Change or leave out `options.reasoningEffort`."
  },
  {
    field: "reasoning",
    words: /reasoning/i,
    remedy: "Change or leave out `options.reasoningEffort` and `options.responses.reasoning`."
  },
  { field: "temperature", words: /temperature/i, remedy: "Change or leave out `options.temperature`." },
  { field: "top_p", words: /top.?p\b/i, remedy: "Change or leave out `options.topP`." },
  {
    field: "tools",
    words: /(tool|function).{0,40}(not|un)\s?(support|available|allow)|(not|un)\s?support.{0,40}(tool|function)/i,
    remedy: "Use a model that can call tools, or an agent without tools."
  }
]
