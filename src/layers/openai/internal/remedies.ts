/** Advice for a failed request, by its cause; empty for an unknown cause. */
import * as Advice from "../../internal/model/advice.ts"
import type { Problem, StatusProblem } from "../../internal/model/problems.ts"
import type { Connected } from "./connection.ts"

/** The request that failed. */
export interface FailedRequest {
  readonly method: string
  readonly path: string
  readonly model: string
  /** The names of the fields that were sent. */
  readonly sent: ReadonlySet<string>
}

/** Where it went, for messages: no query, no credentials. */
type At = Pick<Connected, "shownBaseUrl">

/** The next step for a problem; `undefined` if unknown. */
export const remedyOf = (problem: Problem, at: At, request: FailedRequest): string | undefined => {
  switch (problem.kind) {
    case "network":
      if (problem.isCut === true)
        return "Try again: the connection was lost, or the server did not say that it had finished."
      return `Check that the server is up and that the base URL ${at.shownBaseUrl} is right (\`baseUrl\` or OPENAI_BASE_URL).`
    case "timeout":
      return "Raise `timeout` if the model needs longer to answer."
    case "malformed":
      return problem.remedy ?? (problem.isPage === true ? wrongAddress(at, request) : undefined)
    case "unsupported":
      return undefined
    case "status":
      return Advice.ofStatus(problem, request.model, {
        key: "Check the API key (`apiKey` or OPENAI_API_KEY).",
        request: (refused) => ofRequest(refused, at, request)
      })
  }
}

const ofRequest = (problem: StatusProblem, at: At, request: FailedRequest): string | undefined => {
  const { message, status } = problem
  if (status >= 300 && status < 400) return wrongAddress(at, request)
  if (status === 404 || status === 405) {
    return problem.code === "model_not_found" || /\bmodel\b/i.test(message)
      ? Advice.wrongModel(request.model)
      : wrongAddress(at, request)
  }
  if (status === 413) return Advice.tooLarge
  const refused = refusals.find(({ field, words }) => request.sent.has(field) && words.test(message))
  return refused?.remedy
}

const wrongAddress = ({ shownBaseUrl }: At, { path }: FailedRequest): string => {
  const version = /\/v\d/.test(shownBaseUrl) ? "" : ' Most servers want it to end in "/v1".'
  return `The address that was asked is ${shownBaseUrl}${path}. Check the base URL ${shownBaseUrl} (\`baseUrl\` or OPENAI_BASE_URL).${version}`
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
