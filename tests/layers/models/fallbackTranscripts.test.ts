/** A conversation that goes on at another provider in its middle: what each one's server is sent of what another one has said. */
import { createAnthropic } from "@ai-sdk/anthropic"
import { createGoogle } from "@ai-sdk/google"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, Schema, type Scope } from "effect"
import {
  Agent,
  AgentTool,
  AiSdk,
  Compaction,
  Fallback,
  Goal,
  Guardrail,
  Notice,
  OpenAi,
  Redaction,
  Replan
} from "troupe"
import { problemWith } from "../../support/openAiRules.ts"
import { type Answer, json, serve, type Wire } from "../../support/wire.ts"

const secret = "SIGNED-BY"
const tool = AgentTool.fromFunction("look_up", {
  description: "Looks",
  parameters: Schema.Struct({ at: Schema.String }),
  execute: ({ at }) => `seen at ${at}, by ada@example.com`
})
const middleware = [
  Redaction.make(),
  Compaction.make({ window: 100_000, policies: [Compaction.offload({ above: 1_000 }), Compaction.dropOldest] }),
  Guardrail.input("fine", () => Effect.succeed(Guardrail.pass)),
  Guardrail.output("held", () => Effect.succeed(Guardrail.pass), { hold: true }),
  Guardrail.toolOutput("fine too", () => Effect.succeed(Guardrail.pass)),
  Notice.make({ zone: "UTC", directory: "/srv" }),
  Replan.make({ every: 20 }),
  Goal.make({ until: () => Effect.succeed(true) })
]
const agent = Agent.make("agent", { instructions: "Look.", tools: [tool], middleware })

/** What a provider's server answers, and what is right for it in a request. */
interface Provider {
  /** A call of the tool, with a thought that the provider has signed. */
  readonly calls: (n: number) => object
  readonly says: object
  readonly layer: (url: string) => Fallback.Model<unknown>
  /** The ids of calls and of their results in a request, in order. */
  readonly idsIn: (body: any) => ReadonlyArray<readonly [kind: "call" | "result", id: string]>
  /** The ids that the server takes. */
  readonly idRule: RegExp
  readonly problem?: (body: any) => string | undefined
}

const fn = (n: number, at: string) => ({ id: `call_${at}_${n}`, name: "look_up", arguments: JSON.stringify({ at }) })
const signed = (by: string) => `${secret}-${by}`
const own = { apiKey: Redacted.make("k"), retry: "none" as const }

const responses = (host: string, name: string): Provider => ({
  calls: (n) => ({
    id: "r",
    model: "m",
    status: "completed",
    output: [
      {
        type: "reasoning",
        id: `rs_${n}`,
        encrypted_content: signed(name),
        summary: [{ type: "summary_text", text: "why" }]
      },
      {
        type: "function_call",
        id: `fc_${n}`,
        call_id: fn(n, name).id,
        name: "look_up",
        arguments: fn(n, name).arguments
      }
    ]
  }),
  says: {
    id: "r",
    model: "m",
    status: "completed",
    output: [
      {
        type: "message",
        id: "m_1",
        role: "assistant",
        content: [{ type: "output_text", text: "done", annotations: [] }]
      }
    ]
  },
  layer: (url) => OpenAi.layer({ model: "gpt-5", baseUrl: url.replace("127.0.0.1", host), api: "responses", ...own }),
  idsIn: ({ input }) =>
    input.flatMap((item: any) =>
      item.type === "function_call"
        ? [["call", item.call_id]]
        : item.type === "function_call_output"
          ? [["result", item.call_id]]
          : []
    ),
  idRule: /^.{1,64}$/,
  problem: (body) => problemWith("/v1/responses", body)
})

const providers = {
  openai: responses("127.0.0.1", "openai"),
  // Another server of the same kind, which cannot read what the first one has encrypted.
  azure: responses("localhost", "azure"),
  chat: {
    calls: (n) => ({
      id: "c",
      model: "m",
      choices: [
        {
          index: 0,
          finish_reason: "tool_calls",
          message: {
            role: "assistant",
            content: null,
            reasoning_content: signed("chat"),
            tool_calls: [
              {
                id: fn(n, "chat").id,
                type: "function",
                function: { name: "look_up", arguments: fn(n, "chat").arguments }
              }
            ]
          }
        }
      ]
    }),
    says: {
      id: "c",
      model: "m",
      choices: [{ index: 0, finish_reason: "stop", message: { role: "assistant", content: "done" } }]
    },
    layer: (url) => OpenAi.layer({ model: "m", baseUrl: url, api: "chat", ...own }),
    idsIn: ({ messages }) =>
      messages.flatMap((message: any) => [
        ...(message.tool_calls ?? []).map(({ id }: any) => ["call", id]),
        ...(message.role === "tool" ? [["result", message.tool_call_id]] : [])
      ]),
    idRule: /^.{1,40}$/
  },
  anthropic: {
    calls: (n) => ({
      id: "msg",
      type: "message",
      role: "assistant",
      model: "claude-sonnet-4-5",
      content: [
        { type: "thinking", thinking: "why", signature: signed("anthropic") },
        { type: "tool_use", id: `toolu_${n}`, name: "look_up", input: { at: "anthropic" } }
      ],
      stop_reason: "tool_use",
      usage: { input_tokens: 5, output_tokens: 7 }
    }),
    says: {
      id: "msg",
      type: "message",
      role: "assistant",
      model: "claude-sonnet-4-5",
      content: [{ type: "text", text: "done" }],
      stop_reason: "end_turn",
      usage: { input_tokens: 5, output_tokens: 7 }
    },
    layer: (url) =>
      AiSdk.layer(createAnthropic({ apiKey: "k", baseURL: `${url}/v1` })("claude-sonnet-4-5"), { retry: "none" }),
    idsIn: ({ messages }) =>
      messages.flatMap(({ content }: any) =>
        (Array.isArray(content) ? content : []).flatMap((part: any) =>
          part.type === "tool_use"
            ? [["call", part.id]]
            : part.type === "tool_result"
              ? [["result", part.tool_use_id]]
              : []
        )
      ),
    idRule: /^[a-zA-Z0-9_-]{1,64}$/
  },
  gemini: {
    calls: () => ({
      candidates: [
        {
          content: {
            role: "model",
            parts: [{ functionCall: { name: "look_up", args: { at: "gemini" } }, thoughtSignature: signed("gemini") }]
          },
          finishReason: "STOP"
        }
      ],
      usageMetadata: { promptTokenCount: 4, candidatesTokenCount: 2, totalTokenCount: 6 }
    }),
    says: {
      candidates: [{ content: { role: "model", parts: [{ text: "done" }] }, finishReason: "STOP" }],
      usageMetadata: { promptTokenCount: 4, candidatesTokenCount: 2, totalTokenCount: 6 }
    },
    layer: (url) => AiSdk.layer(createGoogle({ apiKey: "k", baseURL: url })("gemini-3-pro-preview"), { retry: "none" }),
    idsIn: ({ contents }) =>
      contents.flatMap(({ parts }: any) =>
        parts.flatMap((part: any) =>
          part.functionCall !== undefined
            ? [["call", part.functionCall.name]]
            : part.functionResponse !== undefined
              ? [["result", part.functionResponse.name]]
              : []
        )
      ),
    idRule: /./
  }
} satisfies Record<string, Provider> as Record<string, Provider>

const names = Object.keys(providers)
const down = json({ error: { message: "overloaded", type: "server_error" } }, 500)

/** A server that answers each of the steps of `own`, and is down in the others. */
const scripted = (
  provider: Provider,
  steps: ReadonlyArray<"call" | "say" | "down">
): Effect.Effect<Wire, never, Scope.Scope> =>
  serve(
    ...steps.map((step, n): Answer =>
      step === "down" ? down : json(step === "call" ? provider.calls(n) : provider.says)
    )
  )

/** Each call is followed by its result, and all ids are such as the server takes. */
const assertPaired = (name: string, { idRule, idsIn, problem }: Provider, body: any): void => {
  const ids = idsIn(body)
  assert.isAbove(ids.length, 0)
  for (const [index, [kind, id]] of ids.entries()) {
    assert.match(id, idRule)
    assert.strictEqual(kind, index % 2 === 0 ? "call" : "result", `${name} ${JSON.stringify(ids)}`)
    if (kind === "result") assert.strictEqual(id, ids[index - 1]![1])
  }
  assert.strictEqual(problem?.(body), undefined)
}

describe("a conversation that goes on at another provider", () => {
  for (const first of names) {
    for (const second of names.filter((name) => name !== first)) {
      it.live(`of ${first}, at ${second}, and then at ${first} again`, () =>
        Effect.gen(function* () {
          const [a, b] = [providers[first]!, providers[second]!]
          // The first one answers steps 1 and 3, the second one step 2.
          const one = yield* scripted(a, ["call", "down", "say"])
          const two = yield* scripted(b, ["call"])
          const model = Fallback.layer([a.layer(one.url), b.layer(two.url)], { breaker: "none" })
          const { output, transcript } = yield* Effect.provide(agent.result("Go."), model)
          assert.strictEqual(output, "done")
          const [other] = two.bodies
          const last = one.bodies[2]
          const text = (body: unknown) => JSON.stringify(body)
          // What another provider has signed is not sent, and its call and result are.
          assert.notInclude(text(other), signed(first))
          assertPaired(second, b, other)
          assert.include(text(other), `seen at ${first}`)
          assert.notInclude(text(last), signed(second))
          assertPaired(first, a, last)
          assert.include(text(last), `seen at ${second}`)
          // What the provider itself has signed comes back to it.
          assert.include(text(last), signed(first))
          // Middleware has changed nothing of that, and did its work.
          assert.notInclude(text(last), "ada@example.com")
          assert.include(text(last), "[EMAIL_1]")
          assert.include(text(transcript.content), "ada@example.com")
        })
      )
    }
  }
})
