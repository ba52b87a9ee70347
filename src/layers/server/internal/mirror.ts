/** Events of a run on a server as events of the run here that stands for it. */
import * as Effect from "effect/Effect"
import type { RunState } from "../../../internal/runState.ts"
import type { Client } from "../../../RunEvent.ts"
import { charge, priceOf, usageOf } from "./remoteHttp.ts"

type ToolEvent = Extract<Client, { readonly _tag: "Tool" }>

/** Emits what a client sees of a run, in the order that events of runs have. */
export const mirror = (state: RunState): ((event: Client) => Effect.Effect<void>) => {
  const mirrored = new Mirror(state)
  return (event) => Effect.suspend(() => mirrored.take(event))
}

class Mirror {
  readonly #state: RunState
  /** Where the events of the server stand here. */
  readonly #places: Array<readonly [there: number, here: number]> = []
  #step = 0
  #isOpen = false
  #attempt = 1

  constructor(state: RunState) {
    this.#state = state
  }

  take(event: Client): Effect.Effect<void> {
    this.#places.push([event.seq, this.#state.events.nextSeq])
    return this.#inSteps(event) ?? this.#ofWorkflow(event) ?? this.#ended(event)
  }

  /** Events of the steps of an agent. */
  #inSteps(event: Client): Effect.Effect<void> | undefined {
    const { events } = this.#state
    switch (event._tag) {
      case "Text":
        return this.#inStep((step) => events.emit({ _tag: "TextDelta", step, delta: event.delta }))
      case "Reasoning":
        return this.#inStep((step) => events.emit({ _tag: "ReasoningDelta", step, delta: event.delta }))
      case "Tool":
        return this.#inStep((step) => this.#tool(step, event))
      case "Compacted": {
        const { after, before, policy } = event
        return this.#inStep((step) => events.emit({ _tag: "Compacted", step, before, after, policy }))
      }
      case "Discarded":
        return this.#discarded(event.discardFrom)
      case "Used":
        return this.#inStep((step) => {
          this.#isOpen = false
          // Only what is void of the step under way is looked up.
          this.#places.length = 0
          const usage = usageOf(event.usage)
          return events.emit({ _tag: "StepCompleted", step, finishReason: "unknown", usage, ...priceOf(event.cost) })
        })
      default:
        return undefined
    }
  }

  /** Decisions and items of workflows. */
  #ofWorkflow(event: Client): Effect.Effect<void> | undefined {
    const { events } = this.#state
    switch (event._tag) {
      case "Routed":
        return events.decide({ _tag: "RouteTaken", routes: event.routes, confidence: 1, fallback: false })
      case "Judged":
        return events.decide({ _tag: "RoundCompleted", round: event.round, accepted: event.accepted, verdict: null })
      case "Planned":
        return events.decide({ _tag: "PlanMade", round: event.round, plan: null })
      case "HandedOff":
        return events.decide({ _tag: "HandedOff", from: event.from, to: event.to, reason: "" })
      case "Stopped":
        return events.decide({ _tag: "StoppedEarly", gate: event.gate })
      case "Item": {
        const { done, item, status, total } = event
        return events.emit({ _tag: "ItemCompleted", item, status, done, ...(total === undefined ? {} : { total }) })
      }
      default:
        return undefined
    }
  }

  #ended(event: Client): Effect.Effect<void> {
    switch (event._tag) {
      case "Completed":
      case "Failed":
      case "Interrupted":
      case "Suspended":
        return Effect.sync(() => charge(this.#state.bill, event))
      default:
        return Effect.void
    }
  }

  /** Emits in the step under way, which begins here if none is. */
  #inStep(emit: (step: number) => Effect.Effect<void>): Effect.Effect<void> {
    const opened = Effect.suspend(() => {
      if (this.#isOpen) return Effect.void
      this.#isOpen = true
      this.#step++
      this.#state.bill.addStep()
      return this.#state.events.emit({ _tag: "StepStarted", step: this.#step })
    })
    return Effect.andThen(
      opened,
      Effect.suspend(() => emit(this.#step))
    )
  }

  #discarded(discardFrom: number): Effect.Effect<void> {
    const { events } = this.#state
    const attempt = ++this.#attempt
    const reason = "The server began again."
    // The first event of a run is its start: what voids all after it is another attempt of the run.
    if (discardFrom <= 1) {
      this.#isOpen = false
      return events.emit({ _tag: "RunRetried", attempt, discardFrom: events.startSeq + 1, reason })
    }
    const here = (): number => this.#places.find(([at]) => at >= discardFrom)?.[1] ?? events.nextSeq
    return this.#inStep((step) => events.emit({ _tag: "StepRetried", step, attempt, discardFrom: here(), reason }))
  }

  #tool(step: number, { params = {}, result = null, state: at, tool: name, toolCallId }: ToolEvent) {
    const { events } = this.#state
    const of = { step, toolCallId, tool: name }
    switch (at) {
      case "called":
        return events.emit({ _tag: "ToolCalled", ...of, params })
      case "waiting":
        return events.emit({ _tag: "ApprovalRequested", ...of, approvalId: toolCallId, params })
      case "approved":
      case "denied":
        return events.emit({ _tag: "ApprovalAnswered", ...of, approved: at === "approved" })
      case "completed":
        return events.emit({ _tag: "ToolCompleted", ...of, result, durationMs: 0 })
      case "failed":
        return events.emit({ _tag: "ToolFailed", ...of, result, durationMs: 0 })
    }
  }
}
