/** Requests through the I/O thread, as Effects. */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import * as IoWorker from "./ioWorker.ts"
import { type Awaited, type Edge, noEdge, waiting } from "./waiting.ts"
import type { BridgeFailure, BridgeResponse, SyncBridge } from "../../../services/SyncBridge.ts"
import { warnOfReplaced } from "./replacedFetch.ts"

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
    expect: (change, source) => edge.expect(change, source),
    close: () => {
      for (const onMessage of open)
        onMessage({ type: "failed", message: "the run that made the request has ended", code: "ECANCELED" })
    },
    resolve: (host) =>
      Effect.suspend(() => {
        const found = Deferred.makeUnsafe<ReadonlyArray<string>, BridgeFailure>()
        const worker = IoWorker.get()
        const onMessage: IoWorker.Handler = (message) => {
          if (message.type === "resolved") Deferred.doneUnsafe(found, Effect.succeed(message.addresses))
          if (message.type === "failed") {
            const { code, message: text } = message
            Deferred.doneUnsafe(found, Effect.fail({ _tag: "BridgeFailure", message: text, code }))
          }
        }
        const id = worker.open({ type: "resolve", host }, onMessage)
        return Effect.onExit(waiting(edge, worker)(Deferred.await(found)), () => Effect.sync(() => worker.close(id)))
      }),
    fetch: (request) =>
      Effect.gen(function* () {
        const head = Deferred.makeUnsafe<BridgeResponse, BridgeFailure>()
        const chunks: Chunks = yield* Queue.unbounded<Uint8Array, BridgeFailure | Cause.Done>()
        const { address, body, headers, method, redirect, url } = request
        const { awaited } = yield* Effect.acquireRelease(
          // The thread is looked up and asked at once: it may end in between.
          Effect.sync(() => {
            warnOfReplaced()
            const worker = IoWorker.get()
            const awaited = waiting(edge, worker)
            const end = () => {
              open.delete(onMessage)
              worker.close(id)
            }
            const onMessage: IoWorker.Handler = (message) => {
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
            const id = worker.open(
              { type: "fetch", credit: IoWorker.window, method, url, headers, body, address, redirect },
              onMessage
            )
            open.add(onMessage)
            return { awaited, end }
          }),
          ({ end }) => Effect.sync(end)
        )
        return yield* awaited(Deferred.await(head))
      })
  }
}

/** A bridge for requests outside of the sync edge: Node's event loop delivers. */
export const unattached: SyncBridge = make(noEdge)

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
