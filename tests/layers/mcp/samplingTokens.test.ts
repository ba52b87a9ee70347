/** How long an answer of the model may be that a server asks for. */
import { describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { LanguageModel } from "effect/ai"
import { Agent, Mcp, ModelInfo, OpenAi, TestModel } from "troupe"
import { expect } from "vitest"
import { inProcess, text } from "../../support/mcpInProcess.ts"
import { type Reply, serve } from "../../support/openAiServer.ts"

const request = (maxTokens: number): Mcp.SamplingRequest => ({
  messages: [{ role: "user", content: { type: "text", text: "hi" } }],
  maxTokens
})

/** What a model of OpenAI is sent for a server's request, and what the server gets. */
const sampled = (maxTokens: number, replies: ReadonlyArray<Reply>, options: Partial<OpenAi.Options> = {}) =>
  Effect.gen(function* () {
    const { seen, url } = yield* Effect.acquireRelease(
      Effect.promise(() => serve(replies)),
      (server) => Effect.sync(() => server.close())
    )
    const model = { model: "m", baseUrl: url, apiKey: Redacted.make("k"), retry: "none", ...options } as const
    const result = yield* Mcp.sampleWithModel(request(maxTokens)).pipe(Effect.provide(OpenAi.layer(model)))
    return { bodies: seen.map(({ body }) => body), result }
  }).pipe(Effect.scoped)

const limits = ({ max_completion_tokens, max_output_tokens, max_tokens }: Record<string, unknown>) => ({
  ...(max_tokens === undefined ? {} : { max_tokens }),
  ...(max_completion_tokens === undefined ? {} : { max_completion_tokens }),
  ...(max_output_tokens === undefined ? {} : { max_output_tokens })
})

describe("the limit that the model is sent", () => {
  it.live.each<[what: string, maxTokens: number, options: Partial<OpenAi.Options>, sent: object]>([
    ["is the server's", 50, { api: "chat" }, { max_tokens: 50 }],
    ["is the server's, with Responses", 50, { api: "responses" }, { max_output_tokens: 50 }],
    [
      "is the model's own where that is smaller",
      50,
      { api: "chat", options: { maxOutputTokens: 20 } },
      { max_tokens: 20 }
    ],
    [
      "is the server's where that is smaller",
      10,
      { api: "chat", options: { maxOutputTokens: 20 } },
      { max_tokens: 10 }
    ],
    [
      "has the name that the program gives it",
      10,
      { api: "chat", options: { chat: { max_completion_tokens: 20 } } },
      { max_completion_tokens: 10 }
    ],
    ["has it in the body", 10, { api: "chat", options: { body: { max_tokens: 5 } } }, { max_tokens: 5 }],
    ["is at least what Responses takes", 3, { api: "responses" }, { max_output_tokens: 16 }]
  ])("%s", ([, maxTokens, options, sent]) =>
    Effect.gen(function* () {
      const { bodies } = yield* sampled(maxTokens, [{ text: "ok" }], options)
      expect(bodies.map(limits)).toEqual([sent])
    })
  )

  it.live("is left out of a second request where the model refuses it", () =>
    Effect.gen(function* () {
      const error = { message: "max_tokens is too large: 90000. This model supports at most 4096", param: "max_tokens" }
      const { bodies, result } = yield* sampled(90_000, [{ status: 400, body: { error } }, { text: "ok" }], {
        api: "chat"
      })
      expect(bodies.map(limits)).toEqual([{ max_tokens: 90_000 }, {}])
      expect(result).toMatchObject({ content: { text: "ok" }, stopReason: "endTurn" })
    })
  )

  it.live("is absent unless a program sets it", () =>
    Effect.gen(function* () {
      const { seen, url } = yield* Effect.acquireRelease(
        Effect.promise(() => serve([{ text: "ok" }])),
        (server) => Effect.sync(() => server.close())
      )
      const ask = LanguageModel.generateText({ prompt: "hi" })
      const Model = OpenAi.layer({ model: "m", baseUrl: url, apiKey: Redacted.make("k") })
      yield* Effect.provide(ask, Model)
      yield* ask.pipe(Effect.provideService(ModelInfo.MaxOutputTokens, 7), Effect.provide(Model))
      expect(seen.map(({ body }) => limits(body))).toEqual([{}, { max_tokens: 7 }])
    })
  )
})

describe("the answer that the server gets", () => {
  const ofModel = (answer: string, output: object) =>
    TestModel.layer([{ text: answer, usage: { outputTokens: { total: undefined, ...output } } }])

  it.effect.each<[what: string, output: object, sent: string, stopReason: string]>([
    ["is whole within the limit", { total: 5 }, "0123456789", "endTurn"],
    ["is cut to its share where the model reads no limit", { total: 10 }, "01234", "maxTokens"],
    ["is not charged with reasoning", { total: 500, reasoning: 495 }, "0123456789", "endTurn"],
    ["is whole where its tokens are not known", {}, "0123456789", "endTurn"]
  ])("%s", ([, output, sent, stopReason]) =>
    Effect.gen(function* () {
      const result = yield* Mcp.sampleWithModel(request(5)).pipe(Effect.provide(ofModel("0123456789", output)))
      expect(result).toMatchObject({ content: { text: sent }, stopReason })
    })
  )

  it.effect("does not end in half a character", () =>
    Effect.gen(function* () {
      const result = yield* Mcp.sampleWithModel(request(3)).pipe(Effect.provide(ofModel("😀😀😀", { total: 6 })))
      expect(result.content).toMatchObject({ text: "😀" })
    })
  )

  it.effect.each([0, -1, Number.NaN])("is refused for a limit of %s", (maxTokens) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Mcp.sampleWithModel(request(maxTokens)))
      expect(error).toBe(`maxTokens is ${maxTokens}; ask for 1 or more`)
    }).pipe(Effect.provide(TestModel.layer(["ok"], { unused: "ignore" })))
  )

  it.live("is no longer than what samplingLimits leaves", () =>
    Effect.gen(function* () {
      const server = inProcess(["ask"], async (_params, _extra, server) => {
        const { content } = await server.createMessage({ ...request(1000), messages: request(1).messages })
        return text(String((content as { readonly text?: string }).text))
      })
      const Servers = Mcp.layer({
        servers: { s: { server } },
        sampling: Mcp.sampleWithModel,
        samplingLimits: { maxTokens: 4 }
      }).pipe(Layer.provide(ofModel("0123456789", { total: 10 })))
      const Model = TestModel.layer((call) =>
        call.index === 0 ? TestModel.toolCall("ask", {}) : JSON.stringify(call.prompt.content.at(-1))
      )
      const answer = yield* Agent.make("a", { tools: [Mcp.tools()] })
        .run("x")
        .pipe(Effect.provide([Servers, Model]))
      expect(answer).toContain('"0123"')
    })
  )
})
