/** The events of a run as the updates of a session, which an editor shows. */
import * as Predicate from "effect/Predicate"
import type * as Prompt from "effect/ai/Prompt"
import type { RunEvent } from "../../../../RunEvent.ts"
import { oneLine } from "../../../../internal/text.ts"
import { textOf, textReader } from "../formats/answer.ts"

/** An update of a session. */
export interface Update {
  readonly sessionUpdate: string
  readonly [key: string]: unknown
}

const piece = (sessionUpdate: string, text: string): Update => ({ sessionUpdate, content: { type: "text", text } })

type ToolEvent = Extract<RunEvent, { readonly toolCallId: string }>

/** The id of a call in an editor: those of nested runs have that of their run before it. */
export const callId = ({ path, runId, toolCallId }: Pick<ToolEvent, "path" | "runId" | "toolCallId">): string =>
  path.length > 1 ? `${runId}/${toolCallId}` : toolCallId

/** The title of a call: which tool, and what for. */
export const titleOf = (path: ReadonlyArray<string>, tool: string, params: unknown): string => {
  const shown = oneLine(JSON.stringify(params) ?? "")
  const where = path.length > 1 ? `${path.slice(1).join(" > ")}: ` : ""
  return oneLine(`${where}${tool}${shown === "{}" || shown === "" ? "" : ` ${shown}`}`).slice(0, 200)
}

/** A title and what the call is about, as a question for permission has them. */
export const pendingCall = (toolCallId: string, title: string, rawInput: unknown, kind: string) => ({
  toolCallId,
  title,
  kind,
  status: "pending",
  rawInput
})

const resultContent = (result: unknown): ReadonlyArray<object> => [
  { type: "content", content: { type: "text", text: textOf(result) } }
]

const changed = (event: ToolEvent, fields: object): Update => ({
  sessionUpdate: "tool_call_update",
  toolCallId: callId(event),
  ...fields
})

const ofTool = (event: ToolEvent): ReadonlyArray<Update> => {
  switch (event._tag) {
    case "ToolCalled": {
      const { params, path, tool } = event
      const call = pendingCall(callId(event), titleOf(path, tool, params), params, "other")
      return [{ sessionUpdate: "tool_call", ...call, status: "in_progress" }]
    }
    case "ApprovalRequested":
      return [changed(event, { status: "pending" })]
    case "ApprovalAnswered":
      return event.approved
        ? [changed(event, { status: "in_progress", ...(event.params === undefined ? {} : { rawInput: event.params }) })]
        : []
    case "ToolProgress":
      return [changed(event, { content: resultContent(event.result) })]
    case "ToolCompleted":
      return [changed(event, { status: "completed", rawOutput: event.result, content: resultContent(event.result) })]
    case "ToolFailed":
      return [changed(event, { status: "failed", rawOutput: event.result, content: resultContent(event.result) })]
    default:
      return []
  }
}

/** Text that was sent and is void cannot be taken back. */
const again = "\n\n(The answer begins again.)\n\n"

/** Reads the events of one turn. Text and reasoning are the root run's; tool calls are those of nested runs too. */
export const updatesOf = (): ((event: RunEvent) => ReadonlyArray<Update>) => {
  const read = textReader()
  return (event) => {
    if ("toolCallId" in event) return ofTool(event)
    if (event.path.length > 1) return []
    if (event._tag === "ReasoningDelta") return [piece("agent_thought_chunk", event.delta)]
    if (event._tag === "PlanRevised") return planOf(event.plan)
    const change = read(event)
    switch (change._tag) {
      case "Text":
        return [piece("agent_message_chunk", change.delta)]
      case "Void":
        return [piece("agent_message_chunk", again)]
      case "Nothing":
        return []
    }
  }
}

/** A plan, where it has the steps of one. */
const planOf = (plan: unknown): ReadonlyArray<Update> => {
  const steps = Array.isArray(plan) ? plan : Predicate.hasProperty(plan, "steps") ? plan.steps : undefined
  if (!Array.isArray(steps)) return []
  const entries = steps.map((step: unknown) => ({
    content: typeof step === "string" ? step : textOf(Predicate.hasProperty(step, "content") ? step.content : step),
    priority: "medium",
    status: "pending"
  }))
  return [{ sessionUpdate: "plan", entries }]
}

/** A conversation that is kept, as the updates that show it again. */
export const historyUpdates = ({ content }: Prompt.Prompt): ReadonlyArray<Update> =>
  content.flatMap((message): ReadonlyArray<Update> => {
    if (message.role === "system") return []
    const parts: ReadonlyArray<Prompt.Part> = message.content
    return parts.flatMap((part): ReadonlyArray<Update> => {
      switch (part.type) {
        case "text":
          return part.text === ""
            ? []
            : [piece(message.role === "user" ? "user_message_chunk" : "agent_message_chunk", part.text)]
        case "tool-call": {
          const call = pendingCall(part.id, titleOf([], part.name, part.params), part.params, "other")
          return [{ sessionUpdate: "tool_call", ...call }]
        }
        case "tool-result": {
          const status = part.isFailure ? "failed" : "completed"
          return [
            { sessionUpdate: "tool_call_update", toolCallId: part.id, status, content: resultContent(part.result) }
          ]
        }
        default:
          return []
      }
    })
  })
