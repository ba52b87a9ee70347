/** Nodes on PostgreSQL that share several definitions, and join and leave while runs go on. */
import { expect, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as Durable from "troupe/Durable"
import * as Runner from "troupe/Runner"
import { postgres } from "../../support/postgres.ts"

const server = postgres()
const layerOf = (name: string, options: Durable.EngineOptions = {}) =>
  Layer.unwrap(
    Effect.map(
      Effect.promise(() => server.urlOf(name)),
      (url) => Durable.layerPostgres({ url, maxConnections: 6, poll: "100 millis", ...options })
    )
  )

it.live("nodes that execute several definitions leave no run of any of them behind", () =>
  Effect.gen(function* () {
    const definitions = ["first", "second", "third"].map((name) =>
      Durable.make(Runner.make(name, { run: (text: string) => Effect.delay(Effect.succeed(text), 20) }), {
        name,
        version: "1",
        key: (text) => text
      })
    )
    const node = Durable.worker(...definitions).pipe(Layer.provide(Layer.fresh(layerOf("several"))))
    const texts = Array.from({ length: 20 }, (_, index) => `run ${index}`)
    const all = definitions.flatMap((definition) => texts.map((text) => ({ definition, text })))
    yield* Effect.gen(function* () {
      yield* Layer.build(node)
      yield* Effect.forEach(all, ({ definition, text }) => Durable.submit(definition, text), { discard: true })
      yield* Layer.build(node)
      const outputs = yield* Effect.forEach(all, ({ definition, text }) => Durable.result(definition, text), {
        concurrency: 8
      })
      expect(outputs).toEqual(all.map(({ text }) => text))
    }).pipe(Effect.provide(layerOf("several")), Effect.scoped)
  })
)
