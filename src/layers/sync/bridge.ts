/** Requests through the I/O thread, as Effects. It touches `IoWorker` and the port it fills. */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import type { BridgeFailure, BridgeResponse, SyncBridge } from "../../services/SyncBridge.ts"
import * as IoWorker from "./IoWorker.ts"

/** What the bridge tells the loop that fibers wait in. */
export interface Edge {
  /** Called for every fiber that is about to wait. */
  adopt(fiber: Fiber.Fiber<unknown, unknown>): void
  /** Counts fibers that begin (1) and end (-1) to wait for the I/O thread. */
  expect(change: 1 | -1): void
}

/** A bridge, and what aborts the requests that it has still open. */
export interface Bridge extends SyncBridge {
  readonly close: () => void
}

type Chunks = Queue.Queue<Uint8Array, BridgeFailure | Cause.Done>

/** The bridge that `SyncEdge.layer` provides. */
export const make = (edge: Edge): Bridge => {
  const open = new Set<IoWorker.Handler>()
  return {
    enter: (fiber) => edge.adopt(fiber),
    close: () => {
      for (const hear of open)
        hear({ type: "failed", message: "the run that made the request has ended", code: "ECANCELED" })
    },
    fetch: (request) =>
      Effect.gen(function* () {
        const head = Deferred.makeUnsafe<BridgeResponse, BridgeFailure>()
        const chunks: Chunks = yield* Queue.unbounded<Uint8Array, BridgeFailure | Cause.Done>()
        const worker = IoWorker.get()
        const awaited = waiting(edge, worker)
        const { method, url, headers, body } = request
        yield* Effect.acquireRelease(
          Effect.sync(() => {
            const end = () => {
              open.delete(hear)
              worker.close(id)
            }
            const hear: IoWorker.Handler = (message) => {
              switch (message.type) {
                case "head": {
                  const { headers, status, url } = message
                  const body = chunksOf(chunks, awaited, (n) => worker.credit(id, n))
                  Deferred.doneUnsafe(head, Effect.succeed({ status, url, headers, body }))
                  return
                }
                case "chunk":
                  Queue.offerUnsafe(chunks, message.data)
                  return
                case "end":
                  end()
                  Queue.endUnsafe(chunks)
                  return
                case "failed": {
                  end()
                  const failure: BridgeFailure = { _tag: "BridgeFailure", message: message.message, code: message.code }
                  Deferred.doneUnsafe(head, Effect.fail(failure))
                  Queue.failCauseUnsafe(chunks, Cause.fail(failure))
                }
              }
            }
            const id = worker.open({ method, url, headers, body }, hear)
            open.add(hear)
            return end
          }),
          (end) => Effect.sync(end)
        )
        return yield* awaited(Deferred.await(head))
      })
  }
}

/** A bridge for requests outside of the sync edge: Node's event loop delivers. */
export const unattached: SyncBridge = make({ adopt: () => {}, expect: () => {} })

type Awaited = <A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, E>

/** Says that somebody waits for the thread, for as long as `effect` does. A body that nobody reads is no such thing. */
const waiting =
  (edge: Edge, worker: ReturnType<typeof IoWorker.get>): Awaited =>
  (effect) =>
    Effect.suspend(() => {
      let counted = false
      const count = (change: 1 | -1) => {
        edge.expect(change)
        worker.expect(change)
      }
      const begin = Effect.withFiber((fiber) => {
        edge.adopt(fiber)
        counted = true
        count(1)
        return effect
      })
      return Effect.onExitPrimitive(begin, () => {
        if (counted) count(-1)
        return undefined
      })
    })

/** The thread sends a window of chunks at most ahead of the reader, who pays back what is read. */
const chunksOf = (
  chunks: Chunks,
  awaited: Awaited,
  credit: (n: number) => void
): Stream.Stream<Uint8Array, BridgeFailure> => {
  const take = Queue.takeAll(chunks)
  const pull = Effect.map(
    Effect.suspend(() => (Queue.sizeUnsafe(chunks) > 0 ? take : awaited(take))),
    (some) => {
      credit(some.length)
      return some
    }
  )
  return Stream.fromPull(Effect.succeed(pull))
}
