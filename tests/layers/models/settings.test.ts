/** `reasoning` and `cache` on the wire: mapped for each provider, or refused before a request. */
import { createAnthropic } from "@ai-sdk/anthropic"
import { createGoogle } from "@ai-sdk/google"
import type { LanguageModelV4 } from "@ai-sdk/provider"
import { assert, describe, it } from "@effect/vitest"
import { Effect, type Layer, Redacted } from "effect"
import type { LanguageModel } from "effect/ai"
import { Agent, AiSdk, Fallback, Models, type ModelInfo, OpenAi, TestModel } from "troupe"
import { claudeSays, geminiSays } from "../../support/vendorAnswers.ts"
import { serve } from "../../support/wire.ts"

interface Settings {
  readonly reasoning?: ModelInfo.Reasoning
  readonly cache?: ModelInfo.Cache
}

const ask = (settings: Settings, model: Layer.Layer<LanguageModel.LanguageModel, unknown>) =>
  Agent.make("agent", settings).run("Hello").pipe(Effect.provide(model))

/** What the model lacks, by the error of a refused call. */
const lacks = (settings: Settings, model: Layer.Layer<LanguageModel.LanguageModel, unknown>) =>
  Effect.map(Effect.flip(ask(settings, model)), (error) => {
    const { reason } = error as {
      readonly reason: { readonly reason: { readonly parameter: string; message: string } }
    }
    return reason.reason.parameter
  })

/** OpenAI's wire by a function, so that a host can be any. */
const openAi = (options: Omit<OpenAi.Options, "apiKey" | "transport">) => {
  const bodies: Array<any> = []
  const transport = (url: string, init: { readonly body?: unknown }) => {
    bodies.push(JSON.parse(String(init.body)))
    const usage = { prompt_tokens: 9, completion_tokens: 1, prompt_tokens_details: { cached_tokens: 4 } }
    const chat = { choices: [{ finish_reason: "stop", message: { role: "assistant", content: "ok" } }], usage }
    const output = [{ type: "message", role: "assistant", content: [{ type: "output_text", text: "ok" }] }]
    const used = { input_tokens: 9, output_tokens: 1, input_tokens_details: { cached_tokens: 4 } }
    const answer = url.endsWith("/responses") ? { status: "completed", output, usage: used } : chat
    return Promise.resolve(Response.json(answer))
  }
  return { bodies, layer: OpenAi.layer({ ...options, apiKey: Redacted.make("k"), transport }) }
}

const claudeAnswer = claudeSays("ok")
const geminiAnswer = geminiSays("ok")

describe("OpenAi", () => {
  it.live("sends levels on both wires, the cache of a conversation, and counts cached tokens", () =>
    Effect.gen(function* () {
      for (const api of ["responses", "chat"] as const) {
        const { bodies, layer } = openAi({ model: "gpt-5-mini", api })
        const { usage } = yield* Agent.make("agent", { reasoning: "low", cache: { ttl: "1 hour" } })
          .result("Hello")
          .pipe(Effect.provide(layer))
        yield* ask({ reasoning: "none", cache: { ttl: "5 minutes" } }, layer)
        assert.strictEqual(bodies[0].reasoning?.effort ?? bodies[0].reasoning_effort, "low")
        assert.match(bodies[0].prompt_cache_key, /^run_/)
        assert.strictEqual(bodies[0].prompt_cache_retention, "24h")
        assert.strictEqual(bodies[1].reasoning?.effort ?? bodies[1].reasoning_effort, "none")
        assert.notProperty(bodies[1], "prompt_cache_retention")
        assert.strictEqual(usage.inputTokens.cacheRead, 4)
      }
    })
  )

  it.live("refuses a number of tokens, too long a time, and reasoning of a model that is known to have none", () =>
    Effect.gen(function* () {
      const thinking = openAi({ model: "gpt-5-mini" })
      const plain = openAi({ model: "gpt-4.1-mini" })
      const other = openAi({ model: "any", baseUrl: "http://localhost:9/v1" })
      assert.strictEqual(yield* lacks({ reasoning: { tokens: 100 } }, thinking.layer), "reasoning")
      assert.strictEqual(yield* lacks({ cache: { ttl: "2 days" } }, thinking.layer), "cache")
      assert.strictEqual(yield* lacks({ reasoning: "low" }, plain.layer), "reasoning")
      assert.strictEqual(yield* lacks({ cache: { ttl: "1 minute" } }, other.layer), "cache")
      assert.deepStrictEqual([thinking.bodies, plain.bodies, other.bodies].flat(), [])
      // It has nothing to be asked for.
      yield* ask({ reasoning: "none" }, plain.layer)
      assert.notProperty(plain.bodies[0], "reasoning")
      yield* ask({ cache: "auto", reasoning: "high" }, other.layer)
      assert.strictEqual(other.bodies[0].reasoning_effort, "high")
      assert.notProperty(other.bodies[0], "prompt_cache_key")
    })
  )

  it.live("sends a number of tokens to servers that take one, each in its way", () =>
    Effect.gen(function* () {
      const sent = (baseUrl: string) => {
        const { bodies, layer } = openAi({ model: "m", baseUrl, options: { reasoningEffort: "high" } })
        return Effect.as(ask({ reasoning: { tokens: 2000 } }, layer), bodies)
      }
      const [claude] = yield* sent("https://api.anthropic.com/v1")
      assert.deepStrictEqual(claude.thinking, { type: "enabled", budget_tokens: 2000 })
      assert.notProperty(claude, "reasoning_effort")
      const [router] = yield* sent("https://openrouter.ai/api/v1")
      assert.deepStrictEqual(router.reasoning, { max_tokens: 2000 })
      const [gemini] = yield* sent("https://generativelanguage.googleapis.com/v1beta/openai")
      assert.strictEqual(gemini.extra_body.google.thinking_config.thinking_budget, 2000)
    })
  )

  it.live("takes the word of a program's catalog", () =>
    Effect.gen(function* () {
      const { bodies, layer } = openAi({ model: "gpt-4.1-mini" })
      const corrected = Models.withCatalog({ "openai:gpt-4.1-mini": { reasoning: true } })
      yield* Agent.make("agent", { reasoning: "low" }).run("x").pipe(Effect.provide(layer), Effect.provide(corrected))
      assert.strictEqual(bodies[0].reasoning.effort, "low")
    })
  )
})

describe("AiSdk", () => {
  it.live("asks Claude to think and to cache, and refuses what it has not", () =>
    Effect.gen(function* () {
      const server = yield* serve(claudeAnswer)
      const claude = (model: string) =>
        AiSdk.layer(createAnthropic({ apiKey: "k", baseURL: `${server.url}/v1` })(model))
      yield* ask({ reasoning: { tokens: 2000 }, cache: { ttl: "30 minutes" } }, claude("claude-sonnet-4-5"))
      assert.deepStrictEqual(server.bodies[0].thinking, { type: "enabled", budget_tokens: 2000 })
      assert.deepStrictEqual(server.bodies[0].cache_control, { type: "ephemeral", ttl: "1h" })
      assert.strictEqual(yield* lacks({ cache: { ttl: "3 hours" } }, claude("claude-sonnet-4-5")), "cache")
      assert.strictEqual(yield* lacks({ reasoning: "low" }, claude("claude-3-haiku-20240307")), "reasoning")
      assert.lengthOf(server.bodies, 1)
    })
  )

  it.live("asks Gemini to think and to show its thoughts, and caches as it does by itself", () =>
    Effect.gen(function* () {
      const server = yield* serve(geminiAnswer)
      const gemini = AiSdk.layer(createGoogle({ apiKey: "k", baseURL: server.url })("gemini-2.5-flash"))
      yield* ask({ reasoning: { tokens: 2000 }, cache: "auto" }, gemini)
      const { thinkingConfig } = server.bodies[0].generationConfig
      assert.deepStrictEqual(thinkingConfig, { thinkingBudget: 2000, includeThoughts: true })
      assert.strictEqual(yield* lacks({ cache: { ttl: "1 minute" } }, gemini), "cache")
      assert.lengthOf(server.bodies, 1)
    })
  )

  it.live("names the conversation for the cache of OpenAI, and keeps the files of thoughts for their provider", () =>
    Effect.gen(function* () {
      const asked: Array<any> = []
      const model = (provider: string) =>
        ({
          specificationVersion: "v4",
          provider,
          modelId: "fake",
          supportedUrls: {},
          doGenerate: async (options: object) => {
            asked.push(options)
            const image = { type: "data", data: "iVBORw0KGgo=" }
            const content = [
              {
                type: "reasoning-file",
                mediaType: "image/png",
                data: image,
                providerMetadata: { openai: { sig: "S" } }
              },
              { type: "text", text: "ok" }
            ]
            const usage = { inputTokens: { total: 1 }, outputTokens: { total: 1 } }
            return { content, finishReason: { unified: "stop", raw: "stop" }, usage, warnings: [] }
          }
        }) as unknown as LanguageModelV4
      const agent = Agent.make("agent", { cache: { ttl: "1 hour" } })
      const { transcript } = yield* agent.result("Draw").pipe(Effect.provide(AiSdk.layer(model("openai.responses"))))
      assert.match(asked[0].providerOptions.openai.promptCacheKey, /^run_/)
      assert.strictEqual(asked[0].providerOptions.openai.promptCacheRetention, "24h")
      const answer = transcript.content.at(-1)!
      assert.deepStrictEqual(Array.isArray(answer.content) ? answer.content.map(({ type }) => type) : [], [
        "file",
        "text"
      ])
      const next = [...transcript.content, { role: "user", content: "Again" }] as const
      yield* agent.run(next).pipe(Effect.provide(AiSdk.layer(model("openai.responses"))))
      const [thought] = asked[1].prompt[1].content
      assert.strictEqual(thought.type, "reasoning-file")
      assert.deepStrictEqual(thought.data, { type: "data", data: "iVBORw0KGgo=" })
      assert.deepStrictEqual(thought.providerOptions, { openai: { sig: "S" } })
      yield* Agent.make("agent", {})
        .run(next)
        .pipe(Effect.provide(AiSdk.layer(model("other.chat"))))
      assert.deepStrictEqual(
        asked[2].prompt[1].content.map(({ type }: { type: string }) => type),
        ["text"]
      )
    })
  )
})

describe("AiSdk by Bedrock", () => {
  it.live("marks how much of a conversation is to be kept, for a time that it takes", () =>
    Effect.gen(function* () {
      const asked: Array<any> = []
      const model = {
        specificationVersion: "v4",
        provider: "amazon-bedrock",
        modelId: "anthropic.claude-sonnet-4-5",
        supportedUrls: {},
        doGenerate: async (options: object) => {
          asked.push(options)
          const usage = { inputTokens: { total: 1, cacheRead: 1 }, outputTokens: { total: 1 } }
          return { content: [{ type: "text", text: "ok" }], finishReason: { unified: "stop", raw: "stop" }, usage }
        }
      } as unknown as LanguageModelV4
      const agent = Agent.make("agent", { instructions: "Be brief.", cache: { ttl: "30 minutes" } })
      yield* agent.run("Hello").pipe(Effect.provide(AiSdk.layer(model)))
      const bedrock = { cachePoint: { type: "default", ttl: "1h" } }
      assert.deepStrictEqual(
        asked[0].prompt.map(({ providerOptions }: { providerOptions: unknown }) => providerOptions),
        [{ bedrock }, { bedrock }]
      )
      assert.strictEqual(yield* lacks({ cache: { ttl: "2 hours" } }, AiSdk.layer(model)), "cache")
    })
  )
})

describe("Fallback", () => {
  it.live("passes over a model that lacks what an agent asks for", () =>
    Effect.gen(function* () {
      const { bodies, layer } = openAi({ model: "gpt-4.1-mini" })
      const both = Fallback.layer([layer, TestModel.layer(["thought about it"])])
      assert.strictEqual(yield* ask({ reasoning: "high" }, both), "thought about it")
      assert.deepStrictEqual(bodies, [])
      assert.strictEqual(yield* lacks({ reasoning: "high" }, Fallback.layer([layer])), "reasoning")
    })
  )
})
