import { inspect } from "node:util"
import { assert, describe, layer } from "@effect/vitest"
import { Cause, Duration, Effect, Exit, Redacted, Schedule, Schema, Stream } from "effect"
import type { Prompt } from "effect/ai"
import { type AiError, LanguageModel } from "effect/ai"
import { Agent, AgentTool, OpenAi } from "troupe"
import * as ChildServer from "../../support/childServer.ts"
import { exitOn } from "../../support/edges.ts"
import { checkGrammar } from "../../support/grammar.ts"
import type { Reply, Seen } from "../../support/openAiServer.ts"
import type { RunEvent } from "troupe"

const secret = "sk-very-secret-0123456789"
const options = (url: string, api: "chat" | "responses"): OpenAi.Options => ({
  model: "asked",
  baseUrl: url,
  api,
  apiKey: Redacted.make(secret),
  retry: "none"
})

const add = AgentTool.fromFunction("add", {
  description: "Adds",
  parameters: Schema.Struct({ a: Schema.Finite, b: Schema.Finite }),
  execute: ({ a, b }) => a + b
})
const adder = Agent.make("adder", { instructions: "Add.", tools: [add], retry: "none" })

const errorOf = (exit: Exit.Exit<unknown, unknown>): AiError.AiError => {
  if (Exit.isSuccess(exit)) return assert.fail(`succeeded with ${JSON.stringify(exit.value)}`)
  const error = Cause.squash(exit.cause) as { readonly _tag: string; readonly reason?: AiError.AiError }
  if (error._tag !== "ModelError") return assert.fail(`${error._tag}: ${inspect(error)}`)
  return error.reason!
}
const valueOf = <A>(exit: Exit.Exit<A, unknown>): A =>
  Exit.isSuccess(exit) ? exit.value : assert.fail(Cause.pretty(exit.cause))

/** Waits for the server to see that its requests are gone; answers, if any, take far longer. */
const allAborted = (count: number) =>
  Effect.gen(function* () {
    const server = yield* ChildServer.Server
    const look = Effect.map(server.seen, (seen) => seen.map((one) => one.aborted))
    const found = yield* look.pipe(
      Effect.repeat({
        until: (aborted) => aborted.length >= count && !aborted.includes(false),
        schedule: Schedule.spaced("10 millis"),
        times: 1000
      })
    )
    assert.deepStrictEqual(
      found,
      Array.from({ length: count }, () => true)
    )
  })

layer(ChildServer.layer, { excludeTestServices: true })("OpenAi", (it) => {
  for (const [edge, runOn] of Object.entries(exitOn)) {
    for (const api of ["chat", "responses"] as const) {
      for (const form of ["run", "stream"] as const) {
        /** Runs an agent against scripted replies; gives its result, events, and what the server has seen. */
        const use = (
          agent: Agent.Agent<unknown, Agent.Error, LanguageModel.LanguageModel>,
          replies: ReadonlyArray<Reply>,
          input: Prompt.RawInput = "go",
          more: Partial<OpenAi.Options> = {}
        ) =>
          Effect.gen(function* () {
            const server = yield* ChildServer.Server
            const url = yield* server.script(...replies)
            const events: Array<RunEvent.RunEvent> = []
            const program =
              form === "run"
                ? agent.result(input)
                : Effect.suspend(() => {
                    events.length = 0
                    return Effect.as(
                      Stream.runForEach(agent.stream(input), (event) => Effect.sync(() => void events.push(event))),
                      undefined
                    )
                  })
            const exit = yield* runOn(
              Effect.provide(
                program as Effect.Effect<any, Agent.Error, LanguageModel.LanguageModel>,
                OpenAi.layer({ ...options(url, api), ...more })
              )
            )
            if (form === "stream") checkGrammar(events)
            const last = events.at(-1)
            const output =
              form === "run"
                ? Exit.isSuccess(exit)
                  ? exit.value.output
                  : undefined
                : last?._tag === "RunCompleted"
                  ? last.output
                  : undefined
            const usage =
              form === "run"
                ? Exit.isSuccess(exit)
                  ? exit.value.usage
                  : undefined
                : last?._tag === "RunCompleted"
                  ? last.spent.usage
                  : undefined
            return { exit, output, usage, events, seen: yield* server.seen }
          })
        const text = Agent.make("text", { retry: "none" })

        describe(`${edge} ${api} ${form}`, () => {
          it.effect("answers, with cached and reasoning tokens in its usage", () =>
            Effect.gen(function* () {
              const usage =
                api === "chat"
                  ? {
                      prompt_tokens: 20,
                      completion_tokens: 9,
                      prompt_tokens_details: { cached_tokens: 8 },
                      completion_tokens_details: { reasoning_tokens: 4 }
                    }
                  : {
                      input_tokens: 20,
                      output_tokens: 9,
                      input_tokens_details: { cached_tokens: 8 },
                      output_tokens_details: { reasoning_tokens: 4 }
                    }
              const {
                exit,
                output,
                seen,
                usage: counted
              } = yield* use(text, [{ text: "Hello, you.", reasoning: "hm", usage }])
              valueOf(exit)
              assert.strictEqual(output, "Hello, you.")
              assert.deepStrictEqual(
                { ...counted?.inputTokens },
                { uncached: 12, total: 20, cacheRead: 8, cacheWrite: undefined }
              )
              assert.deepStrictEqual({ ...counted?.outputTokens }, { total: 9, text: 5, reasoning: 4 })
              assert.strictEqual(seen[0]!.headers["authorization"], `Bearer ${secret}`)
              assert.strictEqual(seen[0]!.body["model"], "asked")
            })
          )

          it.effect("calls tools, several in one answer, over three steps", () =>
            Effect.gen(function* () {
              const { exit, output, seen } = yield* use(adder, [
                {
                  text: "Let me see.",
                  calls: [
                    { name: "add", args: '{"a":1,"b":2}', id: "x" },
                    { name: "add", args: '{"a":10,"b":20}', id: "y" }
                  ]
                },
                { calls: [{ name: "add", args: '{"a":3,"b":30}', id: "z" }] },
                { text: "33" }
              ])
              valueOf(exit)
              assert.strictEqual(output, "33")
              const sent = JSON.stringify(seen[2]!.body)
              for (const id of ["x", "y", "z"]) assert.include(sent, `"${id}"`)
              assert.strictEqual(seen.length, 3)
            })
          )

          it.effect("survives calls without ids, broken arguments, and a prototype in them", () =>
            Effect.gen(function* () {
              const { exit, output, seen } = yield* use(adder, [
                {
                  calls: [
                    { name: "add", args: '{"a":1,', id: "" },
                    { name: "add", args: '{"__proto__":{"a":1}}', id: "" },
                    { name: "add", args: "", id: "" }
                  ]
                },
                { text: "corrected" }
              ])
              valueOf(exit)
              assert.strictEqual(output, "corrected")
              assert.strictEqual(JSON.stringify(seen[1]!.body).split("do not fit").length, 4)
            })
          )

          it.effect("goes on after calls of tools whose names no API takes back", () =>
            Effect.gen(function* () {
              const calls = ["functions.add", "", "n".repeat(80)].map((name) => ({ name, args: "{}" }))
              const { exit, output } = yield* use(adder, [{ calls }, { text: "ok" }])
              assert.isTrue(Exit.isSuccess(exit))
              assert.strictEqual(output, "ok")
            })
          )

          it.effect("goes on when the server counts its calls from the start in each answer", () =>
            Effect.gen(function* () {
              const reply = { calls: [{ name: "add", args: '{"a":1,"b":2}', id: "call_0" }] }
              const { exit, output } = yield* use(adder, [reply, reply, reply, { text: "ok" }])
              assert.isTrue(Exit.isSuccess(exit))
              assert.strictEqual(output, "ok")
            })
          )

          it.effect("keeps reasoning apart, and gives it back as the API wants it", () =>
            Effect.gen(function* () {
              const { exit, output, seen } = yield* use(adder, [
                { reasoning: "thinking hard", calls: [{ name: "add", args: '{"a":1,"b":2}' }] },
                { text: "3" }
              ])
              valueOf(exit)
              assert.strictEqual(output, "3")
              const sent = JSON.stringify(seen[1]!.body)
              if (api === "responses") assert.include(sent, '"encrypted_content":"sealed"')
              else assert.include(sent, '"reasoning_content":"thinking hard"')
            })
          )

          const left = [
            ["<think>First I look.</think>\n\nThe answer.", "First I look.", "The answer."],
            // Cut off in the middle of it, so the agent asks once more.
            ["\n<think>\nI <b>", "\nI <b>", "Go on."],
            ["<thing>x</think>", "", "<thing>x</think>"]
          ] as const
          if (api === "chat") {
            it.effect.each(left)(
              "keeps reasoning apart that the server has left in the text: %j",
              ([said, thought, answer]) =>
                Effect.gen(function* () {
                  const { exit, output, events } = yield* use(text, [{ text: said, split: 1 }, { text: "Go on." }])
                  valueOf(exit)
                  assert.strictEqual(output, answer)
                  const thoughts = events.flatMap((event) => (event._tag === "ReasoningDelta" ? [event.delta] : []))
                  if (form === "stream") assert.strictEqual(thoughts.join(""), thought)
                })
            )
          }

          it.effect("asks for structured output natively, strictly where the schema allows", () =>
            Effect.gen(function* () {
              const strict = Agent.make("strict", {
                output: Schema.Struct({ n: Schema.Int, tag: Schema.Literals(["a", "b"]) })
              })
              const { exit, output, seen } = yield* use(strict, [{ text: '{"n":1,"tag":"a"}' }])
              valueOf(exit)
              assert.deepStrictEqual(output, { n: 1, tag: "a" })
              const formatOf = (one: Seen) =>
                api === "chat" ? one.body["response_format"].json_schema : one.body["text"].format
              assert.strictEqual(formatOf(seen[0]!).strict, true)
              assert.strictEqual(formatOf(seen[0]!).schema.additionalProperties, false)
              const loose = Agent.make("loose", { output: Schema.Struct({ n: Schema.optionalKey(Schema.Int) }) })
              const again = yield* use(loose, [{ text: "{}" }])
              valueOf(again.exit)
              assert.strictEqual(formatOf(again.seen[0]!).strict, false)
            })
          )

          it.effect("sends images, files and texts", () =>
            Effect.gen(function* () {
              const { exit, seen } = yield* use(
                text,
                [{ text: "seen" }],
                [
                  {
                    role: "user",
                    content: [
                      { type: "text", text: "Look" },
                      { type: "file", mediaType: "image/png", data: new Uint8Array([1, 2, 3]) },
                      { type: "file", mediaType: "image/jpeg", data: new URL("https://example.com/a.jpg") },
                      { type: "file", mediaType: "application/pdf", fileName: "a.pdf", data: new Uint8Array([4]) },
                      {
                        type: "file",
                        mediaType: "text/plain",
                        fileName: "a.txt",
                        data: Buffer.from("plain words").toString("base64")
                      }
                    ]
                  }
                ]
              )
              valueOf(exit)
              const sent = JSON.stringify(seen[0]!.body)
              for (const piece of [
                "data:image/png;base64,AQID",
                "https://example.com/a.jpg",
                "data:application/pdf;base64,BA==",
                "plain words"
              ])
                assert.include(sent, piece)
            })
          )

          it.effect("reports a refusal with its words", () =>
            Effect.gen(function* () {
              const { exit } = yield* use(text, [{ refusal: "I cannot do that" }])
              const error = Exit.isFailure(exit)
                ? (Cause.squash(exit.cause) as { readonly _tag: string; readonly text: string })
                : undefined
              assert.deepStrictEqual([error?._tag, error?.text], ["ModelRefused", "I cannot do that"])
            })
          )

          it.effect("maps finish reasons", () =>
            Effect.gen(function* () {
              const accepting = Agent.make("text", { onLength: "accept" })
              const cut = yield* use(accepting, [{ text: "half", finish: "length" }])
              assert.strictEqual(cut.output, "half")
              const filtered = yield* use(text, [{ text: "x", finish: "content_filter" }])
              assert.isTrue(
                Exit.isFailure(filtered.exit) &&
                  (Cause.squash(filtered.exit.cause) as { readonly _tag: string })._tag === "ModelRefused"
              )
            })
          )

          it.effect("reads an answer that comes byte by byte", () =>
            Effect.gen(function* () {
              const { exit, output } = yield* use(text, [{ text: "Grüße, 世界 🎭", split: 1 }])
              valueOf(exit)
              assert.strictEqual(output, "Grüße, 世界 🎭")
            })
          )

          const statuses: ReadonlyArray<readonly [number, unknown, string, boolean]> = [
            [400, { error: { message: "bad" } }, "InvalidRequestError", false],
            [400, { error: { message: "too long", code: "context_length_exceeded" } }, "InvalidRequestError", false],
            [401, { error: { message: `Incorrect API key provided: ${secret}.` } }, "AuthenticationError", false],
            [402, { error: { message: "pay" } }, "QuotaExhaustedError", false],
            [403, { error: { message: "no" } }, "AuthenticationError", false],
            [404, { error: { message: "no such model" } }, "InvalidRequestError", false],
            [408, {}, "InternalProviderError", true],
            [409, {}, "InternalProviderError", true],
            [413, "too large", "InvalidRequestError", false],
            [422, { error: { message: "unprocessable" } }, "InvalidRequestError", false],
            [429, { error: { message: "slow down" } }, "RateLimitError", true],
            [429, { error: { message: "quota", code: "insufficient_quota" } }, "QuotaExhaustedError", false],
            [500, { error: { message: "oops" } }, "InternalProviderError", true],
            [503, "<html>busy</html>", "InternalProviderError", true]
          ]
          it.effect("maps every status to a reason with the right retryability, and lets no key out", () =>
            Effect.gen(function* () {
              for (const [status, body, tag, retryable] of statuses) {
                const { exit } = yield* use(text, [{ status, body, headers: { "retry-after": "7" } }])
                const error = errorOf(exit)
                assert.deepStrictEqual([status, error.reason._tag, error.isRetryable], [status, tag, retryable])
                if (status === 429 && retryable) assert.strictEqual(Duration.toSeconds(error.retryAfter!), 7)
                assert.strictEqual(
                  OpenAi.isContextLengthExceeded(error),
                  JSON.stringify(body).includes("context_length")
                )
                const shown = Exit.isFailure(exit)
                  ? `${inspect(exit, { depth: 20 })}${JSON.stringify(exit)}${Cause.pretty(exit.cause)}`
                  : ""
                assert.notInclude(shown, secret)
              }
            })
          )

          it.effect("distinguishes broken connections and broken answers", () =>
            Effect.gen(function* () {
              const network = [{ resetAfter: 0 }, { text: "partial answer, long enough", resetAfter: 30 }] as const
              for (const reply of network) {
                const error = errorOf((yield* use(text, [reply])).exit)
                assert.deepStrictEqual([error.reason._tag, error.isRetryable], ["NetworkError", true])
              }
              const malformed =
                form === "run"
                  ? ["<html>", '{"choices":3}', "[]"]
                  : ["data: {oops\n\n", 'data: "x"\n\n', 'data: {"choices":[3]}\n\n']
              for (const raw of malformed) {
                const error = errorOf((yield* use(text, [{ raw }])).exit)
                assert.deepStrictEqual(
                  [raw, error.reason._tag, error.isRetryable],
                  [raw, "InvalidResponseError", false]
                )
              }
              if (form === "stream") {
                const error = errorOf((yield* use(text, [{ text: "never finished", noFinish: true }])).exit)
                assert.deepStrictEqual([error.reason._tag, error.isRetryable], ["NetworkError", true])
              }
              const refused = errorOf(
                yield* runOn(text.run("go").pipe(Effect.provide(OpenAi.layer(options("http://127.0.0.1:1", api)))))
              )
              assert.strictEqual(refused.reason._tag, "NetworkError")
            })
          )

          it.effect("aborts on the wire when it times out, in the beginning and in the middle", () =>
            Effect.gen(function* () {
              const replies: ReadonlyArray<Reply> =
                form === "run" ? [{ hang: true }] : [{ hang: true }, { text: "abcdefghi", paceMs: 2000 }]
              for (const reply of replies) {
                const { exit } = yield* use(text, [reply], "go", { timeout: "500 millis" })
                assert.strictEqual(errorOf(exit).reason._tag, "NetworkError")
                yield* allAborted(1)
              }
            })
          )

          it.effect("aborts on the wire when it is interrupted", () =>
            Effect.gen(function* () {
              const server = yield* ChildServer.Server
              const url = yield* server.script({
                text: "abc".repeat(300),
                paceMs: 30,
                ...(form === "run" ? { hang: true } : {})
              })
              const limited = Effect.timeoutOption(
                form === "run" ? text.run("go") : Stream.runDrain(text.stream("go")),
                "500 millis"
              )
              yield* runOn(Effect.provide(limited, OpenAi.layer(options(url, api))))
              yield* allAborted(1)
            })
          )

          it.effect("passes options through, per Layer and per call", () =>
            Effect.gen(function* () {
              const server = yield* ChildServer.Server
              const url = yield* server.script({ text: "ok" })
              const layered = OpenAi.layer({
                ...options(url, api),
                options: { temperature: 0.1, maxOutputTokens: 50, body: { vendor: 1 } }
              })
              const called = form === "run" ? Effect.asVoid(text.run("go")) : Stream.runDrain(text.stream("go"))
              valueOf(
                yield* runOn(
                  called.pipe(
                    OpenAi.withOptions({ temperature: 0.9, reasoningEffort: "low", model: "other" }),
                    Effect.provide(layered)
                  )
                )
              )
              const { body } = (yield* server.seen)[0]!
              assert.deepStrictEqual([body["temperature"], body["vendor"], body["model"]], [0.9, 1, "other"])
              assert.strictEqual(api === "chat" ? body["max_tokens"] : body["max_output_tokens"], 50)
              assert.strictEqual(api === "chat" ? body["reasoning_effort"] : body["reasoning"].effort, "low")
            })
          )

          it.effect("retries whole steps by the agent's schedule, and only transient failures", () =>
            Effect.gen(function* () {
              const retrying = Agent.make("text", { retry: Schedule.recurs(3) })
              const good = yield* use(retrying, [{ status: 500 }, { resetAfter: 0 }, { text: "third time" }])
              assert.strictEqual(good.output, "third time")
              assert.strictEqual(good.seen.length, 3)
              const bad = yield* use(retrying, [{ status: 400 }])
              assert.isTrue(Exit.isFailure(bad.exit))
              assert.strictEqual(bad.seen.length, 1)
            })
          )
        })
      }

      it.effect(`${edge} ${api}: works for effect/ai's own functions, retried by the Layer's own policy`, () =>
        Effect.gen(function* () {
          const server = yield* ChildServer.Server
          const url = yield* server.script({ status: 503 }, { text: '{"n":4}' }, { status: 503 }, { text: "streamed" })
          const Model = OpenAi.layer({ ...options(url, api), retry: Schedule.recurs(2) })
          const object = LanguageModel.generateObject({ prompt: "go", schema: Schema.Struct({ n: Schema.Int }) })
          assert.deepStrictEqual(valueOf(yield* runOn(Effect.provide(object, Model))).value, { n: 4 })
          const parts = LanguageModel.streamText({ prompt: "go" }).pipe(Stream.runCollect)
          const types = valueOf(yield* runOn(Effect.provide(parts, Model))).map((part) => part.type)
          assert.deepStrictEqual([types[0], types.at(-1)], ["response-metadata", "finish"])
        })
      )
    }
  }

  it.effect("runs three requests at once on the sync edge", () =>
    Effect.gen(function* () {
      const server = yield* ChildServer.Server
      // One after the other none of them would ever be answered.
      const url = yield* server.script({ text: "ok", barrier: 3 })
      const model = OpenAi.layer({ ...options(url, "chat"), timeout: "20 seconds" })
      const agent = Agent.make("text", { retry: "none" })
      const three = Effect.all([agent.run("1"), agent.run("2"), agent.run("3")], { concurrency: "unbounded" })
      assert.deepStrictEqual(valueOf(yield* exitOn.sync(Effect.provide(three, model))), ["ok", "ok", "ok"])
    })
  )

  it.effect("needs a key for OpenAI itself, and none elsewhere", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        Agent.make("a", {})
          .run("go")
          .pipe(Effect.provide(OpenAi.layer({ model: "m", baseUrl: "https://api.openai.com/v1" })))
      )
      assert.include(String((error as { readonly message: string }).message), "OPENAI_API_KEY")
      const server = yield* ChildServer.Server
      const url = yield* server.script({ text: "ok" })
      assert.strictEqual(
        yield* Agent.make("a", {})
          .run("go")
          .pipe(Effect.provide(OpenAi.layer({ model: "m", baseUrl: url }))),
        "ok"
      )
    })
  )
})
