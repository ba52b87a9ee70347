/** What models of the AI SDK answer, in the terms of the packages themselves: each speaks its own wire with a server of ours. */
import { createAnthropic } from "@ai-sdk/anthropic"
import { createGoogle } from "@ai-sdk/google"
import type { LanguageModelV4 } from "@ai-sdk/provider"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Logger, Schema, Stream } from "effect"
import { LanguageModel, Tool, Toolkit } from "effect/ai"
import { Agent, AgentTool, AiSdk, Fallback, type RunEvent, TestModel } from "troupe"
import { json, serve, sse } from "../../support/wire.ts"

const add = AgentTool.fromFunction("add", {
  description: "Adds",
  parameters: Schema.Struct({ a: Schema.Finite, b: Schema.Finite }),
  execute: ({ a, b }) => a + b
})
const adder = Agent.make("adder", { instructions: "Add.", tools: [add] })

const claude = (url: string) => createAnthropic({ apiKey: "k", baseURL: `${url}/v1` })("claude-sonnet-4-5")
const gemini = (url: string) => createGoogle({ apiKey: "k", baseURL: url })("gemini-3-pro-preview")

const message = (
  content: ReadonlyArray<object>,
  stop: string,
  usage: object = { input_tokens: 5, output_tokens: 7 }
) => ({
  id: "msg_1",
  type: "message",
  role: "assistant",
  model: "claude-sonnet-4-5-20250929",
  content,
  stop_reason: stop,
  usage
})
const toolUse = { type: "tool_use", id: "tu_1", name: "add", input: { a: 1, b: 2 } }

const anthropicStream = (blocks: ReadonlyArray<ReadonlyArray<object>>, stop: string) => [
  {
    type: "message_start",
    message: { ...message([], ""), stop_reason: null, usage: { input_tokens: 5, output_tokens: 0 } }
  },
  ...blocks.flatMap(([start, ...deltas], index) => [
    { type: "content_block_start", index, content_block: start },
    ...deltas.map((delta) => ({ type: "content_block_delta", index, delta })),
    { type: "content_block_stop", index }
  ]),
  { type: "message_delta", delta: { stop_reason: stop }, usage: { output_tokens: 7 } },
  { type: "message_stop" }
]

const deltas = (events: Iterable<RunEvent.RunEvent>, tag: "TextDelta" | "ReasoningDelta") =>
  [...events].flatMap((event) => (event._tag === tag ? [event.delta] : [])).join("")

/** A model that answers with what it is given. */
const fake = (content: ReadonlyArray<object>, more: object = {}) => {
  const asked: Array<any> = []
  const model = {
    specificationVersion: "v4",
    provider: "fake.chat",
    modelId: "fake-1",
    supportedUrls: {},
    doGenerate: async (options: object) => {
      asked.push(options)
      return {
        content,
        finishReason: { unified: "stop", raw: "stop" },
        usage: { inputTokens: { total: 1 }, outputTokens: { total: 1 } },
        warnings: [],
        ...more
      }
    },
    doStream: () => Promise.reject(new Error("not asked for"))
  } as unknown as LanguageModelV4
  return { asked, model }
}

describe("AiSdk", () => {
  it.live("gives thoughts back with their signatures to Anthropic, and counts tokens of the cache", () =>
    Effect.gen(function* () {
      const thinking = { type: "thinking", thinking: "One and two.", signature: "SIG" }
      const usage = { input_tokens: 5, output_tokens: 7, cache_read_input_tokens: 3, cache_creation_input_tokens: 2 }
      const server = yield* serve(
        json(message([thinking, toolUse], "tool_use", usage)),
        json(message([{ type: "text", text: "3" }], "end_turn"))
      )
      const result = yield* adder.result("1 + 2").pipe(Effect.provide(AiSdk.layer(claude(server.url))))
      assert.strictEqual(result.output, "3")
      const [, assistant, results] = server.bodies[1].messages
      assert.deepStrictEqual(assistant.content, [thinking, toolUse])
      assert.deepStrictEqual(results.content, [{ type: "tool_result", tool_use_id: "tu_1", content: "3" }])
      assert.strictEqual(result.usage.inputTokens.cacheRead, 3)
      assert.strictEqual(result.usage.inputTokens.cacheWrite, 2)
      assert.strictEqual(result.usage.inputTokens.total, 15)
    })
  )

  it.live("streams thoughts in events of their own, and gives their signatures back", () =>
    Effect.gen(function* () {
      const think = [
        { type: "thinking", thinking: "" },
        { type: "thinking_delta", thinking: "One " },
        { type: "thinking_delta", thinking: "and two." },
        { type: "signature_delta", signature: "SIG" }
      ]
      const call = [
        { ...toolUse, input: {} },
        { type: "input_json_delta", partial_json: '{"a":1,"b":2}' }
      ]
      const text = [
        { type: "text", text: "" },
        { type: "text_delta", text: "It is 3." }
      ]
      const server = yield* serve(
        sse(anthropicStream([think, call], "tool_use")),
        sse(anthropicStream([text], "end_turn"))
      )
      const events = yield* Stream.runCollect(adder.stream("1 + 2")).pipe(
        Effect.provide(AiSdk.layer(claude(server.url)))
      )
      assert.strictEqual(deltas(events, "ReasoningDelta"), "One and two.")
      assert.strictEqual(deltas(events, "TextDelta"), "It is 3.")
      const [, assistant] = server.bodies[1].messages
      assert.deepStrictEqual(assistant.content[0], { type: "thinking", thinking: "One and two.", signature: "SIG" })
    })
  )

  it.live("gives thought signatures back to Gemini", () =>
    Effect.gen(function* () {
      const call = { functionCall: { name: "add", args: { a: 1, b: 2 } }, thoughtSignature: "TS" }
      const answer = (parts: ReadonlyArray<object>) => ({
        candidates: [{ content: { role: "model", parts }, finishReason: "STOP" }],
        usageMetadata: { promptTokenCount: 4, candidatesTokenCount: 2, thoughtsTokenCount: 9, totalTokenCount: 15 }
      })
      const server = yield* serve(json(answer([call])), json(answer([{ text: "3" }])))
      const result = yield* adder.result("1 + 2").pipe(Effect.provide(AiSdk.layer(gemini(server.url))))
      assert.strictEqual(result.output, "3")
      assert.strictEqual(server.bodies[1].contents[1].parts[0].thoughtSignature, "TS")
      assert.strictEqual(result.usage.outputTokens.reasoning, 18)
    })
  )

  it.live("leaves thoughts and signatures of another provider out", () =>
    Effect.gen(function* () {
      const thinking = { type: "thinking", thinking: "Hm.", signature: "SIG" }
      const one = yield* serve(json(message([thinking, { type: "text", text: "Hello." }], "end_turn")))
      const talker = Agent.make("talker", {})
      const { transcript } = yield* talker.result("Hi").pipe(Effect.provide(AiSdk.layer(claude(one.url))))
      const two = yield* serve(json({ candidates: [{ content: { parts: [{ text: "Bye." }] }, finishReason: "STOP" }] }))
      yield* talker
        .run([...transcript.content, { role: "user", content: "Bye" }])
        .pipe(Effect.provide(AiSdk.layer(gemini(two.url))))
      assert.deepStrictEqual(two.bodies[0].contents, [
        { role: "user", parts: [{ text: "Hi" }] },
        { role: "model", parts: [{ text: "Hello." }] },
        { role: "user", parts: [{ text: "Bye" }] }
      ])
    })
  )

  it.live("offers the provider's own tools, and keeps their calls, results and sources", () =>
    Effect.gen(function* () {
      const use = { type: "server_tool_use", id: "srv_1", name: "web_search", input: { query: "effect" } }
      const found = {
        type: "web_search_tool_result",
        tool_use_id: "srv_1",
        content: [
          {
            type: "web_search_result",
            url: "https://effect.website",
            title: "Effect",
            encrypted_content: "E",
            page_age: null
          }
        ]
      }
      const server = yield* serve(
        json(message([use, found, { type: "text", text: "Found." }], "end_turn")),
        json(message([{ type: "text", text: "Yes." }], "end_turn"))
      )
      const Search = Tool.providerDefined({
        id: "anthropic.web_search_20250305",
        customName: "search",
        providerName: "web_search",
        args: Schema.Struct({ maxUses: Schema.Int })
      })({ maxUses: 2 })
      const finder = Agent.make("finder", { toolkit: Toolkit.make(Search) })
      const model = AiSdk.layer(claude(server.url))
      const { output, transcript } = yield* finder.result("Look").pipe(Effect.provide(model))
      assert.strictEqual(output, "Found.")
      assert.deepInclude(server.bodies[0].tools[0], { type: "web_search_20250305", name: "web_search", max_uses: 2 })
      yield* finder.run([...transcript.content, { role: "user", content: "Sure?" }]).pipe(Effect.provide(model))
      const kinds = server.bodies[1].messages[1].content.map((part: { type: string }) => part.type)
      assert.deepStrictEqual(kinds, ["server_tool_use", "web_search_tool_result", "text"])
    })
  )

  it.live("reads files and sources, and sends files and those of tools", () =>
    Effect.gen(function* () {
      const image = new Uint8Array([137, 80, 78, 71, 13, 10, 26, 10])
      const server = yield* serve(
        json({
          candidates: [
            {
              content: { parts: [{ text: "Here." }, { inlineData: { mimeType: "image/png", data: "iVBORw0KGgo=" } }] },
              finishReason: "STOP",
              groundingMetadata: { groundingChunks: [{ web: { uri: "https://effect.website", title: "Effect" } }] }
            }
          ]
        })
      )
      const { content } = yield* LanguageModel.generateText({
        prompt: [
          {
            role: "user",
            content: [
              { type: "file", mediaType: "image/png", data: image },
              { type: "file", mediaType: "text/csv", fileName: "a.csv", data: new TextEncoder().encode("a,b") },
              { type: "file", mediaType: "application/pdf", data: "JVBERi0=" }
            ]
          }
        ]
      }).pipe(Effect.provide(AiSdk.layer(gemini(server.url))))
      assert.deepStrictEqual(
        content.map(({ type }) => type).filter((type) => type === "file" || type === "source"),
        ["file", "source"]
      )
      const [{ parts }] = server.bodies[0].contents
      assert.deepStrictEqual(parts, [
        { inlineData: { mimeType: "image/png", data: "iVBORw0KGgo=" } },
        { text: "a.csv:\na,b" },
        { inlineData: { mimeType: "application/pdf", data: "JVBERi0=" } }
      ])
    })
  )

  it.live("refuses an address that the model does not read, before a request", () =>
    Effect.gen(function* () {
      const { asked, model } = fake([{ type: "text", text: "no" }])
      const error = yield* LanguageModel.generateText({
        prompt: [
          { role: "user", content: [{ type: "file", mediaType: "image/png", data: new URL("http://10.0.0.1/a.png") }] }
        ]
      }).pipe(Effect.provide(AiSdk.layer(model)), Effect.flip)
      assert.strictEqual(error.reason._tag, "InvalidUserInputError")
      assert.match(error.message, /image\/png.*10\.0\.0\.1.*bytes/)
      assert.deepStrictEqual(asked, [])
    })
  )

  it.live("sends options of the Layer, of a call, and those that every model has", () =>
    Effect.gen(function* () {
      const { asked, model } = fake([{ type: "text", text: "ok" }])
      const layer = AiSdk.layer(model, {
        temperature: 1,
        topK: 5,
        maxOutputTokens: 100,
        providerOptions: { fake: { a: 1, b: 1 } }
      })
      yield* LanguageModel.generateText({ prompt: "x" }).pipe(
        AiSdk.withOptions({ temperature: 0.5, maxOutputTokens: 50, providerOptions: { fake: { b: 2 } } }),
        Effect.provide(layer)
      )
      const { abortSignal: _signal, prompt: _prompt, ...sent } = asked[0]
      assert.deepStrictEqual(sent, {
        temperature: 0.5,
        topK: 5,
        maxOutputTokens: 50,
        providerOptions: { fake: { a: 1, b: 2 } }
      })
    })
  )

  it.live("takes ids and names that were made elsewhere", () =>
    Effect.gen(function* () {
      const server = yield* serve(json(message([{ type: "text", text: "ok" }], "end_turn")))
      yield* LanguageModel.generateText({
        prompt: [
          { role: "user", content: "x" },
          {
            role: "assistant",
            content: [{ type: "tool-call", id: "functions.add:0|fc", name: "a.b", params: "broken" }]
          },
          {
            role: "tool",
            content: [
              { type: "tool-result", id: "functions.add:0|fc", name: "a.b", isFailure: true, result: { error: "no" } }
            ]
          }
        ]
      }).pipe(Effect.provide(AiSdk.layer(claude(server.url))))
      const [
        ,
        {
          content: [call]
        },
        {
          content: [result]
        }
      ] = server.bodies[0].messages
      assert.match(call.id, /^[\w-]+$/)
      assert.strictEqual(call.name, "a_b")
      assert.deepStrictEqual(call.input, { invalid_json: "broken" })
      assert.strictEqual(result.tool_use_id, call.id)
      assert.isTrue(result.is_error)
    })
  )

  it.live("asks for typed output as the provider takes it, and reads the answer of a tool", () =>
    Effect.gen(function* () {
      const judge = Agent.make("judge", { output: Schema.Struct({ score: Schema.Int }) })
      const server = yield* serve(json(message([{ type: "text", text: '{"score":3}' }], "end_turn")))
      assert.deepStrictEqual(yield* Effect.provide(judge.run("x"), AiSdk.layer(claude(server.url))), { score: 3 })
      assert.strictEqual(server.bodies[0].output_config.format.type, "json_schema")
      const call = { type: "tool-call", toolCallId: "c1", toolName: "answer", input: '{"score":4}' }
      const byTool = fake([call], { finishReason: { unified: "tool-calls", raw: "tool_calls" } })
      const layer = AiSdk.layer(byTool.model, { structuredOutput: "tool" })
      assert.deepStrictEqual(yield* Effect.provide(judge.run("x"), layer), { score: 4 })
      assert.deepStrictEqual(byTool.asked[0].toolChoice, { type: "tool", toolName: "answer" })
    })
  )

  it("refuses models of another version of the interface, and what is not a model", () => {
    const { model } = fake([])
    assert.throws(
      () => AiSdk.layer({ ...model, specificationVersion: "v2" } as never),
      /version "v2".*@ai-sdk\/provider 4/s
    )
    assert.throws(() => AiSdk.layer("anthropic/claude-sonnet-4-5" as never), /not a model of the AI SDK/)
  })

  it.live("refuses reasoning that the package leaves out, before a request once it is known", () =>
    Effect.gen(function* () {
      const warnings = [{ type: "unsupported", feature: "reasoning", details: "not by this model" }]
      const { asked, model } = fake([{ type: "text", text: "Hi" }], { warnings })
      const ask = Agent.make("thinker", { reasoning: "high", retry: "none" }).run("x")
      const both = yield* Effect.provide(Effect.all([Effect.flip(ask), Effect.flip(ask)]), AiSdk.layer(model))
      for (const error of both) assert.match(error.message, /does not ask the model fake-1 for reasoning "high"/)
      assert.lengthOf(asked, 1)
      const plain = Agent.make("plain", { reasoning: "none" }).run("x")
      assert.strictEqual(yield* Effect.provide(plain, AiSdk.layer(model)), "Hi")
      const other = Fallback.layer([AiSdk.layer(model), TestModel.layer(["I have thought."])])
      assert.strictEqual(yield* Effect.provide(ask, other), "I have thought.")
    })
  )

  it.live("says of a part of a kind that it does not know that it is left out", () =>
    Effect.gen(function* () {
      const said: Array<string> = []
      const logger = Logger.layer([Logger.make(({ message }) => void said.push(String(message)))])
      const { model } = fake([{ type: "hologram" }, { type: "text", text: "Hi" }])
      const asked = Agent.make("a", {}).run("x")
      assert.strictEqual(yield* Effect.provide(asked, [AiSdk.layer(model), logger]), "Hi")
      assert.deepStrictEqual(said, ['fake: unsupported the part "hologram" of an answer, which is left out'])
    })
  )

  it.live("fails the call, and not the program, for a file that is not base64", () =>
    Effect.gen(function* () {
      const { model } = fake([{ type: "file", mediaType: "image/png", data: { type: "data", data: "!!" } }])
      const error = yield* Effect.flip(Agent.make("a", { retry: "none" }).run("x")).pipe(
        Effect.provide(AiSdk.layer(model))
      )
      assert.match(error.message, /a file of it \(image\/png\) is not base64/)
    })
  )

  it.live("takes a usage with nothing in it for none, though the package counts zero", () =>
    Effect.gen(function* () {
      const usage = { inputTokens: { total: 0, noCache: 0 }, outputTokens: { total: 0 }, raw: {} }
      const { model } = fake([{ type: "text", text: "Hi" }], { usage })
      const result = yield* Agent.make("a", {})
        .result("x")
        .pipe(Effect.provide(AiSdk.layer(model)))
      assert.strictEqual(result.usage.inputTokens.total, undefined)
      assert.strictEqual(result.usage.outputTokens.total, undefined)
    })
  )

  it("refuses under runSync, and says what to do", () => {
    const { asked, model } = fake([{ type: "text", text: "ok" }])
    const error = Effect.runSync(
      Agent.make("a", {})
        .run("x")
        .pipe(Effect.provide(AiSdk.layer(model)), Effect.flip)
    )
    assert.strictEqual(error._tag, "ModelError")
    assert.match(error.message, /Effect\.runPromise/)
    assert.deepStrictEqual(asked, [])
  })
})
