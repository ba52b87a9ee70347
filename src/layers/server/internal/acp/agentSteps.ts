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
import { noUsage } from "../../../../internal/usage.ts"

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
  readonly entry: ToolCallEntry
  readonly startedAt: number
  isDenied: boolean
  isOver: boolean
}

/** How many tool calls a run may have, and how many acts may wait for a step. What is more is left out. */
const maxCalls = 10_000

type Fit = "now" | "next" | "later" | "never"

/** The steps of a run. */
export class Steps {
  readonly #state: RunState
  readonly #lock = Semaphore.makeUnsafe(1)
  readonly #known = new Set<string>()
  #calls = new Map<string, Call>()
  #step = 0
  #isOpen = false
  #held: Array<Act> = []
  #text = ""
  #lastText = ""

  constructor(state: RunState) {
    this.#state = state
  }

  /** The text of the last step that has one. */
  get text(): string {
    return this.#text === "" ? this.#lastText : this.#text
  }

  /** Whether a call is known. */
  knows(id: string): boolean {
    return this.#known.has(id)
  }

  /** Emits what happened, or keeps it for a later step. One at a time. */
  take(act: Act): Effect.Effect<void> {
    const taken = Effect.suspend(() => {
      if (act._tag === "Call") {
        if (this.#known.has(act.id) || this.#known.size >= maxCalls) return Effect.void
        this.#known.add(act.id)
      }
      return this.#settle(act)
    })
    return this.#lock.withPermits(1)(taken)
  }

  /** Ends calls that are under way, and the step. */
  get finish(): Effect.Effect<void> {
    return this.#lock.withPermits(1)(this.#finish())
  }

  #begin(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.#step++
      this.#isOpen = true
      this.#calls = new Map()
      this.#text = ""
      this.#state.bill.addStep()
      this.#state.bill.beginCall()
      return this.#state.events.emit({ _tag: "StepStarted", step: this.#step })
    })
  }

  #end(): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (!this.#isOpen) return Effect.void
      this.#isOpen = false
      if (this.#text !== "") this.#lastText = this.#text
      const finishReason = this.#calls.size > 0 ? "tool-calls" : "stop"
      return this.#state.events.emit({ _tag: "StepCompleted", step: this.#step, finishReason, usage: noUsage })
    })
  }

  /** Whether the step under way can have it, or one that begins now or later. */
  #fitOf(act: Act): Fit {
    if ("id" in act && act._tag !== "Call") {
      const call = this.#calls.get(act.id)
      if (call === undefined) return this.#held.length > 0 ? "later" : "never"
      return call.isOver ? "never" : "now"
    }
    if (!this.#isOpen) return "next"
    if (this.#held.length > 0) return "later"
    const open = [...this.#calls.values()].filter(({ isOver }) => !isOver).length
    const fits = act._tag === "Call" ? open === this.#calls.size : this.#calls.size === 0
    return fits ? "now" : open === 0 ? "next" : "later"
  }

  #settle(act: Act): Effect.Effect<void> {
    switch (this.#fitOf(act)) {
      case "never":
        return Effect.void
      case "later":
        return Effect.sync(() => void (this.#held.length < maxCalls && this.#held.push(act)))
      case "next":
        return Effect.andThen(
          Effect.andThen(this.#end(), this.#begin()),
          Effect.suspend(() => this.#emit(act))
        )
      case "now":
        return this.#emit(act)
    }
  }

  #emit(act: Act): Effect.Effect<void> {
    const { bill, events } = this.#state
    const step = this.#step
    switch (act._tag) {
      case "Text":
        this.#text += act.delta
        bill.addText(act.delta)
        return events.emit({ _tag: "TextDelta", step, delta: act.delta })
      case "Reasoning":
        return events.emit({ _tag: "ReasoningDelta", step, delta: act.delta })
      case "Plan":
        return events.emit({ _tag: "PlanRevised", step, plan: act.plan })
      case "Call":
        return this.#called(act)
      default:
        return this.#aboutCall(act)
    }
  }

  #called({ id, params, tool }: Extract<Act, { readonly _tag: "Call" }>): Effect.Effect<void> {
    return Effect.flatMap(Clock.currentTimeMillis, (startedAt) => {
      const { bill, events } = this.#state
      const entry = bill.addToolCall(this.#step, id, tool)
      // The agent makes it whether it is watched or not.
      entry.mark("unknown")
      this.#calls.set(id, { tool, entry, startedAt, isDenied: false, isOver: false })
      return events.emit({ _tag: "ToolCalled", step: this.#step, toolCallId: id, tool, params })
    })
  }

  #aboutCall(act: Exclude<Act, { readonly _tag: "Text" | "Reasoning" | "Plan" | "Call" }>): Effect.Effect<void> {
    const { events } = this.#state
    const call = this.#calls.get(act.id)!
    const of = { step: this.#step, toolCallId: act.id, tool: call.tool }
    switch (act._tag) {
      case "Progress":
        return events.emit({ _tag: "ToolProgress", ...of, result: act.result })
      case "Asked":
        return events.emit({ _tag: "ApprovalRequested", ...of, approvalId: act.approvalId, params: act.params })
      case "Answered": {
        call.isDenied = !act.approved
        const reason = act.reason === undefined ? {} : { reason: act.reason }
        return events.emit({ _tag: "ApprovalAnswered", ...of, approved: act.approved, ...reason })
      }
      case "Outcome":
        return this.#over(call, of, act)
    }
  }

  #over(
    call: Call,
    of: { readonly step: number; readonly toolCallId: string; readonly tool: string },
    { isFailure, result }: Extract<Act, { readonly _tag: "Outcome" }>
  ): Effect.Effect<void> {
    return Effect.flatMap(Clock.currentTimeMillis, (now) => {
      call.isOver = true
      call.entry.mark(!isFailure ? "completed" : call.isDenied ? "denied" : "failed")
      const _tag = isFailure ? "ToolFailed" : "ToolCompleted"
      const emitted = this.#state.events.emit({ _tag, ...of, result, durationMs: now - call.startedAt })
      const isLast = [...this.#calls.values()].every(({ isOver }) => isOver) && this.#held.length > 0
      return isLast ? Effect.andThen(emitted, this.#release()) : emitted
    })
  }

  /** Takes up what waited for the calls to end. */
  #release(): Effect.Effect<void> {
    return Effect.suspend(() => {
      const waiting = this.#held
      this.#held = []
      return Effect.forEach(waiting, (act) => this.#settle(act), { discard: true })
    })
  }

  #finish(): Effect.Effect<void> {
    return Effect.suspend(() => {
      const left = [...this.#calls].find(([, { isOver }]) => !isOver)
      if (left === undefined) {
        return this.#held.length > 0
          ? Effect.andThen(
              this.#release(),
              Effect.suspend(() => this.#finish())
            )
          : this.#end()
      }
      const result = "The agent did not say how it ended."
      return Effect.andThen(
        this.#emit({ _tag: "Outcome", id: left[0], isFailure: true, result }),
        Effect.suspend(() => this.#finish())
      )
    })
  }
}
