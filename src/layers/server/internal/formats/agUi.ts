/** The events of AG-UI (version 1.0), out of the events of a run: CopilotKit and all that reads the protocol. */
import type * as Response from "effect/ai/Response"
import type { Exposed, RunEvent } from "../../../../RunEvent.ts"
import type { Ended } from "../../../../services/Runs.ts"
import { failureOf } from "../problem.ts"
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

interface Event {
  readonly type: string
  readonly [key: string]: unknown
}

/** Writes events of AG-UI. */
export const writeEvents = (events: ReadonlyArray<Event>): string =>
  events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join("")

interface Call {
  readonly id: string
  readonly name: string
  args: string
  isOpen: boolean
}

interface Message {
  readonly id: string
  readonly role: "assistant" | "tool"
  content: string
  readonly calls: Array<Call>
  readonly toolCallId?: string
}

const snapshotOf = ({ calls, content, id, role, toolCallId }: Message): object => ({
  id,
  role,
  ...(content === "" && role === "assistant" ? {} : { content }),
  ...(toolCallId === undefined ? {} : { toolCallId }),
  ...(calls.length === 0
    ? {}
    : {
        toolCalls: calls.map((call) => ({
          id: call.id,
          type: "function",
          function: { name: call.name, arguments: call.args }
        }))
      })
})

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

/** The messages of a run, as they come: what is open is closed before anything else begins. */
const messagesOf = (ownId: () => string) => {
  let made: Array<Message> = []
  /** Where the messages of the step under way begin. */
  let stepFrom = 0
  let count = 0
  let reasoning: string | undefined
  let text: Message | undefined
  const add = (more: Partial<Message> = {}): Message => {
    const message: Message = { id: `${ownId()}-${count++}`, role: "assistant", content: "", calls: [], ...more }
    made.push(message)
    return message
  }
  const endText = (): ReadonlyArray<Event> => {
    const events = text === undefined ? [] : [{ type: "TEXT_MESSAGE_END", messageId: text.id }]
    text = undefined
    return events
  }
  const endReasoning = (): ReadonlyArray<Event> => {
    if (reasoning === undefined) return []
    const messageId = reasoning
    reasoning = undefined
    return [
      { type: "REASONING_MESSAGE_END", messageId },
      { type: "REASONING_END", messageId }
    ]
  }
  const endCall = (call: Call): ReadonlyArray<Event> => {
    if (!call.isOpen) return []
    call.isOpen = false
    return [{ type: "TOOL_CALL_END", toolCallId: call.id }]
  }
  const calls = (): ReadonlyArray<Call> => made.flatMap((message) => message.calls)
  const close = (): ReadonlyArray<Event> => [...endReasoning(), ...endText()]
  return {
    close,
    endCall,
    closeAll: (): ReadonlyArray<Event> => [...close(), ...calls().flatMap(endCall)],
    step: () => {
      stepFrom = made.length
    },
    /** Takes back what the step, or the whole run, has given. */
    drop: (isWhole: boolean): boolean => {
      const from = isWhole ? 0 : stepFrom
      const isVoid = made.length > from
      made = made.slice(0, from)
      stepFrom = from
      return isVoid
    },
    snapshot: (): ReadonlyArray<object> => made.map(snapshotOf),
    text: (delta: string): ReadonlyArray<Event> => {
      const opening: Array<Event> = [...endReasoning()]
      if (text === undefined) {
        text = add()
        opening.push({ type: "TEXT_MESSAGE_START", messageId: text.id, role: "assistant" })
      }
      text.content += delta
      return [...opening, { type: "TEXT_MESSAGE_CONTENT", messageId: text.id, delta }]
    },
    reasoning: (delta: string): ReadonlyArray<Event> => {
      const opening: Array<Event> = [...endText()]
      if (reasoning === undefined) {
        reasoning = `${ownId()}-r${count++}`
        opening.push(
          { type: "REASONING_START", messageId: reasoning },
          { type: "REASONING_MESSAGE_START", messageId: reasoning, role: "reasoning" }
        )
      }
      return [...opening, { type: "REASONING_MESSAGE_CONTENT", messageId: reasoning, delta }]
    },
    call: (id: string, name: string): readonly [Call, ReadonlyArray<Event>] => {
      const known = calls().find((call) => call.id === id)
      if (known !== undefined) return [known, []]
      const before = close()
      const last = made.length > stepFrom ? made.at(-1) : undefined
      const parent = last?.role === "assistant" ? last : add()
      const call: Call = { id, name, args: "", isOpen: true }
      parent.calls.push(call)
      return [
        call,
        [...before, { type: "TOOL_CALL_START", toolCallId: id, toolCallName: name, parentMessageId: parent.id }]
      ]
    },
    result: (toolCallId: string, content: string): ReadonlyArray<Event> => {
      const { id: messageId } = add({ role: "tool", content, toolCallId })
      return [{ type: "TOOL_CALL_RESULT", messageId, toolCallId, content, role: "tool" }]
    }
  }
}

type ToolEvent = Extract<RunEvent, { readonly toolCallId: string }>
type Suspended = Extract<Ended, { readonly _tag: "RunSuspended" }>

const approvalAnswer = {
  type: "object",
  properties: { approved: { type: "boolean" }, reason: { type: "string" }, params: {} },
  required: ["approved"]
} as const

/** Writes the events of AG-UI. The name of a tool is seen; its arguments and results only where they are exposed. */
export const agUiEvents = (context: AgUiContext): ((event: RunEvent) => string) => {
  const { runId, threadId } = context
  const exposed = new Set(context.expose)
  let own = ""
  let said = ""
  let step: string | undefined
  const messages = messagesOf(() => own)
  const params = (call: Call, delta: string): ReadonlyArray<Event> => {
    if (!call.isOpen || delta === "") return []
    call.args += delta
    return [{ type: "TOOL_CALL_ARGS", toolCallId: call.id, delta }]
  }
  const tool = (event: ToolEvent): ReadonlyArray<Event> => {
    const [call, opening] = messages.call(event.toolCallId, event.tool)
    switch (event._tag) {
      case "ToolParamsDelta":
        return exposed.has("arguments") ? [...opening, ...params(call, event.delta)] : opening
      case "ToolCalled": {
        if (!exposed.has("arguments")) return opening
        const whole = call.args === "" ? params(call, JSON.stringify(event.params)) : []
        return [...opening, ...whole, ...messages.endCall(call)]
      }
      case "ToolCompleted":
      case "ToolFailed": {
        const hidden = event._tag === "ToolCompleted" ? "" : "The tool failed."
        const content = exposed.has("results") ? textOf(event.result) : hidden
        return [...opening, ...messages.endCall(call), ...messages.result(event.toolCallId, content)]
      }
      default:
        return opening
    }
  }
  const endStep = (): ReadonlyArray<Event> => {
    const events = [...messages.close(), ...(step === undefined ? [] : [{ type: "STEP_FINISHED", stepName: step }])]
    step = undefined
    return events
  }
  const finished = (ended: Ended, more: object): Event => ({
    type: "RUN_FINISHED",
    threadId,
    runId,
    ...more,
    usage: [usageOf(ended.spent.usage)]
  })
  const suspended = (event: Suspended): ReadonlyArray<Event> => {
    const calls = event.waitingFor.flatMap((one): ReadonlyArray<Event> => {
      if (one.kind === "event") return []
      const [call, opening] = messages.call(one.toolCallId, one.tool)
      // A tool that the client runs needs its arguments; those of others are for approval, and shown where exposed.
      const isShown = one.kind === "client-tool" || exposed.has("arguments")
      const whole = isShown && call.args === "" ? params(call, JSON.stringify(one.params)) : []
      return [...opening, ...whole, ...messages.endCall(call)]
    })
    const pending = event.waitingFor.flatMap((one) => (one.kind === "client-tool" ? [one.toolCallId] : []))
    const interrupts = event.waitingFor.map((one, index) => ({
      // Signed with the message, so that an answer finds the run.
      id: `${own}-${index}`,
      reason: one.kind === "approval" ? "tool_call" : one.kind === "client-tool" ? "client_tool" : "event",
      message: one.kind === "approval" ? `May ${one.tool} be called?` : one.kind === "event" ? one.name : one.tool,
      ...(one.kind === "event" ? {} : { toolCallId: one.toolCallId }),
      ...(one.kind === "approval" ? { responseSchema: approvalAnswer } : {})
    }))
    const outcome =
      pending.length === event.waitingFor.length
        ? { type: "success", pendingToolCallIds: pending }
        : { type: "interrupt", interrupts }
    return [...calls, ...messages.closeAll(), ...endStep(), finished(event, { outcome })]
  }
  const ended = (event: Ended): ReadonlyArray<Event> => {
    switch (event._tag) {
      case "RunCompleted": {
        const output = textOf(event.output)
        // A run without a text of its own, as that of a workflow, has its output as text.
        const rest = output === said || output === "" ? [] : [...messages.close(), ...messages.text(output)]
        const more = { result: event.output ?? null, outcome: { type: "success" } }
        return [...rest, ...messages.closeAll(), ...endStep(), finished(event, more)]
      }
      case "RunSuspended":
        return suspended(event)
      case "RunInterrupted":
        return [...messages.closeAll(), ...endStep(), finished(event, { outcome: { type: "cancelled" } })]
      case "RunFailed": {
        const { detail, error } = failureOf(event)
        const usage = [usageOf(event.spent.usage)]
        return [...messages.closeAll(), ...endStep(), { type: "RUN_ERROR", message: detail, code: error, usage }]
      }
    }
  }
  const voided = (isWhole: boolean): ReadonlyArray<Event> => {
    said = ""
    const closing = messages.closeAll()
    if (!messages.drop(isWhole)) return closing
    return [...closing, { type: "MESSAGES_SNAPSHOT", messages: [...context.messages, ...messages.snapshot()] }]
  }
  const eventsOf = (event: RunEvent): ReadonlyArray<Event> => {
    switch (event._tag) {
      case "RunStarted":
        own = context.idOf(event.runId)
        return [{ type: "RUN_STARTED", threadId, runId, protocolVersion: "1.0" }]
      case "StepStarted": {
        const before = endStep()
        step = `step ${event.step}`
        said = ""
        messages.step()
        return [...before, { type: "STEP_STARTED", stepName: step }]
      }
      case "TextDelta":
        said += event.delta
        return event.delta === "" ? [] : messages.text(event.delta)
      case "ReasoningDelta":
        return exposed.has("reasoning") && event.delta !== "" ? messages.reasoning(event.delta) : []
      case "StepRetried":
      case "TurnReplaced":
        return voided(false)
      case "RunRetried":
        return [...voided(true), ...endStep()]
      case "StepCompleted":
        return endStep()
      case "RunCompleted":
      case "RunFailed":
      case "RunInterrupted":
      case "RunSuspended":
        return ended(event)
      default:
        return "toolCallId" in event ? tool(event) : []
    }
  }
  return (event) => (event.path.length > 1 ? "" : writeEvents(eventsOf(event)))
}
