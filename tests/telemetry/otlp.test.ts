import { createServer } from "node:http"
import * as conventions from "@opentelemetry/semantic-conventions/incubating"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Metric, Option, Schedule, Schema, Stream } from "effect"
import { AiError, LanguageModel, Model, Tool, Toolkit } from "effect/ai"
import { FetchHttpClient } from "effect/http"
import { Otlp } from "effect/observability"
import { Agent, AgentTool, Chain, OpenAi, Parallel, Runner, Telemetry, TestModel } from "troupe"
import { serve } from "../support/openAiServer.ts"

interface Attribute {
  readonly key: string
  readonly value: Record<string, unknown>
}
interface Span {
  readonly name: string
  readonly kind: number
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly startTimeUnixNano: string
  readonly endTimeUnixNano: string
  readonly attributes: ReadonlyArray<Attribute>
  readonly status: { readonly code: number; readonly message?: string }
}

/** The names of the runners from the root to the one whose span it is. */
const pathOf = (span: Span): ReadonlyArray<unknown> => {
  const value = span.attributes.find(({ key }) => key === "troupe.path")?.value as
    | { readonly arrayValue: { readonly values: ReadonlyArray<{ readonly stringValue: string }> } }
    | undefined
  return value?.arrayValue.values.map(({ stringValue }) => stringValue) ?? []
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
    const Telemetries = Otlp.layerJson({
      baseUrl: url,
      resource: { serviceName: "test" },
      shutdownTimeout: "20 seconds"
    }).pipe(Layer.provide(FetchHttpClient.layer))
    // Metrics are kept by process; a registry of its own keeps each test's to itself.
    yield* program.pipe(Effect.provide(Telemetries), Effect.provideService(Metric.MetricRegistry, new Map()))
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
    return { bodies, spans, metrics, text: JSON.stringify(bodies) }
  })

const valueOf = (span: Pick<Span, "attributes">, key: string): unknown => {
  const value = span.attributes.find((attribute) => attribute.key === key)?.value
  return value === undefined ? undefined : Object.values(value)[0]
}
const named = (spans: ReadonlyArray<Span>, name: string): Span =>
  spans.find((span) => span.name === name) ??
  assert.fail(`no span ${name} among ${spans.map((span) => span.name).join(", ")}`)

const all = (spans: ReadonlyArray<Span>, name: string): ReadonlyArray<Span> =>
  spans.filter((span) => span.name === name)
const pointsOf = (metrics: ReadonlyArray<any>, name: string): ReadonlyArray<any> =>
  metrics.filter((metric) => metric.name === name).flatMap((metric) => metric.histogram.dataPoints)
const internal = 1
const client = 3
const ok = 1
const error = 2

const known = new Set([
  ...Object.entries(conventions).flatMap(([name, value]) => (name.startsWith("ATTR_") ? [value as string] : [])),
  // Since the conventions for generative AI have a repository of their own, the package does not have their new ones.
  "gen_ai.usage.cache_write.input_tokens",
  "gen_ai.token.modality"
])
const deprecated = [
  "gen_ai.usage.cache_creation.input_tokens",
  "gen_ai.token.type",
  "gen_ai.workflow.name",
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
const counted = [
  "input_tokens",
  "output_tokens",
  "cache_read.input_tokens",
  "cache_write.input_tokens",
  "reasoning.output_tokens"
]
const contentKeys = [
  "gen_ai.input.messages",
  "gen_ai.output.messages",
  "gen_ai.system_instructions",
  "gen_ai.tool.call.arguments",
  "gen_ai.tool.call.result"
]

const look = AgentTool.fromFunction("look", {
  description: "Looks something up",
  parameters: Schema.Struct({ word: Schema.String }),
  execute: () => marks.result
})
const inner = Agent.make("inner", { description: "Helps", instructions: "Help." })
const outer = Agent.make("outer", {
  description: "Does it all",
  instructions: marks.instructions,
  tools: [look, AgentTool.fromRunner(inner)]
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

class Sour extends Schema.TaggedError<Sour>()("Sour", { detail: Schema.String }) {}
const invalidKey = new AiError.AuthenticationError({ kind: "InvalidKey", description: "MARK-key" })

describe("telemetry, read from a real OTLP receiver", () => {
  it.live("has the spans of the GenAI conventions, one for each call, and no content", () =>
    Effect.gen(function* () {
      const { bodies, metrics, spans, text } = yield* exported(outer.run(marks.input).pipe(Effect.provide(model())))
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
      for (const { body } of bodies) {
        const [group] = body.resourceSpans ?? body.resourceMetrics ?? body.resourceLogs
        assert.strictEqual(valueOf(group.resource, "service.name"), "test")
      }
      const agent = named(spans, "invoke_agent outer")
      const looked = named(spans, "execute_tool look")
      const tool = named(spans, "execute_tool inner")
      const nested = named(spans, "invoke_agent inner")
      assert.isUndefined(agent.parentSpanId)
      assert.strictEqual(looked.parentSpanId, agent.spanId)
      assert.strictEqual(tool.parentSpanId, agent.spanId)
      assert.strictEqual(nested.parentSpanId, tool.spanId)
      assert.deepStrictEqual(
        spans
          .filter((span) => span.name === "chat test")
          .map((span) => [span.parentSpanId, span.kind])
          .toSorted(),
        [
          [agent.spanId, client],
          [agent.spanId, client],
          [nested.spanId, client]
        ].toSorted()
      )
      assert.deepStrictEqual(
        [agent, looked, tool, nested].map((span) => span.kind),
        [internal, internal, internal, internal]
      )
      for (const span of spans) {
        assert.strictEqual(span.traceId, agent.traceId)
        assert.strictEqual(span.status.code, ok)
        assert.isUndefined(valueOf(span, "error.type"))
      }
      for (const span of [...spans, ...metrics.flatMap((metric) => metric.histogram?.dataPoints ?? [])]) {
        for (const { key } of span.attributes) {
          if (!key.startsWith("gen_ai.")) continue
          assert.isTrue(known.has(key), `${key} is not a known attribute`)
          assert.notInclude(deprecated, key)
        }
      }
      assert.strictEqual(valueOf(agent, "gen_ai.operation.name"), "invoke_agent")
      assert.strictEqual(valueOf(agent, "gen_ai.agent.name"), "outer")
      const conversation = valueOf(agent, "gen_ai.conversation.id")
      assert.match(String(conversation), /./)
      for (const span of [nested, ...all(spans, "chat test")]) {
        assert.strictEqual(valueOf(span, "gen_ai.conversation.id"), conversation)
      }
      // A run's id is not what the convention means by the agent's.
      for (const span of spans) assert.isUndefined(valueOf(span, "gen_ai.agent.id"))
      const ofOuter = all(spans, "chat test").filter((span) => span.parentSpanId === agent.spanId)
      for (const span of ofOuter) {
        assert.deepStrictEqual(
          counted.map((key) => Number(valueOf(span, `gen_ai.usage.${key}`))),
          [30, 9, 10, 2, 4]
        )
      }
      assert.strictEqual(Number(valueOf(agent, "gen_ai.usage.input_tokens")), 70)
      assert.strictEqual(Number(valueOf(agent, "gen_ai.usage.output_tokens")), 23)
      assert.deepStrictEqual(
        ["gen_ai.tool.name", "gen_ai.tool.type", "gen_ai.tool.call.id", "gen_ai.tool.description"].map((key) =>
          valueOf(looked, key)
        ),
        ["look", "function", "call_1", "Looks something up"]
      )
      assert.notInclude(text, "MARK")
    })
  )

  it.live("has the metrics of the GenAI conventions: of model calls, agents and tools", () =>
    Effect.gen(function* () {
      const { metrics } = yield* exported(outer.run(marks.input).pipe(Effect.provide(model())))
      const units = Object.fromEntries(
        metrics.filter(({ name }) => name.startsWith("gen_ai.")).map(({ name, unit }) => [name, unit])
      )
      assert.deepStrictEqual(units, {
        "gen_ai.client.inference.duration": "s",
        ...Object.fromEntries(counted.map((key) => [`gen_ai.client.inference.usage.${key}`, "{token}"])),
        "gen_ai.invoke_agent.duration": "s",
        "gen_ai.invoke_agent.inference_calls": "{inference_call}",
        "gen_ai.invoke_agent.tool_calls": "{tool_call}",
        "gen_ai.execute_tool.duration": "s"
      })
      const sums = counted.map((key) => {
        const { sum } = metrics.find(({ name }) => name === `gen_ai.client.inference.usage.${key}`)
        assert.isTrue(sum.isMonotonic)
        assert.strictEqual(valueOf(sum.dataPoints[0], "gen_ai.token.modality"), "unknown")
        return Number(sum.dataPoints[0].asDouble ?? sum.dataPoints[0].asInt)
      })
      assert.deepStrictEqual(sums, [70, 23, 20, 4, 8])
      assert.strictEqual(Number(pointsOf(metrics, "gen_ai.client.inference.duration")[0].count), 3)
      const byName = (metric: string, key: string, field: string) =>
        Object.fromEntries(
          pointsOf(metrics, metric).map((point) => [valueOf(point, `gen_ai.${key}`), Number(point[field])])
        )
      assert.deepStrictEqual(byName("gen_ai.invoke_agent.duration", "agent.name", "count"), { outer: 1, inner: 1 })
      assert.deepStrictEqual(byName("gen_ai.invoke_agent.inference_calls", "agent.name", "sum"), { outer: 2, inner: 1 })
      assert.deepStrictEqual(byName("gen_ai.invoke_agent.tool_calls", "agent.name", "sum"), { outer: 2, inner: 0 })
      assert.deepStrictEqual(byName("gen_ai.execute_tool.duration", "tool.name", "count"), { look: 1, inner: 1 })
    })
  )

  it.live("has the time to the first chunk of streamed answers among the metrics", () =>
    Effect.gen(function* () {
      const { metrics } = yield* exported(Stream.runDrain(inner.stream(marks.input)).pipe(Effect.provide(model())))
      assert.strictEqual(Number(pointsOf(metrics, "gen_ai.client.inference.time_to_first_chunk")[0].count), 1)
    })
  )

  it.live("counts failures by their type, and no tool that was not begun", () =>
    Effect.gen(function* () {
      const fails = AgentTool.fromFunction("fails", {
        description: "x",
        execute: () => Effect.fail(new Sour({ detail: "" }))
      })
      const agent = Agent.make("agent", { tools: [fails] })
      const calls = TestModel.toolCalls({ name: "fails", params: {} }, { name: "missing", params: {} })
      const turns = TestModel.layer([calls, TestModel.fail(invalidKey)])
      const { metrics } = yield* exported(Effect.exit(agent.run("go").pipe(Effect.provide(turns))))
      const types = (metric: string) => pointsOf(metrics, metric).map((point) => valueOf(point, "error.type"))
      assert.deepStrictEqual(types("gen_ai.execute_tool.duration"), ["Sour"])
      assert.deepStrictEqual(types("gen_ai.invoke_agent.duration"), ["AuthenticationError"])
    })
  )

  it.live("has one trace for a workflow: a span for each, and the runs of its members below", () =>
    Effect.gen(function* () {
      const pair = Parallel.make("pair", { left: inner, right: inner })
      const fails = Runner.make("fails", { run: () => Effect.fail(new Sour({ detail: "MARK-detail" })) })
      const whole = Chain.make("whole", [pair, () => Effect.succeed("go"), inner, fails])
      const { spans, text } = yield* exported(Effect.exit(whole.run(marks.input)).pipe(Effect.provide(model())))
      const root = named(spans, "invoke_agent whole")
      const group = named(spans, "invoke_agent pair")
      assert.isUndefined(root.parentSpanId)
      assert.strictEqual(group.parentSpanId, root.spanId)
      assert.deepStrictEqual(
        ["left", "right", "inner"].map((name) => named(spans, `invoke_agent ${name}`).parentSpanId),
        [group.spanId, group.spanId, root.spanId]
      )
      assert.deepStrictEqual(
        ["left", "inner"].map((name) => valueOf(named(spans, `invoke_agent ${name}`), "gen_ai.agent.name")),
        ["left", "inner"]
      )
      assert.deepStrictEqual(
        ["invoke_agent pair", "invoke_agent left"].map((name) => pathOf(named(spans, name))),
        [
          ["whole", "pair"],
          ["whole", "pair", "left"]
        ]
      )
      assert.deepStrictEqual(
        spans.map((span) => span.traceId),
        spans.map(() => root.traceId)
      )
      assert.deepStrictEqual([root.kind, group.kind], [internal, internal])
      assert.deepStrictEqual([root.status.code, group.status.code], [error, ok])
      assert.strictEqual(valueOf(root, "error.type"), "Sour")
      assert.deepStrictEqual(
        ["operation.name", "agent.name", "conversation.id"].map((key) => valueOf(group, `gen_ai.${key}`)),
        ["invoke_agent", "pair", valueOf(root, "gen_ai.conversation.id")]
      )
      for (const { key } of [root, group].flatMap((span) => span.attributes)) {
        if (key.startsWith("gen_ai.")) assert.isTrue(known.has(key), `${key} is not a known attribute`)
      }
      assert.notInclude(text, "MARK")
    })
  )

  it.live("names a runner as its workflow does", () =>
    Effect.gen(function* () {
      const pair = Parallel.make("pair", { left: inner, right: Runner.named(inner, "second") })
      const { spans } = yield* exported(Effect.provide(Runner.named(pair, "renamed").run(marks.input), model()))
      assert.sameMembers(
        spans.map((span) => span.name).filter((name) => name.startsWith("invoke_")),
        ["invoke_agent renamed", "invoke_agent left", "invoke_agent right"]
      )
      const single = yield* exported(Effect.provide(Runner.named(inner, "second").run(marks.input), model()))
      assert.deepStrictEqual(pathOf(named(single.spans, "invoke_agent second")), ["second"])
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
      const looked = named(spans, "execute_tool look")
      const json = (span: Span, key: string) => JSON.parse(String(valueOf(span, key)))
      assert.deepStrictEqual(json(looked, "gen_ai.tool.call.arguments"), { word: marks.argument })
      assert.strictEqual(json(looked, "gen_ai.tool.call.result"), marks.result)
      assert.deepStrictEqual(json(named(spans, "invoke_agent outer"), "gen_ai.system_instructions"), [
        { type: "text", content: marks.instructions }
      ])
      const outputs = all(spans, "chat test").flatMap((span) => json(span, "gen_ai.output.messages"))
      assert.sameDeepMembers(outputs, [
        {
          role: "assistant",
          parts: [
            { type: "tool_call", id: "call_1", name: "look", arguments: { word: marks.argument } },
            { type: "tool_call", id: "call_2", name: "inner", arguments: { input: marks.input } }
          ]
        },
        { role: "assistant", parts: [{ type: "text", content: marks.inner }] },
        { role: "assistant", parts: [{ type: "text", content: marks.answer }] }
      ])
      for (const mark of Object.values(marks))
        assert.isTrue(
          [...found.values()].some((text) => text.includes(mark)),
          mark
        )
    })
  )

  it.live("has no instructions where there are none", () =>
    Effect.gen(function* () {
      const run = Agent.make("agent", {})
        .run("go")
        .pipe(Effect.provide(TestModel.layer(["done"])))
      const { spans } = yield* exported(Effect.provideService(run, Telemetry.CaptureContent, true))
      assert.isUndefined(valueOf(named(spans, "invoke_agent agent"), "gen_ai.system_instructions"))
      assert.include(String(valueOf(named(spans, "chat test"), "gen_ai.input.messages")), "go")
    })
  )

  it.live("keeps what a toolkit's handler is given out of spans, unless asked", () =>
    Effect.gen(function* () {
      const kit = Toolkit.make(
        Tool.make("find", {
          description: "Finds",
          parameters: Schema.Struct({ word: Schema.String }),
          success: Schema.String
        })
      )
      const agent = Agent.make("agent", { toolkit: kit })
      const run = agent
        .run("go")
        .pipe(
          Effect.provide(kit.toLayer({ find: () => Effect.as(Effect.annotateCurrentSpan("found", 1), marks.result) })),
          Effect.provide(
            Layer.fresh(TestModel.layer([TestModel.toolCall("find", { word: marks.argument }), marks.answer]))
          )
        )
      const quiet = yield* exported(run)
      assert.notInclude(quiet.text, "MARK")
      assert.strictEqual(Number(valueOf(named(quiet.spans, "execute_tool find"), "found")), 1)
      const telling = yield* exported(Effect.provideService(run, Telemetry.CaptureContent, true))
      const span = named(telling.spans, "execute_tool find")
      assert.isUndefined(valueOf(span, "parameters"))
      assert.deepStrictEqual(JSON.parse(String(valueOf(span, "gen_ai.tool.call.arguments"))), { word: marks.argument })
      assert.strictEqual(JSON.parse(String(valueOf(span, "gen_ai.tool.call.result"))), marks.result)
    })
  )

  it.live("has one chat span for each call when streamed, answered in a shape, or sent again", () =>
    Effect.gen(function* () {
      const chats = (spans: ReadonlyArray<Span>) => {
        assert.isEmpty(spans.filter((span) => span.name.startsWith("LanguageModel.")))
        return all(spans, "chat test").map((span) => [span.parentSpanId, span.status.code])
      }
      const streamed = yield* exported(Stream.runDrain(outer.stream(marks.input)).pipe(Effect.provide(model())))
      const streaming = named(streamed.spans, "invoke_agent outer").spanId
      const nested = named(streamed.spans, "invoke_agent inner").spanId
      assert.sameDeepMembers(chats(streamed.spans), [
        [streaming, ok],
        [streaming, ok],
        [nested, ok]
      ])
      assert.notInclude(streamed.text, "MARK")

      const shaped = Agent.make("shaped", { output: Schema.Struct({ word: Schema.String }) })
      for (const structuredOutput of [true, false]) {
        const script = [TestModel.json({ word: marks.answer })]
        const { spans, text } = yield* exported(
          shaped.run(marks.input).pipe(Effect.provide(TestModel.layer(script, { structuredOutput })))
        )
        assert.deepStrictEqual(chats(spans), [[named(spans, "invoke_agent shaped").spanId, ok]])
        assert.strictEqual(valueOf(named(spans, "chat test"), "gen_ai.output.type"), "json")
        assert.notInclude(text, "MARK")
      }

      const again = Agent.make("again", { retry: Schedule.recurs(1) })
      const busy = TestModel.fail(new AiError.InternalProviderError({ description: "MARK-busy" }))
      const sent = yield* exported(again.run(marks.input).pipe(Effect.provide(TestModel.layer([busy, marks.answer]))))
      const parent = named(sent.spans, "invoke_agent again").spanId
      assert.sameDeepMembers(chats(sent.spans), [
        [parent, error],
        [parent, ok]
      ])
      assert.sameMembers(
        pointsOf(sent.metrics, "gen_ai.client.inference.duration").map((point) => valueOf(point, "error.type")),
        [undefined, "InternalProviderError"]
      )
      assert.notInclude(sent.text, "MARK")
    })
  )

  it.live("records the time to the first chunk, for streamed answers only", () =>
    Effect.gen(function* () {
      const agent = Agent.make("agent", {})
      const turns = TestModel.layer([{ text: "abcd", delay: "60 millis", chunk: 1, chunkDelay: "40 millis" }])
      const [chat] = all(
        (yield* exported(Stream.runDrain(agent.stream("x")).pipe(Effect.provide(turns)))).spans,
        "chat test"
      )
      assert.isTrue(valueOf(chat!, "gen_ai.request.stream"))
      const begun = Number(valueOf(chat!, "gen_ai.response.time_to_first_chunk"))
      const took = Number(BigInt(chat!.endTimeUnixNano) - BigInt(chat!.startTimeUnixNano)) / 1e9
      assert.isAtLeast(begun, 0.05)
      assert.isBelow(begun, took - 0.1)
      const whole = named((yield* exported(agent.run("x").pipe(Effect.provide(turns)))).spans, "chat test")
      for (const key of ["request.stream", "response.time_to_first_chunk"]) {
        assert.isUndefined(valueOf(whole, `gen_ai.${key}`))
        assert.isTrue(known.has(`gen_ai.${key}`))
      }
    })
  )

  it.live("distinguishes models by their provider or their name alone", () =>
    Effect.gen(function* () {
      const finish = {
        type: "finish",
        reason: "stop",
        usage: { inputTokens: { total: 1 }, outputTokens: { total: 1 } }
      } as never
      const bare = yield* LanguageModel.make({
        generateText: () => Effect.succeed([{ type: "text", text: "hi" }, finish]),
        streamText: () => Stream.empty
      })
      const run = Effect.provideService(Agent.make("agent", {}).run("go"), LanguageModel.LanguageModel, bare)
      const { metrics } = yield* exported(
        Effect.andThen(
          Effect.provideService(run, Model.ProviderName, "same"),
          Effect.provideService(run, Model.ModelName, "same")
        )
      )
      assert.sameDeepMembers(
        pointsOf(metrics, "gen_ai.client.inference.duration").map((point) => [
          valueOf(point, "gen_ai.provider.name"),
          valueOf(point, "gen_ai.request.model"),
          Number(point.count)
        ]),
        [
          ["same", undefined, 1],
          [undefined, "same", 1]
        ]
      )
    })
  )

  it.live("has one span for a call of a foreign model, with other spans around and below it", () =>
    Effect.gen(function* () {
      const request = Effect.withSpan(Effect.void, "POST", { kind: "client" })
      const finish = { type: "finish", reason: "stop", usage: { inputTokens: {}, outputTokens: {} } } as never
      const bare = yield* LanguageModel.make({
        generateText: () => Effect.as(request, [{ type: "text", text: "hi" }, finish]),
        streamText: () => Stream.empty
      })
      const middleware: LanguageModel.LanguageModel = {
        ...bare,
        generateText: ((options: never) => Effect.withSpan(bare.generateText(options), "middleware")) as never
      }
      const run = Agent.make("agent", {}).run("go")
      const { spans } = yield* exported(Effect.provideService(run, LanguageModel.LanguageModel, middleware))
      assert.sameMembers(
        spans.map(({ name }) => name),
        ["invoke_agent agent", "chat", "middleware", "POST"]
      )
      assert.strictEqual(named(spans, "POST").parentSpanId, named(spans, "chat").spanId)
    })
  )

  for (const failureMode of ["return", "error"] as const) {
    it.live(`names the kind of a tool's failure, with failureMode ${failureMode}`, () =>
      Effect.gen(function* () {
        const tool = (name: string, execute: () => unknown) =>
          AgentTool.fromFunction(name, {
            description: "Fails",
            failureMode,
            timeout: "1 second",
            execute: execute as () => Effect.Effect<never, unknown>
          })
        const failing = Agent.make("failing", { description: "Fails", retry: "none" })
        const tools = {
          tagged: tool("tagged", () => Effect.fail(new Sour({ detail: "MARK-tagged" }))),
          plain: tool("plain", () => Effect.fail({ detail: "MARK-plain" })),
          throws: tool("throws", () => {
            throw new TypeError("MARK-throws")
          }),
          rejects: tool("rejects", async () => Promise.reject(new RangeError("MARK-rejects"))),
          dies: tool("dies", () => Effect.die(new SyntaxError("MARK-dies"))),
          slow: AgentTool.fromFunction("slow", {
            description: "Hangs",
            failureMode,
            timeout: "5 millis",
            execute: () => Effect.never
          }),
          failing: AgentTool.fromRunner(failing, { failureMode })
        }
        const types = {
          tagged: "Sour",
          plain: "_OTHER",
          throws: "TypeError",
          rejects: "RangeError",
          dies: "SyntaxError",
          slow: "TimeoutError",
          failing: "AuthenticationError"
        }
        for (const [name, type] of Object.entries(types)) {
          const agent = Agent.make("agent", { tools: [tools[name as keyof typeof tools]] })
          const params = name === "failing" ? { input: "MARK" } : {}
          const turns = TestModel.layer((call) => {
            if (call.tools.length === 0) return TestModel.fail(invalidKey)
            return call.prompt.content.some((message) => message.role === "tool")
              ? marks.answer
              : TestModel.toolCall(name, params)
          })
          const { spans, text } = yield* exported(Effect.exit(agent.run("MARK").pipe(Effect.provide(turns))))
          const span = named(spans, `execute_tool ${name}`)
          assert.deepStrictEqual([valueOf(span, "error.type"), span.status.code], [type, error], name)
          const run = named(spans, "invoke_agent agent")
          assert.strictEqual(run.status.code, failureMode === "error" ? error : ok, name)
          assert.notInclude(text, "MARK", name)
        }
      })
    )
  }

  it.live("names the kind of an error, never its text", () =>
    Effect.gen(function* () {
      const fails = AgentTool.fromFunction("fails", {
        description: "Fails",
        failureMode: "error",
        execute: () => Effect.fail(new Error("MARK-tool-error"))
      })
      const agent = Agent.make("agent", { tools: [fails], retry: "none" })
      const { metrics, spans, text } = yield* exported(
        Effect.gen(function* () {
          yield* Effect.exit(agent.run("MARK").pipe(Effect.provide(TestModel.layer([TestModel.toolCall("fails", {})]))))
          yield* Effect.exit(agent.run("MARK").pipe(Effect.provide(TestModel.layer([TestModel.fail(invalidKey)]))))
        })
      )
      const chat = spans.find((span) => span.name === "chat test" && span.status.code === error)!
      assert.strictEqual(valueOf(chat, "error.type"), "AuthenticationError")
      assert.strictEqual(named(spans, "execute_tool fails").status.code, error)
      assert.strictEqual(valueOf(named(spans, "execute_tool fails"), "error.type"), "Error")
      assert.sameMembers(
        pointsOf(metrics, "gen_ai.client.inference.duration").map((point) => valueOf(point, "error.type")),
        [undefined, "AuthenticationError"]
      )
      assert.sameMembers(
        spans.filter((span) => span.name === "invoke_agent agent").map((span) => valueOf(span, "error.type")),
        ["ToolError", "AuthenticationError"]
      )
      assert.notInclude(text, "MARK")
    })
  )

  it.live("records server, models and options of a real request", () =>
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

describe("a program without telemetry", () => {
  const seen: Array<string | undefined> = []
  const look = AgentTool.fromFunction("look", {
    description: "Looks",
    execute: () =>
      Effect.map(Effect.option(Effect.currentSpan), (span) => void seen.push(Option.getOrUndefined(span)?.name))
  })
  const run = Agent.make("agent", { tools: [look] }).run("go")
  const turns = () => Effect.provide(TestModel.layer([TestModel.toolCall("look", {}), "done"]))

  it.live("makes no spans", () =>
    Effect.gen(function* () {
      seen.splice(0)
      yield* turns()(run)
      assert.deepStrictEqual(seen, [undefined])
    })
  )

  it.live("makes them below a span of its own", () =>
    Effect.gen(function* () {
      seen.splice(0)
      yield* Effect.withSpan(turns()(run), "mine")
      assert.deepStrictEqual(seen, ["execute_tool look"])
    })
  )
})
