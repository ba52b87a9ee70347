/** A store of traces in memory. */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { RunEvent } from "../../../RunEvent.ts"
import type { Query, Run, Service } from "../../../services/TraceStore.ts"
import { byRun, changeOf } from "./traceRun.ts"

/** Runs that are kept, the newest. */
const maxRuns = 1000

interface Kept {
  run: Run
  readonly events: Array<RunEvent>
}

/** A new, empty store. */
export const make = (): Service => {
  const kept = new Map<string, Kept>()
  const newestFirst = () => [...kept.values()].toReversed()
  return {
    append: (entries) =>
      Effect.sync(() => {
        for (const [runId, own] of byRun(entries)) {
          const { ended, runner, session, startedAt } = changeOf(own)
          const known = kept.get(runId) ?? { run: { ...newRun, runId, runner, session, startedAt }, events: [] }
          const { events, run } = known
          let bytes = run.bytes
          for (const { event } of own) {
            // A durable run that goes on has its events from the start again.
            if (event.seq <= (events.at(-1)?.seq ?? -1)) continue
            events.push(event)
            bytes += JSON.stringify(event).length
          }
          known.run = { ...run, ...ended, events: events.length, bytes }
          kept.set(runId, known)
        }
        for (const runId of kept.keys()) {
          if (kept.size <= maxRuns) break
          kept.delete(runId)
        }
      }),
    runs: (query) =>
      Effect.sync(() => {
        const all = newestFirst().map(({ run }) => run)
        const start = query.before === undefined ? 0 : all.findIndex(({ runId }) => runId === query.before) + 1
        if (query.before !== undefined && start === 0) return []
        return all
          .slice(start)
          .filter((run) => fits(run, query))
          .slice(0, query.limit)
      }),
    events: (runId, from, limit) =>
      Effect.sync(() => (kept.get(runId)?.events ?? []).filter(({ seq }) => seq >= from).slice(0, limit)),
    remove: (runId) => Effect.sync(() => void kept.delete(runId)),
    prune: ({ maxBytes, olderThan }) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        const before = kept.size
        for (const { run } of kept.values()) {
          const isOld = olderThan !== undefined && run.startedAt < now - Duration.toMillis(olderThan)
          const bytes = [...kept.values()].reduce((sum, one) => sum + one.run.bytes, 0)
          if (isOld || (maxBytes !== undefined && bytes > maxBytes)) kept.delete(run.runId)
        }
        return before - kept.size
      })
  }
}

const newRun = {
  status: "running",
  error: undefined,
  message: undefined,
  durationMs: undefined,
  steps: 0,
  inputTokens: 0,
  outputTokens: 0,
  events: 0,
  bytes: 0
} as const

const fits = (run: Run, { error, runner, session, since, status, until }: Query): boolean =>
  (runner === undefined || run.runner === runner) &&
  (session === undefined || run.session === session) &&
  (status === undefined || run.status === status) &&
  (error === undefined || run.error === error) &&
  (since === undefined || run.startedAt >= since) &&
  (until === undefined || run.startedAt < until)
