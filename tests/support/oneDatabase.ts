/** One database for everything that is kept: durable runs, sessions, memories and traces. */
import { expect, it } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import type { SqlClient, SqlError } from "effect/sql"
import { Agent, Durable, Memory, MemoryStore, Runner, Session, SessionStore, TestModel, TraceStore } from "troupe"

/** Runs, sessions, memories and traces in the database that both layers open. */
export const oneDatabase = (
  engine: Layer.Layer<Durable.Engine, unknown>,
  database: Layer.Layer<SqlClient.SqlClient, SqlError.SqlError>
): void => {
  const stores = Layer.mergeAll(SessionStore.layerSql, MemoryStore.layerSql, TraceStore.layerSql).pipe(
    Layer.provide(database)
  )

  it.live.each([
    ["the engine first", Layer.provideMerge(stores, engine)],
    ["the stores first", Layer.provideMerge(engine, stores)]
  ] as const)("durable runs, sessions, memories and traces have a place each, %s", ([, live]) =>
    Effect.gen(function* () {
      const clerk = Agent.make("clerk", {})
      const orders = Durable.make(
        Runner.make("order", { run: (id: string) => Effect.succeed(`sent ${id}`), output: Schema.String }),
        {
          name: "orders",
          version: "1",
          key: (id) => id
        }
      )
      const namespace = `n-${crypto.randomUUID()}`
      expect(yield* orders.run(namespace)).toBe(`sent ${namespace}`)
      const chat = Session.of(clerk, namespace)
      expect(yield* Effect.provide(chat.run("Hi"), TraceStore.record, { local: true })).toBe("Hello.")
      yield* Memory.put({ namespace, key: "k", text: "Ada likes tea." })
      expect(yield* Durable.status(orders, namespace)).toBe("completed")
      expect((yield* TraceStore.runs({ session: namespace })).map(({ runner }) => runner)).toEqual(["clerk"])
    }).pipe(Effect.provide(live), Effect.provide(TestModel.layer(["Hello."])))
  )
}
