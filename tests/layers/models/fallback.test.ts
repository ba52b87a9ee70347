/** Several models behind one: who is asked, when the next one is, and who is said to have answered. */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Fiber, Layer, Redacted, Schema, Stream } from "effect"
import { AiError, LanguageModel, type Response as AiResponse } from "effect/ai"
import { TestClock } from "effect/testing"
import { createAnthropic } from "@ai-sdk/anthropic"
import {
  Agent,
  AgentTool,
  AiSdk,
  CurrentRun,
  Fallback,
  ModelInfo,
  Models,
  OpenAi,
  Prices,
  type RunEvent,
  Runner,
  TestModel
} from "troupe"
import { json, serve } from "../../support/wire.ts"

const reasons = {
  rate: new AiError.RateLimitError({}),
  server: new AiError.InternalProviderError({ description: "broken" }),
  network: new AiError.NetworkError({ reason: "TransportError", method: "POST", url: "http://x" }),
  quota: new AiError.QuotaExhaustedError({}),
  key: new AiError.AuthenticationError({ kind: "InvalidKey" }),
  invalid: new AiError.InvalidRequestError({ description: "bad" }),
  policy: new AiError.ContentPolicyError({ description: "no" })
} as const
const fails = (reason: keyof typeof reasons) =>
  Effect.fail(AiError.make({ module: "Test", method: "m", reason: reasons[reason] }))

type Say = Effect.Effect<string, AiError.AiError>
const finish: AiResponse.FinishPartEncoded = {
  type: "finish",
  reason: "stop",
  usage: { inputTokens: { total: 1000 }, outputTokens: { total: 1000 } }
}

/** A model by name, that answers by `say`, and counts its calls. */
const model = (name: string, say: Say, more: Partial<ModelInfo.ModelInfo> = {}) => {
  const calls = { count: 0 }
  const counted = Effect.suspend(() => {
    calls.count++
    return say
  })
  const layer = Layer.effectContext(
    Effect.map(
      LanguageModel.make({
        generateText: () => Effect.map(counted, (text) => [{ type: "text", text }, finish]),
        streamText: () =>
          Stream.unwrap(
            Effect.map(counted, (text) =>
              Stream.make(
                { type: "text-start", id: "t" } as const,
                { type: "text-delta", id: "t", delta: text } as const,
                { type: "text-end", id: "t" } as const,
                finish
              )
            )
          )
      }),
      (service) =>
        ModelInfo.context(service, { provider: "test", model: name, structuredOutput: true, retry: "none", ...more })
    )
  )
  return { calls, layer }
}

/** A model whose streams break off in their middle. */
const cut = Layer.effect(
  LanguageModel.LanguageModel,
  LanguageModel.make({
    generateText: () => fails("network"),
    streamText: () =>
      Stream.concat(
        Stream.make({ type: "text-start", id: "t" } as const, { type: "text-delta", id: "t", delta: "Hel" } as const),
        Stream.fromEffect(fails("network"))
      )
  })
)

const agent = Agent.make("agent", {})
const ask = agent.run("Hello")
const streamed = Stream.runCollect(agent.stream("Hello"))

describe("Fallback.layer", () => {
  for (const reason of ["rate", "server", "network", "quota", "key"] as const) {
    it.effect(`asks the next model after a failure that it may not have: ${reason}, whole and streamed`, () =>
      Effect.gen(function* () {
        const one = model("one", fails(reason))
        const two = model("two", Effect.succeed("from two"))
        const both = Fallback.layer([one.layer, two.layer])
        assert.strictEqual(yield* Effect.provide(ask, both), "from two")
        const events: ReadonlyArray<RunEvent.RunEvent> = yield* Effect.provide(streamed, both)
        const done = events.find((event) => event._tag === "StepCompleted")
        assert.deepStrictEqual(done?.answeredBy, { provider: "test", model: "two" })
        assert.deepStrictEqual([one.calls.count, two.calls.count], [2, 2])
      })
    )
  }

  for (const reason of ["invalid", "policy"] as const) {
    it.effect(`does not ask another model to answer what was refused: ${reason}`, () =>
      Effect.gen(function* () {
        const one = model("one", fails(reason))
        const two = model("two", Effect.succeed("from two"))
        const error = yield* Effect.flip(Effect.provide(ask, Fallback.layer([one.layer, two.layer])))
        assert.strictEqual(error._tag, "ModelError")
        assert.strictEqual(two.calls.count, 0)
      })
    )
  }

  it.effect("fails with the last error when none answers", () =>
    Effect.gen(function* () {
      const models = [model("one", fails("rate")), model("two", fails("key"))] as const
      const error = yield* Effect.flip(Effect.provide(ask, Fallback.layer([models[0].layer, models[1].layer])))
      assert.match(error.message, /key/i)
      assert.deepStrictEqual(
        models.map(({ calls }) => calls.count),
        [1, 1]
      )
    })
  )

  it.effect("asks the next model after the retries of the one before, and no other retries are added", () =>
    Effect.gen(function* () {
      const one = model("one", fails("server"), { retry: undefined })
      const two = model("two", Effect.succeed("ok"))
      const fiber = yield* Effect.forkChild(Effect.provide(ask, Fallback.layer([one.layer, two.layer])))
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* Fiber.join(fiber), "ok")
      assert.strictEqual(one.calls.count, 3)
    })
  )

  it.effect("does not ask another model once a part was streamed", () =>
    Effect.gen(function* () {
      const two = model("two", Effect.succeed("from two"))
      const error = yield* Effect.flip(Effect.provide(streamed, Fallback.layer([cut, two.layer])))
      assert.strictEqual(error._tag, "ModelError")
      assert.strictEqual(two.calls.count, 0)
    })
  )

  it.effect("interrupts the model that is asked", () =>
    Effect.gen(function* () {
      const begun = yield* Deferred.make<void>()
      let interrupted = false
      const hangs = Effect.andThen(Deferred.succeed(begun, undefined), Effect.never).pipe(
        Effect.onInterrupt(() => Effect.sync(() => (interrupted = true)))
      )
      const both = Fallback.layer([model("one", fails("rate")).layer, model("two", hangs).layer])
      const fiber = yield* Effect.forkChild(Effect.provide(ask, both))
      yield* Deferred.await(begun)
      yield* Fiber.interrupt(fiber)
      assert.isTrue(interrupted)
    })
  )

  it.effect("takes any model, with tools and typed output, and charges a budget by the model that answered", () =>
    Effect.gen(function* () {
      const add = AgentTool.fromFunction("add", {
        description: "Adds",
        parameters: Schema.Struct({ a: Schema.Int, b: Schema.Int }),
        execute: ({ a, b }) => a + b
      })
      const scripted = TestModel.layer([TestModel.toolCall("add", { a: 1, b: 2 }), '{"sum":3}'])
      const adder = Agent.make("adder", { tools: [add], output: Schema.Struct({ sum: Schema.Int }) })
      const both = Fallback.layer([model("one", fails("quota")).layer, scripted])
      assert.deepStrictEqual(yield* Effect.provide(adder.run("1 + 2"), both), { sum: 3 })

      const priced = Prices.layer({ "test:two": { input: 1000, output: 1000 } })
      const two = Fallback.layer([model("one", fails("key")).layer, model("two", Effect.succeed("ok")).layer])
      const left = yield* Runner.withBudget(agent, { cost: 1 })
        .run("x")
        .pipe(Effect.provide(two), Effect.provide(priced), Effect.flip)
      assert.strictEqual(left._tag, "BudgetExceeded")
    })
  )

  it.live("goes on with a conversation of another provider: ids, thoughts and tools", () =>
    Effect.gen(function* () {
      const add = AgentTool.fromFunction("add", {
        description: "Adds",
        parameters: Schema.Struct({ a: Schema.Int, b: Schema.Int }),
        execute: ({ a, b }) => a + b
      })
      const call = { type: "tool_use", id: "tu_1", name: "add", input: { a: 1, b: 2 } }
      const claude = yield* serve(
        json({
          id: "m",
          type: "message",
          role: "assistant",
          model: "claude",
          content: [{ type: "thinking", thinking: "Hm.", signature: "S" }, call],
          stop_reason: "tool_use",
          usage: { input_tokens: 1, output_tokens: 1 }
        }),
        json({ type: "error", error: { type: "overloaded_error", message: "busy" } }, 529)
      )
      const other = yield* serve(json({ choices: [{ index: 0, message: { content: "3" }, finish_reason: "stop" }] }))
      const both = Fallback.layer([
        AiSdk.layer(createAnthropic({ apiKey: "k", baseURL: `${claude.url}/v1` })("claude-sonnet-4-5"), {
          retry: "none"
        }),
        OpenAi.layer({ model: "m", baseUrl: other.url, apiKey: Redacted.make("") })
      ])
      const { output } = yield* Agent.make("adder", { tools: [add] })
        .result("1 + 2")
        .pipe(Effect.provide(both))
      assert.strictEqual(output, "3")
      const [, assistant, result] = other.bodies[0].messages
      assert.deepStrictEqual(assistant, {
        role: "assistant",
        content: null,
        tool_calls: [{ id: "tu_1", type: "function", function: { name: "add", arguments: '{"a":1,"b":2}' } }]
      })
      assert.deepStrictEqual(result, { role: "tool", tool_call_id: "tu_1", content: "3" })
    })
  )
})

it.effect("a budget charges a runner behind Fallback once, by its own calls", () =>
  Effect.gen(function* () {
    const expert = Runner.asLanguageModel(Agent.make("expert", {})).pipe(Layer.provide(TestModel.layer(["done"])))
    const left = Runner.make("left", {
      run: (text: string) =>
        Effect.andThen(
          agent.run(text),
          Effect.map(Runner.remaining, ({ tokens }) => tokens)
        )
    })
    const models = Fallback.layer([model("one", fails("quota")).layer, expert])
    const tokens = yield* Runner.withBudget(left, { tokens: 1000 }).run("Hello").pipe(Effect.provide(models))
    assert.strictEqual(tokens, 985)
  })
)

const named = (name: string, more: Partial<ModelInfo.ModelInfo> = {}) => model(name, Effect.succeed(name), more)

describe("an order of Fallback", () => {
  it.effect("round robin begins each call with the next model", () =>
    Effect.gen(function* () {
      const both = Fallback.layer([named("a").layer, named("b").layer, named("c").layer], {
        order: Fallback.roundRobin
      })
      const said = yield* Effect.provide(Effect.replicateEffect(ask, 5), both)
      assert.deepStrictEqual(said, ["a", "b", "c", "a", "b"])
    })
  )

  it.effect("weighted draws by weight, and the others remain a fallback", () =>
    Effect.gen(function* () {
      const both = Fallback.layer([named("a").layer, named("b").layer], { order: Fallback.weighted([0, 1]) })
      assert.deepStrictEqual(yield* Effect.provide(Effect.replicateEffect(ask, 5), both), ["b", "b", "b", "b", "b"])
      const failing = Fallback.layer([named("a").layer, model("b", fails("key")).layer], {
        order: Fallback.weighted([0, 1])
      })
      assert.strictEqual(yield* Effect.provide(ask, failing), "a")
      assert.throws(
        () => Fallback.layer([named("a").layer], { order: Fallback.weighted([1, 2]) }),
        /one number for each/
      )
    })
  )

  it.effect("cheapest asks the cheapest model that can do what is asked", () =>
    Effect.gen(function* () {
      const prices = Prices.layer({
        "test:dear": { input: 9, output: 9 },
        "test:mid": { input: 3, output: 3 },
        "test:cheap": { input: 1, output: 1 }
      })
      const models = Fallback.layer(
        [named("dear").layer, named("cheap", { capabilities: { tools: false } }).layer, named("mid").layer],
        { order: Fallback.cheapest }
      )
      const tool = AgentTool.fromFunction("now", { description: "Now", execute: () => 1 })
      const both = Effect.all([ask, Agent.make("b", { tools: [tool] }).run("x")])
      assert.deepStrictEqual(yield* both.pipe(Effect.provide(models), Effect.provide(prices)), ["cheap", "mid"])
    })
  )

  it.live("knows by the catalog what models of OpenAI and of the AI SDK lack, and asks these not", () =>
    Effect.gen(function* () {
      const asked: Array<string> = []
      const transport = async (_url: string, init: { readonly body?: unknown }) => {
        const { model } = JSON.parse(String(init.body)) as { readonly model: string }
        asked.push(model)
        return Response.json({ choices: [{ index: 0, message: { content: "Hi" }, finish_reason: "stop" }] })
      }
      const of = (model: string) =>
        OpenAi.layer({
          model,
          api: "chat",
          baseUrl: "https://api.openai.com/v1",
          apiKey: Redacted.make("k"),
          transport
        })
      const both = Fallback.layer([of("o1-mini"), of("gpt-4.1-mini")])
      const tool = AgentTool.fromFunction("now", { description: "Now", execute: () => 1 })
      yield* Effect.provide(Agent.make("a", { tools: [tool] }).run("x"), both)
      yield* Effect.provide(Agent.make("b", { reasoning: "low" }).run("x"), both)
      assert.deepStrictEqual(asked, ["gpt-4.1-mini", "o1-mini"])
      const claude = AiSdk.layer(createAnthropic({ apiKey: "k" })("claude-sonnet-4-5"))
      assert.strictEqual((yield* Effect.provide(ModelInfo.get, claude))?.capabilities?.contextTokens, 200_000)
    })
  )

  it.effect("sticky gives one conversation one model, and several conversations several", () =>
    Effect.gen(function* () {
      const models = Fallback.layer([named("a").layer, named("b").layer], { order: Fallback.sticky })
      const as = (id: string) => Effect.provideService(ask, CurrentRun.ConversationId, id)
      const said = yield* Effect.forEach(
        Array.from({ length: 20 }, (_, n) => `c${n}`),
        (id) => Effect.all([as(id), as(id)])
      ).pipe(Effect.provide(models))
      assert.isTrue(said.every(([first, second]) => first === second))
      assert.deepStrictEqual([...new Set(said.flat())].toSorted(), ["a", "b"])
    })
  )

  it.effect("hedging asks the next model alongside a slow one, and interrupts the one that is late", () =>
    Effect.gen(function* () {
      let interrupted = 0
      const slow = Effect.delay(Effect.succeed("slow"), "1 hour").pipe(
        Effect.onInterrupt(() => Effect.sync(() => interrupted++))
      )
      const one = model("slow", slow)
      const two = named("quick")
      const hedged = Fallback.layer([one.layer, two.layer], { hedgeAfter: "2 seconds" })
      for (const run of [
        ask,
        Effect.map(streamed, (events) => events.map((e) => (e._tag === "TextDelta" ? e.delta : "")).join(""))
      ]) {
        const fiber = yield* Effect.forkChild(Effect.provide(run, hedged))
        yield* TestClock.adjust("1 second")
        const before = two.calls.count
        yield* TestClock.adjust("1 second")
        assert.strictEqual(yield* Fiber.join(fiber), "quick")
        assert.strictEqual(two.calls.count, before + 1)
      }
      assert.strictEqual(interrupted, 2)
      const failing = Fallback.layer([model("one", fails("key")).layer, two.layer], { hedgeAfter: "1 hour" })
      assert.strictEqual(yield* Effect.provide(ask, failing), "quick")
      const invalid = Fallback.layer([model("one", fails("invalid")).layer, two.layer], { hedgeAfter: "1 hour" })
      assert.strictEqual((yield* Effect.flip(Effect.provide(ask, invalid)))._tag, "ModelError")
    })
  )

  it.effect("a breaker leaves out a model that keeps failing, for its time", () =>
    Effect.gen(function* () {
      const one = model("one", fails("network"))
      const both = Fallback.layer([one.layer, named("two").layer], { breaker: { failures: 2, reset: "10 seconds" } })
      yield* Effect.gen(function* () {
        yield* Effect.replicateEffect(ask, 5)
        assert.strictEqual(one.calls.count, 2)
        yield* TestClock.adjust(Duration.seconds(10))
        yield* Effect.replicateEffect(ask, 3)
        assert.strictEqual(one.calls.count, 3)
      }).pipe(Effect.provide(both))
      const alone = model("alone", fails("network"))
      const none = Fallback.layer([alone.layer], { breaker: { failures: 1, reset: "1 hour" } })
      yield* Effect.provide(Effect.replicateEffect(Effect.exit(ask), 3), none)
      assert.strictEqual(alone.calls.count, 3)
    })
  )

  it.effect("a breaker leaves out a model whose streams break off in their middle", () =>
    Effect.gen(function* () {
      const exits = yield* Effect.replicateEffect(Effect.exit(streamed), 3)
      assert.deepStrictEqual(
        exits.map(({ _tag }) => _tag),
        ["Failure", "Failure", "Success"]
      )
    }).pipe(
      Effect.provide(Fallback.layer([cut, named("two").layer], { breaker: { failures: 2, reset: "10 seconds" } }))
    )
  )

  it("takes models by name, as the compiler sees", () => {
    const both = Fallback.layer([OpenAi.layer({ model: "gpt-4.1-mini" }), Models.layer("ollama:qwen3")])
    assert.isTrue(Layer.isLayer(both))
    assert.throws(() => Fallback.layer([] as never), /not a list of Layers/)
    const one = [Models.layer("demo")] as const
    assert.throws(() => Fallback.layer(one, { breaker: { failures: Number.NaN, reset: 1 } }), /breaker.failures is NaN/)
    assert.throws(() => Fallback.layer(one, { order: Fallback.weighted([Infinity]) }), /weights/)
  })

  it.effect("closes the stream of a model that began at the same time as the one that answers", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const open = new Set<string>()
      const streaming = (name: string) =>
        Layer.effectContext(
          Effect.map(
            LanguageModel.make({
              generateText: () => Effect.succeed([]),
              streamText: () =>
                Stream.unwrap(
                  Effect.as(
                    Effect.acquireRelease(
                      Effect.sync(() => open.add(name)),
                      () => Effect.sync(() => open.delete(name))
                    ),
                    Stream.concat(
                      Stream.fromEffect(Effect.as(Deferred.await(gate), { type: "text-start", id: "t" } as const)),
                      Stream.make({ type: "text-delta", id: "t", delta: name }, { type: "text-end", id: "t" }, finish)
                    )
                  )
                )
            }),
            (service) => ModelInfo.context(service, { provider: "test", model: name, structuredOutput: true })
          )
        )
      const hedged = Fallback.layer([streaming("one"), streaming("two")], { hedgeAfter: "1 second" })
      const run = Stream.runDrain(LanguageModel.streamText({ prompt: "x" }))
      const fiber = yield* Effect.forkChild(Effect.provide(run, hedged))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual([...open], ["one", "two"])
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(fiber)
      assert.deepStrictEqual([...open], [])
    })
  )
})
