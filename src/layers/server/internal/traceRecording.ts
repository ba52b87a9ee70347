/** The recording of the runs of a server, where the program has a store of traces. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { RunEvent } from "../../../RunEvent.ts"
import { CurrentRecorder, type Service, TraceStore } from "../../../services/TraceStore.ts"
import type { Edge } from "./edge.ts"
import { IsOnlooker } from "./memoryRuns.ts"

/** The store of traces, where there is one. */
export const storeIn = ({ context }: Pick<Edge, "context">): Service | undefined =>
  Option.getOrUndefined(Context.getOption(context, TraceStore))

/** The recordings of a server, by the ids of their runs. */
export type Recordings = Map<string, Fiber.Fiber<void>>

/** Keeps the events of a run, where there is a store and nothing that records into it already. */
export const record = (
  edge: Pick<Edge, "context" | "runs" | "scope">,
  recordings: Recordings,
  runId: string,
  session: string | undefined
): Effect.Effect<void> => {
  const store = storeIn(edge)
  if (store === undefined || edge.context.mapUnsafe.get(CurrentRecorder.key) !== undefined) return Effect.void
  const keep = (events: ReadonlyArray<RunEvent>) =>
    store.append(events.map((event) => ({ rootId: runId, session, event })))
  const all = edge.runs.follow(runId).pipe(Stream.runForEachArray(keep), Effect.provideService(IsOnlooker, true))
  const logged = Effect.catchCause(all, (cause) => Effect.logWarning(`The trace of run ${runId} is not whole`, cause))
  const removed = Effect.ensuring(
    logged,
    Effect.sync(() => recordings.delete(runId))
  )
  return Effect.map(Effect.forkIn(removed, edge.scope), (fiber) => {
    if (fiber.pollUnsafe() === undefined) recordings.set(runId, fiber)
  })
}

/** Waits until what has ended is kept; a run that goes on is not waited for. */
export const settle = (edge: Pick<Edge, "runs">, recordings: Recordings): Effect.Effect<void> => {
  const settled = ([runId, fiber]: readonly [string, Fiber.Fiber<void>]) =>
    Effect.flatMap(Effect.option(edge.runs.poll(runId)), (info) =>
      Option.getOrUndefined(info)?.ended === undefined ? Effect.void : Effect.asVoid(Fiber.await(fiber))
    )
  return Effect.suspend(() => Effect.forEach([...recordings], settled, { concurrency: "unbounded", discard: true }))
}
