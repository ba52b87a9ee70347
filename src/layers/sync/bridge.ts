/** Requests through the I/O thread, as Effects. It touches `IoWorker` and the port it fills. */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import type { BridgeFailure, BridgeResponse, SyncBridge } from "../../services/SyncBridge.ts"
import * as IoWorker from "./IoWorker.ts"

/** The bridge that `SyncEdge.layer` provides. `enter` is told of every fiber that is about to wait. */
export const make = (enter: SyncBridge["enter"]): SyncBridge => ({
  enter,
  fetch: (request) =>
    Effect.gen(function* () {
      enter(yield* Effect.withFiber(Effect.succeed))
      const head = Deferred.makeUnsafe<BridgeResponse, BridgeFailure>()
      const chunks = yield* Queue.unbounded<Uint8Array, BridgeFailure | Cause.Done>()
      let ended = false
      const { method, url, headers, body } = request
      const worker = IoWorker.get()
      const id = yield* Effect.acquireRelease(
        Effect.sync(() =>
          worker.open({ method, url, headers, body }, (message) => {
            switch (message.type) {
              case "head":
                Deferred.doneUnsafe(
                  head,
                  Effect.succeed({
                    status: message.status,
                    url: message.url,
                    headers: message.headers,
                    body: Stream.suspend(() => chunksOf(chunks, (n) => worker.credit(id, n)))
                  })
                )
                return
              case "chunk":
                Queue.offerUnsafe(chunks, message.data)
                return
              case "end":
                ended = true
                worker.close(id, false)
                Queue.endUnsafe(chunks)
                return
              case "failed": {
                ended = true
                worker.close(id, false)
                const failure: BridgeFailure = {
                  _tag: "BridgeFailure",
                  message: message.message,
                  code: message.code
                }
                Deferred.doneUnsafe(head, Effect.fail(failure))
                Queue.failCauseUnsafe(chunks, Cause.fail(failure))
              }
            }
          })
        ),
        (id) => Effect.sync(() => worker.close(id, !ended))
      )
      return yield* Deferred.await(head)
    })
})

/** A bridge for requests outside of the sync edge: Node's event loop delivers. */
export const unattached: SyncBridge = make(() => {})

/** The thread sends a window of chunks at most ahead of the reader, who pays back what is read. */
const chunksOf = (
  chunks: Queue.Queue<Uint8Array, BridgeFailure | Cause.Done>,
  credit: (n: number) => void
): Stream.Stream<Uint8Array, BridgeFailure> =>
  Stream.mapArray(Stream.fromQueue(chunks), (some) => {
    credit(some.length)
    return some
  })
