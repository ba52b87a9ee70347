/** Calls of tools that the provider runs itself, as events. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { EventSink } from "../../internal/eventSink.ts"
import { toJson } from "../../internal/json.ts"
import type { AnyPart } from "./turnCollector.ts"

/** True for a part that says what the provider ran. */
export const isProviders = (part: AnyPart): boolean =>
  (part.type === "tool-call" || part.type === "tool-result") && part.providerExecuted === true

interface Open {
  readonly params: unknown
  readonly at: number
}

/**
 * Emits the calls of one answer, each with its result when that has come. One whose result comes with a later answer is emitted
 * then.
 */
export class ProviderCalls {
  readonly #step: number
  readonly #events: EventSink
  readonly #open = new Map<string, Open>()

  constructor(step: number, events: EventSink) {
    this.#step = step
    this.#events = events
  }

  /** Takes a part for which {@link isProviders} is true. */
  take(part: AnyPart): Effect.Effect<void> {
    return Effect.flatMap(Clock.currentTimeMillis, (now) => {
      if (part.type === "tool-call") this.#open.set(part.id, { params: part.params, at: now })
      if (part.type !== "tool-result" || ("preliminary" in part && part.preliminary === true)) return Effect.void
      const { params, at } = this.#open.get(part.id) ?? { params: {}, at: now }
      const of = { step: this.#step, toolCallId: part.id, tool: part.name, providerExecuted: true } as const
      const _tag = part.isFailure === true ? "ToolFailed" : "ToolCompleted"
      return Effect.andThen(
        this.#events.emit({ _tag: "ToolCalled", ...of, params: toJson(params) }),
        this.#events.emit({ _tag, ...of, result: toJson(part.result), durationMs: Math.max(0, now - at) })
      )
    })
  }
}
