import { createServer } from "node:http"
import * as conventions from "@opentelemetry/semantic-conventions/incubating"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import { AiError } from "effect/ai"
import { FetchHttpClient } from "effect/http"
import { Otlp } from "effect/observability"
import { Agent, AgentTool, OpenAi, Runner, Telemetry, TestModel } from "troupe"
import { serve } from "../support/openAiServer.ts"

interface Attribute {
  readonly key: string
  readonly value: Record<string, unknown>
}
interface Span {
  readonly name: string
  readonly kind: number
  readonly spanId: string
  readonly parentSpanId?: string
  readonly attributes: ReadonlyArray<Attribute>
  readonly status: { readonly code: number; readonly message?: string }
}

/** A receiver on loopback that keeps what it is sent. */
const receiver = Effect.acquireRelease(
  Effect.callback<{
    readonly url: string
    readonly bodies: Array<{ readonly path: string; readonly body: any }>
    readonly close: () => void
  }>((resume) => {
    const bodies: Array<{ readonly path: string; readonly body: any }> = []
    const server = createServer((req, res) => {
      let text = ""
      req.on("data", (chunk) => (text += chunk))
      req.on("end", () => {
        bodies.push({ path: req.url ?? "", body: JSON.parse(text) })
        res.writeHead(200, { "content-type": "application/json" })
        res.end("{}")
      })
    })
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { readonly port: number }
      resume(Effect.succeed({ url: `http://127.0.0.1:${port}`, bodies, close: () => server.close() }))
    })
  }),
  ({ close }) => Effect.sync(close)
)

/** Runs a program as a user would wire it, and gives what the receiver got once everything was flushed. */
const exported = <A, E>(program: Effect.Effect<A, E>) =>
  Effect.gen(function* () {
    const { bodies, url } = yield* receiver
    const Telemetries = Otlp.layerJson({ baseUrl: url, resource: { serviceName: "test" } }).pipe(
      Layer.provide(FetchHttpClient.layer)
    )
    yield* Effect.exit(program.pipe(Effect.provide(Telemetries)))
    const spans = bodies
      .filter(({ path }) => path.endsWith("/v1/traces"))
      .flatMap(
        ({ body }) =>
          body.resourceSpans.flatMap((one: any) =>
            one.scopeSpans.flatMap((scope: any) => scope.spans as Array<Span>)
          ) as Array<Span>
      )
    const metrics = bodies
      .filter(({ path }) => path.endsWith("/v1/metrics"))
      .flatMap(
        ({ body }) =>
          body.resourceMetrics.flatMap((one: any) =>
            one.scopeMetrics.flatMap((scope: any) => scope.metrics as Array<any>)
          ) as Array<any>
      )
    return { spans, metrics, text: JSON.stringify(bodies) }
  })

const valueOf = (span: Span, key: string): unknown => {
  const value = span.attributes.find((attribute) => attribute.key === key)?.value
  return value === undefined ? undefined : Object.values(value)[0]
}
const named = (spans: ReadonlyArray<Span>, name: string): Span =>
  spans.find((span) => span.name === name) ??
  assert.fail(`no span ${name} among ${spans.map((span) => span.name).join(", ")}`)

const known = new Set(
  Object.entries(conventions).flatMap(([name, value]) => (name.startsWith("ATTR_") ? [value as string] : []))
)
const deprecated = [
  "gen_ai.system",
  "gen_ai.prompt",
  "gen_ai.completion",
  "gen_ai.usage.prompt_tokens",
  "gen_ai.usage.completion_tokens"
]
const marks = {
  instructions: "MARK-instructions",
  input: "MARK-input",
  argument: "MARK-argument",
  result: "MARK-result",
  answer: "MARK-answer",
  inner: "MARK-inner"
}
const contentKeys = [
  "gen_ai.input.messages",
  "gen_ai.output.messages",
  "gen_ai.system_instructions",
  "gen_ai.tool.call.arguments",
  "gen_ai.tool.call.result"
]

const look = AgentTool.fromFunction({
  name: "look",
  description: "Looks something up",
  parameters: Schema.Struct({ word: Schema.String }),
  execute: () => marks.result
})
const inner = Agent.make("inner", { description: "Helps", instructions: "Help." })
const outer = Agent.make("outer", {
  description: "Does it all",
  instructions: marks.instructions,
  tools: [look, Runner.asTool(inner)]
})
const usage = {
  inputTokens: { total: 30, cacheRead: 10, cacheWrite: 2 },
  outputTokens: { total: 9, reasoning: 4 }
} as never
const model = () =>
  TestModel.layer((call) => {
    const system = JSON.stringify(call.prompt.content[0])
    if (system.includes("Help.")) return marks.inner
    return call.prompt.content.some((message) => message.role === "tool")
      ? { text: marks.answer, usage }
      : {
          ...TestModel.toolCalls(
            { name: "look", params: { word: marks.argument } },
            { name: "inner", params: { input: marks.input } }
          ),
          usage
        }
  })

describe("telemetry, read from a real OTLP receiver", () => {
  it.live("has the spans of the GenAI conventions, one for each call, and no content", () =>
    Effect.gen(function* () {
      const { metrics, spans, text } = yield* exported(outer.run(marks.input).pipe(Effect.provide(model())))
      assert.sameMembers(
        spans.map((span) => span.name),
        [
          "invoke_agent outer",
          "chat test",
          "chat test",
          "execute_tool look",
          "execute_tool inner",
          "invoke_agent inner",
          "chat test"
        ]
      )
      const agent = named(spans, "invoke_agent outer")
      const tool = named(spans, "execute_tool inner")
      const nested = named(spans, "invoke_agent inner")
      assert.strictEqual(tool.parentSpanId, agent.spanId)
      assert.strictEqual(nested.parentSpanId, tool.spanId)
      assert.deepStrictEqual(
        spans
          .filter((span) => span.name === "chat test")
          .map((span) => [span.parentSpanId, span.kind])
          .toSorted(),
        [
          [agent.spanId, 3],
          [agent.spanId, 3],
          [nested.spanId, 3]
        ].toSorted()
      )
      for (const span of spans) {
        for (const { key } of span.attributes) {
          if (!key.startsWith("gen_ai.")) continue
          assert.isTrue(known.has(key), `${key} is no known attribute`)
          assert.notInclude(deprecated, key)
        }
      }
      assert.strictEqual(valueOf(agent, "gen_ai.operation.name"), "invoke_agent")
      assert.strictEqual(valueOf(agent, "gen_ai.agent.name"), "outer")
      assert.strictEqual(valueOf(agent, "gen_ai.conversation.id"), valueOf(nested, "gen_ai.conversation.id"))
      assert.strictEqual(Number(valueOf(agent, "gen_ai.usage.input_tokens")), 70)
      assert.strictEqual(Number(valueOf(agent, "gen_ai.usage.cache_read.input_tokens")), 20)
      assert.strictEqual(Number(valueOf(agent, "gen_ai.usage.reasoning.output_tokens")), 8)
      const looked = named(spans, "execute_tool look")
      assert.deepStrictEqual(
        ["gen_ai.tool.name", "gen_ai.tool.type", "gen_ai.tool.call.id", "gen_ai.tool.description"].map((key) =>
          valueOf(looked, key)
        ),
        ["look", "function", "call_1", "Looks something up"]
      )
      assert.notInclude(text, "MARK")
      const tokens = metrics.find((metric) => metric.name === "gen_ai.client.token.usage")
      assert.strictEqual(tokens.unit, "{token}")
      assert.sameMembers(
        tokens.histogram.dataPoints.map((point: any) =>
          valueOf({ attributes: point.attributes } as Span, "gen_ai.token.type")
        ),
        ["input", "output"]
      )
      const duration = metrics.find((metric) => metric.name === "gen_ai.client.operation.duration")
      assert.strictEqual(duration.unit, "s")
      assert.strictEqual(Number(duration.histogram.dataPoints[0].count), 3)
    })
  )

  it.live("has content when asked for, in the opt-in attributes only", () =>
    Effect.gen(function* () {
      const { spans } = yield* exported(
        outer.run(marks.input).pipe(Effect.provide(model()), Effect.provideService(Telemetry.CaptureContent, true))
      )
      const found = new Map<string, string>()
      for (const span of spans) {
        assert.notInclude(JSON.stringify({ ...span, attributes: [] }), "MARK")
        for (const { key, value } of span.attributes) {
          if (JSON.stringify(value).includes("MARK")) {
            assert.include(contentKeys, key)
            found.set(key, (found.get(key) ?? "") + JSON.stringify(value))
          }
        }
      }
      assert.sameMembers([...found.keys()], contentKeys)
      for (const mark of Object.values(marks))
        assert.isTrue(
          [...found.values()].some((text) => text.includes(mark)),
          mark
        )
    })
  )

  it.live("names the kind of an error, never its text", () =>
    Effect.gen(function* () {
      const fails = AgentTool.fromFunction({
        name: "fails",
        description: "Fails",
        failureMode: "error",
        execute: () => Effect.fail(new Error("MARK-tool-error"))
      })
      const agent = Agent.make("agent", { tools: [fails], retry: "none" })
      const { spans, text } = yield* exported(
        Effect.gen(function* () {
          yield* Effect.exit(agent.run("MARK").pipe(Effect.provide(TestModel.layer([TestModel.toolCall("fails", {})]))))
          yield* Effect.exit(
            agent
              .run("MARK")
              .pipe(
                Effect.provide(
                  TestModel.layer([
                    TestModel.fail(new AiError.AuthenticationError({ kind: "InvalidKey", description: "MARK" }))
                  ])
                )
              )
          )
        })
      )
      const chat = spans.find((span) => span.name === "chat test" && span.status.code === 2)!
      assert.strictEqual(valueOf(chat, "error.type"), "AuthenticationError")
      assert.strictEqual(named(spans, "execute_tool fails").status.code, 2)
      assert.sameMembers(
        spans.filter((span) => span.name === "invoke_agent agent").map((span) => valueOf(span, "error.type")),
        ["ToolError", "AuthenticationError"]
      )
      assert.notInclude(text, "MARK")
    })
  )

  it.live("tells server, models and options of a real request", () =>
    Effect.gen(function* () {
      const server = yield* Effect.acquireRelease(
        Effect.promise(() => serve([{ text: "hi" }])),
        (made) => Effect.sync(() => made.close())
      )
      const Model = OpenAi.layer({ model: "asked", baseUrl: server.url, options: { temperature: 0.5 } })
      const { spans } = yield* exported(Agent.make("agent", {}).run("go").pipe(Effect.provide(Model)))
      const chat = named(spans, "chat asked")
      assert.deepStrictEqual(
        [
          "gen_ai.provider.name",
          "gen_ai.request.model",
          "gen_ai.response.model",
          "gen_ai.response.id",
          "server.address"
        ].map((key) => valueOf(chat, key)),
        ["openai", "asked", "served", "chat_1", "127.0.0.1"]
      )
      assert.strictEqual(Number(valueOf(chat, "gen_ai.request.temperature")), 0.5)
      assert.strictEqual(String(valueOf(chat, "server.port")), new URL(server.url).port)
    })
  )
})
