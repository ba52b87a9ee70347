/** Takes the events of runs at once, and writes them in batches: no run waits for the store or fails because of it. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import type { StoreError } from "../../../RunError.ts"
import type { Entry, Recorder, Service } from "../../../services/TraceStore.ts"

/** Events that wait to be written at most; further ones are lost. */
const maxWaiting = 20_000
/** Events of one batch. */
const maxBatch = 500
const every = 100
/** The longest pause after failures. */
const maxPause = 30_000

/** What writes the events that wait, of the recorders of a store in this process. */
const writers = new WeakMap<Service, Set<Effect.Effect<unknown>>>()

/** The store, which writes what waits before it is asked: a reader that has seen a run end here finds that it has ended. */
export const upToDate = (store: Service): Service => {
  const first = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.suspend(() => {
      const all = writers.get(own)
      return all === undefined ? effect : Effect.andThen(Effect.all(all, { discard: true }), effect)
    })
  const own: Service = {
    append: store.append,
    runs: (query) => first(store.runs(query)),
    events: (runId, from, limit) => first(store.events(runId, from, limit)),
    remove: (runId) => first(store.remove(runId)),
    prune: (which) => first(store.prune(which))
  }
  return own
}

/** Has `write` called before the store is asked, until the scope closes. */
const writing = (store: Service, write: Effect.Effect<unknown>): Effect.Effect<void, never, Scope.Scope> => {
  const all = writers.get(store) ?? new Set()
  writers.set(store, all)
  return Effect.asVoid(
    Effect.acquireRelease(
      Effect.sync(() => all.add(write)),
      () => Effect.sync(() => all.delete(write))
    )
  )
}

/** A recorder that writes to `store`, until the scope closes. */
export const recorder = (store: Service): Effect.Effect<Recorder, never, Scope.Scope> =>
  Effect.gen(function* () {
    const waiting: Array<Entry> = []
    let lost = 0
    let isWarned = false
    let pause = every
    const failed = (cause: Cause.Cause<StoreError>) => {
      pause = Math.min(pause * 2, maxPause)
      if (isWarned) return Effect.void
      isWarned = true
      return Effect.logWarning("Traces of runs cannot be kept now; the runs go on.", Cause.squash(cause))
    }
    const written = (count: number) => {
      waiting.splice(0, count)
      pause = every
      if (lost === 0) return Effect.void
      const before = lost
      lost = 0
      return Effect.logWarning(`Traces are kept again; ${before} events were lost.`)
    }
    /** Writes what waits; true when all of it is written. */
    const flush: Effect.Effect<boolean> = Effect.suspend(() => {
      const batch = waiting.slice(0, maxBatch)
      if (batch.length === 0) return Effect.succeed(true)
      return Effect.matchCauseEffect(store.append(batch), {
        onFailure: (cause) => Effect.as(failed(cause), false),
        onSuccess: () => Effect.andThen(written(batch.length), flush)
      })
    })
    // One batch after the other: what was written is taken from the front.
    const write = Semaphore.makeUnsafe(1).withPermits(1)(Effect.uninterruptible(flush))
    // Registered first, so it runs last: after the writer has ended.
    yield* Effect.addFinalizer(() =>
      Effect.flatMap(write, (isWritten) =>
        isWritten ? Effect.void : Effect.logWarning(`${waiting.length} events of runs were not kept.`)
      )
    )
    yield* writing(store, write)
    yield* Effect.forkScoped(
      Effect.forever(
        Effect.andThen(
          Effect.suspend(() => Effect.sleep(pause)),
          write
        )
      )
    )
    return ({ conversationId, rootId }) => {
      const session = conversationId === rootId ? undefined : conversationId
      return (event) => {
        // The events of a batch that is being written stay in their place.
        if (waiting.length >= maxWaiting) {
          lost++
          return
        }
        waiting.push({ rootId, session, event })
      }
    }
  })
