/**
 * What an agent elsewhere does, as the steps of a run: text first, then tool calls. Agents of ACP mix them as they please, so
 * what does not fit the step under way waits for the next one.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import type * as Schema from "effect/Schema"
import type { ToolCallEntry } from "../../../../internal/bill.ts"
import type { RunState } from "../../../../internal/runState.ts"
import { makeUsage } from "../../../../internal/usage.ts"

/** Something that an agent did. */
export type Act =
  | { readonly _tag: "Text" | "Reasoning"; readonly delta: string }
  | { readonly _tag: "Plan"; readonly plan: Schema.Json }
  | { readonly _tag: "Call"; readonly id: string; readonly tool: string; readonly params: Schema.Json }
  | { readonly _tag: "Progress"; readonly id: string; readonly result: Schema.Json }
  | { readonly _tag: "Asked"; readonly id: string; readonly approvalId: string; readonly params: Schema.Json }
  | { readonly _tag: "Answered"; readonly id: string; readonly approved: boolean; readonly reason?: string }
  | { readonly _tag: "Outcome"; readonly id: string; readonly isFailure: boolean; readonly result: Schema.Json }

interface Call {
  readonly tool: string
  readonly step: number
  readonly entry: ToolCallEntry
  readonly startedAt: number
  isDenied: boolean
  isOver: boolean
}

/** The steps of a run. */
export interface Steps {
  /** Emits what happened, or keeps it for the next step. One at a time. */
  readonly take: (act: Act) => Effect.Effect<void>
  /** Whether a call is known. */
  readonly knows: (id: string) => boolean
  /** Ends calls that are under way, and the step. */
  readonly finish: Effect.Effect<void>
  /** The text of the last step that has one. */
  readonly text: () => string
}

export const noUsage = makeUsage({
  inputTokens: { uncached: undefined, total: undefined, cacheRead: undefined, cacheWrite: undefined },
  outputTokens: { total: undefined, text: undefined, reasoning: undefined }
})

/** How many tool calls a run may have, and how many acts may wait for a step. What is more is left out. */
const maxCalls = 10_000

type Fit = "now" | "next" | "later" | "never"

/** The steps of one run. */
export const make = ({ bill, events }: RunState): Steps => {
  const known = new Set<string>()
  let calls = new Map<string, Call>()
  let step = 0
  let isOpen = false
  let held: Array<Act> = []
  let text = ""
  let lastText = ""
  const lock = Semaphore.makeUnsafe(1)

  const begin = Effect.suspend(() => {
    step++
    isOpen = true
    calls = new Map()
    text = ""
    bill.addStep()
    bill.beginCall()
    return events.emit({ _tag: "StepStarted", step })
  })
  const end = Effect.suspend(() => {
    if (!isOpen) return Effect.void
    isOpen = false
    if (text !== "") lastText = text
    const finishReason = calls.size > 0 ? "tool-calls" : "stop"
    return events.emit({ _tag: "StepCompleted", step, finishReason, usage: noUsage })
  })
  /** Whether the step under way can have it, or one that begins now or later. */
  const fitOf = (act: Act): Fit => {
    const open = [...calls.values()].filter(({ isOver }) => !isOver).length
    if ("id" in act && act._tag !== "Call") {
      const call = calls.get(act.id)
      if (call === undefined) return held.length > 0 ? "later" : "never"
      return call.isOver ? "never" : "now"
    }
    if (!isOpen) return "next"
    if (held.length > 0) return "later"
    const fits = act._tag === "Call" ? open === calls.size : calls.size === 0
    return fits ? "now" : open === 0 ? "next" : "later"
  }
  const settle = (act: Act): Effect.Effect<void> => {
    switch (fitOf(act)) {
      case "never":
        return Effect.void
      case "later":
        return Effect.sync(() => void (held.length < maxCalls && held.push(act)))
      case "next":
        return Effect.andThen(
          Effect.andThen(end, begin),
          Effect.suspend(() => emit(act))
        )
      case "now":
        return emit(act)
    }
  }
  const emit = (act: Act): Effect.Effect<void> => {
    switch (act._tag) {
      case "Text":
        text += act.delta
        bill.addText(act.delta)
        return events.emit({ _tag: "TextDelta", step, delta: act.delta })
      case "Reasoning":
        return events.emit({ _tag: "ReasoningDelta", step, delta: act.delta })
      case "Plan":
        return events.emit({ _tag: "PlanRevised", step, plan: act.plan })
      case "Call":
        return called(act)
      default:
        return aboutCall(act)
    }
  }
  const called = ({ id, params, tool }: Extract<Act, { readonly _tag: "Call" }>) =>
    Effect.flatMap(Clock.currentTimeMillis, (startedAt) => {
      const entry = bill.addToolCall(step, id, tool)
      // The agent makes it whether it is watched or not.
      entry.mark("unknown")
      calls.set(id, { tool, step, entry, startedAt, isDenied: false, isOver: false })
      return events.emit({ _tag: "ToolCalled", step, toolCallId: id, tool, params })
    })
  const aboutCall = (act: Exclude<Act, { readonly _tag: "Text" | "Reasoning" | "Plan" | "Call" }>) => {
    const call = calls.get(act.id)!
    const of = { step, toolCallId: act.id, tool: call.tool }
    switch (act._tag) {
      case "Progress":
        return events.emit({ _tag: "ToolProgress", ...of, result: act.result })
      case "Asked":
        return events.emit({ _tag: "ApprovalRequested", ...of, approvalId: act.approvalId, params: act.params })
      case "Answered":
        call.isDenied = !act.approved
        return events.emit({
          _tag: "ApprovalAnswered",
          ...of,
          approved: act.approved,
          ...(act.reason === undefined ? {} : { reason: act.reason })
        })
      case "Outcome":
        return over(call, of, act)
    }
  }
  const over = (
    call: Call,
    of: { readonly step: number; readonly toolCallId: string; readonly tool: string },
    { isFailure, result }: Extract<Act, { readonly _tag: "Outcome" }>
  ) =>
    Effect.gen(function* () {
      const durationMs = (yield* Clock.currentTimeMillis) - call.startedAt
      call.isOver = true
      call.entry.mark(!isFailure ? "completed" : call.isDenied ? "denied" : "failed")
      yield* events.emit({ _tag: isFailure ? "ToolFailed" : "ToolCompleted", ...of, result, durationMs })
      if ([...calls.values()].every(({ isOver }) => isOver) && held.length > 0) yield* release
    })
  /** Takes up what waited for the calls to end. */
  const release: Effect.Effect<void> = Effect.suspend(() => {
    const waiting = held
    held = []
    return Effect.forEach(waiting, settle, { discard: true })
  })
  const finish: Effect.Effect<void> = Effect.suspend(() => {
    const left = [...calls].find(([, { isOver }]) => !isOver)
    if (left === undefined) return held.length > 0 ? Effect.andThen(release, finish) : end
    const act: Act = { _tag: "Outcome", id: left[0], isFailure: true, result: "The agent did not say how it ended." }
    return Effect.andThen(emit(act), finish)
  })

  return {
    take: (act) =>
      lock.withPermits(1)(
        Effect.suspend(() => {
          if (act._tag === "Call") {
            if (known.has(act.id) || known.size >= maxCalls) return Effect.void
            known.add(act.id)
          }
          return settle(act)
        })
      ),
    knows: (id) => known.has(id),
    finish: lock.withPermits(1)(finish),
    text: () => (text === "" ? lastText : text)
  }
}
