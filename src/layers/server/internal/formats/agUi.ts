/** The events of AG-UI (version 1.0), out of the events of a run: CopilotKit and all that reads the protocol. */
import type * as Response from "effect/ai/Response"
import type { Exposed, RunEvent } from "../../../../RunEvent.ts"
import type { Ended } from "../../../../services/Runs.ts"
import { dataEvent } from "../lines.ts"
import { failureOf } from "../problem.ts"
import { type Event, Messages } from "./agUiMessages.ts"
import { textOf } from "./answer.ts"

/** What the stream is part of. */
export interface AgUiContext {
  readonly expose: ReadonlyArray<Exposed>
  /** The ids that the client gave, which the stream has to repeat. */
  readonly threadId: string
  readonly runId: string
  /** The messages of the client, which a snapshot has to repeat. */
  readonly messages: ReadonlyArray<unknown>
  /** The id of the messages that a run gives, by which this server knows its own. */
  readonly idOf: (runId: string) => string
}

const usageOf = ({ inputTokens, outputTokens }: Response.Usage): object => {
  const counts = {
    inputTokens: inputTokens.total,
    outputTokens: outputTokens.total,
    cachedInputTokens: inputTokens.cacheRead,
    cacheWriteInputTokens: inputTokens.cacheWrite,
    reasoningTokens: outputTokens.reasoning
  }
  return Object.fromEntries(Object.entries(counts).filter(([, count]) => count !== undefined))
}

type ToolEvent = Extract<RunEvent, { readonly toolCallId: string }>
type Suspended = Extract<Ended, { readonly _tag: "RunSuspended" }>

const approvalAnswer = {
  type: "object",
  properties: { approved: { type: "boolean" }, reason: { type: "string" }, params: {} },
  required: ["approved"]
} as const

/** How a run is interrupted by what it waits for. Ids are signed with the message, so that an answer finds the run. */
const interruptsOf = ({ waitingFor }: Suspended, own: string) =>
  waitingFor.map((one, index) => ({
    id: `${own}-${index}`,
    reason: one.kind === "approval" ? "tool_call" : one.kind === "client-tool" ? "client_tool" : "event",
    message: one.kind === "approval" ? `May ${one.tool} be called?` : one.kind === "event" ? one.name : one.tool,
    ...(one.kind === "event" ? {} : { toolCallId: one.toolCallId }),
    ...(one.kind === "approval" ? { responseSchema: approvalAnswer } : {})
  }))

/** A run that is written as it goes. The name of a tool is seen; its arguments and results only where they are exposed. */
class Run {
  readonly #context: AgUiContext
  readonly #exposed: ReadonlySet<Exposed>
  readonly #messages = new Messages(() => this.#own)
  #own = ""
  #said = ""
  #step: string | undefined

  constructor(context: AgUiContext) {
    this.#context = context
    this.#exposed = new Set(context.expose)
  }

  events(event: RunEvent): ReadonlyArray<Event> {
    const { idOf, runId, threadId } = this.#context
    switch (event._tag) {
      case "RunStarted":
        this.#own = idOf(event.runId)
        return [{ type: "RUN_STARTED", threadId, runId, protocolVersion: "1.0" }]
      case "StepStarted": {
        const before = this.#endStep()
        this.#step = `step ${event.step}`
        this.#said = ""
        this.#messages.step()
        return [...before, { type: "STEP_STARTED", stepName: this.#step }]
      }
      case "TextDelta":
        this.#said += event.delta
        return event.delta === "" ? [] : this.#messages.text(event.delta)
      case "ReasoningDelta":
        return this.#exposed.has("reasoning") && event.delta !== "" ? this.#messages.reasoning(event.delta) : []
      case "StepRetried":
      case "TurnReplaced":
        return this.#void(false)
      case "RunRetried":
        return [...this.#void(true), ...this.#endStep()]
      case "StepCompleted":
        return this.#endStep()
      case "RunCompleted":
      case "RunFailed":
      case "RunInterrupted":
      case "RunSuspended":
        return this.#end(event)
      default:
        return "toolCallId" in event ? this.#tool(event) : []
    }
  }

  #tool(event: ToolEvent): ReadonlyArray<Event> {
    const messages = this.#messages
    const [call, opening] = messages.call(event.toolCallId, event.tool)
    switch (event._tag) {
      case "ToolParamsDelta":
        return this.#exposed.has("arguments") ? [...opening, ...messages.params(call, event.delta)] : opening
      case "ToolCalled": {
        if (!this.#exposed.has("arguments")) return opening
        const whole = call.args === "" ? messages.params(call, JSON.stringify(event.params)) : []
        return [...opening, ...whole, ...messages.endCall(call)]
      }
      case "ToolCompleted":
      case "ToolFailed": {
        const hidden = event._tag === "ToolCompleted" ? "" : "The tool failed."
        const content = this.#exposed.has("results") ? textOf(event.result) : hidden
        return [...opening, ...messages.endCall(call), ...messages.result(event.toolCallId, content)]
      }
      default:
        return opening
    }
  }

  #endStep(): ReadonlyArray<Event> {
    const step = this.#step
    this.#step = undefined
    return [...this.#messages.close(), ...(step === undefined ? [] : [{ type: "STEP_FINISHED", stepName: step }])]
  }

  /** What was given is void: a snapshot says what is left. */
  #void(isWhole: boolean): ReadonlyArray<Event> {
    this.#said = ""
    const closing = this.#messages.closeAll()
    if (!this.#messages.drop(isWhole)) return closing
    const messages = [...this.#context.messages, ...this.#messages.snapshot()]
    return [...closing, { type: "MESSAGES_SNAPSHOT", messages }]
  }

  #end(event: Ended): ReadonlyArray<Event> {
    switch (event._tag) {
      case "RunCompleted": {
        const output = textOf(event.output)
        // A run without a text of its own, as that of a workflow, has its output as text.
        const isSaid = output === this.#said || output === ""
        const rest = isSaid ? [] : [...this.#messages.close(), ...this.#messages.text(output)]
        return [...rest, ...this.#finish(event, { result: event.output ?? null, outcome: { type: "success" } })]
      }
      case "RunSuspended":
        return this.#suspend(event)
      case "RunInterrupted":
        return this.#finish(event, { outcome: { type: "cancelled" } })
      case "RunFailed": {
        const { detail, error } = failureOf(event)
        const usage = [usageOf(event.spent.usage)]
        const failed = { type: "RUN_ERROR", message: detail, code: error, usage }
        return [...this.#messages.closeAll(), ...this.#endStep(), failed]
      }
    }
  }

  #finish(ended: Ended, more: object): ReadonlyArray<Event> {
    const { runId, threadId } = this.#context
    const usage = [usageOf(ended.spent.usage)]
    const finished = { type: "RUN_FINISHED", threadId, runId, ...more, usage }
    return [...this.#messages.closeAll(), ...this.#endStep(), finished]
  }

  #suspend(event: Suspended): ReadonlyArray<Event> {
    const messages = this.#messages
    const calls = event.waitingFor.flatMap((one): ReadonlyArray<Event> => {
      if (one.kind === "event") return []
      const [call, opening] = messages.call(one.toolCallId, one.tool)
      // A tool that the client runs needs its arguments; those of others are for approval, and shown where exposed.
      const isShown = one.kind === "client-tool" || this.#exposed.has("arguments")
      const whole = isShown && call.args === "" ? messages.params(call, JSON.stringify(one.params)) : []
      return [...opening, ...whole, ...messages.endCall(call)]
    })
    const pending = event.waitingFor.flatMap((one) => (one.kind === "client-tool" ? [one.toolCallId] : []))
    const outcome =
      pending.length === event.waitingFor.length
        ? { type: "success", pendingToolCallIds: pending }
        : { type: "interrupt", interrupts: interruptsOf(event, this.#own) }
    return [...calls, ...this.#finish(event, { outcome })]
  }
}

/** Writes the events of AG-UI. */
export const agUiEvents = (context: AgUiContext): ((event: RunEvent) => string) => {
  const run = new Run(context)
  return (event) => (event.path.length > 1 ? "" : run.events(event).map(dataEvent).join(""))
}
