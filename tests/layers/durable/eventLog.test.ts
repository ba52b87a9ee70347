/** The log of one execution: its batches are written in their order, and none is lost. */
import { expect, it } from "@effect/vitest"
import { Deferred, Effect, Fiber } from "effect"
import type * as RunEvent from "troupe/RunEvent"
import { EventLog } from "../../../src/layers/durable/internal/eventLog.ts"

const started = (runId: string): RunEvent.RunEvent => ({
  _tag: "RunStarted",
  v: 2,
  seq: 0,
  at: 0,
  path: [runId],
  runId
})

/** A log whose first write takes until it is let go. */
const slow = () => {
  const gate = Deferred.makeUnsafe<void>()
  const begun = Deferred.makeUnsafe<void>()
  const written: Array<number> = []
  const log = new EventLog(
    (first, events) =>
      Effect.gen(function* () {
        yield* Deferred.succeed(begun, undefined)
        yield* Deferred.await(gate)
        written.push(...events.map((_, index) => first + index))
        return true
      }),
    []
  )
  return { log, gate, begun, written }
}

it.effect("a batch is not written before the one before it", () =>
  Effect.gen(function* () {
    const { begun, gate, log, written } = slow()
    log.add(started("a"))
    const first = yield* Effect.forkChild(log.flush)
    yield* Deferred.await(begun)
    log.add(started("b"))
    const second = yield* Effect.forkChild(log.flush, { startImmediately: true })
    expect(written).toEqual([])
    yield* Deferred.succeed(gate, undefined)
    yield* Fiber.join(first)
    yield* Fiber.join(second)
    expect(written).toEqual([0, 1])
  })
)

it.effect("a write that is interrupted as it waits for the database takes place", () =>
  Effect.gen(function* () {
    const { begun, gate, log, written } = slow()
    log.add(started("a"))
    const writing = yield* Effect.forkChild(log.flush)
    yield* Deferred.await(begun)
    const stopping = yield* Effect.forkChild(Fiber.interrupt(writing), { startImmediately: true })
    log.add(started("b"))
    yield* Deferred.succeed(gate, undefined)
    yield* Fiber.join(stopping)
    yield* log.flush
    expect(written).toEqual([0, 1])
  })
)
