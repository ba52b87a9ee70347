/** Answers as servers really give them: odd, broken, or not answers at all. On both edges. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import type { Response } from "effect/ai"
import { OpenAi } from "troupe"
import { data, done, partsOf } from "../../support/openAiParts.ts"
import type { Part } from "../../support/openAiRequest.ts"
import * as ChildServer from "../../support/childServer.ts"
import { exitOn } from "../../support/edges.ts"
import type { Reply } from "../../support/openAiServer.ts"

type Api = "chat" | "responses"
const delta = (delta: unknown, finish_reason: string | null = null) => ({
  id: "c1",
  model: "served",
  choices: [{ index: 0, delta, finish_reason }]
})
const call = (fields: Record<string, unknown>, fn: Record<string, unknown>) =>
  delta({ tool_calls: [{ ...fields, function: fn }] })

const text = (parts: ReadonlyArray<Part>, kind: "text" | "reasoning" = "text"): string =>
  parts
    .map((part) =>
      part.type === kind ? part.text : part.type === `${kind}-delta` ? (part as { delta: string }).delta : ""
    )
    .join("")
const calls = (parts: ReadonlyArray<Part>) =>
  parts.flatMap((part) => (part.type === "tool-call" ? [[part.id, part.name, part.params]] : []))

layer(ChildServer.layer, { excludeTestServices: true })("OpenAi reads", (it) => {
  for (const [edge, runOn] of Object.entries(exitOn)) {
    /** What the provider itself makes of a reply: the emitted parts, and how it ended. */
    const ask = (api: Api, form: "whole" | "stream", reply: Reply, more: Partial<OpenAi.Options> = {}) =>
      partsOf(runOn, form, reply, (baseUrl) =>
        OpenAi.layer({ model: "m", baseUrl, api, apiKey: Redacted.make("a-long-enough-key"), retry: "none", ...more })
      )
    const read = (api: Api, form: "whole" | "stream", reply: Reply) =>
      Effect.map(ask(api, form, reply), ({ error, parts }) => {
        assert.strictEqual(error, undefined)
        return parts
      })
    const fail = (api: Api, form: "whole" | "stream", reply: Reply) =>
      Effect.map(ask(api, form, reply), ({ error, parts }) => {
        assert.isDefined(error, `succeeded with ${JSON.stringify(parts)}`)
        const { reason } = error!
        const description = "description" in reason ? String(reason.description) : ""
        return { tag: reason._tag, retryable: error!.isRetryable, description, error: error!, parts }
      })

    describe(`${edge}:`, () => {
      it.effect("calls that all have the same index, by their ids", () =>
        Effect.gen(function* () {
          const raw =
            data(
              call({ index: 0, id: "a" }, { name: "p", arguments: '{"n":' }),
              call({ index: 0 }, { arguments: "1}" }),
              call({ index: 0, id: "b" }, { name: "p", arguments: '{"n":2}' }),
              delta({}, "tool_calls")
            ) + done
          assert.deepStrictEqual(calls(yield* read("chat", "stream", { raw })), [
            ["a", "p", { n: 1 }],
            ["b", "p", { n: 2 }]
          ])
        })
      )

      it.effect("calls without index and without id, each whole", () =>
        Effect.gen(function* () {
          const raw =
            data(
              call({}, { name: "p", arguments: '{"n":1}' }),
              call({}, { name: "p", arguments: { n: 2 } as never }),
              delta({}, "stop")
            ) + done
          const parts = yield* read("chat", "stream", { raw })
          assert.deepStrictEqual(
            calls(parts).map(([, name, params]) => [name, params]),
            [
              ["p", { n: 1 }],
              ["p", { n: 2 }]
            ]
          )
          assert.strictEqual(new Set(calls(parts).map(([id]) => id)).size, 2)
          assert.strictEqual((parts.at(-1) as { readonly reason?: string }).reason, "tool-calls")
        })
      )

      it.effect("an id, and a name, that come after the arguments have begun", () =>
        Effect.gen(function* () {
          const raw =
            data(
              call({ index: 0 }, { arguments: '{"n"' }),
              call({ index: 0, id: "late" }, { name: "p", arguments: ":1}" }),
              delta({}, "tool_calls")
            ) + done
          const parts = yield* read("chat", "stream", { raw })
          assert.deepStrictEqual(
            calls(parts).map(([, name, params]) => [name, params]),
            [["p", { n: 1 }]]
          )
          const deltas = parts.flatMap((part) => (part.type === "tool-params-delta" ? [part.delta] : [])).join("")
          assert.strictEqual(deltas, '{"n":1}')
          assert.strictEqual(
            new Set(parts.flatMap((part) => (part.type.startsWith("tool") ? [(part as { id: string }).id] : []))).size,
            1
          )
        })
      )

      it.effect("interleaved fragments by index, and a name that is repeated with each", () =>
        Effect.gen(function* () {
          const raw =
            data(
              call({ index: 0, id: "a" }, { name: "p", arguments: "" }),
              call({ index: 1, id: "b" }, { name: "q", arguments: "" }),
              call({ index: 1, id: "b" }, { name: "q", arguments: '{"b"' }),
              call({ index: 0, id: "a" }, { name: "p", arguments: '{"a"' }),
              call({ index: 0 }, { arguments: ":1}" }),
              call({ index: 1 }, { arguments: ":2}" }),
              delta({}, "tool_calls")
            ) + done
          assert.deepStrictEqual(calls(yield* read("chat", "stream", { raw })), [
            ["a", "p", { a: 1 }],
            ["b", "q", { b: 2 }]
          ])
        })
      )

      it.effect("reasoning by either name, apart from the text", () =>
        Effect.gen(function* () {
          for (const name of ["reasoning", "reasoning_content"]) {
            const raw = data(delta({ [name]: "hm" }), delta({ content: "yes" }), delta({}, "stop")) + done
            const streamed = yield* read("chat", "stream", { raw })
            assert.deepStrictEqual([text(streamed, "reasoning"), text(streamed)], ["hm", "yes"])
            const message = { role: "assistant", content: "yes", [name]: "hm" }
            const whole = yield* read("chat", "whole", {
              raw: JSON.stringify({ choices: [{ message, finish_reason: "stop" }] })
            })
            assert.deepStrictEqual([text(whole, "reasoning"), text(whole)], ["hm", "yes"])
          }
        })
      )

      it.effect("events with comments, CRLF, a byte order mark, several data lines and unknown fields", () =>
        Effect.gen(function* () {
          const raw =
            `\uFEFF: ping\r\n\r\nevent: message\r\nid: 7\r\ndata: {"choices":[{"index":0,\r\ndata: "delta":{"content":"a"}}],\r\n` +
            `data: "new_field":{}}\r\n\r\n` +
            data({ choices: [], prompt_filter_results: [] }, { usage: { prompt_tokens: 3 } }, delta(null, "stop")) +
            done
          for (const split of [1, 7, undefined]) {
            const parts = yield* read("chat", "stream", { raw, split })
            assert.strictEqual(text(parts), "a")
            assert.strictEqual((parts.at(-1) as Response.FinishPartEncoded).usage.inputTokens.total, 3)
          }
        })
      )

      it.effect("finish reasons that it knows, and those that it does not", () =>
        Effect.gen(function* () {
          for (const [said, meant] of [
            ["stop", "stop"],
            ["length", "length"],
            ["content_filter", "content-filter"],
            ["error", "error"],
            ["something_new", "other"]
          ] as const) {
            const parts = yield* read("chat", "stream", { raw: data(delta({ content: "a" }), delta({}, said)) + done })
            assert.strictEqual((parts.at(-1) as Response.FinishPartEncoded).reason, meant)
          }
          const raw = JSON.stringify({ choices: [{ message: { content: "a" } }] })
          assert.strictEqual(
            ((yield* read("chat", "whole", { raw })).at(-1) as Response.FinishPartEncoded).reason,
            "unknown"
          )
        })
      )

      it.effect("what a message cites, and what the provider has drawn", () =>
        Effect.gen(function* () {
          const output = [
            { type: "web_search_call", id: "ws", status: "completed" },
            {
              type: "message",
              id: "m",
              content: [
                {
                  type: "output_text",
                  text: "so",
                  annotations: [{ type: "url_citation", url: "https://example.com/a", title: "A" }, { type: "other" }]
                }
              ]
            },
            { type: "image_generation_call", id: "ig", result: "AQID" }
          ]
          const response = { id: "r", status: "completed", output }
          const events = output.map((item) => ({ type: "response.output_item.done", item }))
          for (const parts of [
            yield* read("responses", "whole", { raw: JSON.stringify(response) }),
            yield* read("responses", "stream", { raw: data(...events, { type: "response.completed", response }) })
          ]) {
            const extras = parts.flatMap((part) =>
              part.type === "source" ? [(part as { url: string }).url] : part.type === "file" ? [part.data] : []
            )
            assert.deepStrictEqual(extras, ["https://example.com/a", "AQID"])
          }
        })
      )

      it.effect("an answer to its end, though the server leaves the connection open", () =>
        Effect.gen(function* () {
          const chat = data(delta({ content: "a" }), delta({}, "stop")) + done
          assert.strictEqual(text(yield* read("chat", "stream", { raw: chat, keepOpen: true })), "a")
          const responses = data(
            { type: "response.output_text.delta", item_id: "i", content_index: 0, delta: "a" },
            { type: "response.completed", response: { id: "r", status: "completed", output: [] } }
          )
          assert.strictEqual(text(yield* read("responses", "stream", { raw: responses, keepOpen: true })), "a")
        })
      )

      it.effect("errors inside of answers, by what they say", () =>
        Effect.gen(function* () {
          const rate = { message: "slow down", code: "rate_limit_exceeded", type: "requests" }
          const long = { message: "This model's maximum context length is 10 tokens", type: "invalid_request_error" }
          const cases: ReadonlyArray<readonly [unknown, string, boolean]> = [
            [rate, "RateLimitError", true],
            [long, "InvalidRequestError", false],
            [{ message: "no", code: "insufficient_quota" }, "QuotaExhaustedError", false],
            [{ message: "no", code: 401 }, "AuthenticationError", false],
            [{ message: "oops", type: "server_error" }, "InternalProviderError", true],
            ["just words", "InternalProviderError", true]
          ]
          for (const [error, tag, retryable] of cases) {
            const replies: ReadonlyArray<readonly [Api, "whole" | "stream", string]> = [
              ["chat", "whole", JSON.stringify({ error })],
              ["responses", "whole", JSON.stringify({ error })],
              ["chat", "stream", data(delta({ content: "a" }), { error })],
              ["chat", "stream", `event: error\ndata: ${JSON.stringify({ error })}\n\n`],
              ["chat", "stream", `event: error\ndata: ${JSON.stringify(error)}\n\n`],
              ["chat", "stream", data({ choices: [{ index: 0, error, delta: {} }] })],
              ["responses", "stream", `event: error\ndata: ${JSON.stringify(error)}\n\n`],
              ["responses", "stream", data({ type: "response.failed", response: { status: "failed", error } })]
            ]
            for (const [api, form, raw] of replies) {
              const failed = yield* fail(api, form, { raw })
              assert.deepStrictEqual([raw, failed.tag, failed.retryable], [raw, tag, retryable])
              assert.strictEqual(OpenAi.isContextLengthExceeded(failed.error), error === long)
            }
          }
          const flat = data({ type: "error", code: "rate_limit_exceeded", message: "slow" })
          assert.strictEqual((yield* fail("responses", "stream", { raw: flat })).tag, "RateLimitError")
          const whole = yield* fail("chat", "whole", { raw: '{"object":"error","message":"no","code":400}' })
          assert.strictEqual(whole.tag, "InvalidRequestError")
        })
      )

      it.effect("error bodies of every house style", () =>
        Effect.gen(function* () {
          for (const body of [
            { error: { message: "the words" } },
            { error: "the words" },
            { message: "the words", object: "error", code: 400 },
            { detail: "the words" },
            "the words"
          ]) {
            const { description, tag } = yield* fail("chat", "whole", { status: 422, body })
            assert.deepStrictEqual([tag, description], ["InvalidRequestError", "HTTP 422: the words"])
          }
          const { description } = yield* fail("chat", "stream", { status: 418, body: "" })
          assert.include(description, "418")
        })
      )

      it.effect("a context overflow in the words of several servers, and no other refusal as one", () =>
        Effect.gen(function* () {
          for (const [status, message] of [
            [400, "This model's maximum context length is 8192 tokens. However, you requested 9000"],
            [400, "the request exceeds the available context size. try increasing the context size"],
            [413, "prompt is too long: 210000 tokens > 200000 maximum"],
            [500, "input exceeds the context window of this model"]
          ] as const) {
            const { description, error } = yield* fail("chat", "whole", { status, body: { error: { message } } })
            assert.isTrue(OpenAi.isContextLengthExceeded(error), message)
            assert.isTrue(description.startsWith("context length exceeded"), description)
          }
          for (const [status, message] of [
            [400, "temperature must be below 2"],
            [500, "deadline exceeded: context canceled"],
            [429, "too many tokens per minute"]
          ] as const) {
            const { error } = yield* fail("chat", "whole", { status, body: { error: { message } } })
            assert.isFalse(OpenAi.isContextLengthExceeded(error), message)
          }
        })
      )

      it.effect("a page in place of an answer as one, and not as a lost connection", () =>
        Effect.gen(function* () {
          for (const api of ["chat", "responses"] as const) {
            for (const form of ["whole", "stream"] as const) {
              const headers = { "content-type": "text/html; charset=utf-8" }
              const failed = yield* fail(api, form, { raw: "<html>Sign in</html>", headers })
              assert.deepStrictEqual([failed.tag, failed.retryable], ["InvalidResponseError", false])
              assert.include(failed.description, "text/html")
              assert.include(failed.description, "Sign in")
            }
            const json = { "content-type": "application/json" }
            const inner = yield* fail(api, "stream", { raw: '{"error":{"message":"x","code":503}}', headers: json })
            assert.deepStrictEqual([inner.tag, inner.retryable], ["InternalProviderError", true])
          }
        })
      )

      it.effect("what came before a malformed event, and then fails", () =>
        Effect.gen(function* () {
          const good = data(delta({ content: "kept" }))
          for (const bad of [
            "data: {oops\n\n",
            "data: 3\n\n",
            data({ choices: [3] }),
            data({ choices: "text" }),
            data({ delta: { content: "misplaced" } }),
            data(delta("text"))
          ]) {
            const { parts, retryable, tag } = yield* fail("chat", "stream", { raw: good + bad + done })
            assert.deepStrictEqual([bad, text(parts), tag, retryable], [bad, "kept", "InvalidResponseError", false])
          }
        })
      )

      it.effect("a stream cut off anywhere as a lost connection", () =>
        Effect.gen(function* () {
          for (const api of ["chat", "responses"] as const) {
            for (const reply of [
              { raw: "" },
              { raw: done },
              { text: "a long enough answer", resetAfter: 120 },
              { text: "a long enough answer", resetAfter: 400 },
              { text: "never finished", noFinish: true }
            ]) {
              const { retryable, tag } = yield* fail(api, "stream", reply)
              assert.deepStrictEqual([reply, tag, retryable], [reply, "NetworkError", true])
            }
          }
        })
      )
    })
  }
})
