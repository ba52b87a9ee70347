/** What the field has reported of Anthropic, Google and servers that speak OpenAI's language: an answer in each of these forms has one verdict, whole and streamed. */
import { createAnthropic } from "@ai-sdk/anthropic"
import { createGoogle } from "@ai-sdk/google"
import { createOpenAICompatible } from "@ai-sdk/openai-compatible"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Schema } from "effect"
import { Agent, AgentTool, AiSdk } from "troupe"
import { collect } from "../support/grammar.ts"
import { type Answer, json, serve, sse } from "../support/wire.ts"

type Blocks = ReadonlyArray<readonly [start: object, ...deltas: ReadonlyArray<object>]>

const message = (content: ReadonlyArray<object>, stop: string | null) => ({
  id: "msg_1",
  type: "message",
  role: "assistant",
  model: "m",
  content,
  stop_reason: stop,
  usage: { input_tokens: 5, output_tokens: 7 }
})

/** A whole answer of Anthropic's, or the same as it streams. */
const claude = (content: ReadonlyArray<object>, blocks: Blocks, stop: string): Answer => {
  const events = [
    { type: "message_start", message: message([], null) },
    ...blocks.flatMap(([start, ...deltas], index) => [
      { type: "content_block_start", index, content_block: start },
      ...deltas.map((delta) => ({ type: "content_block_delta", index, delta })),
      { type: "content_block_stop", index }
    ]),
    { type: "message_delta", delta: { stop_reason: stop }, usage: { output_tokens: 7 } },
    { type: "message_stop" }
  ]
  return (response, body, ...rest) =>
    (body.stream === true ? sse(events) : json(message(content, stop)))(response, body, ...rest)
}

/** A whole answer of Gemini's, or the same as it streams. */
const gemini =
  (answer: object): Answer =>
  (response, body, count, request) =>
    (request.url?.includes("stream") === true ? sse([answer]) : json(answer))(response, body, count, request)

const add = AgentTool.fromFunction("add", {
  description: "Adds",
  parameters: Schema.Struct({ a: Schema.Finite }),
  execute: ({ a }) => a
})
const agent = Agent.make("agent", { tools: [add], retry: "none" })

const models = {
  claude: (url: string) =>
    AiSdk.layer(createAnthropic({ apiKey: "k", baseURL: `${url}/v1` })("claude-sonnet-4-5"), { retry: "none" }),
  gemini: (url: string) =>
    AiSdk.layer(createGoogle({ apiKey: "k", baseURL: url })("gemini-3-pro-preview"), { retry: "none" })
}

const text = (words: string) => [{ type: "text", text: words }]
const textBlocks = (words: string): Blocks => [
  [
    { type: "text", text: "" },
    { type: "text_delta", text: words }
  ]
]
const said = claude(text("Done."), textBlocks("Done."), "end_turn")
const use = { type: "tool_use", id: "tu_1", name: "add", input: {} }

interface Case {
  readonly by: keyof typeof models
  readonly answers: ReadonlyArray<Answer>
  /** The answer, or the tag of the error. */
  readonly verdict: string
}

const cases: Readonly<Record<string, Case>> = {
  "Claude says nothing after a tool's result": {
    by: "claude",
    answers: [
      claude([{ ...use, input: { a: 1 } }], [[use, { type: "input_json_delta", partial_json: '{"a":1}' }]], "tool_use"),
      claude([], [], "end_turn")
    ],
    verdict: "EmptyTurn"
  },
  "Claude refuses": {
    by: "claude",
    answers: [claude([], [], "refusal")],
    verdict: "ModelRefused"
  },
  "Claude's answer is cut at the limit": {
    by: "claude",
    answers: [claude(text("Do"), textBlocks("Do"), "max_tokens")],
    verdict: "OutputTruncated"
  },
  "Claude calls a tool with no arguments at all, and with text alongside it": {
    by: "claude",
    answers: [claude([...text("Let me see."), use], [...textBlocks("Let me see."), [use]], "tool_use"), said],
    verdict: "Done."
  },
  "Claude pauses in a turn of its own tools, and goes on": {
    by: "claude",
    answers: [claude(text("Searching. "), textBlocks("Searching. "), "pause_turn"), said],
    verdict: "Searching. Done."
  },
  "Claude's thoughts are redacted": {
    by: "claude",
    answers: [
      claude(
        [{ type: "redacted_thinking", data: "SEALED" }, ...text("Done.")],
        [[{ type: "redacted_thinking", data: "SEALED" }], ...textBlocks("Done.")],
        "end_turn"
      )
    ],
    verdict: "Done."
  },
  "Gemini generates nothing": {
    by: "gemini",
    answers: [gemini({ candidates: [], usageMetadata: { promptTokenCount: 1 } })],
    verdict: "ModelError"
  },
  "Gemini's candidate has no content": {
    by: "gemini",
    answers: [gemini({ candidates: [{ finishReason: "STOP", index: 0 }] })],
    verdict: "EmptyTurn"
  },
  "Gemini blocks an answer for safety": {
    by: "gemini",
    answers: [gemini({ candidates: [{ content: { parts: [] }, finishReason: "SAFETY" }] })],
    verdict: "ModelRefused"
  },
  "Gemini ends with a call and the reason STOP": {
    by: "gemini",
    answers: [
      gemini({
        candidates: [{ content: { parts: [{ functionCall: { name: "add", args: { a: 1 } } }] }, finishReason: "STOP" }]
      }),
      gemini({ candidates: [{ content: { parts: [{ text: "Done." }] }, finishReason: "STOP" }] })
    ],
    verdict: "Done."
  },
  "Gemini sends a thought without its text, for its signature": {
    by: "gemini",
    answers: [
      gemini({
        candidates: [
          {
            content: { parts: [{ text: "Done." }, { text: "", thoughtSignature: "SIG" }] },
            finishReason: "STOP"
          }
        ]
      })
    ],
    verdict: "Done."
  }
}

describe("AiSdk", () => {
  for (const [name, { answers, by, verdict }] of Object.entries(cases)) {
    it.live(name, () =>
      Effect.gen(function* () {
        const verdictOf = (exit: Exit.Exit<unknown, unknown>): unknown =>
          Exit.isSuccess(exit) ? exit.value : (Cause.squash(exit.cause) as { readonly _tag: string })._tag
        const server = yield* serve(...answers)
        const whole = yield* Effect.exit(Effect.provide(agent.run("Go"), models[by](server.url)))
        assert.strictEqual(verdictOf(whole), verdict)
        const again = yield* serve(...answers)
        const { events, exit } = yield* Effect.provide(collect(agent, "Go"), models[by](again.url))
        const last = events.at(-1)!
        assert.strictEqual(last._tag === "RunCompleted" ? last.output : verdictOf(exit), verdict)
        assert.strictEqual(server.bodies.length, again.bodies.length)
      })
    )
  }
})

// -- servers that speak OpenAI's language in a way of their own -----------------------------------------------------------

const chunk = (delta: object, reason: string | null = null, more: object = {}) => ({
  choices: [{ index: 0, delta, finish_reason: reason }],
  ...more
})
const answer = (message: object, reason = "stop", more: object = {}) => ({
  choices: [{ index: 0, message, finish_reason: reason }],
  ...more
})

/** A whole answer of Chat Completions, or the same as it streams. */
const chat =
  (whole: object, chunks: ReadonlyArray<object>): Answer =>
  (response, body, count, request) =>
    (body.stream === true ? sse([...chunks, "[DONE]"]) : json(whole))(response, body, count, request)

const A = '{"a":5}'
const call = (args: string) => ({ id: "A", type: "function", function: { name: "add", arguments: args } })
const calls = (...args: ReadonlyArray<string>) =>
  chat(answer({ content: null, tool_calls: args.map(call) }, "tool_calls"), [
    ...args.map((one, index) => chunk({ tool_calls: [{ index, ...call(one) }] })),
    chunk({}, "tool_calls")
  ])
const hi = answer({ content: "Hi" })
const done = chat(answer({ content: "Done." }), [chunk({ content: "Done." }), chunk({}, "stop")])
const empty = { message: "", type: "", param: "", code: null }

interface Dialect {
  readonly answers: ReadonlyArray<Answer>
  /** The answer, or what the error says. */
  readonly verdict: string | RegExp
  /** The arguments with which the tool ran. */
  readonly ran?: ReadonlyArray<number>
}

const dialects: Readonly<Record<string, Dialect>> = {
  "a bill after the answer": {
    answers: [chat(hi, [chunk({ content: "Hi" }), chunk({}, "stop"), { object: "bill", billing: { eur: 1 } }])],
    verdict: "Hi"
  },
  "a list of choices that is null": {
    answers: [chat(hi, [{ choices: null }, chunk({ content: "Hi" }), chunk({}, "stop")])],
    verdict: "Hi"
  },
  "sources before the answer": {
    answers: [chat(hi, [{ sources: [{ name: "doc" }] }, chunk({ content: "Hi" }), chunk({}, "stop")])],
    verdict: "Hi"
  },
  "a bill after an answer that was cut": {
    answers: [chat(answer({ content: "Hi" }, "length"), [chunk({ content: "Hi" }), chunk({}, "length"), { bill: 1 }])],
    verdict: /cut off|limit/
  },
  "an error that says nothing": {
    answers: [
      chat({ ...hi, error: empty }, [chunk({ content: "H" }, null, { error: empty }), chunk({ content: "i" }, "stop")])
    ],
    verdict: "Hi"
  },
  "an error that is false, at the end": {
    answers: [chat({ ...hi, error: false }, [chunk({ content: "Hi" }), chunk({}, "stop", { error: false })])],
    verdict: "Hi"
  },
  "an error that says something": {
    answers: [chat({ error: { message: "no slot" } }, [chunk({ content: "Hi" }), { error: { message: "no slot" } }])],
    verdict: /no slot/
  },
  "a call that comes twice": { answers: [calls(A, A), done], verdict: "Done.", ran: [5] },
  "a call that comes first without its arguments": { answers: [calls("", A), done], verdict: "Done.", ran: [5] },
  "two calls under one id": { answers: [calls(A, '{"a":6}'), done], verdict: "Done.", ran: [5, 6] },
  "arguments that are encoded twice": { answers: [calls(JSON.stringify(A)), done], verdict: "Done.", ran: [5] },
  "arguments in a code fence": { answers: [calls(`\`\`\`json\n${A}\n\`\`\``), done], verdict: "Done.", ran: [5] },
  "a limit in the server's own words": {
    answers: [chat({ code: 1002, message: "rate limited" }, [{ code: 1002, message: "rate limited" }])],
    verdict: /rate limited \(RateLimitError\)/
  },
  "an empty account in the words of one vendor": {
    answers: [
      chat({ choices: null, base_resp: { status_code: 1008, status_msg: "insufficient balance" } }, [
        { choices: null, base_resp: { status_code: 1008, status_msg: "insufficient balance" } }
      ])
    ],
    verdict: /insufficient balance \(QuotaExhaustedError\)/
  }
}

describe("AiSdk reads of compatible servers", () => {
  for (const [name, { answers, ran = [], verdict }] of Object.entries(dialects)) {
    it.live(name, () =>
      Effect.gen(function* () {
        const seen: Array<number> = []
        const noted = AgentTool.fromFunction("add", {
          description: "Adds",
          parameters: Schema.Struct({ a: Schema.optionalKey(Schema.Finite) }),
          execute: ({ a = -1 }) => seen.push(a)
        })
        const self = Agent.make("agent", { tools: [noted], retry: "none" })
        const streamed = Effect.flatMap(collect(self, "Go"), ({ events, exit }) => {
          const last = events.at(-1)!
          return Effect.as(exit, last._tag === "RunCompleted" ? last.output : undefined)
        })
        for (const run of [self.run("Go"), streamed]) {
          const server = yield* serve(...answers)
          const model = createOpenAICompatible({ name: "local", baseURL: `${server.url}/v1` })("m")
          const asked = Effect.catch(run, (error) => Effect.succeed(error.message))
          const output = String(yield* Effect.provide(asked, AiSdk.layer(model, { retry: "none" })))
          if (typeof verdict === "string") assert.strictEqual(output, verdict)
          else assert.match(output, verdict)
          assert.deepStrictEqual(seen.splice(0), ran)
          const ids = server.bodies.at(-1).messages.flatMap((one: { tool_call_id?: string }) => one.tool_call_id ?? [])
          assert.strictEqual(new Set(ids).size, ran.length)
        }
      })
    )
  }

  it.live("tokens that DeepSeek has read from its cache", () =>
    Effect.gen(function* () {
      const usage = { prompt_tokens: 100, completion_tokens: 5, prompt_cache_hit_tokens: 80 }
      const server = yield* serve(json({ ...hi, usage }))
      const model = createOpenAICompatible({ name: "deepseek", baseURL: `${server.url}/v1` })("m")
      const result = yield* Effect.provide(Agent.make("agent", {}).result("Go"), AiSdk.layer(model))
      assert.deepInclude(result.usage.inputTokens, { total: 100, uncached: 20, cacheRead: 80 })
    })
  )
})
