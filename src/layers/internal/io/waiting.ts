/** How a fiber waits for the I/O thread, on either edge. */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type { MessageSource } from "../../../services/SyncBridge.ts"
import type * as IoWorker from "./ioWorker.ts"

/** The event loop that fibers wait in. */
export interface Edge {
  /** Called for every fiber that is about to wait. */
  adopt(fiber: Fiber.Fiber<unknown, unknown>): void
  /** Counts fibers that begin (1) and end (-1) to wait for a thread. */
  expect(change: 1 | -1, source: MessageSource): void
}

/** Node's own event loop notices by itself. */
export const noEdge: Edge = { adopt: () => {}, expect: () => {} }

export type Awaited = <A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, E>

/** Registers the fiber as waiting for the thread while `effect` runs. */
export const waiting =
  (edge: Edge, worker: ReturnType<typeof IoWorker.get>): Awaited =>
  (effect) =>
    Effect.suspend(() => {
      let counted = false
      const count = (change: 1 | -1) => {
        edge.expect(change, worker)
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
