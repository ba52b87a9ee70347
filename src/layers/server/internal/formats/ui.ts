/** The UI message stream of the AI SDK (version 1), out of the events of a run: `useChat` and all that stands on it. */
import type { Exposed, RunEvent } from "../../../../RunEvent.ts"
import type { Ended } from "../../../../services/Runs.ts"
import { dataEvent } from "../lines.ts"
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

type ToolEvent = Extract<RunEvent, { readonly toolCallId: string }>

/** The parts of a message: text and reasoning are open until something else comes. */
class Parts {
  #open: { readonly kind: "text" | "reasoning"; readonly id: string } | undefined
  #count = 0

  close(): ReadonlyArray<Chunk> {
    const chunks = this.#open === undefined ? [] : [{ type: `${this.#open.kind}-end`, id: this.#open.id }]
    this.#open = undefined
    return chunks
  }

  delta(kind: "text" | "reasoning", text: string): ReadonlyArray<Chunk> {
    const before = this.#open?.kind === kind ? [] : this.close()
    const opening: Array<Chunk> = []
    if (this.#open === undefined) {
      this.#open = { kind, id: `${kind}-${this.#count++}` }
      opening.push({ type: `${kind}-start`, id: this.#open.id })
    }
    return [...before, ...opening, { type: `${kind}-delta`, id: this.#open.id, delta: text }]
  }
}

/** The calls of a message. The name of a tool is seen; its arguments and results only where they are exposed. */
class Calls {
  readonly #exposed: ReadonlySet<Exposed>
  readonly #inputs = new Set<string>()

  constructor(exposed: ReadonlySet<Exposed>) {
    this.#exposed = exposed
  }

  /** A call of which the client knows the input, as far as it may. */
  #available(toolCallId: string, toolName: string, params: unknown): ReadonlyArray<Chunk> {
    if (this.#inputs.has(toolCallId)) return []
    this.#inputs.add(toolCallId)
    const input = this.#exposed.has("arguments") ? params : {}
    return [{ type: "tool-input-available", toolCallId, toolName, input }]
  }

  chunks(event: ToolEvent): ReadonlyArray<Chunk> {
    const { tool: toolName, toolCallId } = event
    switch (event._tag) {
      case "ToolCalled":
        // A call without its arguments has only begun, for all that the client may know.
        return this.#exposed.has("arguments")
          ? this.#available(toolCallId, toolName, event.params)
          : [{ type: "tool-input-start", toolCallId, toolName }]
      case "ToolCompleted": {
        const output = this.#exposed.has("results") ? event.result : null
        const available = this.#available(toolCallId, toolName, {})
        return [...available, { type: "tool-output-available", toolCallId, output }]
      }
      case "ToolFailed": {
        const errorText = this.#exposed.has("results") ? textOf(event.result) : "The tool failed."
        const available = this.#available(toolCallId, toolName, {})
        return [...available, { type: "tool-output-error", toolCallId, errorText }]
      }
      default:
        return []
    }
  }

  /** What a suspended run asks its client for. */
  waiting({ waitingFor }: Extract<Ended, { readonly _tag: "RunSuspended" }>): ReadonlyArray<Chunk> {
    return waitingFor.flatMap((one): ReadonlyArray<Chunk> => {
      if (one.kind === "event") return []
      const { params, tool: toolName, toolCallId } = one
      if (one.kind === "client-tool") return [{ type: "tool-input-available", toolCallId, toolName, input: params }]
      const request = { type: "tool-approval-request", approvalId: one.id, toolCallId }
      return [...this.#available(toolCallId, toolName, params), request]
    })
  }
}

/** The message of a run. */
class Message {
  readonly #context: UiContext
  readonly #exposed: ReadonlySet<Exposed>
  readonly #parts = new Parts()
  readonly #calls: Calls
  #isInStep = false
  #said = ""

  constructor(context: UiContext) {
    this.#context = context
    this.#exposed = new Set(context.expose)
    this.#calls = new Calls(this.#exposed)
  }

  chunks(event: RunEvent): ReadonlyArray<Chunk> {
    switch (event._tag) {
      case "RunStarted":
        return [{ type: "start", messageId: this.#context.idOf(event.runId) }]
      case "StepStarted": {
        const before = this.#endStep()
        this.#isInStep = true
        this.#said = ""
        return [...before, { type: "start-step" }]
      }
      case "TextDelta":
        this.#said += event.delta
        return this.#parts.delta("text", event.delta)
      case "ReasoningDelta":
        return this.#exposed.has("reasoning") ? this.#parts.delta("reasoning", event.delta) : []
      case "StepRetried":
      case "TurnReplaced":
        this.#said = ""
        return [...this.#parts.close(), { type: "reset-step" }]
      case "StepCompleted":
        return this.#endStep()
      case "RunCompleted":
      case "RunFailed":
      case "RunInterrupted":
      case "RunSuspended":
        return this.#end(event)
      default:
        return "toolCallId" in event ? [...this.#parts.close(), ...this.#calls.chunks(event)] : []
    }
  }

  #endStep(): ReadonlyArray<Chunk> {
    const chunks = [...this.#parts.close(), ...(this.#isInStep ? [{ type: "finish-step" }] : [])]
    this.#isInStep = false
    return chunks
  }

  #end(event: Ended): ReadonlyArray<Chunk> {
    switch (event._tag) {
      case "RunCompleted": {
        const output = textOf(event.output)
        // A run without a text of its own, as that of a workflow, has its output as text.
        const isSaid = output === this.#said || output === ""
        const rest = isSaid ? [] : [{ type: "start-step" }, ...this.#parts.delta("text", output)]
        if (rest.length > 0) this.#isInStep = true
        return [...rest, ...this.#endStep(), { type: "finish", finishReason: "stop" }]
      }
      case "RunSuspended": {
        const waiting = [...this.#parts.close(), ...this.#calls.waiting(event)]
        return [...waiting, ...this.#endStep(), { type: "finish", finishReason: "tool-calls" }]
      }
      case "RunInterrupted":
        return [...this.#endStep(), { type: "abort" }]
      case "RunFailed":
        return [...this.#endStep(), { type: "error", errorText: failureOf(event).detail }]
    }
  }
}

/** Writes the chunks of a UI message. */
export const uiChunks = (context: UiContext): ((event: RunEvent) => string) => {
  const message = new Message(context)
  return (event) => (event.path.length > 1 ? "" : message.chunks(event).map(dataEvent).join(""))
}
