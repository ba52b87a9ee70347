/** What goes wrong with a model of the AI SDK, over real sockets: each failure has its kind, and is retried only where that helps. */
import { createAnthropic } from "@ai-sdk/anthropic"
import { createGoogle } from "@ai-sdk/google"
import { createOpenAICompatible } from "@ai-sdk/openai-compatible"
import type { LanguageModelV4 } from "@ai-sdk/provider"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Redacted, Schema, Stream } from "effect"
import { type AiError, LanguageModel, Tool } from "effect/ai"
import { TestClock } from "effect/testing"
import { Agent, AiSdk, OpenAi } from "troupe"
import { markOf, SecretArguments } from "../../../src/internal/toolMarks.ts"
import { directModel } from "../../support/directModel.ts"
import { request } from "../../support/openAiRequest.ts"
import { claudeBegins, claudeSays } from "../../support/vendorAnswers.ts"
import { type Answer, json, serve, sse } from "../../support/wire.ts"

const claude = (url: string) => createAnthropic({ apiKey: "k", baseURL: `${url}/v1` })("claude-sonnet-4-5")
const gemini = (url: string) => createGoogle({ apiKey: "k", baseURL: url })("gemini-2.5-flash")
const local = (url: string) => createOpenAICompatible({ name: "local", baseURL: url })("m")

const layer = (model: LanguageModelV4) => AiSdk.layer(model, { retry: "none" })
const whole = (model: LanguageModelV4) =>
  LanguageModel.generateText({ prompt: "x" }).pipe(Effect.provide(layer(model)), Effect.flip)
const streamed = (model: LanguageModelV4) =>
  Stream.runCollect(LanguageModel.streamText({ prompt: "x" })).pipe(Effect.provide(layer(model)), Effect.flip)

const failure = (type: string, message: string) => ({ type: "error", error: { type, message } })

/** What a server answers, and what the error is. */
const refusals: ReadonlyArray<
  readonly [name: string, model: (url: string) => LanguageModelV4, answer: Answer, tag: string, says: RegExp]
> = [
  [
    "a wrong key",
    claude,
    json(failure("authentication_error", "invalid x-api-key"), 401),
    "AuthenticationError",
    /key/
  ],
  [
    "a wrong key at Google",
    gemini,
    json(
      { error: { code: 400, message: "API key not valid. Please pass a valid API key.", status: "INVALID_ARGUMENT" } },
      400
    ),
    "AuthenticationError",
    /@ai-sdk\/google/
  ],
  ["a key without the right", claude, json(failure("permission_error", "no"), 403), "AuthenticationError", /may use/],
  [
    "an empty account",
    claude,
    json(failure("invalid_request_error", "Your credit balance is too low to access the Anthropic API."), 400),
    "QuotaExhaustedError",
    /./
  ],
  [
    "a bad request",
    claude,
    json(failure("invalid_request_error", "max_tokens: must be greater than 0"), 400),
    "InvalidRequestError",
    /max_tokens/
  ],
  [
    "too long a conversation",
    claude,
    json(failure("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"), 400),
    "InvalidRequestError",
    /^.*context length exceeded/
  ],
  [
    "an unknown model",
    claude,
    json(failure("not_found_error", "model: nope"), 404),
    "InvalidRequestError",
    /model's name/
  ],
  [
    "an overloaded server",
    claude,
    json(failure("overloaded_error", "Overloaded"), 529),
    "InternalProviderError",
    /Overloaded/
  ],
  [
    "a content filter",
    local,
    json({ error: { message: "filtered", code: "content_filter" } }, 400),
    "ContentPolicyError",
    /filtered/
  ],
  [
    "a page",
    local,
    json("<html><head><title>Welcome to nginx</title></head></html>", 502),
    "InternalProviderError",
    /nginx/
  ],
  ["an answer that is not JSON", claude, json("not json"), "InvalidResponseError", /not json/],
  ["an answer of another kind", claude, json({ hello: 1 }), "InvalidResponseError", /./]
]

const isRetryable = (error: AiError.AiError) => error.isRetryable

describe("AiSdk fails with the right error for", () => {
  for (const [name, model, answer, tag, says] of refusals) {
    it.live(name, () =>
      Effect.gen(function* () {
        const server = yield* serve(answer)
        // A stream in which there is no event has been cut off.
        const calls = tag === "InvalidResponseError" ? [whole] : [whole, streamed]
        for (const call of calls) {
          const error = yield* call(model(server.url))
          assert.strictEqual(error.reason._tag, tag)
          assert.match(error.message, says)
          assert.strictEqual(isRetryable(error), tag === "InternalProviderError")
        }
      })
    )
  }

  it.live("a limit of rate, with the time to wait", () =>
    Effect.gen(function* () {
      const server = yield* serve(json(failure("rate_limit_error", "slow down"), 429, { "retry-after": "7" }))
      const error = yield* whole(claude(server.url))
      assert.strictEqual(error.reason._tag, "RateLimitError")
      assert.deepStrictEqual(error.retryAfter, Duration.seconds(7))
      const details = [{ "@type": "type.googleapis.com/google.rpc.RetryInfo", retryDelay: "3s" }]
      const google = yield* serve(
        json({ error: { code: 429, message: "quota", status: "RESOURCE_EXHAUSTED", details } }, 429)
      )
      assert.deepStrictEqual((yield* whole(gemini(google.url))).retryAfter, Duration.seconds(3))
    })
  )

  it.live("a server that is not there", () =>
    Effect.gen(function* () {
      const url = yield* Effect.scoped(Effect.map(serve(), ({ url }) => url))
      for (const error of [yield* whole(claude(url)), yield* streamed(gemini(url))]) {
        assert.strictEqual(error.reason._tag, "NetworkError")
        assert.match(error.message, /ECONNREFUSED.*baseURL/s)
        assert.isTrue(isRetryable(error))
      }
    })
  )

  const begun = claudeBegins("The ")
  const gemini1 = { candidates: [{ content: { parts: [{ text: "The " }] } }] }
  const chunk = { choices: [{ index: 0, delta: { content: "The " } }] }

  for (const [name, model, events] of [
    ["Anthropic", claude, begun],
    ["Google", gemini, [gemini1]],
    ["a compatible server", local, [chunk]]
  ] as const) {
    for (const ending of ["end", "reset"] as const) {
      it.live(`a stream of ${name} that is cut off (${ending})`, () =>
        Effect.gen(function* () {
          const server = yield* serve(sse(events, ending))
          const error = yield* streamed(model(server.url))
          assert.strictEqual(error.reason._tag, "NetworkError")
          assert.isTrue(isRetryable(error))
        })
      )
    }
  }

  it.live("an error in the middle of a stream", () =>
    Effect.gen(function* () {
      const server = yield* serve(sse([...begun, failure("overloaded_error", "Overloaded")]))
      const error = yield* streamed(claude(server.url))
      assert.strictEqual(error.reason._tag, "InternalProviderError")
      assert.isTrue(isRetryable(error))
      const invalid = yield* serve(sse([...begun, failure("invalid_request_error", "no")]))
      assert.strictEqual((yield* streamed(claude(invalid.url))).reason._tag, "InvalidRequestError")
    })
  )

  it.live("an event that cannot be read", () =>
    Effect.gen(function* () {
      const server = yield* serve(sse([...begun, "{ not json"]))
      assert.strictEqual((yield* streamed(claude(server.url))).reason._tag, "InvalidResponseError")
    })
  )

  it.effect("silence: whole answers and streams have their time, and the request is aborted", () =>
    Effect.gen(function* () {
      const server = yield* serve(() => {}, sse(begun, "silence"))
      const model = AiSdk.layer(claude(server.url), { timeout: "1 minute", retry: "none" })
      const wait = (until: () => boolean): Effect.Effect<void> =>
        Effect.promise(async () => {
          while (!until()) await new Promise((done) => setTimeout(done, 5))
        })
      const one = yield* Effect.forkChild(
        LanguageModel.generateText({ prompt: "x" }).pipe(Effect.provide(model), Effect.flip)
      )
      yield* wait(() => server.bodies.length === 1)
      yield* TestClock.adjust("1 minute")
      const error = yield* Fiber.join(one)
      assert.strictEqual(error.reason._tag, "NetworkError")
      assert.match(error.message, /no answer within 1m.*timeout/s)
      yield* wait(() => server.aborted() === 1)
      let seen = false
      const two = yield* Effect.forkChild(
        LanguageModel.streamText({ prompt: "x" }).pipe(
          Stream.runForEach((part) => Effect.sync(() => (seen ||= part.type === "text-delta"))),
          Effect.provide(model),
          Effect.flip
        )
      )
      yield* wait(() => seen)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* Fiber.join(two)).reason._tag, "NetworkError")
      yield* wait(() => server.aborted() === 2)
    })
  )

  it.live("a key that is missing", () =>
    Effect.gen(function* () {
      const saved = process.env["ANTHROPIC_API_KEY"]
      delete process.env["ANTHROPIC_API_KEY"]
      const error = yield* whole(createAnthropic()("claude-sonnet-4-5"))
      if (saved !== undefined) process.env["ANTHROPIC_API_KEY"] = saved
      assert.strictEqual(error.reason._tag, "AuthenticationError")
      assert.match(error.message, /ANTHROPIC_API_KEY/)
    })
  )

  it.live("what a server repeats, without the secrets of tools and headers", () =>
    Effect.gen(function* () {
      const said = failure("invalid_request_error", "refused opaque-0123456789 and opaque-9876543210")
      const server = yield* serve(json(said, 400), json(said, 400), sse([...begun, said]))
      const model = AiSdk.layer(claude(server.url), { headers: { "x-team-key": "opaque-9876543210" }, retry: "none" })
      const tool = OpenAi.tools.mcp({
        label: "docs",
        url: "https://docs.example/mcp",
        authorization: Redacted.make("opaque-0123456789")
      }).tool
      const secret = Tool.providerDefined({
        id: "custom.docs",
        customName: "docs",
        providerName: "docs",
        args: Schema.Struct({}),
        parameters: Schema.Unknown,
        success: Schema.Unknown,
        failure: Schema.Unknown
      })({}).annotate(SecretArguments, markOf(tool, SecretArguments))
      const { generateText, streamText } = yield* Effect.provide(directModel, model)
      const asked = { ...request, tools: [secret] }
      for (const call of [
        generateText(asked),
        Stream.runDrain(streamText(asked)),
        Stream.runDrain(streamText(asked))
      ]) {
        const error = yield* Effect.flip<unknown, AiError.AiError, never>(call)
        assert.match(error.message, /refused \[redacted\] and \[redacted\]/)
      }
    })
  )

  it.live("a defect of the package, which is not retried", () =>
    Effect.gen(function* () {
      let calls = 0
      const model = {
        ...local("http://127.0.0.1:9"),
        specificationVersion: "v4",
        provider: "broken",
        modelId: "m",
        supportedUrls: {},
        doGenerate: () => {
          calls++
          throw new TypeError("undefined is not a function")
        }
      } as unknown as LanguageModelV4
      const error = yield* Agent.make("a", {})
        .run("x")
        .pipe(Effect.provide(AiSdk.layer(model)), Effect.flip)
      assert.strictEqual(error._tag, "ModelError")
      assert.strictEqual(calls, 1)
    })
  )
})

describe("AiSdk retries", () => {
  it.live("what may pass, and nothing else", () =>
    Effect.gen(function* () {
      const good = claudeSays("ok")
      const busy = json(failure("rate_limit_error", "slow down"), 429, { "retry-after": "0" })
      const server = yield* serve(busy, busy, good)
      const agent = Agent.make("a", { retry: undefined })
      assert.strictEqual(yield* Effect.provide(agent.run("x"), AiSdk.layer(claude(server.url))), "ok")
      assert.strictEqual(server.bodies.length, 3)
      const refused = yield* serve(json(failure("authentication_error", "no"), 401))
      const error = yield* Effect.flip(Effect.provide(agent.run("x"), AiSdk.layer(claude(refused.url))))
      assert.strictEqual(error._tag, "ModelError")
      assert.strictEqual(refused.bodies.length, 1)
    })
  )
})
