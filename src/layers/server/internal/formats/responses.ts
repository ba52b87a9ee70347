/** Responses of OpenAI, out of the events of a run. */
import { isTerminal, type RunEvent } from "../../../../RunEvent.ts"
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

const place = { output_index: 0, content_index: 0 }

/** A response that is written as it comes. */
class Writing {
  readonly #context: ResponseContext
  readonly #read = textReader()
  #sequence = 0
  #runId = ""
  #text = ""
  #isOpen = false
  #isVoid = false
  #finish: string | undefined

  constructor(context: ResponseContext) {
    this.#context = context
  }

  write(event: RunEvent): string {
    if (this.#isVoid || event.path.length > 1) return ""
    if (event._tag === "RunStarted") return this.#begin(event)
    if (event._tag === "StepCompleted") this.#finish = event.finishReason
    const said = this.#said(event)
    return isTerminal(event) ? `${said}${this.#end(event)}` : said
  }

  #send(type: string, fields: Fields): string {
    const data = { type, sequence_number: this.#sequence++, ...fields }
    return `event: ${type}\ndata: ${JSON.stringify(data)}\n\n`
  }

  #begin(event: RunEvent): string {
    this.#runId = event.runId
    const begun = response(this.#context, event.runId, event.at, { status: "in_progress" })
    return `${this.#send("response.created", { response: begun })}${this.#send("response.in_progress", { response: begun })}`
  }

  #said(event: RunEvent): string {
    const change = this.#read(event)
    if (change._tag === "Void") return this.#failed(event)
    if (change._tag === "Nothing") return ""
    const opening = this.#open()
    this.#text += change.delta
    const delta = { ...this.#item(), ...place, delta: change.delta, logprobs: [] }
    return `${opening}${this.#send("response.output_text.delta", delta)}`
  }

  #item() {
    return { item_id: `msg_${this.#runId}` }
  }

  #open(): string {
    if (this.#isOpen) return ""
    this.#isOpen = true
    const added = this.#send("response.output_item.added", {
      output_index: 0,
      item: { id: `msg_${this.#runId}`, type: "message", status: "in_progress", role: "assistant", content: [] }
    })
    const part = { type: "output_text", text: "", annotations: [] }
    return `${added}${this.#send("response.content_part.added", { ...this.#item(), ...place, part })}`
  }

  #close(): string {
    if (!this.#isOpen) return ""
    const at = { ...this.#item(), ...place }
    const text = this.#text
    const part = { type: "output_text", text, annotations: [] }
    return [
      this.#send("response.output_text.done", { ...at, text, logprobs: [] }),
      this.#send("response.content_part.done", { ...at, part }),
      this.#send("response.output_item.done", { output_index: 0, item: message(this.#runId, text, "completed") })
    ].join("")
  }

  #called(call: ClientCall, index: number): string {
    const at = { output_index: index, item_id: `fc_${call.id}` }
    return [
      this.#send("response.output_item.added", {
        output_index: index,
        item: functionCall({ ...call, arguments: "" }, "in_progress")
      }),
      this.#send("response.function_call_arguments.delta", { ...at, delta: call.arguments }),
      this.#send("response.function_call_arguments.done", { ...at, name: call.name, arguments: call.arguments }),
      this.#send("response.output_item.done", { output_index: index, item: functionCall(call) })
    ].join("")
  }

  #end(event: Ended): string {
    const calls = clientCalls(event, this.#context.signing) ?? []
    const first = this.#isOpen ? 1 : 0
    const own = this.#isOpen ? [message(this.#runId, this.#text, "completed")] : []
    const output = [...own, ...calls.map((call) => functionCall(call))]
    const closing = `${this.#close()}${calls.map((call, index) => this.#called(call, first + index)).join("")}`
    const whole = endOf(this.#context, event, output, this.#finish)
    return `${closing}${this.#send(`response.${String(whole["status"])}`, { response: whole })}`
  }

  #failed(event: RunEvent): string {
    this.#isVoid = true
    const error = {
      code: "server_error",
      message: "The answer began again, which this protocol cannot say. Ask again."
    }
    const failed = response(this.#context, this.#runId, event.at, { status: "failed", error })
    return this.#send("response.failed", { response: failed })
  }
}

/** Writes the events of a response. */
export const responseEvents = (context: ResponseContext): ((event: RunEvent) => string) => {
  const writing = new Writing(context)
  return (event) => writing.write(event)
}
