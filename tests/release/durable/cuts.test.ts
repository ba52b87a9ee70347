/** Durable runs on a PostgreSQL whose connections are cut again and again while they are sent what they wait for. */
import { expect, it } from "@effect/vitest"
import { Context, Effect, Fiber, Layer, Schedule, Schema } from "effect"
import { SqlClient } from "effect/sql"
import * as Durable from "troupe/Durable"
import * as Runner from "troupe/Runner"
import * as Step from "troupe/Step"
import { postgres } from "../../support/postgres.ts"

const server = postgres()
const rounds = [0, 1, 2, 3, 4]
const keys = ["a", "b", "c", "d", "e", "f"]
const waiter = Runner.make("waiter", {
  run: (text: string) =>
    Effect.map(
      Effect.forEach(rounds, (round) => Effect.orDie(Step.signal(`round ${round}`, Schema.String))),
      (all) => `${text}${all.join("")}`
    )
})
const waiters = Durable.make(waiter, { name: "waiters", version: "1", key: (text) => text })

/** Cuts every connection to the database, for as long as it runs. */
const cutting = (sql: SqlClient.SqlClient) =>
  sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'cut' AND pid <> pg_backend_pid()`.pipe(
    Effect.ignore,
    Effect.andThen(Effect.suspend(() => Effect.sleep(20 + Math.random() * 100))),
    Effect.forever
  )

it.live(
  "every run goes on with what it was sent",
  () =>
    Effect.gen(function* () {
      const url = yield* Effect.promise(() => server.urlOf("cut"))
      const sql = Context.get(yield* Layer.build(server.database("others")), SqlClient.SqlClient)
      const engine = Durable.layerPostgres({ url, poll: "50 millis", maxConnections: 6 })
      yield* Effect.gen(function* () {
        for (const key of keys) yield* Durable.submit(waiters, key)
        const cuts = yield* Effect.forkChild(cutting(sql))
        const send = (key: string, round: number) =>
          Durable.signal(waiters, key, `round ${round}`, String(round)).pipe(
            Effect.retry(Schedule.spaced(50)),
            Effect.delay(Math.random() * 300)
          )
        yield* Effect.forEach(keys, (key) => Effect.forEach(rounds, (round) => send(key, round)), {
          concurrency: "unbounded"
        })
        yield* Effect.sleep(1000)
        yield* Fiber.interrupt(cuts)
        const results = yield* Effect.forEach(keys, (key) => Durable.result(waiters, key), { concurrency: "unbounded" })
        expect(results).toEqual(keys.map((key) => `${key}01234`))
      }).pipe(Effect.provide(Durable.worker(waiters)), Effect.provide(engine))
    }).pipe(Effect.scoped),
  60_000
)
