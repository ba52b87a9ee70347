/** Workers on PostgreSQL that are killed, paused past their lease, and cut off from the database. */
import { join } from "node:path"
import { expect, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer } from "effect"
import { SqlClient } from "effect/sql"
import * as Durable from "troupe/Durable"
import { temporaryFile } from "../../support/durable.ts"
import { postgres } from "../../support/postgres.ts"
import { bundled, operator, replace, workers } from "./fleet.ts"
import { counts, Model, treeOf, trees } from "./tree.ts"

const server = postgres()
const seeds = Array.from({ length: 16 }, (_, index) => 100 + index)

it.live(
  "every run has one result, and no tool is called twice unasked, also when connections are cut and workers pause",
  () =>
    Effect.gen(function* () {
      const folder = join(yield* temporaryFile, "..")
      const url = yield* Effect.promise(() => server.urlOf("chaos"))
      const sql = Context.get(yield* Layer.build(server.database("chaos")), SqlClient.SqlClient)
      const ledger = join(folder, "ledger")
      const settings = { engine: url, ledger, delay: 15, program: bundled("worker", folder) }
      const asked = new Map<string, string>()
      const done = { kills: 0, pauses: 0, cuts: 0 }
      const outputs = yield* Effect.gen(function* () {
        yield* Effect.forEach(seeds, (seed) => Durable.submit(trees, seed), { discard: true })
        const fleet = yield* workers(3, settings)
        yield* Effect.forkChild(operator(seeds, ledger, asked))
        const chaos = Effect.gen(function* () {
          const before = counts(ledger).size
          yield* Effect.sleep(100 + Math.random() * 400)
          const total = done.kills + done.pauses + done.cuts
          if (counts(ledger).size <= before || total >= 9) return
          const worker = fleet[total % fleet.length]!
          if (total % 3 === 0) {
            done.pauses++
            worker.process.kill("SIGSTOP")
            // Longer than the lease of 4 seconds.
            yield* Effect.forkChild(
              Effect.andThen(
                Effect.sleep(5000),
                Effect.sync(() => worker.process.kill("SIGCONT"))
              )
            )
          } else if (total % 3 === 1) {
            done.kills++
            replace(worker, settings)
          } else {
            done.cuts++
            yield* Effect.ignore(
              sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'chaos' AND pid <> pg_backend_pid()`
            )
          }
        }).pipe(Effect.forever)
        yield* Effect.forkChild(chaos)
        return yield* Effect.forEach(seeds, (seed) => Effect.exit(Durable.result(trees, `tree ${seed}`)))
      }).pipe(Effect.scoped, Effect.provide(Durable.layerPostgres({ url, poll: "100 millis", lease: "4 seconds" })))
      const expected = yield* Effect.forEach(seeds, (seed) => Effect.exit(treeOf(seed).run("go"))).pipe(
        Effect.provide(Model)
      )
      expect(outputs.map(outputOf)).toEqual(expected.map(outputOf))
      const twice = [...counts(ledger)].filter(
        ([line, n]) => n > 1 && line.startsWith("effect ") && asked.get(line.slice(7)) !== "DidNotHappen"
      )
      expect(twice).toEqual([])
      expect(done.kills).toBeGreaterThan(1)
      expect(done.pauses).toBeGreaterThan(1)
      expect(done.cuts).toBeGreaterThan(1)
    }),
  { timeout: 180_000 }
)

const outputOf = (exit: Exit.Exit<string, unknown>): string => (Exit.isSuccess(exit) ? exit.value : "failed")
