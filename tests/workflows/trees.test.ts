/** Laws of workflows, on thousands of random trees of them. A failure is printed with the smallest tree that shows it. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Schema } from "effect"
import { drive, outcome, tagOf, type Way, ways } from "../support/treeRuns.ts"
import { Tree } from "../support/trees.ts"

const Salt = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1e6 }))
const Count = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 12 }))
const Stop = Schema.Union([Schema.Literals(["at the end", "at a time"]), Count])

const options = (runs: number) => ({ timeout: 120_000, arbitrary: { runs, size: 20 } })

describe("a random tree of workflows", () => {
  it.effect.prop(
    "leaves nothing behind, tells everything once, and loses no failure",
    [Tree, Salt, Schema.Literals(Object.keys(ways) as Array<Way>), Count, Stop, Schema.Boolean],
    ([tree, salt, way, count, stop, instants]) =>
      Effect.map(drive({ tree, salt, way, count, stop, instants }), ({ problems }) => {
        assert.strictEqual(problems.join("\n"), "")
      }),
    options(2_000)
  )

  it.effect.prop(
    "ends the same way by run, by result and by stream",
    [Tree, Salt, Schema.Literals(["at the end", "at a time"])],
    ([tree, salt, stop]) =>
      Effect.gen(function* () {
        const ends: Array<unknown> = []
        for (const way of ["run", "result", "stream"] as const) {
          const { events, exit, problems } = yield* drive({ tree, salt, way, count: 0, stop, instants: false })
          assert.strictEqual(problems.join("\n"), "")
          const last = events.at(-1)!
          // Whoever reads a stream and is interrupted is not told what finalizers failed with; the events tell.
          if (way !== "stream" || !Exit.hasInterrupts(exit)) assert.strictEqual(last._tag, tagOf(exit))
          ends.push([
            last._tag,
            last._tag === "RunCompleted" ? last.output : last._tag === "RunFailed" ? last.message : "",
            Exit.hasInterrupts(exit) ? "interrupted" : outcome(exit)
          ])
        }
        const told = ends.map((end) => JSON.stringify(end))
        assert.isTrue(
          told.every((end) => end === told[0]),
          told.join("\n")
        )
      }),
    options(500)
  )
})
