/** Random trees of all workflows, killed at each of their steps and made again. */
import { assert, describe } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Schema } from "effect"
import { TestClock } from "effect/testing"
import { type RunEvent, Runner } from "troupe"
import { it } from "../support/edges.ts"
import { attempt, MemoryJournal, type Moment } from "../support/journal.ts"
import { build, model } from "../support/journaledTrees.ts"

const Small = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 22 }))
const Numbers = Schema.Array(Small).check(Schema.isMinLength(4), Schema.isMaxLength(12))
const moments: ReadonlyArray<Moment> = ["before", "within", "after"]

/** One attempt at a tree, by a process that knows nothing but the journal. */
const run = (
  numbers: ReadonlyArray<number>,
  journal: MemoryJournal,
  log: Array<string>,
  kill?: { readonly at: number; readonly moment: Moment }
) =>
  Effect.gen(function* () {
    const events: Array<string> = []
    const note = (event: RunEvent.RunEvent) =>
      Effect.sync(() => {
        const isOfLoser = event.runId.includes("never") || (event._tag === "ItemCompleted" && event.item === "never")
        const call = "toolCallId" in event ? event.toolCallId : ""
        if (!isOfLoser) events.push(`${event._tag} ${event.runId} ${"step" in event ? event.step : ""} ${call}`)
      })
    const runner = Runner.onEvent(build(numbers, log), note)
    const fiber = yield* Effect.forkChild(attempt(Effect.provide(runner.result("go"), model), journal, kill))
    for (let n = 0; n < 50 && fiber.pollUnsafe() === undefined; n++) yield* TestClock.adjust(1)
    if (fiber.pollUnsafe() === undefined) return yield* Effect.die(new Error("it hangs"))
    const exit = yield* Fiber.join(fiber)
    if (exit === undefined) return undefined
    if (Exit.isFailure(exit)) return assert.fail(Cause.pretty(exit.cause))
    const { decisions, output, runId, steps, transcript, usage } = exit.value
    const result = JSON.stringify({ decisions, output, runId, steps, transcript, usage })
    return { result, events: [...new Set(events)].toSorted() }
  })

describe("a run that is killed at a step and made again", () => {
  it.effect.prop(
    "does no step twice, and ends as if it had not been killed",
    [Numbers],
    ([numbers]) =>
      Effect.gen(function* () {
        const whole = new MemoryJournal()
        const did: Array<string> = []
        const reference = yield* run(numbers, whole, did)
        const count = whole.ended.length
        for (let at = 0; at < count; at += 1 + Math.floor(count / 8)) {
          const moment = moments[(at + numbers.length) % 3]!
          const journal = new MemoryJournal()
          const log: Array<string> = []
          const killed = yield* run(numbers, journal, log, { at, moment })
          // A kill after the last step can come too late.
          const end = killed ?? (yield* run(numbers, journal, log))
          const how = `killed ${moment} step ${at} of ${count}: ${JSON.stringify(numbers)}`
          assert.deepStrictEqual(end, reference, how)
          assert.deepStrictEqual(log.toSorted(), did.toSorted(), how)
          const keys = journal.ended.map(({ key }) => key)
          assert.strictEqual(new Set(keys).size, keys.length, how)
          assert.deepStrictEqual(keys.toSorted(), whole.ended.map(({ key }) => key).toSorted(), how)
        }
      }),
    { arbitrary: { runs: 10 } }
  )
})
