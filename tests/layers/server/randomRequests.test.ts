/** Requests of every protocol with odd values anywhere in them: each is answered, and none is a surprise to the server. */
import { assert, it } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import { SessionStore, TraceStore } from "troupe"
import { cases } from "../../support/cases.ts"
import { handling, post } from "../../support/agentServer.ts"
import { guide, model, payer } from "../../support/serverClients.ts"

const odd: ReadonlyArray<Schema.Json> = [
  null,
  [],
  {},
  "",
  -1,
  1.5,
  1e308,
  true,
  " ",
  "\u0000",
  "\ud800",
  "💥",
  "__proto__",
  "constructor",
  "x".repeat(5000),
  [[[[]]]],
  [null],
  { toString: 1, length: 3 },
  { role: "user" },
  { type: "text" },
  "data:,",
  "https://",
  "call_run_x_0_abc",
  "msg_run_x_00000000000000000000000000000000"
]

const rpc = (method: string, params: Schema.Json) => ({ jsonrpc: "2.0", id: 1, method, params })
const message = {
  messageId: "m",
  role: "ROLE_USER",
  contextId: "c",
  taskId: "",
  parts: [{ text: "Hi" }, { data: { a: 1 } }]
}
const picture = "data:image/png;base64,AA=="
const bodies: ReadonlyArray<readonly [path: string, body: Schema.Json]> = [
  [
    "/runners/guide",
    { input: [{ role: "user", content: [{ type: "text", text: "Hi" }] }], session: "s", detached: false }
  ],
  ["/runners/payer/stream", { input: "Hi", session: "s" }],
  ["/runners/payer", { answers: { a: { approved: true } }, session: "s" }],
  ["/runs/run_x/input", { input: "Hi", delivery: "steer" }],
  ["/runs/run_x/approvals", { a: { approved: true, reason: "r", params: {} } }],
  [
    "/v1/chat/completions",
    {
      model: "guide",
      messages: [
        { role: "system", content: "Be brief." },
        { role: "user", content: [{ type: "image_url", image_url: { url: picture } }] },
        {
          role: "assistant",
          tool_calls: [{ id: "c", type: "function", function: { name: "locate", arguments: "{}" } }]
        },
        { role: "tool", tool_call_id: "c", content: "x" }
      ],
      stream: true,
      stream_options: { include_usage: true },
      tools: [{ type: "function", function: { name: "locate" } }]
    }
  ],
  [
    "/v1/responses",
    {
      model: "guide",
      input: [
        { role: "user", content: [{ type: "input_image", image_url: picture }] },
        { type: "function_call", call_id: "c", name: "n", arguments: "{}" },
        { type: "function_call_output", call_id: "c", output: "x" }
      ],
      instructions: "Be brief.",
      previous_response_id: "resp_run_x",
      metadata: { a: "b" }
    }
  ],
  [
    "/ui/payer",
    {
      messages: [
        { id: "1", role: "user", parts: [{ type: "file", url: picture, mediaType: "image/png" }] },
        {
          id: "msg_run_x_0",
          role: "assistant",
          parts: [
            { type: "tool-pay", toolCallId: "c", state: "approval-responded", approval: { id: "a", approved: true } }
          ]
        }
      ]
    }
  ],
  [
    "/ag-ui/payer",
    {
      threadId: "t",
      runId: "r",
      messages: [
        { id: "1", role: "user", content: [{ type: "text", text: "x" }] },
        { id: "2", role: "assistant", content: "x", toolCalls: [{ id: "c" }] },
        { id: "3", role: "tool", toolCallId: "c", content: "x" }
      ],
      tools: [{ name: "pay" }],
      context: [{ description: "a", value: "b" }],
      resume: [{ interruptId: "msg_x-0", status: "resolved", payload: { approved: true } }]
    }
  ],
  ["/a2a/guide", rpc("SendMessage", { message, configuration: { returnImmediately: false } })],
  ["/a2a/guide", rpc("SendStreamingMessage", { message })],
  ["/a2a/guide", rpc("CancelTask", { id: "run_x" })]
]

/** Changes a value here and there, as the numbers say, which are used one after the other. */
const changed = (value: Schema.Json, numbers: ReadonlyArray<number>): Schema.Json => {
  let at = 0
  const next = () => numbers[at++ % numbers.length]!
  const change = (one: Schema.Json): Schema.Json => {
    const number = next()
    if (number % 9 === 0) return odd[number % odd.length]!
    if (Array.isArray(one)) return one.map(change)
    if (typeof one !== "object" || one === null) return one
    return Object.fromEntries(
      Object.entries(one).flatMap(([key, field]) => (next() % 23 === 0 ? [] : [[key, change(field)]]))
    )
  }
  return change(value)
}

it.effect.prop(
  "an odd request is answered or refused, and never fails unexpectedly",
  {
    numbers: Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 10_000 }))).check(
      Schema.isMinLength(20),
      Schema.isMaxLength(40)
    )
  },
  ({ numbers }) =>
    Effect.gen(function* () {
      const stores = Layer.mergeAll(
        model(() => "Hello."),
        SessionStore.layerMemory,
        TraceStore.layerMemory
      )
      const handler = yield* handling({ runners: { guide, payer }, clientInstructions: "append" }, stores)
      for (const [index, [path, body]] of bodies.entries()) {
        const given = JSON.stringify(changed(body, numbers.slice(index)))
        const [status, text] = yield* Effect.promise(async () => {
          const answer = await handler(post(path, given))
          return [answer.status, await answer.text()] as const
        })
        assert.isBelow(status, 500, `${path} ${given}: ${text}`)
        assert.notInclude(text, "Something went wrong", given)
      }
    }).pipe(Effect.scoped),
  { arbitrary: { runs: cases(100) } }
)
