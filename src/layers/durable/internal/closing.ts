/** The last events of a run that no process has ended: one that was interrupted while it slept, or that an engine gave up. */
import * as Predicate from "effect/Predicate"
import { Bill } from "../../../internal/bill.ts"
import { isTerminal, type RunEvent, version } from "../../../RunEvent.ts"
import type { Ended } from "./engine.ts"

interface Open {
  readonly event: Extract<RunEvent, { readonly _tag: "RunStarted" }>
  readonly bill: Bill
}

/** How the root run ended, as its last event says it. */
const rootEnd = (ended: Ended) => {
  if (ended._tag !== "Error" && ended._tag !== "Defect") return { _tag: "RunInterrupted" } as const
  const error = ended._tag === "Error" ? ended.error : { _tag: "Error", message: ended.message }
  const message =
    Predicate.hasProperty(error, "message") && typeof error.message === "string" ? error.message : JSON.stringify(error)
  return { _tag: "RunFailed", error, message } as const
}

/**
 * The terminal events that are missing after `events`, the innermost run first; none where the root run has its own. `run` is the
 * root run, which may not have begun.
 */
export const missingEnds = (
  events: ReadonlyArray<RunEvent>,
  run: { readonly runId: string; readonly name: string },
  ended: Ended,
  now: number
): ReadonlyArray<RunEvent> => {
  const open = new Map<string, Open>()
  const bills = new Map<string, Bill>()
  for (const event of events) {
    if (event._tag === "RunStarted") {
      const bill = new Bill(event.parentId === undefined ? undefined : bills.get(event.parentId))
      bills.set(event.runId, bill)
      open.set(event.runId, { event, bill })
    } else if (event._tag === "StepStarted") bills.get(event.runId)?.addStep()
    else if (event._tag === "StepCompleted") bills.get(event.runId)?.addUsage(event.usage, event.cost)
    else if (isTerminal(event)) open.delete(event.runId)
  }
  const last = events.at(-1)
  const base = { v: version, at: Math.max(now, last?.at ?? 0) } as const
  let seq = last === undefined ? 0 : last.seq + 1
  const own: Array<RunEvent> = []
  if (last === undefined) {
    const event = { _tag: "RunStarted", ...base, seq: seq++, path: [run.name], runId: run.runId } as const
    own.push(event)
    open.set(run.runId, { event, bill: new Bill(undefined) })
  }
  for (const { bill, event } of [...open.values()].toReversed()) {
    const end = event.path.length === 1 ? rootEnd(ended) : ({ _tag: "RunInterrupted" } as const)
    own.push({
      ...end,
      ...base,
      seq: seq++,
      path: event.path,
      runId: event.runId,
      spent: bill.spent(),
      durationMs: base.at - event.at
    })
  }
  return own
}
