/** What the events of a root run say of it. */
import * as Predicate from "effect/Predicate"
import { isTerminal, type RunEvent } from "../../../RunEvent.ts"
import type { Entry, Run, Status } from "../../../services/TraceStore.ts"

/** What one batch adds to a run. */
export interface Change {
  readonly session: string | undefined
  readonly runner: string
  readonly startedAt: number
  readonly ended:
    | Pick<Run, "status" | "error" | "message" | "durationMs" | "steps" | "inputTokens" | "outputTokens">
    | undefined
}

const statuses = {
  RunCompleted: "completed",
  RunFailed: "failed",
  RunInterrupted: "interrupted",
  RunSuspended: "suspended"
} as const satisfies Record<string, Status>

/** What entries of one root run add to it. */
export const changeOf = (entries: readonly [Entry, ...ReadonlyArray<Entry>]): Change => {
  const [{ event: first, session }] = entries
  const last = entries.at(-1)!.event
  return {
    session,
    runner: first.path[0] ?? "",
    startedAt: first.at,
    ended: isTerminal(last) && last.path.length === 1 ? endOf(last) : undefined
  }
}

const endOf = (event: Extract<RunEvent, { readonly _tag: keyof typeof statuses }>): NonNullable<Change["ended"]> => {
  const { durationMs, spent } = event
  const error = event._tag === "RunFailed" ? event.error : undefined
  const tag = Predicate.hasProperty(error, "_tag") && typeof error._tag === "string" ? error._tag : "Error"
  return {
    status: statuses[event._tag],
    error: event._tag === "RunFailed" ? tag : undefined,
    message: event._tag === "RunFailed" ? event.message : undefined,
    durationMs,
    steps: spent.steps,
    inputTokens: spent.usage.inputTokens.total ?? 0,
    outputTokens: spent.usage.outputTokens.total ?? 0
  }
}

/** Entries by their root runs, in the order in which these come first. */
export const byRun = (entries: ReadonlyArray<Entry>): ReadonlyMap<string, [Entry, ...Array<Entry>]> => {
  const runs = new Map<string, [Entry, ...Array<Entry>]>()
  for (const entry of entries) {
    const known = runs.get(entry.rootId)
    if (known === undefined) runs.set(entry.rootId, [entry])
    else known.push(entry)
  }
  return runs
}
