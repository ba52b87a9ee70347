/** Runners for tests of workflows, and what is read of their events. */
import { assert } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Option } from "effect"
import { TestClock } from "effect/testing"
import { Runner } from "troupe"
import type { RunEvent } from "troupe"

export const after = (ms: number, text: string) =>
  Runner.make(text, { run: (input: string) => Effect.as(Effect.sleep(ms), `${input} ${text}`) })
export const failing = (ms: number, error: string) =>
  Runner.make(error, { run: (_input: string) => Effect.andThen(Effect.sleep(ms), Effect.fail(error)) })
/** Takes as many milliseconds as its input; a negative number fails instead. */
export const worker = Runner.make("worker", {
  run: (ms: number) =>
    Effect.andThen(Effect.sleep(Math.abs(ms)), ms < 0 ? Effect.fail(`failed ${ms}`) : Effect.succeed(ms * 10))
})

/** Runs under a clock that goes on by itself. */
export const live = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(effect)
    for (let n = 0; n < 200 && fiber.pollUnsafe() === undefined; n++) yield* TestClock.adjust(10)
    return yield* Fiber.join(fiber)
  })

/** A runner that counts how many of its runs are under way, at most and now, and which were interrupted. */
export const counted = (ms = 10) => {
  const seen = { now: 0, most: 0, begun: 0, completed: 0, interrupted: [] as Array<number> }
  const runner = Runner.make("counted", {
    run: (n: number) =>
      Effect.suspend(() => {
        seen.begun++
        seen.now++
        seen.most = Math.max(seen.most, seen.now)
        return Effect.sleep(ms)
      }).pipe(
        Effect.map(() => (seen.completed++, n)),
        // A slow finalizer: a caller that does not wait for it sees it missing.
        Effect.onInterrupt(() =>
          Effect.andThen(
            Effect.sleep(1),
            Effect.sync(() => void seen.interrupted.push(n))
          )
        ),
        Effect.ensuring(Effect.sync(() => void seen.now--))
      )
  })
  return { runner, seen }
}

export const items = (events: ReadonlyArray<RunEvent.RunEvent>) =>
  events.flatMap((event) =>
    event._tag === "ItemCompleted" ? [[event.item, event.status, event.done, event.total] as const] : []
  )
export const errorOf = <A, E>(exit: Exit.Exit<A, E>) => {
  if (Exit.isSuccess(exit)) return assert.fail("it succeeded")
  return Option.getOrThrow(Cause.findErrorOption(exit.cause))
}
export const outputOf = (events: ReadonlyArray<RunEvent.RunEvent>) => {
  const last = events.at(-1)
  return last?._tag === "RunCompleted" ? last.output : undefined
}
