/** Calls among several models: limits that they share, keys in turn, one model for a session, and events that say who answered. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { RateLimiter } from "effect/persistence"
import { Agent, AgentTool, Fallback, Middleware, OpenAi, RateLimit, Session, SessionStore, TestModel } from "troupe"
import { collect } from "../../support/grammar.ts"
import { json, serve } from "../../support/wire.ts"

const answer = (content: string) => json({ choices: [{ finish_reason: "stop", message: { content } }] })
const model = (name: string, baseUrl: string, key = "k") =>
  OpenAi.layer({ model: name, baseUrl, apiKey: Redacted.make(key), api: "chat", retry: "none" })

describe("Fallback", () => {
  it.live("takes the keys of a list in turn, and another one where a key is limited", () =>
    Effect.gen(function* () {
      const limited = json({ error: { message: "slow down" } }, 429)
      const server = yield* serve(answer("1"), answer("2"), answer("3"), limited, answer("4"))
      const both = Fallback.layer([model("m", server.url, "key-one"), model("m", server.url, "key-two")], {
        order: Fallback.roundRobin
      })
      const said = yield* Effect.provide(Effect.replicateEffect(Agent.make("agent", {}).run("x"), 4), both)
      assert.deepStrictEqual(said, ["1", "2", "3", "4"])
      assert.deepStrictEqual(
        server.headers.map(({ authorization }) => authorization?.replace("Bearer key-", "")),
        ["one", "two", "one", "two", "one"]
      )
    })
  )

  it.live("says in the event of each step which model answered it", () =>
    Effect.gen(function* () {
      const call = { id: "c", type: "function", function: { name: "now", arguments: "{}" } }
      const asks = json({ choices: [{ finish_reason: "tool_calls", message: { content: null, tool_calls: [call] } }] })
      const server = yield* serve(asks, answer("noon"))
      const both = Fallback.layer([model("a", server.url), model("b", server.url)], { order: Fallback.roundRobin })
      const now = AgentTool.fromFunction("now", { description: "The time", execute: () => "12:00" })
      const { events } = yield* Effect.provide(collect(Agent.make("clock", { tools: [now] }), "What time is it?"), both)
      const answered = events.flatMap((event) => (event._tag === "StepCompleted" ? [event.answeredBy?.model] : []))
      assert.deepStrictEqual(answered, ["a", "b"])
    })
  )

  it.effect("has its members share the limits of an agent", () =>
    Effect.gen(function* () {
      const one = TestModel.layer(() => "one")
      const two = TestModel.layer(() => "two")
      const both = Fallback.layer([one, two], { order: Fallback.roundRobin, breaker: "none" })
      const limit = Middleware.layer(RateLimit.make({ requests: 3, per: "1 minute", onExceeded: "fail" })).pipe(
        Layer.provide(RateLimiter.layer),
        Layer.provide(RateLimiter.layerStoreMemory)
      )
      const ask = Agent.make("agent", { retry: "none" }).run("x")
      const all = Effect.all([ask, ask, ask, Effect.flip(ask)])
      const [a, b, c, error] = yield* all.pipe(Effect.provide(both), Effect.provide(limit))
      assert.deepStrictEqual([a, b, c], ["one", "two", "one"])
      assert.strictEqual(error._tag === "ModelError" ? error.reason.reason._tag : "", "RateLimitError")
    })
  )

  it.effect("gives all turns of a session to one model", () =>
    Effect.gen(function* () {
      const models = [TestModel.layer(() => "a"), TestModel.layer(() => "b")] as const
      const sticky = Fallback.layer(models, { order: Fallback.sticky })
      const agent = Agent.make("agent", {})
      const turns = yield* Effect.forEach(
        Array.from({ length: 12 }, (_, n) => Session.of(agent, `session ${n}`)),
        (session) => Effect.all([session.run("Hello"), session.run("Again"), session.run("And again")])
      ).pipe(Effect.provide(sticky), Effect.provide(SessionStore.layerMemory))
      assert.isTrue(turns.every(([first, ...others]) => others.every((other) => other === first)))
      assert.deepStrictEqual([...new Set(turns.flat())].toSorted(), ["a", "b"])
    })
  )
})
