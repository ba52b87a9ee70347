/** What particular servers do otherwise than OpenAI, and what OpenAI's API has come to say. On both edges. */
import { assert, describe, layer } from "@effect/vitest"
import { Cause, Effect, Exit, Redacted, Schema, Stream } from "effect"
import { Prompt, type Response } from "effect/ai"
import { Agent, AgentTool, OpenAi } from "troupe"
import { directModel } from "../../support/directModel.ts"
import { data, done, type Form, partsOf } from "../../support/openAiParts.ts"
import { type Part, request } from "../../support/openAiRequest.ts"
import * as ChildServer from "../../support/childServer.ts"
import { exitOn } from "../../support/edges.ts"
import type { Reply } from "../../support/openAiServer.ts"

type Api = "chat" | "responses"
const forms = ["whole", "stream"] as const
const delta = (delta: unknown, finish_reason: string | null = null) => ({
  id: "c1",
  choices: [{ index: 0, delta, finish_reason }]
})

/** A message of Chat Completions in either form. */
const chat = (form: Form, message: Record<string, unknown>, finish_reason = "stop"): string =>
  form === "whole"
    ? JSON.stringify({ choices: [{ message: { role: "assistant", content: null, ...message }, finish_reason }] })
    : data(delta(message), delta({}, finish_reason)) + done

/** Items of Responses in either form. */
const responses = (form: Form, output: ReadonlyArray<Record<string, unknown>>): string => {
  const response = { id: "r", status: "completed", output }
  return form === "whole"
    ? JSON.stringify(response)
    : data(
        { type: "response.created", response: { id: "r" } },
        ...output.flatMap((item, output_index) => [
          { type: "response.output_item.added", output_index, item: { ...item, content: [] } },
          { type: "response.output_item.done", output_index, item }
        ]),
        { type: "response.completed", response }
      )
}

const texts = (parts: ReadonlyArray<Part>): string =>
  parts.map((part) => (part.type === "text" ? part.text : part.type === "text-delta" ? part.delta : "")).join("")
const params = (parts: ReadonlyArray<Part>) => parts.flatMap((part) => (part.type === "tool-call" ? [part.params] : []))
const reason = (parts: ReadonlyArray<Part>) => (parts.at(-1) as Response.FinishPartEncoded).reason

const look = AgentTool.fromFunction("look", {
  description: "Looks.",
  parameters: Schema.Struct({ at: Schema.String }),
  execute: ({ at }) => `seen ${at}`
})

layer(ChildServer.layer, { excludeTestServices: true })("OpenAi with", (it) => {
  for (const [edge, runOn] of Object.entries(exitOn)) {
    const model = (url: string, api: Api) =>
      OpenAi.layer({ model: "gpt-5", baseUrl: url, api, apiKey: Redacted.make("a-long-enough-key"), retry: "none" })
    const ask = (api: Api, form: Form, reply: Reply) => partsOf(runOn, form, reply, (url) => model(url, api))
    const read = (api: Api, form: Form, raw: string) =>
      Effect.map(ask(api, form, { raw }), ({ error, parts }) => {
        assert.strictEqual(error, undefined)
        return parts
      })
    const fail = (api: Api, form: Form, reply: Reply) =>
      Effect.map(ask(api, form, reply), ({ error, parts }) => {
        assert.isDefined(error, `succeeded with ${JSON.stringify(parts)}`)
        return error!
      })
    /** What an agent with a tool sends in its second request, when the first was answered so. */
    const second = (api: Api, form: Form, raw: string, ...after: ReadonlyArray<Reply>) =>
      Effect.gen(function* () {
        const server = yield* ChildServer.Server
        const url = yield* server.script({ raw }, ...(after.length === 0 ? [{ text: "ok" }] : after))
        const agent = Agent.make("agent", { tools: [look] })
        const asked = form === "whole" ? agent.run("go") : Stream.runDrain(agent.stream("go"))
        const exit = yield* runOn(Effect.provide(asked, model(url, api)))
        assert.isTrue(Exit.isSuccess(exit), Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "")
        const { body } = (yield* server.seen)[1]!
        return (api === "chat" ? body["messages"] : body["input"]) as ReadonlyArray<Record<string, any>>
      })

    describe(`${edge}:`, () => {
      it.effect("calls whose id is the word null, each as a call of its own", () =>
        Effect.gen(function* () {
          const fn = { name: "look", arguments: '{"at":"a"}' }
          for (const form of forms) {
            const calls = [0, 1].map((index) => ({ index, id: "null", function: fn }))
            const parts = yield* read("chat", form, chat(form, { tool_calls: calls }, "tool_calls"))
            assert.deepStrictEqual(params(parts), [{ at: "a" }, { at: "a" }])
            assert.isFalse(parts.some((part) => "id" in part && part.id === "null"))
          }
        })
      )

      it.effect("a call without a list around it, or without a function in it", () =>
        Effect.gen(function* () {
          const fn = { name: "look", arguments: '{"at":"a"}' }
          for (const form of forms) {
            for (const tool_calls of [{ index: 0, id: "c1", function: fn }, [{ index: 0, id: "c1", ...fn }]]) {
              const parts = yield* read("chat", form, chat(form, { tool_calls }, "tool_calls"))
              assert.deepStrictEqual(params(parts), [{ at: "a" }])
            }
          }
        })
      )

      it.effect("content that is one part, and pictures by their address", () =>
        Effect.gen(function* () {
          const image_url = { url: "https://example.com/a.png" }
          for (const form of forms) {
            const message = { content: { type: "text", text: "Hi" }, images: [{ type: "image_url", image_url }] }
            const parts = yield* read("chat", form, chat(form, message))
            assert.strictEqual(texts(parts), "Hi")
            const source = parts.find((part) => part.type === "source")
            assert.deepInclude(source, { sourceType: "url", url: "https://example.com/a.png" })
          }
        })
      )

      it.effect("an error that stands in a field of Groq's, in its words", () =>
        Effect.gen(function* () {
          const raw = data(delta({ content: "Hi" }), { id: "c1", choices: [], x_groq: { error: "over_capacity" } })
          const error = yield* fail("chat", "stream", { raw })
          assert.strictEqual(error.reason._tag, "InternalProviderError")
          assert.include(error.message, "over_capacity")
        })
      )

      it.effect("pictures in base64 of any form, and an answer without one that cannot be read", () =>
        Effect.gen(function* () {
          const message = { type: "message", id: "m", content: [{ type: "output_text", text: "Hi" }] }
          const files = (parts: ReadonlyArray<Part>) =>
            parts.flatMap((part) => (part.type === "file" ? [part.data] : []))
          for (const form of forms) {
            for (const [given, data] of [
              ["AQ\nID", "AQID"],
              ["data:image/png;base64,AQI", "AQI="],
              ["!!", undefined]
            ] as const) {
              const drawn = { type: "image_generation_call", id: "ig", result: given }
              const parts = yield* read("responses", form, responses(form, [drawn, message]))
              assert.deepStrictEqual([files(parts), texts(parts)], [data === undefined ? [] : [data], "Hi"])
            }
            const image_url = { url: "data:image/png;base64,!!" }
            const parts = yield* read("chat", form, chat(form, { content: "Hi", images: [{ image_url }] }))
            assert.deepStrictEqual([files(parts), texts(parts)], [[], "Hi"])
          }
        })
      )

      it.effect("reasoning that must come back with the calls it led to, by the name it came under", () =>
        Effect.gen(function* () {
          for (const form of forms) {
            for (const name of ["reasoning", "reasoning_content"]) {
              const call = { index: 0, id: "c1", type: "function", function: { name: "look", arguments: '{"at":"x"}' } }
              const sent = yield* second("chat", form, chat(form, { [name]: "hm", tool_calls: [call] }, "tool_calls"))
              assert.strictEqual(sent[1]![name], "hm")
            }
          }
        })
      )

      it.effect("signed reasoning, which comes in pieces and stands for its text", () =>
        Effect.gen(function* () {
          const text = { type: "reasoning.text", format: "f", index: 0, signature: null }
          const sealed = { type: "reasoning.encrypted", id: "c1", index: 1, data: "AQID" }
          const call = { index: 0, id: "c1", type: "function", function: { name: "look", arguments: '{"at":"x"}' } }
          const details = [{ ...text, text: "hm", signature: "signed" }, sealed]
          const whole = chat("whole", { reasoning: "hm", reasoning_details: details, tool_calls: [call] }, "tool_calls")
          const streamed =
            data(
              delta({ reasoning: "h", reasoning_details: [{ ...text, text: "h" }] }),
              delta({ reasoning: "m", reasoning_details: [{ ...text, text: "m" }] }),
              delta({ reasoning_details: [{ ...text, signature: "signed" }] }),
              delta({ tool_calls: [call], reasoning_details: [sealed] }),
              delta({}, "tool_calls")
            ) + done
          for (const form of forms) {
            const sent = yield* second("chat", form, form === "whole" ? whole : streamed)
            assert.deepStrictEqual(sent[1]!["reasoning_details"], details)
            assert.notProperty(sent[1]!, "reasoning")
          }
        })
      )

      it.effect("what a server puts on a call for itself", () =>
        Effect.gen(function* () {
          const extra_content = { google: { thought_signature: "sealed" } }
          for (const form of forms) {
            const fn = { name: "look", arguments: '{"at":"x"}' }
            const call = { index: 0, id: "c1", type: "function", function: fn, extra_content }
            const sent = yield* second("chat", form, chat(form, { tool_calls: [call] }, "tool_calls"))
            assert.deepStrictEqual(sent[1]!["tool_calls"][0]["extra_content"], extra_content)
          }
        })
      )

      it.effect("nothing that another server has put on a conversation for itself", () =>
        Effect.gen(function* () {
          const server = yield* ChildServer.Server
          const url = yield* server.script({ text: "ok" })
          const options = { openai: { server: "elsewhere", field: "reasoning", extra_content: { google: {} } } }
          const prompt = Prompt.make([
            { role: "user", content: "go" },
            {
              role: "assistant",
              content: [
                { type: "reasoning", text: "hm", options },
                { type: "tool-call", id: "c1", name: "look", params: {}, providerExecuted: false, options }
              ]
            },
            { role: "tool", content: [{ type: "tool-result", id: "c1", name: "look", isFailure: false, result: 1 }] }
          ] as never)
          const asked = Effect.flatMap(directModel, (self) => self.generateText({ ...request, prompt }))
          yield* runOn(Effect.provide(asked, model(url, "chat")))
          const { body } = (yield* server.seen)[0]!
          assert.deepStrictEqual(body["messages"][1], {
            role: "assistant",
            content: null,
            tool_calls: [{ id: "c1", type: "function", function: { name: "look", arguments: "{}" } }]
          })
        })
      )

      it.effect("files as programs find them: types in any spelling, base64 in lines", () =>
        Effect.gen(function* () {
          const server = yield* ChildServer.Server
          const url = yield* server.script({ text: "ok" })
          const prompt = Prompt.make([
            {
              role: "user",
              content: [
                { type: "file", mediaType: "IMAGE/PNG", data: "iVBO\nRw==\n" },
                { type: "file", mediaType: "image/*", data: "data:image/PNG;name=a.png;base64,iVBO\r\nRw==" },
                { type: "file", mediaType: "application/json; charset=utf-8", data: new Uint8Array([123, 125]) },
                { type: "file", mediaType: "application/ld+json", data: new Uint8Array([123, 125]) }
              ]
            }
          ])
          const asked = Effect.flatMap(directModel, (self) => self.generateText({ ...request, prompt }))
          const exit = yield* runOn(Effect.provide(asked, model(url, "responses")))
          assert.isTrue(Exit.isSuccess(exit))
          const image_url = "data:image/png;base64,iVBORw=="
          assert.deepStrictEqual((yield* server.seen)[0]!.body["input"][0].content, [
            { type: "input_image", image_url, detail: "auto" },
            { type: "input_image", image_url, detail: "auto" },
            { type: "input_text", text: "file.json:\n{}" },
            { type: "input_text", text: "file.ld:\n{}" }
          ])
        })
      )

      it.effect("names of tools that no server would take back", () =>
        Effect.gen(function* () {
          for (const form of forms) {
            for (const name of ["functions.look", "look at", "", "x".repeat(80)]) {
              const call = { index: 0, id: "c1", type: "function", function: { name, arguments: "{}" } }
              yield* second("chat", form, chat(form, { tool_calls: [call] }, "tool_calls"))
              const item = { type: "function_call", id: "fc_1", call_id: "c1", name, arguments: "{}" }
              yield* second("responses", form, responses(form, [item]))
            }
          }
        })
      )

      it.effect("the phase of what was said on the way to an answer", () =>
        Effect.gen(function* () {
          for (const form of forms) {
            const content = [{ type: "output_text", text: "I look.", annotations: [] }]
            const sent = yield* second(
              "responses",
              form,
              responses(form, [
                { type: "message", id: "msg_1", role: "assistant", phase: "commentary", content },
                { type: "function_call", id: "fc_1", call_id: "c1", name: "look", arguments: '{"at":"x"}' }
              ])
            )
            const said = { type: "output_text", text: "I look.", annotations: [] }
            const full = { type: "message", id: "msg_1", status: "completed", role: "assistant", content: [said] }
            assert.deepStrictEqual(sent[1], { ...full, phase: "commentary" })
          }
        })
      )

      it.effect("arguments that are null or blank where there are none", () =>
        Effect.gen(function* () {
          for (const form of forms) {
            for (const said of ["null", " ", "\n"]) {
              const call = { index: 0, id: "c1", type: "function", function: { name: "p", arguments: said } }
              const parts = yield* read("chat", form, chat(form, { tool_calls: [call] }, "tool_calls"))
              assert.deepStrictEqual(params(parts), [{}])
            }
          }
        })
      )

      it.effect("null for no choices, and events with nothing in them", () =>
        Effect.gen(function* () {
          const raw =
            data({ id: "c1", choices: null }, { type: "ping" }) + "data:\n\n" + chat("stream", { content: "yes" })
          assert.strictEqual(texts(yield* read("chat", "stream", raw)), "yes")
        })
      )

      it.effect("an answer that is not there yet as no answer", () =>
        Effect.gen(function* () {
          for (const status of ["queued", "in_progress", "cancelled"]) {
            const failed = yield* fail("responses", "whole", { raw: JSON.stringify({ id: "r", status, output: [] }) })
            assert.strictEqual(failed.reason._tag, "InvalidResponseError")
            assert.include(failed.message, "background")
          }
        })
      )

      it.effect("finish reasons in the words of other servers", () =>
        Effect.gen(function* () {
          for (const form of forms) {
            for (const [said, meant] of [
              ["model_length", "length"],
              ["max_tokens", "length"],
              ["MAX_TOKENS", "length"],
              ["eos", "stop"],
              ["eos_token", "stop"],
              ["stop_sequence", "stop"],
              ["end_turn", "stop"],
              ["STOP", "stop"],
              ["tool_use", "tool-calls"],
              ["insufficient_system_resource", "error"],
              ["network_error", "error"],
              ["sensitive", "content-filter"],
              ["constructor", "other"]
            ]) {
              const parts = yield* read("chat", form, chat(form, { content: "a" }, said))
              assert.deepStrictEqual([said, reason(parts)], [said, meant])
            }
          }
        })
      )

      it.effect("pages that a message of Chat Completions cites", () =>
        Effect.gen(function* () {
          const cited = { type: "url_citation", url_citation: { url: "https://example.com/a", title: "A" } }
          for (const form of forms) {
            const parts = yield* read("chat", form, chat(form, { content: "so", annotations: [cited] }))
            const sources = parts.flatMap((part) =>
              part.type === "source" && part.sourceType === "url" ? [[part.url, part.title]] : []
            )
            assert.deepStrictEqual(sources, [["https://example.com/a", "A"]])
          }
        })
      )

      it.effect("failures of Responses that are not transient", () =>
        Effect.gen(function* () {
          for (const [code, tag, retryable] of [
            ["server_error", "InternalProviderError", true],
            ["vector_store_timeout", "InternalProviderError", true],
            ["rate_limit_exceeded", "RateLimitError", true],
            ["invalid_image_url", "InvalidRequestError", false],
            ["image_too_large", "InvalidRequestError", false],
            ["unsupported_image_media_type", "InvalidRequestError", false],
            ["empty_image_file", "InvalidRequestError", false],
            ["failed_to_download_image", "InvalidRequestError", false],
            ["data_residency_mismatch", "InvalidRequestError", false],
            ["invalid_prompt", "ContentPolicyError", false],
            ["bio_policy", "ContentPolicyError", false],
            ["image_content_policy_violation", "ContentPolicyError", false]
          ] as const) {
            const response = { id: "r", status: "failed", error: { code, message: "no" } }
            const failed = yield* fail("responses", "stream", { raw: data({ type: "response.failed", response }) })
            assert.deepStrictEqual([code, failed.reason._tag, failed.isRetryable], [code, tag, retryable])
            const whole = yield* fail("responses", "whole", { raw: JSON.stringify({ ...response, output: [] }) })
            assert.deepStrictEqual([code, whole.reason._tag, whole.isRetryable], [code, tag, retryable])
          }
        })
      )

      it.effect("errors inside of an answer, by the types that Anthropic and others have", () =>
        Effect.gen(function* () {
          for (const [type, tag, retryable] of [
            ["invalid_request_error", "InvalidRequestError", false],
            ["authentication_error", "AuthenticationError", false],
            ["permission_error", "AuthenticationError", false],
            ["billing_error", "QuotaExhaustedError", false],
            ["not_found_error", "InvalidRequestError", false],
            ["request_too_large", "InvalidRequestError", false],
            ["rate_limit_error", "RateLimitError", true],
            ["overloaded_error", "InternalProviderError", true]
          ] as const) {
            const error = { type, message: "no" }
            for (const raw of [JSON.stringify({ error }), data({ error })]) {
              const failed = yield* fail("chat", "stream", { raw })
              assert.deepStrictEqual([type, failed.reason._tag, failed.isRetryable], [type, tag, retryable])
            }
          }
        })
      )

      it.effect("a prompt that a filter refuses, and an account that is not active", () =>
        Effect.gen(function* () {
          for (const [status, error, tag] of [
            [400, { code: "content_filter", message: "The prompt triggered a filter" }, "ContentPolicyError"],
            [400, { code: "content_policy_violation", message: "no" }, "ContentPolicyError"],
            [400, { code: "invalid_prompt", message: "Invalid prompt" }, "ContentPolicyError"],
            [429, { code: "billing_not_active", message: "Your account is not active" }, "QuotaExhaustedError"],
            [400, { code: "billing_hard_limit_reached", message: "no" }, "QuotaExhaustedError"]
          ] as const) {
            const failed = yield* fail("chat", "whole", { status, body: { error } })
            assert.deepStrictEqual([error.code, failed.reason._tag, failed.isRetryable], [error.code, tag, false])
          }
        })
      )

      it.effect("errors in a list, and a list of what is wrong", () =>
        Effect.gen(function* () {
          const body = [{ error: { code: 400, message: "the words", status: "INVALID_ARGUMENT" } }]
          const listed = yield* fail("chat", "whole", { status: 400, body })
          assert.include(listed.message, "HTTP 400: the words")
          const detail = [{ loc: ["body", "tools"], msg: "field required" }]
          const fastApi = yield* fail("chat", "stream", { status: 422, body: { detail } })
          assert.include(fastApi.message, "field required")
        })
      )

      it.effect("a context overflow in words of more servers", () =>
        Effect.gen(function* () {
          for (const message of [
            "The decoder prompt (length 5000) is longer than the maximum model length of 4096.",
            "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
            "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
            "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens",
            "Invalid request: Your request exceeded model token limit: 262144",
            "Input is too long for requested model.",
            "Please reduce the length of the messages or completion."
          ]) {
            const error = yield* fail("chat", "whole", { status: 400, body: { error: { message } } })
            assert.isTrue(OpenAi.isContextLengthExceeded(error), message)
          }
        })
      )
    })
  }
})
