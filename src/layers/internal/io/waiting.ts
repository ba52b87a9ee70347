/** How a fiber waits for the I/O thread, on either edge. */
import * as Effect from "effect/Effect"
import type { SyncBridge } from "../../../services/SyncBridge.ts"
import type * as IoWorker from "./ioWorker.ts"

/** The event loop that fibers wait in. */
export type Edge = Pick<SyncBridge, "enter" | "expect">

/** Node's own event loop notices by itself. */
export const noEdge: Edge = { enter: () => {}, expect: () => {} }

/** Runs what waits for a message: only what is waited for keeps a blocked run going. */
export type Wait = <A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, E>

/** Registers the fiber as waiting for the thread while `effect` runs. */
export const waiting =
  (edge: Edge, worker: ReturnType<typeof IoWorker.get>): Wait =>
  (effect) =>
    Effect.suspend(() => {
      let counted = false
      const count = (change: 1 | -1) => {
        edge.expect(change, worker)
        worker.expect(change)
      }
      const begin = Effect.withFiber((fiber) => {
        edge.enter(fiber)
        counted = true
        count(1)
        return effect
      })
      return Effect.onExitPrimitive(begin, () => {
        if (counted) count(-1)
        return undefined
      })
    })
