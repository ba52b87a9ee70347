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
    [],
    0
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

const item = (name: string, done: number): RunEvent.RunEvent => ({
  _tag: "ItemCompleted",
  v: 2,
  seq: 0,
  at: 0,
  path: ["a"],
  runId: "a",
  item: name,
  status: "completed",
  done
})
const interrupted = {
  ...started("a"),
  _tag: "RunInterrupted",
  durationMs: 0,
  spent: { usage: {}, steps: 0, text: "", toolCalls: [] }
} as unknown as RunEvent.RunEvent

/** What is written by an execution that emits these, after earlier ones have kept those. */
const writtenAfter = (
  kept: ReadonlyArray<RunEvent.RunEvent>,
  emitted: ReadonlyArray<RunEvent.RunEvent>,
  generation = 0
) => {
  const written: Array<RunEvent.RunEvent> = []
  const numbered = kept.map((event, seq) => ({ ...event, seq }))
  const write = (_: number, events: ReadonlyArray<RunEvent.RunEvent>) =>
    Effect.sync(() => {
      written.push(...events)
      return true
    })
  const log = new EventLog(write, numbered, generation)
  for (const event of emitted) log.add(event)
  return Effect.as(log.flush, written)
}

it.effect("items that end in another order are there once, and counted on", () =>
  Effect.gen(function* () {
    const written = yield* writtenAfter([started("a"), item("one", 1)], [started("a"), item("two", 1), item("one", 2)])
    expect(written).toEqual([{ ...item("two", 2), seq: 2 }])
  })
)

it.effect("after the run's last event nothing is kept, but what comes of another try", () =>
  Effect.gen(function* () {
    const kept = [started("a"), item("one", 1), interrupted]
    const emitted = [started("a"), item("one", 1), item("two", 2)]
    expect(yield* writtenAfter(kept, emitted)).toEqual([])
    expect(yield* writtenAfter(kept, emitted, 1)).toEqual([{ ...item("two", 2), seq: 3 }])
  })
)
