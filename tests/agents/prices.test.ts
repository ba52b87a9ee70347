import { assert, describe, it } from "@effect/vitest"
import { calcPrice, findProvider } from "@pydantic/genai-prices"
import { Effect } from "effect"
import { Response } from "effect/ai"
import { Agent, AgentTool, Prices, TestModel } from "troupe"

const usage = (input: number, output: number, cacheRead?: number, cacheWrite?: number): Response.Usage =>
  new Response.Usage({
    inputTokens: { uncached: undefined, total: input, cacheRead, cacheWrite },
    outputTokens: { total: output, text: undefined, reasoning: undefined }
  })
const cost = (provider: string | undefined, model: string, used: Response.Usage) =>
  Prices.cost({ provider, model, usage: used })

describe("prices", () => {
  it.effect("are those of the package that they are made of", () =>
    Effect.gen(function* () {
      let compared = 0
      for (const provider of ["openai", "anthropic", "google", "mistral"]) {
        for (const { id, prices } of findProvider({ providerId: provider })!.models) {
          if (Array.isArray(prices) || prices["input_mtok"] === undefined || prices["output_mtok"] === undefined)
            continue
          for (const [input, output, read] of [
            [1000, 500, 0],
            [300_000, 10, 1000]
          ] as const) {
            const theirs = calcPrice({ input_tokens: input, output_tokens: output, cache_read_tokens: read }, id, {
              providerId: provider
            })
            // Of two models that match one name the package takes the first.
            if (theirs?.model.id !== id) continue
            const ours = yield* cost(provider, id, usage(input, output, read))
            assert.closeTo(ours ?? -1, theirs.total_price, 1e-9, `${provider}:${id}`)
            compared++
          }
        }
      }
      assert.isAbove(compared, 150)
    })
  )

  it.effect("know the names of providers and models as others have them", () =>
    Effect.gen(function* () {
      const used = usage(1_000_000, 1_000_000)
      assert.strictEqual(yield* cost("openai", "gpt-4.1-mini", used), 2)
      assert.strictEqual(yield* cost("openai.responses", "gpt-4.1-mini-2025-04-14", used), 2)
      assert.isDefined(yield* cost("anthropic.messages", "claude-sonnet-4-5-20250929", used))
      assert.isDefined(yield* cost("google.generative-ai", "models/gemini-2.5-flash", used))
      assert.strictEqual(yield* cost("ollama", "anything", used), 0)
      // Those that only the catalog of models has.
      assert.strictEqual(yield* cost("aws.bedrock", "eu.anthropic.claude-sonnet-4-6", used), 19.8)
      assert.strictEqual(yield* cost("anthropic", "claude-opus-5-5", used), 24)
      for (const [provider, model] of [
        ["openai", "gpt-of-ours"],
        ["ours", "gpt-4.1-mini"],
        [undefined, "gpt-4.1-mini"]
      ] as const) {
        assert.isUndefined(yield* cost(provider, model, used))
      }
      assert.match(Prices.date, /^\d{4}-\d{2}-\d{2}$/)
    })
  )

  it.effect("of a program go before those of the package, those further in before those around", () =>
    Effect.gen(function* () {
      const used = usage(1_000_000, 0)
      const inner = Prices.layer({ "openai:gpt-4.1-mini": { input: 7, output: 0 } })
      const outer = Prices.layer({ "openai:*": { input: 3, output: 0 }, mine: { input: 1, output: 0, cacheRead: 0.5 } })
      const all = Effect.all([
        cost("openai", "gpt-4.1-mini", used),
        cost("openai", "gpt-of-ours", used),
        cost("any", "mine", usage(1_000_000, 0, 500_000)),
        cost("mistral", "mistral-large-latest", usage(0, 0))
      ]).pipe(Effect.provide(inner), Effect.provide(outer))
      assert.deepStrictEqual(yield* all, [7, 3, 0.75, 0])
    })
  )

  it.effect("of @pydantic/genai-prices are loaded where they are asked for", () =>
    Effect.gen(function* () {
      const used = usage(1_000_000, 1_000_000)
      assert.isUndefined(yield* cost("together", "Qwen/Qwen2.5-7B-Instruct-Turbo", used))
      const loaded = Effect.provide(
        Effect.all([cost("openai", "gpt-4.1-mini", used), cost("ollama", "x", used)]),
        Prices.layerGenaiPrices
      )
      assert.deepStrictEqual(yield* loaded, [2, 0])
    })
  )

  const reply = (text: string) => ({
    text,
    usage: { inputTokens: { total: 1_000_000 }, outputTokens: { total: 500_000 } }
  })

  it.effect("make the cost of a result, nested runs included", () =>
    Effect.gen(function* () {
      const helper = Agent.make("helper", { description: "Helps" })
      const lead = Agent.make("lead", { tools: [AgentTool.fromRunner(helper)] })
      const script = [TestModel.toolCall("helper", { input: "Help." }), reply("Here you are."), reply("Done.")]
      const { cost } = yield* lead
        .result("Get help.")
        .pipe(Effect.provide([TestModel.layer(script), Prices.layer({ "troupe-test:*": { input: 0.5, output: 2 } })]))
      assert.closeTo(cost ?? -1, 3, 0.001)
    })
  )

  it.effect("leave the cost of a result out where one is not known", () =>
    Effect.gen(function* () {
      const { cost } = yield* Agent.make("clerk", {})
        .result("Hi")
        .pipe(Effect.provide(TestModel.layer([reply("Hello")])))
      assert.isUndefined(cost)
    })
  )
})
