/**
 * Workers on PostgreSQL that are killed, paused past their lease, given another time, and cut off from the database. A few runs, and
 * with `CHAOS=all` hundreds, which takes minutes and prints what it did.
 */
import { join } from "node:path"
import { expect, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer, Schedule } from "effect"
import { SqlClient } from "effect/sql"
import * as Durable from "troupe/Durable"
import type { DurableError } from "troupe/RunError"
import { temporaryFile } from "../../support/durable.ts"
import { postgres } from "../../support/postgres.ts"
import { bundled, hasOneEnd, operator, replace, type Settings, unaccounted, type Worker, workers } from "./fleet.ts"
import { counts, Model, treeOf, trees } from "./tree.ts"

const isWhole = process.env["CHAOS"] === "all"
const scale = isWhole ? { runs: 200, workers: 3, acts: 48 } : { runs: 10, workers: 2, acts: 4 }
const seeds = Array.from({ length: scale.runs }, (_, index) => 100 + index)
const server = postgres()

const kinds = ["kill", "pause", "cut", "jump"] as const
type Kind = (typeof kinds)[number]
const lease = 3000

/** Does one thing to the workers or to the database. */
const act = (
  kind: Kind,
  worker: Worker,
  settings: Settings,
  sql: SqlClient.SqlClient
): Effect.Effect<unknown, unknown> => {
  const send = (signal: NodeJS.Signals) => Effect.sync(() => worker.process.kill(signal))
  switch (kind) {
    case "kill":
      return Effect.sync(() => replace(worker, settings))
    case "pause": {
      const { process } = worker
      const waking = Effect.delay(
        Effect.sync(() => process.kill("SIGCONT")),
        lease + 1000
      )
      return Effect.andThen(send("SIGSTOP"), Effect.forkDetach(waking))
    }
    case "cut":
      // For a second no connection is taken.
      return sql`ALTER DATABASE chaos WITH ALLOW_CONNECTIONS false`.pipe(
        Effect.andThen(
          sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'chaos' AND pid <> pg_backend_pid()`
        ),
        Effect.andThen(Effect.sleep(1000)),
        Effect.andThen(sql`ALTER DATABASE chaos WITH ALLOW_CONNECTIONS true`)
      )
    case "jump":
      return send("SIGUSR2")
  }
}

interface Run {
  readonly key: string
  readonly epoch: number
  readonly kept: number
}

it.live(
  "every run has one result, and no tool is called twice unasked, also when workers pause, connections are cut and clocks jump",
  () =>
    Effect.gen(function* () {
      const folder = join(yield* temporaryFile, "..")
      const url = yield* Effect.promise(() => server.urlOf("chaos"))
      const sql = Context.get(yield* Layer.build(server.database("chaos")), SqlClient.SqlClient)
      const ledger = join(folder, "ledger")
      const settings = { engine: url, ledger, delay: isWhole ? 15 : 40, program: bundled("worker", folder) }
      const asked = new Map<string, string>()
      const done = { kill: 0, pause: 0, cut: 0, jump: 0 }
      const started = Date.now()
      const outputs = yield* Effect.gen(function* () {
        yield* Effect.forEach(seeds, (seed) => Durable.submit(trees, seed), { discard: true, concurrency: 4 })
        const fleet = yield* workers(scale.workers, settings)
        yield* Effect.forkChild(
          Effect.retry(operator(seeds, ledger, asked), Schedule.spaced("200 millis")).pipe(Effect.orDie)
        )
        let acts = 0
        const chaos = Effect.gen(function* () {
          const before = counts(ledger).size
          yield* Effect.sleep(isWhole ? 100 + Math.random() * 400 : 100)
          if (counts(ledger).size <= before || acts >= scale.acts) return
          const kind = kinds[acts % kinds.length]!
          yield* Effect.ignore(act(kind, fleet[acts++ % fleet.length]!, settings, sql))
          done[kind]++
        }).pipe(Effect.forever)
        const acting = yield* Effect.forkChild(chaos)
        // The engine of this process is cut off too, and says so.
        const insisting = <A, E extends DurableError | string, R>(effect: Effect.Effect<A, E, R>) =>
          Effect.retry(effect, {
            while: (error) => typeof error !== "string" && error.reason === "engine",
            schedule: Schedule.spaced("500 millis")
          })
        const ended = yield* Effect.forEach(
          seeds,
          (seed) => Effect.exit(insisting(Durable.result(trees, `tree ${seed}`))),
          { concurrency: 4 }
        )
        yield* Fiber.interrupt(acting)
        for (const seed of seeds) yield* insisting(hasOneEnd(seed))
        expect(yield* insisting(unaccounted(seeds, ledger, asked))).toEqual([])
        return ended
      }).pipe(Effect.scoped, Effect.provide(Durable.layerPostgres({ url, poll: "100 millis", lease })))
      const expected = yield* Effect.forEach(seeds, (seed) => Effect.exit(treeOf(seed).run("go"))).pipe(
        Effect.provide(Model)
      )
      expect(outputs.map(outputOf)).toEqual(expected.map(outputOf))
      const all = counts(ledger)
      // A request is made again only where an execution ended before its outcome was kept.
      const runs = yield* Effect.retry(
        sql<Run>`SELECT run_key AS key, epoch, (SELECT COUNT(*) FROM troupe_steps WHERE run_id = id AND kind = 'model') AS kept
          FROM troupe_runs`,
        { times: 5 }
      )
      const made = new Map<string, number>()
      for (const [line, n] of all) {
        const seed = /^model (\d+)\//.exec(line)?.[1]
        if (seed !== undefined) made.set(`tree ${seed}`, (made.get(`tree ${seed}`) ?? 0) + n)
      }
      for (const { epoch, kept, key } of runs) {
        expect(made.get(key)! - Number(kept), key).toBeLessThanOrEqual(8 * (epoch - 1))
      }
      for (const kind of kinds) expect(done[kind], kind).toBeGreaterThan(0)
      if (isWhole) {
        const executions = runs.reduce((sum, { epoch }) => sum + epoch, 0)
        const lines = [...all.keys()]
        process.stdout.write(
          `${runs.length} runs, ${lines.filter((line) => line.startsWith("model")).length} model calls, ${lines.filter((line) => line.startsWith("effect")).length} tool calls, ${executions} executions, ${asked.size} questions, ${JSON.stringify(done)}, ${Date.now() - started} ms\n`
        )
      }
    }),
  { timeout: isWhole ? 1_200_000 : 120_000 }
)

const outputOf = (exit: Exit.Exit<string, unknown>): string => (Exit.isSuccess(exit) ? exit.value : "failed")
