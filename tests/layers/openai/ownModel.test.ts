/** A model that knows nothing of Troupe: made by effect/ai alone, as any provider for it is. */
import { assert, it } from "@effect/vitest"
import { Effect, Layer, Schema, Stream } from "effect"
import { LanguageModel, type Response } from "effect/ai"
import { Agent, AgentTool, type RunEvent } from "troupe"

const finish = (reason: Response.FinishReason): Response.FinishPartEncoded => ({
  type: "finish",
  reason,
  usage: { inputTokens: { total: 3 }, outputTokens: { total: 2 } }
})

/** Calls `double` for a number, and says the result. */
const answer = ({ prompt, tools }: LanguageModel.ProviderOptions): ReadonlyArray<Response.PartEncoded> => {
  const last = prompt.content.at(-1)
  const result = last?.role === "tool" ? last.content.find((part) => part.type === "tool-result") : undefined
  if (result !== undefined) return [{ type: "text", text: `It is ${String(result.result)}.` }, finish("stop")]
  const call = { type: "tool-call", id: "c1", name: tools[0]!.name, params: { n: 21 } } as const
  return [call, finish("tool-calls")]
}

const Own = Layer.effect(
  LanguageModel.LanguageModel,
  LanguageModel.make({
    generateText: (request) => Effect.succeed([...answer(request)]),
    streamText: (request) =>
      Stream.fromIterable(
        answer(request).flatMap((part): ReadonlyArray<Response.StreamPartEncoded> =>
          part.type === "text"
            ? [
                { type: "text-start", id: "t" },
                { type: "text-delta", id: "t", delta: part.text },
                { type: "text-end", id: "t" }
              ]
            : part.type === "tool-call" || part.type === "finish"
              ? [part]
              : []
        )
      )
  })
)

const double = AgentTool.fromFunction("double", {
  description: "Doubles a number",
  parameters: Schema.Struct({ n: Schema.Finite }),
  execute: ({ n }) => 2 * n
})
const agent = Agent.make("agent", { tools: [double] })

it.effect("an agent runs on a model that is made by effect/ai alone, whole and streamed", () =>
  Effect.gen(function* () {
    const { output, usage } = yield* agent.result("Double 21.")
    assert.strictEqual(output, "It is 42.")
    assert.strictEqual(usage.inputTokens.total, 6)
    const events: ReadonlyArray<RunEvent.RunEvent> = yield* Stream.runCollect(agent.stream("Double 21."))
    assert.strictEqual(events.flatMap((one) => (one._tag === "TextDelta" ? [one.delta] : [])).join(""), "It is 42.")
  }).pipe(Effect.provide(Own))
)
