import { assert, it } from "@effect/vitest"
import type { LanguageModelV4 } from "@ai-sdk/provider"
import { Effect, Exit } from "effect"
import { Agent, AiSdk } from "troupe"
import { attempt, MemoryJournal } from "../../support/journal.ts"

it.effect("an answer whose id is not a text is kept in a journal", () =>
  Effect.gen(function* () {
    const model = {
      specificationVersion: "v4",
      provider: "fake.chat",
      modelId: "fake-1",
      supportedUrls: {},
      doGenerate: async () => ({
        content: [{ type: "text", text: "said" }],
        finishReason: { unified: "stop", raw: "stop" },
        usage: { inputTokens: { total: 1 }, outputTokens: { total: 1 } },
        warnings: [],
        response: { id: 7, modelId: null }
      })
    } as unknown as LanguageModelV4
    const run = Agent.make("agent", {})
      .run("Hello")
      .pipe(Effect.provide(AiSdk.layer(model)))
    const journal = new MemoryJournal()
    assert.deepStrictEqual(yield* attempt(run, journal), Exit.succeed("said"))
    assert.deepStrictEqual(
      journal.ended.map(({ kind }) => kind),
      ["model"]
    )
  })
)
