/** Workflows nest as deep as programs put them, and no stack overflows. */
import { assert, describe } from "@effect/vitest"
import { Effect, Exit } from "effect"
import { Parallel, Runner } from "troupe"
import { it } from "../support/edges.ts"

type Nested = Runner.Runner<string, unknown, unknown, never>
const nested = (leaf: Nested, levels: number, around: (inner: Nested) => Nested): Nested => {
  let runner = leaf
  for (let level = 0; level < levels; level++) runner = around(runner)
  return runner
}
const inParallel = (inner: Nested): Nested => Parallel.make("all", [inner])
const leaf = (run: Effect.Effect<string, string>): Nested => Runner.make("leaf", { run: () => run })
const depthOf = (value: unknown): number => (Array.isArray(value) ? 1 + depthOf(value[0]) : 0)

describe("parallels in one another", () => {
  it.effect("succeed a thousand levels deep", () =>
    Effect.gen(function* () {
      const output = yield* nested(leaf(Effect.succeed("done")), 1000, inParallel).run("go")
      assert.strictEqual(depthOf(output), 1000)
    })
  )

  it.effect("fail with what failed a thousand levels deep", () =>
    Effect.gen(function* () {
      let error = yield* Effect.flip(nested(leaf(Effect.fail("broken")), 1000, inParallel).run("go"))
      let levels = 0
      while (error instanceof Parallel.ParallelError) {
        levels++
        error = error.failures[0]!.error
      }
      assert.deepStrictEqual([levels, error], [1000, "broken"])
    })
  )

  it.effect("are interrupted a thousand levels deep", () =>
    Effect.gen(function* () {
      const exits: Array<string> = []
      const waits = Effect.onExit(Effect.never, (exit) =>
        Effect.sync(() => void exits.push(Exit.hasInterrupts(exit) ? "interrupted" : "other"))
      )
      const run = nested(leaf(waits), 1000, inParallel).run("go")
      yield* Effect.raceFirst(
        run,
        Effect.forEach(Array.from({ length: 100 }), () => Effect.yieldNow, { discard: true })
      )
      assert.deepStrictEqual(exits, ["interrupted"])
    })
  )
})

describe("combinators around one another", () => {
  it.effect("take no stack", () =>
    Effect.gen(function* () {
      const counts = Runner.make("leaf", { run: (_input: string) => Effect.succeed(0) })
      let runner: Runner.Runner<string, number, never, never> = counts
      for (let level = 0; level < 10_000; level++) runner = Runner.map(runner, (n) => n + 1)
      assert.strictEqual(yield* runner.run("go"), 10_000)
    })
  )
})
