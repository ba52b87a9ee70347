/** Responses of OpenAI, out of the events of a run. */
import type { RunEvent } from "../../../../RunEvent.ts"
import type { Signing } from "../../../../services/Approver.ts"
import type { Ended } from "../../../../services/Runs.ts"
import { failureOf } from "../problem.ts"
import { textOf, textReader } from "./answer.ts"
import { type ClientCall, clientCalls } from "./calls.ts"
import { cannotAnswer } from "./chat.ts"
import { responsesUsage } from "./usage.ts"

/** What the answer is part of. */
export interface ResponseContext {
  /** The name of the runner. */
  readonly model: string
  readonly previous: string | null
  /** The id of the response for a run. */
  readonly idOf: (runId: string) => string
  readonly metadata: Readonly<Record<string, string>>
  readonly signing: Signing
}

interface Fields {
  readonly [key: string]: unknown
}

const message = (runId: string, text: string, status: string): Fields => ({
  id: `msg_${runId}`,
  type: "message",
  status,
  role: "assistant",
  content: [{ type: "output_text", text, annotations: [] }]
})

const functionCall = ({ arguments: text, id, name }: ClientCall, status = "completed"): Fields => ({
  id: `fc_${id}`,
  type: "function_call",
  status,
  call_id: id,
  name,
  arguments: text
})

const response = (
  { idOf, metadata, model, previous }: ResponseContext,
  runId: string,
  at: number,
  rest: Fields
): Fields => ({
  id: idOf(runId),
  object: "response",
  created_at: Math.floor(at / 1000),
  error: null,
  incomplete_details: null,
  instructions: null,
  max_output_tokens: null,
  model,
  output: [],
  parallel_tool_calls: true,
  previous_response_id: previous,
  reasoning: { effort: null, summary: null },
  store: true,
  temperature: null,
  text: { format: { type: "text" } },
  tool_choice: "auto",
  tools: [],
  top_p: null,
  truncation: "disabled",
  usage: null,
  metadata,
  ...rest
})

const endOf = (context: ResponseContext, ended: Ended, output: ReadonlyArray<Fields>, finish: string | undefined) => {
  const usage = responsesUsage(ended.spent.usage)
  const of = (rest: Fields) => response(context, ended.runId, ended.at, { output, usage, ...rest })
  if (ended._tag === "RunCompleted" || clientCalls(ended, context.signing) !== undefined) {
    return finish === "length"
      ? of({ status: "incomplete", incomplete_details: { reason: "max_output_tokens" } })
      : of({ status: "completed" })
  }
  const failure = failureOf(ended)
  const detail = ended._tag === "RunSuspended" ? cannotAnswer(ended.runId) : failure.detail
  return of({ status: "failed", error: { code: "server_error", message: detail } })
}

/** A whole response. */
export const wholeResponse = (ended: Ended, finish: string | undefined, context: ResponseContext): Fields => {
  const calls = clientCalls(ended, context.signing) ?? []
  const text = ended._tag === "RunCompleted" ? textOf(ended.output) : ""
  const output = [
    ...(ended._tag === "RunCompleted" ? [message(ended.runId, text, "completed")] : []),
    ...calls.map((call) => functionCall(call))
  ]
  return endOf(context, ended, output, finish)
}

/** Writes the events of a response. */
export const responseEvents = (context: ResponseContext): ((event: RunEvent) => string) => {
  const read = textReader()
  let sequence = 0
  let runId = ""
  let text = ""
  let isOpen = false
  let isVoid = false
  let finish: string | undefined
  const send = (type: string, fields: Fields): string =>
    `event: ${type}\ndata: ${JSON.stringify({ type, sequence_number: sequence++, ...fields })}\n\n`
  const place = { output_index: 0, content_index: 0 }
  const item = () => ({ item_id: `msg_${runId}` })
  const open = (): string => {
    if (isOpen) return ""
    isOpen = true
    const added = send("response.output_item.added", {
      output_index: 0,
      item: { id: `msg_${runId}`, type: "message", status: "in_progress", role: "assistant", content: [] }
    })
    const part = { type: "output_text", text: "", annotations: [] }
    return `${added}${send("response.content_part.added", { ...item(), ...place, part })}`
  }
  const close = (): string => {
    if (!isOpen) return ""
    const part = { type: "output_text", text, annotations: [] }
    return [
      send("response.output_text.done", { ...item(), ...place, text, logprobs: [] }),
      send("response.content_part.done", { ...item(), ...place, part }),
      send("response.output_item.done", { output_index: 0, item: message(runId, text, "completed") })
    ].join("")
  }
  const called = (call: ClientCall, index: number): string => {
    const at = { output_index: index, item_id: `fc_${call.id}` }
    return [
      send("response.output_item.added", {
        output_index: index,
        item: { ...functionCall({ ...call, arguments: "" }, "in_progress") }
      }),
      send("response.function_call_arguments.delta", { ...at, delta: call.arguments }),
      send("response.function_call_arguments.done", { ...at, name: call.name, arguments: call.arguments }),
      send("response.output_item.done", { output_index: index, item: functionCall(call) })
    ].join("")
  }
  const ended = (event: Ended): string => {
    const calls = clientCalls(event, context.signing) ?? []
    const first = isOpen ? 1 : 0
    const output = [...(isOpen ? [message(runId, text, "completed")] : []), ...calls.map((call) => functionCall(call))]
    const closing = `${close()}${calls.map((call, index) => called(call, first + index)).join("")}`
    const whole = endOf(context, event, output, finish)
    return `${closing}${send(`response.${String(whole["status"])}`, { response: whole })}`
  }
  const started = (event: RunEvent): string => {
    runId = event.runId
    const begun = response(context, runId, event.at, { status: "in_progress" })
    return `${send("response.created", { response: begun })}${send("response.in_progress", { response: begun })}`
  }
  const failed = (event: RunEvent): string => {
    isVoid = true
    const error = {
      code: "server_error",
      message: "The answer began again, which this protocol cannot say. Ask again."
    }
    return send("response.failed", { response: response(context, runId, event.at, { status: "failed", error }) })
  }
  const spoken = (event: RunEvent): string => {
    const change = read(event)
    if (change._tag === "Void") return failed(event)
    if (change._tag === "Nothing") return ""
    const opening = open()
    text += change.delta
    return `${opening}${send("response.output_text.delta", { ...item(), ...place, delta: change.delta, logprobs: [] })}`
  }
  return (event) => {
    if (isVoid || event.path.length > 1) return ""
    if (event._tag === "RunStarted") return started(event)
    if (event._tag === "StepCompleted") finish = event.finishReason
    const said = spoken(event)
    const isEnd =
      event._tag === "RunCompleted" ||
      event._tag === "RunFailed" ||
      event._tag === "RunInterrupted" ||
      event._tag === "RunSuspended"
    return isEnd ? `${said}${ended(event)}` : said
  }
}
