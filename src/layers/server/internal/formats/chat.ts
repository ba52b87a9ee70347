/** Chat completions of OpenAI, out of the events of a run. */
import type { RunEvent } from "../../../../RunEvent.ts"
import type { Signing } from "../../../../services/Approver.ts"
import type { Ended } from "../../../../services/Runs.ts"
import { failureOf } from "../problem.ts"
import { textOf, textReader } from "./answer.ts"
import { clientCalls } from "./calls.ts"
import { chatUsage } from "./usage.ts"

/** What the answer is part of. */
export interface ChatContext {
  /** The name of the runner. */
  readonly model: string
  readonly includeUsage: boolean
  readonly signing: Signing
}

/** An error in the form that clients of OpenAI read. */
export const openAiError = (message: string, type: string, code: string | null, param: string | null = null) => ({
  error: { message, type, param, code }
})

const seconds = (at: number): number => Math.floor(at / 1000)

/** The message that a suspended run is for a client that cannot give what it waits for. */
export const cannotAnswer = (runId: string): string =>
  `The run ${runId} waits for an approval or an event, which cannot be given here. Answer it at /runs/${runId}/approvals.`

/** A whole chat completion; an error instead of it for a run without one. */
export const chatCompletion = (ended: Ended, finishReason: string, { model, signing }: ChatContext) => {
  const calls = clientCalls(ended, signing)
  const content = ended._tag === "RunCompleted" ? textOf(ended.output) : null
  return {
    id: `chatcmpl-${ended.runId}`,
    object: "chat.completion",
    created: seconds(ended.at),
    model,
    choices: [
      {
        index: 0,
        message: {
          role: "assistant",
          content,
          refusal: null,
          ...(calls === undefined
            ? {}
            : {
                tool_calls: calls.map(({ arguments: text, id, name }) => ({
                  id,
                  type: "function",
                  function: { name, arguments: text }
                }))
              })
        },
        logprobs: null,
        finish_reason: calls === undefined ? finishReason : "tool_calls"
      }
    ],
    usage: chatUsage(ended.spent.usage)
  }
}

/** Why a run has ended, in OpenAI's words. */
export const finishReasonOf = (reason: string | undefined): string =>
  reason === "length" ? "length" : reason === "content-filter" ? "content_filter" : "stop"

const sse = (data: object): string => `data: ${JSON.stringify(data)}\n\n`

/** Writes the chunks of a chat completion. */
export const chatChunks = (context: ChatContext): ((event: RunEvent) => string) => {
  const read = textReader()
  let id = ""
  let created = 0
  let finish: string | undefined
  let isVoid = false
  const chunk = (delta: object, finishReason: string | null = null) =>
    sse({
      id,
      object: "chat.completion.chunk",
      created,
      model: context.model,
      choices: [{ index: 0, delta, logprobs: null, finish_reason: finishReason }],
      ...(context.includeUsage ? { usage: null } : {})
    })
  const failed = (message: string, code: string): string => {
    isVoid = true
    return sse(openAiError(message, "server_error", code))
  }
  const ended = (event: Ended): string => {
    const calls = clientCalls(event, context.signing)
    const usage = context.includeUsage
      ? sse({
          id,
          object: "chat.completion.chunk",
          created,
          model: context.model,
          choices: [],
          usage: chatUsage(event.spent.usage)
        })
      : ""
    if (event._tag === "RunCompleted") return `${chunk({}, finishReasonOf(finish))}${usage}`
    if (calls !== undefined) {
      const deltas = calls.map(({ arguments: text, id: call, name }, index) => ({
        index,
        id: call,
        type: "function",
        function: { name, arguments: text }
      }))
      return `${chunk({ tool_calls: deltas })}${chunk({}, "tool_calls")}${usage}`
    }
    if (event._tag === "RunSuspended") return failed(cannotAnswer(event.runId), "RunSuspended")
    const failure = failureOf(event)
    return failed(failure.detail, failure.error)
  }
  return (event) => {
    if (isVoid || event.path.length > 1) return ""
    const change = read(event)
    if (change._tag === "Void")
      return failed("The answer began again, which this protocol cannot say. Ask again.", "restarted")
    const text = change._tag === "Text" ? chunk({ content: change.delta }) : ""
    switch (event._tag) {
      case "RunStarted":
        id = `chatcmpl-${event.runId}`
        created = seconds(event.at)
        return chunk({ role: "assistant", content: "" })
      case "StepCompleted":
        finish = event.finishReason
        return text
      case "RunCompleted":
      case "RunFailed":
      case "RunInterrupted":
      case "RunSuspended":
        return `${text}${ended(event)}`
      default:
        return text
    }
  }
}
