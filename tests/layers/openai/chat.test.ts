/** How the answers of Chat Completions are read, part by part. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, Stream } from "effect"
import { type AiError, LanguageModel } from "effect/ai"
import { OpenAi } from "troupe"
import { brief, briefly, type Part, provider, request } from "../../support/openAiRequest.ts"
import * as Server from "../../support/openAiServer.ts"
import { chunk } from "../../support/openAiServer.ts"

const streamed = (...events: ReadonlyArray<unknown>) =>
  Effect.scoped(
    Effect.flatMap(provider("chat", { events }), (self): Effect.Effect<ReadonlyArray<Part>, AiError.AiError> =>
      Stream.runCollect(self.streamText(request))
    )
  )
const whole = (message: object, more: object = {}) =>
  Effect.scoped(
    Effect.flatMap(
      provider("chat", { body: { id: "c", choices: [{ index: 0, finish_reason: "stop", message, ...more }] } }),
      (self): Effect.Effect<ReadonlyArray<Part>, AiError.AiError> => self.generateText(request)
    )
  )

const usage = (parts: ReadonlyArray<Part>) => {
  const last = parts.at(-1)
  return last?.type === "finish" ? [last.usage.inputTokens.total, last.usage.outputTokens.total] : assert.fail()
}
const calling = (index: number, fields: object, name: string | undefined, args: unknown) =>
  chunk({ tool_calls: [{ index, ...fields, type: "function", function: { name, arguments: args } }] })

describe("Chat Completions", () => {
  it.live("streams reasoning, text and calls as blocks of their own", () =>
    Effect.gen(function* () {
      const parts = yield* streamed(
        chunk({ role: "assistant", content: "" }),
        chunk({ reasoning_content: "let " }),
        chunk({ reasoning_content: "me" }),
        chunk({ content: "Hel" }),
        chunk({ content: "lo" }),
        chunk({ reasoning_content: "more" }),
        calling(0, { id: "x" }, "add", ""),
        calling(0, {}, undefined, '{"a":'),
        calling(0, {}, undefined, "1}"),
        chunk({}, "tool_calls"),
        { id: "c", choices: [], usage: { prompt_tokens: 3, completion_tokens: 4 } }
      )
      assert.deepStrictEqual(briefly(parts), [
        "response-metadata chat_1",
        "reasoning-start 1",
        "reasoning-delta 1 let ",
        "reasoning-delta 1 me",
        "reasoning-end 1",
        "text-start 2",
        "text-delta 2 Hel",
        "text-delta 2 lo",
        "text-end 2",
        "reasoning-start 3",
        "reasoning-delta 3 more",
        "tool-params-start x",
        'tool-params-delta x {"a":',
        "tool-params-delta x 1}",
        "reasoning-end 3",
        "tool-params-end x",
        'tool-call x add {"a":1}',
        "finish tool-calls"
      ])
      assert.deepStrictEqual(usage(parts), [3, 4])
    })
  )

  it.live("gives broken arguments as the text they are, and none as an empty object", () =>
    Effect.gen(function* () {
      const args = ['{"a":', '{"__proto__":{"a":1}}', '{"constructor":{"prototype":{}}}', "", undefined, null, { a: 2 }]
      const params = ['{"a":', '{"__proto__":{"a":1}}', '{"constructor":{"prototype":{}}}', {}, {}, {}, { a: 2 }]
      const ids = args.map((_, n) => `c${n}`)
      const asked = yield* whole({
        content: null,
        tool_calls: args.map((one, n) => ({ id: ids[n], type: "function", function: { name: "add", arguments: one } }))
      })
      const streaming = yield* streamed(
        ...args.map((one, n) => calling(n, { id: ids[n] }, "add", one)),
        chunk({}, "stop")
      )
      for (const parts of [asked, streaming]) {
        assert.deepStrictEqual(
          parts.flatMap((part) => (part.type === "tool-call" ? [part.params] : [])),
          params
        )
        assert.strictEqual(brief(parts.at(-1)!), "finish tool-calls")
      }
    })
  )

  it.live("gives calls without an id a new one each", () =>
    Effect.gen(function* () {
      const asked = yield* whole({
        tool_calls: [1, 2, 3].map((a) => ({ function: { name: "add", arguments: `{"a":${a}}` } }))
      })
      const streaming = yield* streamed(
        calling(0, {}, "add", '{"a":1}'),
        calling(1, { id: null }, "add", '{"a":2}'),
        calling(2, { id: "" }, "add", '{"a":3}'),
        chunk({}, "tool_calls")
      )
      for (const parts of [asked, streaming]) {
        const ids = parts.flatMap((part) => (part.type === "tool-call" ? [part.id] : []))
        assert.strictEqual(new Set(ids).size, 3)
        for (const id of ids) assert.match(id, /^call_\w{11,}$/)
      }
    })
  )

  it.live("distinguishes calls to which a server gives one id", () =>
    Effect.gen(function* () {
      const asked = yield* whole({
        tool_calls: [1, 2].map((a) => ({ id: "add", function: { name: "add", arguments: `{"a":${a}}` } }))
      })
      const streaming = yield* streamed(
        calling(0, { id: "add" }, "add", '{"a":1}'),
        calling(1, { id: "add" }, "add", '{"a":'),
        calling(1, { id: "add" }, undefined, "2}"),
        chunk({}, "tool_calls")
      )
      for (const parts of [asked, streaming]) {
        const calls = parts.filter((part) => part.type === "tool-call")
        assert.deepStrictEqual(
          calls.map((call) => call.params),
          [{ a: 1 }, { a: 2 }]
        )
        assert.strictEqual(calls[0]!.id, "add")
        assert.notStrictEqual(calls[1]!.id, "add")
      }
    })
  )

  it.live("does not count what cannot be counted", () =>
    Effect.gen(function* () {
      for (const count of [-1, null, "3"]) {
        const counted = { prompt_tokens: count, completion_tokens: count }
        const parts = yield* streamed({ ...(chunk({ content: "a" }, "stop") as object), usage: counted })
        assert.deepStrictEqual(usage(parts), [undefined, undefined])
      }
    })
  )

  it.live("finds the end of an answer in the chunk of its last words, with its usage, or one chunk later", () =>
    Effect.gen(function* () {
      const counted = { usage: { prompt_tokens: 1, completion_tokens: 2 } }
      const last = { choices: [{ index: 0, delta: { content: "b" }, finish_reason: "stop" }] }
      for (const events of [
        [chunk({ content: "a" }), { ...last, ...counted }],
        [chunk({ content: "a" }), last, { choices: [], ...counted }],
        [chunk({ content: "a" }), last, { choices: null, ...counted }],
        [{ ...(chunk({ content: "a" }) as object), usage: { prompt_tokens: 1, completion_tokens: 1 } }, last, counted],
        [chunk({ content: "a" }), last, chunk({}), { choices: [], ...counted }]
      ]) {
        const parts = yield* streamed(...events)
        assert.deepStrictEqual(
          [
            parts.map((part) => (part.type === "text-delta" ? part.delta : "")).join(""),
            brief(parts.at(-1)!),
            usage(parts)
          ],
          ["ab", "finish stop", [1, 2]]
        )
      }
    })
  )

  it.live("does without usage", () =>
    Effect.gen(function* () {
      for (const parts of [
        yield* streamed(chunk({ content: "a" }), chunk({}, "stop")),
        yield* streamed({ ...(chunk({ content: "a" }, "stop") as object), usage: null }),
        yield* whole({ content: "a" })
      ]) {
        assert.deepStrictEqual(usage(parts), [undefined, undefined])
      }
    })
  )

  it.live("keeps the usage of a chunk where a later one has an empty usage", () =>
    Effect.gen(function* () {
      const last = { choices: [{ index: 0, delta: { content: "a" }, finish_reason: "stop" }] }
      const counts = { prompt_tokens: 5, completion_tokens: 7 }
      assert.deepStrictEqual(usage(yield* streamed({ ...last, usage: counts }, { choices: [], usage: {} })), [5, 7])
    })
  )

  it.live("takes an empty finish reason for an end only where the server says that this was all", () =>
    Effect.gen(function* () {
      const parts = yield* streamed(chunk({ content: "a" }, ""), chunk({ content: "b" }, ""), chunk({}, "length"))
      assert.strictEqual(brief(parts.at(-1)!), "finish length")
      // These end with [DONE].
      const all = yield* streamed(chunk({ content: "a" }, ""), chunk({ content: "b" }, ""))
      assert.deepStrictEqual(briefly(all).slice(-2), ["text-end 1", "finish unknown"])
      const cut = yield* Effect.flip(streamed(chunk({ content: "a" }), chunk({ content: "b" })))
      if (cut._tag !== "AiError") return assert.fail(cut.message)
      assert.deepStrictEqual([cut.reason._tag, cut.isRetryable], ["NetworkError", true])
      assert.notInclude(cut.message, "Check that the server is up")
      const asked = yield* whole({ content: "a" }, { finish_reason: "" })
      assert.strictEqual(brief(asked.at(-1)!), "finish unknown")
    })
  )

  it.live("reads one choice of several, and nothing twice", () =>
    Effect.gen(function* () {
      const other = { choices: [{ index: 1, delta: { content: "other" }, finish_reason: "length" }] }
      const both = chunk({ reasoning: "hm", reasoning_content: "hm", reasoning_details: [{ text: "hm" }] })
      const parts = yield* streamed(
        chunk({ content: "" }),
        both,
        other,
        chunk({ content: "mine" }),
        other,
        chunk({}, "stop")
      )
      assert.deepStrictEqual(
        parts.flatMap((part) => (part.type.endsWith("-delta") ? [brief(part)] : [])),
        ["reasoning-delta 1 hm", "text-delta 2 mine"]
      )
      assert.strictEqual(brief(parts.at(-1)!), "finish stop")
    })
  )

  it.live("takes content in pieces, and nulls where there is nothing", () =>
    Effect.gen(function* () {
      const content = [
        { type: "thinking", thinking: [{ type: "text", text: "hidden" }] },
        { type: "text", text: "a" },
        { type: "text", text: "b" }
      ]
      const empty = { tool_calls: null, refusal: null, reasoning_content: null, audio: null, annotations: [] }
      const asked = yield* whole({ role: "assistant", content, ...empty })
      assert.deepStrictEqual(briefly(asked), ["response-metadata c", "reasoning hidden", "text ab", "finish stop"])
      const streaming = yield* streamed(chunk({ content, ...empty }), chunk({ content: null, tool_calls: [] }, "stop"))
      assert.deepStrictEqual(briefly(streaming).slice(1), [
        "reasoning-start 1",
        "reasoning-delta 1 hidden",
        "reasoning-end 1",
        "text-start 2",
        "text-delta 2 ab",
        "text-end 2",
        "finish stop"
      ])
    })
  )

  it.live("lets a request leave out what a server does not know", () =>
    Effect.gen(function* () {
      const server = yield* Server.make([Server.text("ok")])
      const model = OpenAi.layer({
        model: "m",
        baseUrl: server.url,
        apiKey: Redacted.make("k"),
        retry: "none",
        options: { body: { stream_options: null } }
      })
      yield* Effect.provide(Stream.runDrain(LanguageModel.streamText({ prompt: "go" })), model)
      assert.isNull(server.requests[0]!.body["stream_options"])
      assert.isTrue(server.requests[0]!.body["stream"])
    })
  )

  it.live("keeps thoughts apart by the tag that Google has for them, and that tag of others as text", () =>
    Effect.gen(function* () {
      const said = "<thought>hm</thought>\nHi"
      const message = { role: "assistant", content: said }
      const transport = () => Promise.resolve(Response.json({ choices: [{ message, finish_reason: "stop" }] }))
      for (const [host, thought, text] of [
        ["generativelanguage.googleapis.com", "hm", "Hi"],
        ["example.com", undefined, said]
      ] as const) {
        const model = OpenAi.layer({ model: "m", baseUrl: `https://${host}`, apiKey: Redacted.make("k"), transport })
        const answer = yield* LanguageModel.generateText({ prompt: "go" }).pipe(Effect.provide(model))
        assert.deepStrictEqual([answer.reasoningText, answer.text], [thought, text])
      }
    })
  )

  it.live("sets options around a stream as around an effect, the inner ones over the outer", () =>
    Effect.gen(function* () {
      const server = yield* Server.make([Server.text("ok")])
      const model = OpenAi.layer({ model: "m", baseUrl: server.url, apiKey: Redacted.make("k"), retry: "none" })
      yield* LanguageModel.streamText({ prompt: "go" }).pipe(
        OpenAi.withStreamOptions({ temperature: 0.2, chat: { top_logprobs: 2 } }),
        OpenAi.withStreamOptions({ temperature: 0.7, seed: 5, chat: { logprobs: true } }),
        Stream.runDrain,
        OpenAi.withOptions({ seed: 6, stop: ["x"] }),
        Effect.provide(model)
      )
      const { logprobs, seed, stop, temperature, top_logprobs } = server.requests[0]!.body
      assert.deepStrictEqual([temperature, seed, stop, logprobs, top_logprobs], [0.2, 5, ["x"], true, 2])
    })
  )
})
