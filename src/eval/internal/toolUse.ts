/** The tool calls of a run, read from its events. */
import * as Predicate from "effect/Predicate"
import type * as Schema from "effect/Schema"
import { canonical, exactJson } from "../../internal/fingerprint.ts"
import type { RunEvent } from "../../RunEvent.ts"

/** One tool call. */
export interface ToolUse {
  readonly tool: string
  readonly params: Schema.Json
  /** `undefined` where it has not ended. */
  readonly outcome: "completed" | "failed" | undefined
  /** What the model saw. */
  readonly result: Schema.Json | undefined
}

/** The events without those that a retry of the run or of a step has made void. */
export const withoutVoid = (events: ReadonlyArray<RunEvent>): ReadonlyArray<RunEvent> => {
  const retries = events.flatMap((event) =>
    event._tag === "RunRetried" ? [{ from: event.discardFrom, to: event.seq, path: event.path }] : []
  )
  if (retries.length === 0) return events
  return events.filter(
    ({ path, seq }) =>
      !retries.some(
        (void_) => seq >= void_.from && seq < void_.to && void_.path.every((name, index) => path[index] === name)
      )
  )
}

/** The calls in the order asked, those of nested runs included. */
export const toolUses = (events: ReadonlyArray<RunEvent>): ReadonlyArray<ToolUse> => {
  const ends = new Map<string, Extract<RunEvent, { readonly _tag: "ToolCompleted" | "ToolFailed" }>>()
  for (const event of events) {
    if (event._tag === "ToolCompleted" || event._tag === "ToolFailed") ends.set(idOf(event), event)
  }
  return events.flatMap((event) => {
    if (event._tag !== "ToolCalled") return []
    const end = ends.get(idOf(event))
    const outcome = end === undefined ? undefined : end._tag === "ToolCompleted" ? "completed" : "failed"
    return [{ tool: event.tool, params: event.params, outcome, result: end?.result }]
  })
}

const idOf = ({ runId, toolCallId }: { readonly runId: string; readonly toolCallId: string }): string =>
  JSON.stringify([runId, toolCallId])

/** Whether a value has all that a pattern has: fields of objects may be more, all else is equal. */
export const fits = (value: unknown, pattern: unknown): boolean => {
  if (Predicate.isReadonlyObject(pattern)) {
    return Predicate.isReadonlyObject(value) && Object.entries(pattern).every(([key, inner]) => fits(value[key], inner))
  }
  if (Array.isArray(pattern)) {
    return (
      Array.isArray(value) &&
      value.length === pattern.length &&
      pattern.every((inner, index) => fits(value[index], inner))
    )
  }
  return Object.is(value, pattern)
}

/** Whether two values are the same JSON, in any order of fields. */
export const sameJson = (a: unknown, b: unknown): boolean => {
  const [left, right] = [exactJson(a), exactJson(b)]
  return left !== undefined && right !== undefined && canonical(left) === canonical(right)
}
