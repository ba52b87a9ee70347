/** The UI message stream of the AI SDK (version 1), out of the events of a run: `useChat` and all that stands on it. */
import type { Exposed, RunEvent } from "../../../../RunEvent.ts"
import type { Ended } from "../../../../services/Runs.ts"
import { failureOf } from "../problem.ts"
import { textOf } from "./answer.ts"

/** The headers by which clients know the stream. */
export const uiHeaders = { "x-vercel-ai-ui-message-stream": "v1" } as const

/** What the stream is part of. */
export interface UiContext {
  readonly expose: ReadonlyArray<Exposed>
  /** The id of the message that a run gives, by which this server knows its own. */
  readonly idOf: (runId: string) => string
}

interface Chunk {
  readonly type: string
  readonly [key: string]: unknown
}

const write = (chunks: ReadonlyArray<Chunk>): string =>
  chunks.map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`).join("")

type ToolEvent = Extract<RunEvent, { readonly toolCallId: string }>

/** Writes the chunks of a UI message. The name of a tool is seen; its arguments and results only where they are exposed. */
export const uiChunks = ({ expose, idOf }: UiContext): ((event: RunEvent) => string) => {
  const exposed = new Set(expose)
  let open: { readonly kind: "text" | "reasoning"; readonly id: string } | undefined
  let isInStep = false
  let said = ""
  let parts = 0
  const inputs = new Set<string>()
  const close = (): ReadonlyArray<Chunk> => {
    const chunks = open === undefined ? [] : [{ type: `${open.kind}-end`, id: open.id }]
    open = undefined
    return chunks
  }
  const delta = (kind: "text" | "reasoning", text: string): ReadonlyArray<Chunk> => {
    const before = open?.kind === kind ? [] : close()
    const opening: Array<Chunk> = []
    if (open === undefined) {
      open = { kind, id: `${kind}-${parts++}` }
      opening.push({ type: `${kind}-start`, id: open.id })
    }
    return [...before, ...opening, { type: `${kind}-delta`, id: open.id, delta: text }]
  }
  const endStep = (): ReadonlyArray<Chunk> => {
    const chunks = [...close(), ...(isInStep ? [{ type: "finish-step" }] : [])]
    isInStep = false
    return chunks
  }
  /** A call of which the client knows the input, as far as it may. */
  const available = (toolCallId: string, toolName: string, params: unknown): ReadonlyArray<Chunk> => {
    if (inputs.has(toolCallId)) return []
    inputs.add(toolCallId)
    const input = exposed.has("arguments") ? params : {}
    return [{ type: "tool-input-available", toolCallId, toolName, input }]
  }
  const tool = (event: ToolEvent): ReadonlyArray<Chunk> => {
    const { tool: toolName, toolCallId } = event
    switch (event._tag) {
      case "ToolCalled":
        // A call without its arguments has only begun, for all that the client may know.
        return exposed.has("arguments")
          ? available(toolCallId, toolName, event.params)
          : [{ type: "tool-input-start", toolCallId, toolName }]
      case "ToolCompleted": {
        const output = exposed.has("results") ? event.result : null
        return [...available(toolCallId, toolName, {}), { type: "tool-output-available", toolCallId, output }]
      }
      case "ToolFailed": {
        const errorText = exposed.has("results") ? textOf(event.result) : "The tool failed."
        return [...available(toolCallId, toolName, {}), { type: "tool-output-error", toolCallId, errorText }]
      }
      default:
        return []
    }
  }
  const waiting = (ended: Extract<Ended, { readonly _tag: "RunSuspended" }>): ReadonlyArray<Chunk> =>
    ended.waitingFor.flatMap((one): ReadonlyArray<Chunk> => {
      if (one.kind === "event") return []
      const { params, tool: toolName, toolCallId } = one
      if (one.kind === "client-tool") return [{ type: "tool-input-available", toolCallId, toolName, input: params }]
      const request = { type: "tool-approval-request", approvalId: one.id, toolCallId }
      return [...available(toolCallId, toolName, params), request]
    })
  const ended = (event: Ended): ReadonlyArray<Chunk> => {
    switch (event._tag) {
      case "RunCompleted": {
        const output = textOf(event.output)
        // A run without a text of its own, as that of a workflow, has its output as text.
        const rest = output === said || output === "" ? [] : [{ type: "start-step" }, ...delta("text", output)]
        if (rest.length > 0) isInStep = true
        return [...rest, ...endStep(), { type: "finish", finishReason: "stop" }]
      }
      case "RunSuspended":
        return [...close(), ...waiting(event), ...endStep(), { type: "finish", finishReason: "tool-calls" }]
      case "RunInterrupted":
        return [...endStep(), { type: "abort" }]
      case "RunFailed":
        return [...endStep(), { type: "error", errorText: failureOf(event).detail }]
    }
  }
  const chunksOf = (event: RunEvent): ReadonlyArray<Chunk> => {
    switch (event._tag) {
      case "RunStarted":
        return [{ type: "start", messageId: idOf(event.runId) }]
      case "StepStarted": {
        const before = endStep()
        isInStep = true
        said = ""
        return [...before, { type: "start-step" }]
      }
      case "TextDelta":
        said += event.delta
        return delta("text", event.delta)
      case "ReasoningDelta":
        return exposed.has("reasoning") ? delta("reasoning", event.delta) : []
      case "StepRetried":
      case "TurnReplaced":
        said = ""
        return [...close(), { type: "reset-step" }]
      case "StepCompleted":
        return endStep()
      case "RunCompleted":
      case "RunFailed":
      case "RunInterrupted":
      case "RunSuspended":
        return ended(event)
      default:
        return "toolCallId" in event ? [...close(), ...tool(event)] : []
    }
  }
  return (event) => (event.path.length > 1 ? "" : write(chunksOf(event)))
}
