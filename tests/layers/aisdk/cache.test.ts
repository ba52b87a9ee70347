/** Prompt caching, as each provider is asked for it. */
import { createAnthropic } from "@ai-sdk/anthropic"
import { assert, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { LanguageModel } from "effect/ai"
import { Agent, AiSdk, ModelInfo, OpenAi } from "troupe"
import { claudeSays } from "../../support/vendorAnswers.ts"
import { serve } from "../../support/wire.ts"

const claude = claudeSays("ok")

it.live("asks Anthropic to cache, for five minutes or an hour", () =>
  Effect.gen(function* () {
    const server = yield* serve(claude)
    const model = createAnthropic({ apiKey: "k", baseURL: `${server.url}/v1` })("claude-sonnet-4-5")
    for (const cache of [undefined, "auto", { ttl: "1 hour" }] as const) {
      yield* LanguageModel.generateText({ prompt: "x" }).pipe(Effect.provide(AiSdk.layer(model, { cache })))
    }
    assert.deepStrictEqual(
      server.bodies.map((body) => body.cache_control),
      [undefined, { type: "ephemeral" }, { type: "ephemeral", ttl: "1h" }]
    )
  })
)

it.live("sends requests of one conversation to one cache of OpenAI's, and nothing of it to other servers", () =>
  Effect.gen(function* () {
    const bodies: Array<any> = []
    const transport = (_url: string, init: { readonly body?: unknown }) => {
      bodies.push(JSON.parse(String(init.body)))
      const output = [{ type: "message", role: "assistant", content: [{ type: "output_text", text: "ok" }] }]
      return Promise.resolve(Response.json({ status: "completed", output }))
    }
    const ask = (more: Partial<OpenAi.Options>) =>
      Agent.make("a", {})
        .run("x")
        .pipe(Effect.provide(OpenAi.layer({ model: "m", apiKey: Redacted.make("k"), transport, ...more })))
    yield* ask({})
    yield* ask({ cache: "auto" })
    yield* ask({ cache: { ttl: "1 hour" } })
    yield* ask({ cache: "auto", baseUrl: "http://localhost:9/v1", api: "responses" })
    const [none, auto, long, other] = bodies
    assert.notProperty(none, "prompt_cache_key")
    assert.match(auto.prompt_cache_key, /^run_/)
    assert.notProperty(auto, "prompt_cache_retention")
    assert.strictEqual(long.prompt_cache_retention, "24h")
    assert.notProperty(other, "prompt_cache_key")
  })
)

it.live("maps thinking for each provider, or refuses it", () =>
  Effect.gen(function* () {
    const server = yield* serve(claude)
    const model = AiSdk.layer(createAnthropic({ apiKey: "k", baseURL: `${server.url}/v1` })("claude-sonnet-4-5"))
    const ask = (reasoning: ModelInfo.Reasoning) =>
      LanguageModel.generateText({ prompt: "x" }).pipe(Effect.provideService(ModelInfo.CurrentSettings, { reasoning }))
    yield* Effect.provide(ask({ tokens: 2000 }), model)
    yield* Effect.provide(ask("none"), model)
    yield* Effect.provide(ask("low"), model)
    assert.deepStrictEqual(server.bodies[0].thinking, { type: "enabled", budget_tokens: 2000 })
    assert.notStrictEqual(server.bodies[1].thinking?.type, "enabled")
    assert.strictEqual(server.bodies[2].thinking.type, "enabled")
    const openai = OpenAi.layer({ model: "o3", apiKey: Redacted.make("k"), baseUrl: server.url })
    const error = yield* Effect.flip(Effect.provide(ask({ tokens: 2000 }), openai))
    assert.match(error.message, /takes no number of tokens/)
  })
)
