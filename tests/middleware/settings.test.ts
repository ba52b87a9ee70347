/** The options of a request: how a model is to answer, set by middleware for one call. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { Agent, Middleware, ModelInfo, OpenAi } from "troupe"
import { serve } from "../support/openAiServer.ts"

const exact = Middleware.make("exact", {
  model: (request, next) =>
    next({ ...request, options: { ...request.options, temperature: 0, maxOutputTokens: 50, reasoning: "low" } })
})

describe("the options of a request", () => {
  it.live.each(["chat", "responses"] as const)("are sent by OpenAi.layer to %s, and win over its own", (api) =>
    Effect.gen(function* () {
      const server = yield* Effect.acquireRelease(
        Effect.promise(() => serve(() => ({ text: "ok" }))),
        ({ close }) => Effect.sync(close)
      )
      const options: OpenAi.CallOptions = {
        temperature: 1,
        topP: 0.5,
        maxOutputTokens: 500,
        chat: { temperature: 2 },
        responses: { temperature: 2, reasoning: { effort: "high", summary: "auto" } }
      }
      const layer = OpenAi.layer({ model: "m", baseUrl: server.url, api, apiKey: Redacted.make("k"), options })
      yield* Agent.make("agent", { middleware: [exact] })
        .run("go")
        .pipe(Effect.provide(layer))
      yield* Agent.make("agent", {}).run("go").pipe(Effect.provide(layer))
      const [first, second] = server.seen.map(({ body }) => body)
      const { max_output_tokens, max_tokens, reasoning, reasoning_effort, temperature, top_p } = first!
      assert.deepStrictEqual([temperature, top_p, max_output_tokens ?? max_tokens], [0, 0.5, 50])
      assert.deepStrictEqual(reasoning ?? reasoning_effort, api === "chat" ? "low" : { effort: "low", summary: "auto" })
      assert.strictEqual(second!["temperature"], 2)
      assert.strictEqual(second!["max_output_tokens"] ?? second!["max_tokens"], 500)
    })
  )

  it.effect("are those around the run, where nothing changes them", () =>
    Effect.gen(function* () {
      const seen: Array<unknown> = []
      const spy = Middleware.make("spy", {
        model: (request) => {
          seen.push(request.options)
          return Effect.succeed(Middleware.turn("ok"))
        }
      })
      const run = Agent.make("agent", { middleware: [spy] }).run("go")
      yield* run
      yield* Effect.provideService(run, ModelInfo.CurrentSettings, { temperature: 0.5 })
      assert.deepStrictEqual(seen, [{}, { temperature: 0.5 }])
    }).pipe(Effect.provide(OpenAi.layer({ model: "m", baseUrl: "http://127.0.0.1:9", apiKey: Redacted.make("k") })))
  )
})
