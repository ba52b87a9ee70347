/** The recording of the runs of a server, where the program has a store of traces. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { RunEvent } from "../../../RunEvent.ts"
import { CurrentRecorder, type Service, TraceStore } from "../../../services/TraceStore.ts"
import type { Edge } from "./edge.ts"

/** The store of traces, where there is one. */
export const storeIn = ({ context }: Pick<Edge, "context">): Service | undefined =>
  Option.getOrUndefined(Context.getOption(context, TraceStore))

/** Keeps the events of a run, where there is a store and nothing that records into it already. */
export const record = (edge: Edge, runId: string, session: string | undefined): Effect.Effect<void> => {
  const store = storeIn(edge)
  if (store === undefined || edge.context.mapUnsafe.get(CurrentRecorder.key) !== undefined) return Effect.void
  const keep = (events: ReadonlyArray<RunEvent>) =>
    store.append(events.map((event) => ({ rootId: runId, session, event })))
  const all = edge.runs.follow(runId).pipe(Stream.runForEachArray(keep))
  const logged = Effect.catchCause(all, (cause) => Effect.logWarning(`The trace of run ${runId} is not whole`, cause))
  return Effect.asVoid(Effect.forkIn(logged, edge.scope))
}
