import { assert, describe, it } from "@effect/vitest"
import { Cause, Clock, Effect, Exit, Fiber, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as Mailbox from "../../src/internal/mailbox.ts"

const made = (onTake = () => {}) =>
  Effect.withFiber((fiber) => Effect.succeed(Mailbox.make<number, string>(fiber, onTake)))

/** The order in which a reader and a turn of the event loop see what is pushed. */
const turn = Effect.callback<string>((resume) => {
  setImmediate(() => resume(Effect.succeed("turn")))
})

describe("A mailbox", () => {
  it.live("hands over what is pushed before the event loop turns, all of one step at once", () =>
    Effect.gen(function* () {
      const mailbox = yield* made()
      const seen: Array<unknown> = []
      const reader = yield* Effect.forkChild(
        Stream.runForEachArray(Stream.fromPull(Effect.succeed(mailbox.pull)), (values) =>
          Effect.sync(() => seen.push([...values]))
        ),
        { startImmediately: true }
      )
      const turned = yield* Effect.forkChild(
        Effect.tap(turn, (one) => Effect.sync(() => seen.push(one))),
        {
          startImmediately: true
        }
      )
      mailbox.push(1)
      mailbox.push(2)
      yield* Effect.promise(() => Promise.resolve())
      mailbox.push(3)
      yield* Fiber.join(turned)
      assert.deepStrictEqual(seen, [[1, 2], [3], "turn"])
      yield* Fiber.interrupt(reader)
    })
  )

  it.effect("has a test clock wait for what its reader does", () =>
    Effect.gen(function* () {
      const mailbox = yield* made()
      const read = yield* Effect.forkChild(
        Effect.andThen(
          Effect.andThen(mailbox.pull, Effect.repeat(Effect.yieldNow, { times: 9 })),
          Clock.currentTimeMillis
        )
      )
      yield* Effect.forkChild(
        Effect.delay(
          Effect.sync(() => mailbox.push(1)),
          10
        )
      )
      yield* Effect.forkChild(Effect.sleep(20))
      yield* TestClock.adjust(30)
      assert.strictEqual(yield* Fiber.join(read), 10)
    })
  )

  it.effect("gives what has come before it says how the writer ended", () =>
    Effect.gen(function* () {
      let takes = 0
      const mailbox = yield* made(() => takes++)
      mailbox.push(1)
      mailbox.end(Exit.fail("broken"))
      mailbox.push(2)
      assert.deepStrictEqual([mailbox.size(), yield* mailbox.pull], [1, [1]])
      assert.strictEqual(yield* Effect.flip(mailbox.pull), "broken")
      assert.strictEqual(takes, 1)
      const done = yield* made()
      const waiting = yield* Effect.forkChild(Effect.flip(done.pull), { startImmediately: true })
      done.end(Exit.void)
      assert.isTrue(Cause.isDone(yield* Fiber.join(waiting)))
    })
  )

  it.effect("keeps nothing once it is closed, and gives the next reader what an interrupted one did not take", () =>
    Effect.gen(function* () {
      const mailbox = yield* made()
      const reader = yield* Effect.forkChild(mailbox.pull, { startImmediately: true })
      mailbox.push(1)
      yield* Fiber.interrupt(reader)
      assert.deepStrictEqual(yield* mailbox.pull, [1])
      mailbox.push(2)
      mailbox.close()
      mailbox.push(3)
      assert.strictEqual(mailbox.size(), 0)
    })
  )
})
