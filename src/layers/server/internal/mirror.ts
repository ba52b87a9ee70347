/** Events of a run on a server as events of the run here that stands for it. */
import * as Effect from "effect/Effect"
import type { RunState } from "../../../internal/runState.ts"
import type { Client } from "../../../RunEvent.ts"

type ToolEvent = Extract<Client, { readonly _tag: "Tool" }>

/** Emits what a client sees of a run, in the order that events of runs have. */
export const mirror = (state: RunState): ((event: Client) => Effect.Effect<void>) => {
  const { bill, events } = state
  /** Where the events of the server stand here. */
  const places: Array<readonly [there: number, here: number]> = []
  let step = 0
  let isOpen = false
  let attempt = 1
  const opened: Effect.Effect<void> = Effect.suspend(() => {
    if (isOpen) return Effect.void
    isOpen = true
    step++
    bill.addStep()
    return events.emit({ _tag: "StepStarted", step })
  })
  const inStep = (emit: () => Effect.Effect<void>) => Effect.andThen(opened, Effect.suspend(emit))
  const hereOf = (there: number): number => places.find(([at]) => at >= there)?.[1] ?? events.nextSeq
  const discarded = (discardFrom: number): Effect.Effect<void> => {
    attempt++
    const reason = "The server began again."
    // The first event of a run is its start: what voids all after it is another attempt of the run.
    if (discardFrom <= 1) {
      isOpen = false
      return events.emit({ _tag: "RunRetried", attempt, discardFrom: events.startSeq + 1, reason })
    }
    return inStep(() => events.emit({ _tag: "StepRetried", step, attempt, discardFrom: hereOf(discardFrom), reason }))
  }
  const tool = ({ params = {}, result = null, state: at, tool: name, toolCallId }: ToolEvent) => {
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
  const emitted = (event: Client): Effect.Effect<void> => {
    switch (event._tag) {
      case "Text":
        return inStep(() => events.emit({ _tag: "TextDelta", step, delta: event.delta }))
      case "Reasoning":
        return inStep(() => events.emit({ _tag: "ReasoningDelta", step, delta: event.delta }))
      case "Tool":
        return inStep(() => tool(event))
      case "Discarded":
        return discarded(event.discardFrom)
      case "Used":
        return inStep(() => {
          isOpen = false
          // Only what is void of the step under way is looked up.
          places.length = 0
          return events.emit({ _tag: "StepCompleted", step, finishReason: "unknown", usage: event.usage })
        })
      case "Routed":
        return events.decide({ _tag: "RouteTaken", routes: event.routes, confidence: 1, fallback: false })
      case "Judged":
        return events.decide({ _tag: "RoundCompleted", round: event.round, accepted: event.accepted, verdict: null })
      case "Planned":
        return events.decide({ _tag: "PlanMade", round: event.round, plan: null })
      case "Compacted": {
        const { after, before, policy } = event
        return inStep(() => events.emit({ _tag: "Compacted", step, before, after, policy }))
      }
      case "HandedOff":
        return events.decide({ _tag: "HandedOff", from: event.from, to: event.to, reason: "" })
      case "Stopped":
        return events.decide({ _tag: "StoppedEarly", gate: event.gate })
      case "Item": {
        const { done, item, status, total } = event
        return events.emit({ _tag: "ItemCompleted", item, status, done, ...(total === undefined ? {} : { total }) })
      }
      case "Completed":
      case "Failed":
      case "Interrupted":
      case "Suspended":
        return Effect.sync(() => {
          while (bill.steps < event.steps) bill.addStep()
          bill.addUsage(event.usage)
        })
      default:
        return Effect.void
    }
  }
  return (event) =>
    Effect.suspend(() => {
      places.push([event.seq, events.nextSeq])
      return emitted(event)
    })
}
