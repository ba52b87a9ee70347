/** Chat completions of OpenAI, out of the events of a run. */
import type { RunEvent } from "../../../../RunEvent.ts"
import type { Signing } from "../../../../services/Approver.ts"
import type { Ended } from "../../../../services/Runs.ts"
import { dataEvent } from "../lines.ts"
import { failureOf } from "../problem.ts"
import { textOf, textReader } from "./answer.ts"
import { clientCalls, toolCallOf } from "./calls.ts"
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
          ...(calls === undefined ? {} : { tool_calls: calls.map(toolCallOf) })
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

/** A chat completion that is written as it comes. */
class Completion {
  readonly #context: ChatContext
  readonly #read = textReader()
  #id = ""
  #created = 0
  #finish: string | undefined
  #isVoid = false

  constructor(context: ChatContext) {
    this.#context = context
  }

  write(event: RunEvent): string {
    if (this.#isVoid || event.path.length > 1) return ""
    const change = this.#read(event)
    if (change._tag === "Void") {
      return this.#failed("The answer began again, which this protocol cannot say. Ask again.", "restarted")
    }
    const text = change._tag === "Text" ? this.#chunk({ content: change.delta }) : ""
    switch (event._tag) {
      case "RunStarted":
        this.#id = `chatcmpl-${event.runId}`
        this.#created = seconds(event.at)
        return this.#chunk({ role: "assistant", content: "" })
      case "StepCompleted":
        this.#finish = event.finishReason
        return text
      case "RunCompleted":
      case "RunFailed":
      case "RunInterrupted":
      case "RunSuspended":
        return `${text}${this.#end(event)}`
      default:
        return text
    }
  }

  #head() {
    const { model } = this.#context
    return { id: this.#id, object: "chat.completion.chunk", created: this.#created, model }
  }

  #chunk(delta: object, finishReason: string | null = null): string {
    return dataEvent({
      ...this.#head(),
      choices: [{ index: 0, delta, logprobs: null, finish_reason: finishReason }],
      ...(this.#context.includeUsage ? { usage: null } : {})
    })
  }

  #failed(message: string, code: string): string {
    this.#isVoid = true
    return dataEvent(openAiError(message, "server_error", code))
  }

  #end(event: Ended): string {
    const { includeUsage, signing } = this.#context
    const calls = clientCalls(event, signing)
    const usage = includeUsage ? dataEvent({ ...this.#head(), choices: [], usage: chatUsage(event.spent.usage) }) : ""
    if (event._tag === "RunCompleted") return `${this.#chunk({}, finishReasonOf(this.#finish))}${usage}`
    if (calls !== undefined) {
      const deltas = calls.map((call, index) => ({ index, ...toolCallOf(call) }))
      return `${this.#chunk({ tool_calls: deltas })}${this.#chunk({}, "tool_calls")}${usage}`
    }
    if (event._tag === "RunSuspended") return this.#failed(cannotAnswer(event.runId), "RunSuspended")
    const failure = failureOf(event)
    return this.#failed(failure.detail, failure.error)
  }
}

/** Writes the chunks of a chat completion. */
export const chatChunks = (context: ChatContext): ((event: RunEvent) => string) => {
  const completion = new Completion(context)
  return (event) => completion.write(event)
}
