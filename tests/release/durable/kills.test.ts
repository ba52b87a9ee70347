/** Workers that are killed with SIGKILL at random moments, on one file of SQLite. */
import { join } from "node:path"
import { expect, it } from "@effect/vitest"
import { Effect, Exit } from "effect"
import * as Durable from "troupe/Durable"
import { temporaryFile } from "../../support/durable.ts"
import { bundled, hasOneHistory, operator, replace, unaccounted, workers } from "./fleet.ts"
import { counts, Model, treeOf, trees } from "./tree.ts"

const seeds = Array.from({ length: 12 }, (_, index) => index + 1)

it.live(
  "every run has one result, and no tool is called twice unasked, however often workers are killed",
  () =>
    Effect.gen(function* () {
      const file = yield* temporaryFile
      const ledger = join(file, "..", "ledger")
      const program = bundled("worker", join(file, ".."))
      const settings = { engine: file, ledger, delay: 40, program }
      const asked = new Map<string, string>()
      let kills = 0
      const engine = Durable.layerSqlite({ filename: file, poll: "100 millis", lease: "4 seconds" })
      const outputs = yield* Effect.gen(function* () {
        yield* Effect.forEach(seeds, (seed) => Durable.submit(trees, seed), { discard: true })
        const fleet = yield* workers(2, settings)
        yield* Effect.forkChild(operator(seeds, ledger, asked))
        const killer = Effect.gen(function* () {
          const before = counts(ledger).size
          yield* Effect.sleep(50 + Math.random() * 100)
          // A worker that has just begun is left to begin.
          if (counts(ledger).size <= before || kills >= 3) return
          replace(fleet[kills++ % fleet.length]!, settings)
        }).pipe(Effect.forever)
        yield* Effect.forkChild(killer)
        const ended = yield* Effect.forEach(seeds, (seed) => Effect.exit(Durable.result(trees, `tree ${seed}`)))
        for (const seed of seeds) yield* hasOneHistory(seed)
        expect(yield* unaccounted(seeds, ledger, asked)).toEqual([])
        return ended
      }).pipe(Effect.scoped, Effect.provide(engine))
      const expected = yield* Effect.forEach(seeds, (seed) => Effect.exit(treeOf(seed).run("go"))).pipe(
        Effect.provide(Model)
      )
      expect(outputs.map(outputOf)).toEqual(expected.map(outputOf))
      expect(kills).toBeGreaterThan(0)
    }),
  { timeout: 120_000 }
)

/** A text that the operator found out stands in no output: the models of the trees do not repeat what tools say. */
const outputOf = (exit: Exit.Exit<string, unknown>): string => (Exit.isSuccess(exit) ? exit.value : "failed")
