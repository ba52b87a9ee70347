/** TestModel on its own: what it answers, what it records, and how it fails a test that does not fit its script. */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Duration, Effect, Exit, Fiber, Schema, Stream } from "effect"
import { AiError, LanguageModel, Prompt, Tool, Toolkit } from "effect/ai"
import { TestClock } from "effect/testing"
import { Agent, ModelInfo, TestModel } from "troupe"

const deferred = { disableToolCallResolution: true, toolCallValidation: "deferred" } as const
const ask = (prompt: Prompt.RawInput = "Hello") => LanguageModel.generateText({ prompt, ...deferred })
const streamed = (prompt: Prompt.RawInput = "Hello") => LanguageModel.streamText({ prompt, ...deferred })
const collected = (prompt?: Prompt.RawInput) => Stream.runCollect(streamed(prompt))
const recorded = Effect.flatMap(TestModel.TestModel, (model) => model.calls)
const overloaded = new AiError.RateLimitError({ retryAfter: Duration.seconds(3) })

/** A part as providers write it: without the fields that effect/ai adds. */
const bare = (part: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(part).filter(([key, value]) => !key.startsWith("~") && key !== "metadata" && value !== undefined)
  )
const bareAll = (parts: ReadonlyArray<object>) => parts.map((part) => bare({ ...part }))

/** The defect of that tag, by which a test would fail. */
const defectOf = <Tag extends TestModel.TestModelError["_tag"]>(tag: Tag, exit: Exit.Exit<unknown, unknown>) => {
  const defects = Exit.isFailure(exit)
    ? exit.cause.reasons.filter(Cause.isDieReason).map((reason) => reason.defect)
    : []
  return defects.find((defect): defect is Extract<TestModel.TestModelError, { readonly _tag: Tag }> =>
    Object.is((defect as { readonly _tag?: unknown })._tag, tag)
  )
}

describe("a turn", () => {
  it.effect("is a text when it is a string, and ends by stop with a usage that is always the same", () =>
    Effect.gen(function* () {
      const { content, finishReason, text, usage } = yield* ask()
      assert.strictEqual(text, "Hi!")
      assert.strictEqual(finishReason, "stop")
      assert.strictEqual(usage.inputTokens.total, 10)
      assert.strictEqual(usage.outputTokens.total, 5)
      assert.deepStrictEqual(
        content.map((part) => part.type),
        ["text", "finish"]
      )
    }).pipe(Effect.provide(TestModel.layer(["Hi!"])))
  )

  it.effect("gives the same parts whole and streamed, in the order reasoning, text, parts, tool calls", () =>
    Effect.gen(function* () {
      const file = { type: "file", mediaType: "image/png", data: "AAEC" }
      const finish = { type: "finish", reason: "tool-calls" }
      const whole = bareAll((yield* ask()).content)
      const parts = bareAll(yield* collected())
      assert.deepStrictEqual(
        whole.map((part) => part["type"]),
        ["reasoning", "text", "file", "tool-call", "finish"]
      )
      assert.deepInclude(whole[3], { id: "call_1", name: "look", params: { at: 1 } })
      assert.deepInclude(whole[4], finish)
      assert.deepStrictEqual(parts.slice(0, 6), [
        { type: "reasoning-start", id: "reasoning" },
        { type: "reasoning-delta", id: "reasoning", delta: "why" },
        { type: "reasoning-end", id: "reasoning" },
        { type: "text-start", id: "text" },
        { type: "text-delta", id: "text", delta: "so" },
        { type: "text-end", id: "text" }
      ])
      assert.deepInclude(parts[6], { type: file.type, mediaType: file.mediaType })
      assert.deepStrictEqual(
        parts.slice(7, -2).map((part) => part["type"]),
        ["tool-params-start", "tool-params-delta", "tool-params-end"]
      )
      assert.deepInclude(parts.at(-2), { id: "call_2", name: "look", params: { at: 1 } })
      assert.deepInclude(parts.at(-1), finish)
    }).pipe(
      Effect.provide(
        TestModel.layer(() => ({
          ...TestModel.toolCall("look", { at: 1 }),
          text: "so",
          reasoning: "why",
          parts: [{ type: "file", mediaType: "image/png", data: "AAEC" }]
        }))
      )
    )
  )

  it.effect("keeps the order of its parts, and gives each text a block of its own", () =>
    Effect.gen(function* () {
      const types = (parts: ReadonlyArray<object>) =>
        bareAll(parts)
          .filter((part) => !String(part["type"]).startsWith("tool-params-"))
          .map((part) => part["id"] ?? part["type"])
      assert.deepStrictEqual(types((yield* ask()).content), ["text", "call_1", "mine", "text", "finish"])
      const parts = yield* collected()
      assert.deepStrictEqual(
        types(parts),
        // Deltas of two characters.
        ["text", "text", "text", "text", "call_2", "mine", "text_2", "text_2", "text_2", "finish"]
      )
      const end = parts.at(-1)
      assert.strictEqual(end?.type === "finish" ? end.reason : "", "tool-calls")
      const [message] = Prompt.fromResponseParts(parts).content
      if (message?.role !== "assistant") return assert.fail("no assistant message")
      assert.deepStrictEqual(
        message.content.map((part) => part.type),
        ["text", "tool-call", "tool-call", "text"]
      )
    }).pipe(
      Effect.provide(
        TestModel.layer(() => ({
          chunk: 2,
          parts: [
            { type: "text", text: "abc" },
            { type: "tool-call", name: "look", params: {} },
            { type: "tool-call", id: "mine", name: "look", params: {} },
            { type: "text", text: "d" }
          ]
        }))
      )
    )
  )

  it.effect("finishes by stop when only the provider ran its tool calls", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* ask()).finishReason, "stop")
    }).pipe(
      Effect.provide(
        TestModel.layer([{ parts: [{ type: "tool-call", id: "p", name: "web", params: {}, providerExecuted: true }] }])
      )
    )
  )

  it.effect("has the finish reason and the usage it is given, filled up with the usual", () =>
    Effect.gen(function* () {
      const { finishReason, usage } = yield* ask()
      assert.strictEqual(finishReason, "length")
      assert.deepInclude(usage.inputTokens, { total: 10, cacheRead: 4 })
      assert.deepInclude(usage.outputTokens, { total: 99 })
    }).pipe(
      Effect.provide(
        TestModel.layer([
          {
            text: "cut",
            finishReason: "length",
            usage: { inputTokens: { cacheRead: 4 }, outputTokens: { total: 99 } }
          }
        ])
      )
    )
  )

  it.effect("streams in chunks of characters that are whole, or in the deltas it lists", () =>
    Effect.gen(function* () {
      const deltas = Effect.map(collected(), (parts) =>
        parts.flatMap((part) => (part.type === "text-delta" ? [part.delta] : []))
      )
      assert.deepStrictEqual(yield* deltas, ["a\u{1F3AD}", "bc", "d"])
      assert.deepStrictEqual(yield* deltas, ["a", "\u{1F3AD}", "b", "c", "d"])
      assert.deepStrictEqual(yield* deltas, ["one", "", " two"])
      assert.deepStrictEqual(yield* deltas, [])
      assert.strictEqual((yield* ask()).text, "one two")
    }).pipe(
      Effect.provide(
        TestModel.layer([
          { text: "a\u{1F3AD}bcd", chunk: 2 },
          { text: "a\u{1F3AD}bcd", chunk: 0 },
          TestModel.text(["one", "", " two"]),
          { text: "", chunk: 3 },
          TestModel.text(["one", " two"])
        ])
      )
    )
  )

  it.effect("may be a value, which generateObject decodes", () =>
    Effect.gen(function* () {
      const { value } = yield* LanguageModel.generateObject({ prompt: "x", schema: Schema.Struct({ n: Schema.Int }) })
      assert.deepStrictEqual(value, { n: 42 })
    }).pipe(Effect.provide(TestModel.layer([TestModel.json({ n: 42 })])))
  )
})

describe("a turn that fails or hangs", () => {
  it.effect("fails whole and streamed, with the reason or the error it is given", () =>
    Effect.gen(function* () {
      const errors = [
        yield* Effect.flip(ask()),
        yield* Effect.flip(collected()),
        yield* Effect.flip(ask()),
        yield* Effect.flip(collected())
      ]
      assert.deepStrictEqual(
        errors.map((error) => (error._tag === "AiError" ? [error.module, error.method, error.reason._tag] : [])),
        [
          ["TestModel", "generateText", "RateLimitError"],
          ["TestModel", "streamText", "RateLimitError"],
          ["Own", "own", "RateLimitError"],
          ["Own", "own", "RateLimitError"]
        ]
      )
      assert.deepStrictEqual(
        (yield* recorded).map((call) => call.interrupted),
        [false, false, false, false]
      )
    }).pipe(
      Effect.provide(
        TestModel.layer((call) =>
          TestModel.fail(
            call.index < 2 ? overloaded : AiError.make({ module: "Own", method: "own", reason: overloaded })
          )
        )
      )
    )
  )

  for (const [after, seen] of [
    [undefined, []],
    [0, []],
    [1, ["reasoning-start", "reasoning-delta", "reasoning-end", "text-start"]],
    [2, ["reasoning-start", "reasoning-delta", "reasoning-end", "text-start", "text-delta"]],
    [
      9,
      [
        "reasoning-start",
        "reasoning-delta",
        "reasoning-end",
        "text-start",
        "text-delta",
        "text-delta",
        "text-end",
        "tool-params-start",
        "tool-params-delta",
        "tool-params-delta",
        "tool-params-end",
        "tool-call"
      ]
    ]
  ] as const) {
    for (const how of ["fail", "hang"] as const) {
      it.effect(`${how}s in mid-stream after ${after ?? "no"} deltas, never with a finish`, () =>
        Effect.gen(function* () {
          const types: Array<string> = []
          const fiber = yield* Effect.forkChild(
            Stream.runForEach(streamed(), (part) => Effect.sync(() => types.push(part.type)))
          )
          if (how === "fail") {
            assert.isTrue(Exit.isFailure(yield* Fiber.await(fiber)))
          } else {
            yield* TestClock.adjust("1 hour")
            assert.isUndefined(fiber.pollUnsafe())
            yield* Fiber.interrupt(fiber)
          }
          assert.deepStrictEqual(types, [...seen])
          assert.strictEqual((yield* recorded)[0]!.interrupted, how === "hang")
        }).pipe(
          Effect.provide(
            TestModel.layer([
              {
                reasoning: "r",
                ...TestModel.toolCall("look", {}),
                text: "ab",
                chunk: 1,
                ...(after === undefined ? {} : { after }),
                ...(how === "fail" ? { fail: overloaded } : { hang: true })
              }
            ])
          )
        )
      )
    }
  }

  it.effect("hangs until it is interrupted, whole too, and records that", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.forkChild(ask())
      yield* TestClock.adjust("1 hour")
      assert.isUndefined(fiber.pollUnsafe())
      assert.strictEqual((yield* recorded)[0]!.interrupted, false)
      yield* Fiber.interrupt(fiber)
      assert.strictEqual((yield* recorded)[0]!.interrupted, true)
    }).pipe(Effect.provide(TestModel.layer([{ hang: true }])))
  )
})

describe("time", () => {
  it.effect("passes by the clock of the test: before the answer, and before each delta", () =>
    Effect.gen(function* () {
      const whole = yield* Effect.forkChild(ask())
      yield* TestClock.adjust("59 seconds")
      assert.isUndefined(whole.pollUnsafe())
      yield* TestClock.adjust("1 second")
      assert.isDefined(whole.pollUnsafe())

      const types: Array<string> = []
      const fiber = yield* Effect.forkChild(
        Stream.runForEach(streamed(), (part) => Effect.sync(() => types.push(part.type)))
      )
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(types, ["text-start"])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(types, ["text-start", "text-delta"])
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(types, ["text-start", "text-delta", "text-delta", "text-end", "finish"])
    }).pipe(
      Effect.provide(TestModel.layer(() => ({ text: "ab", chunk: 1, delay: "1 minute", chunkDelay: "1 second" })))
    )
  )
})

describe("it records", () => {
  const Look = Tool.make("look", { parameters: Schema.Struct({ at: Schema.String }) })
  const toolkit = {
    tools: Toolkit.make(Look).tools,
    handle: () => Effect.die("the model must not run tools")
  } as unknown as Toolkit.WithHandler<{ readonly look: typeof Look }>

  it.effect("each call: prompt, tools, tool choice, whether it streamed", () =>
    Effect.gen(function* () {
      const options = { prompt: "Where?", toolkit, ...deferred }
      yield* LanguageModel.generateText({ ...options, toolChoice: { tool: "look" } })
      yield* Stream.runDrain(LanguageModel.streamText({ ...options, toolChoice: "none" }))
      const calls = yield* recorded
      assert.deepStrictEqual(
        calls.map((call) => ({ ...call, prompt: undefined })),
        [
          {
            index: 0,
            prompt: undefined,
            tools: ["look"],
            toolChoice: { tool: "look" },
            output: undefined,
            settings: {},
            streamed: false,
            interrupted: false
          },
          {
            index: 1,
            prompt: undefined,
            tools: ["look"],
            toolChoice: "none",
            output: undefined,
            settings: {},
            streamed: true,
            interrupted: false
          }
        ]
      )
      assert.deepStrictEqual(calls[0]!.prompt.content, Prompt.make("Where?").content)
    }).pipe(Effect.provide(TestModel.layer(["here", "there"])))
  )

  it.effect("the output format, for each caller", () =>
    Effect.gen(function* () {
      const schema = Schema.Struct({ n: Schema.Int })
      const { jsonSchema } = LanguageModel.defaultCodecTransformer(schema)
      const format = { name: "asked", description: "A number", jsonSchema }
      yield* LanguageModel.generateObject({ prompt: "x", schema, objectName: "object" })
      yield* Effect.provideService(ask(), ModelInfo.OutputFormat, format)
      yield* Effect.provideService(Stream.runDrain(streamed()), ModelInfo.OutputFormat, format)
      assert.deepStrictEqual(
        (yield* recorded).map((call) => call.output),
        [{ name: "object", description: undefined, jsonSchema }, format, format]
      )
    }).pipe(Effect.provide(TestModel.layer(() => TestModel.json({ n: 1 }))))
  )

  it.effect("a stream that is dropped as interrupted, and one that is read to its finish as answered", () =>
    Effect.gen(function* () {
      const prompt = Prompt.make("the same object")
      const [first, all] = yield* Effect.all([Stream.runCollect(Stream.take(streamed(prompt), 1)), collected(prompt)], {
        concurrency: "unbounded"
      })
      assert.strictEqual(first.length, 1)
      assert.strictEqual(all.at(-1)?.type, "finish")
      assert.deepStrictEqual(
        (yield* recorded).map((call) => call.interrupted),
        [true, false]
      )
      // Only a caller that waited for the finish has the answer.
      yield* Stream.runDrain(Stream.takeUntil(streamed(), (part) => part.type === "finish"))
      assert.strictEqual((yield* recorded)[2]!.interrupted, false)
    }).pipe(Effect.provide(TestModel.layer(["ab", "ab", "ab"])))
  )

  it.effect("in snapshots that later calls do not change", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.forkChild(ask())
      yield* TestClock.adjust("1 second")
      const before = yield* recorded
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(before[0]!.interrupted, false)
      assert.strictEqual((yield* recorded)[0]!.interrupted, true)
    }).pipe(Effect.provide(TestModel.layer([{ hang: true }])))
  )
})

describe("a script", () => {
  it.effect("is used in the order in which calls begin, and so are the ids of tool calls, with all delays", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.forkChild(
        Effect.forEach(["a", "b", "c"], (prompt) => ask(prompt), { concurrency: "unbounded" })
      )
      yield* TestClock.adjust("3 seconds")
      const answers = (yield* Fiber.join(fiber)).map((response) => response.toolCalls.map((call) => call.id))
      // The first call ends last.
      assert.deepStrictEqual(answers, [["call_1"], ["call_2"], ["call_3"]])
    }).pipe(
      Effect.provide(
        TestModel.layer([
          { ...TestModel.toolCall("x", {}), delay: "3 seconds" },
          { ...TestModel.toolCall("x", {}), delay: "1 second" },
          TestModel.toolCall("x", {})
        ])
      )
    )
  )

  it.effect("gives no id that a call has already", () =>
    Effect.gen(function* () {
      yield* ask()
      assert.deepStrictEqual(
        (yield* ask()).toolCalls.map((call) => call.id),
        ["call_1", "call_3"]
      )
    }).pipe(
      Effect.provide(
        TestModel.layer([
          TestModel.toolCall("x", {}, "call_2"),
          TestModel.toolCalls({ name: "x", params: {} }, { name: "x", params: {} })
        ])
      )
    )
  )

  it.effect("may be a function of the call, with effects of its own, and then has no end", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* ask("one")).text, "0 one")
      const error = yield* Effect.flip(ask("two"))
      assert.strictEqual(error._tag === "AiError" ? error.reason : undefined, overloaded)
      assert.strictEqual((yield* ask("three")).text, "2 three")
      const { remaining, verify } = yield* TestModel.TestModel
      assert.strictEqual(yield* remaining, 0)
      yield* verify
    }).pipe(
      Effect.provide(
        TestModel.layer((call) => {
          if (call.index === 1) return Effect.fail(AiError.make({ module: "Own", method: "own", reason: overloaded }))
          const content = call.prompt.content.at(-1)?.content
          const part = typeof content === "string" ? undefined : content?.[0]
          return Effect.succeed(`${call.index} ${part?.type === "text" ? part.text : ""}`)
        })
      )
    )
  )

  it.effect("starts again with each building of its Layer", () =>
    Effect.gen(function* () {
      const layer = TestModel.layer([TestModel.toolCall("x", {})])
      for (const run of [1, 2]) {
        const { toolCalls } = yield* ask().pipe(Effect.provide(layer))
        assert.strictEqual(toolCalls[0]!.id, "call_1", `run ${run}`)
      }
    })
  )
})

describe("a call beyond the script", () => {
  it.effect("fails at once with what it was, and is not retried", () =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(
        Effect.gen(function* () {
          yield* ask("first")
          for (const call of [Effect.asVoid(ask("and what else?")), Effect.asVoid(collected("and what else?"))]) {
            const error = yield* Effect.flip(call)
            if (error._tag !== "AiError") return assert.fail(error._tag)
            assert.strictEqual(error.isRetryable, false)
            if (error.reason._tag !== "InvalidRequestError") return assert.fail(error.reason._tag)
            assert.match(error.reason.description ?? "", /^TestModel: unexpected call \d; the script has 1 turn/)
            assert.include(error.reason.description, "and what else?")
          }
        }).pipe(Effect.provide(TestModel.layer(["only"])))
      )
      // The test above went on as if nothing had happened; the release did not.
      const defect = defectOf("UnexpectedCall", exit)
      assert.strictEqual(defect?.call, 1)
      assert.strictEqual(defect?.turns, 1)
    })
  )

  it.effect("fails an agent's test, even one that ignores how its run ended", () =>
    Effect.gen(function* () {
      const test = Effect.exit(Agent.make("agent", {}).run("go")).pipe(Effect.provide(TestModel.layer([])))
      assert.instanceOf(defectOf("UnexpectedCall", yield* Effect.exit(test)), TestModel.UnexpectedCall)
    })
  )

  it.effect("reports a prompt without a JSON form, too", () =>
    Effect.gen(function* () {
      const prompt = Prompt.make([
        {
          role: "tool",
          content: [
            { type: "tool-result", id: "c", name: "big", isFailure: false, result: 1n, providerExecuted: false }
          ]
        }
      ])
      const exit = yield* Effect.exit(ask(prompt).pipe(Effect.provide(TestModel.layer([]))))
      const message = defectOf("UnexpectedCall", exit)?.message
      assert.include(message, "1n")
      assert.notInclude(message, "~effect")
    })
  )
})

describe("turns that no call has used", () => {
  const left = TestModel.layer(["used", TestModel.toolCall("never", { n: 1n }), TestModel.fail(overloaded)])

  it.effect("fail a test that would succeed, and are listed", () =>
    Effect.gen(function* () {
      const defect = defectOf("UnusedTurns", yield* Effect.exit(ask().pipe(Effect.provide(left))))
      if (defect === undefined) return assert.fail("no defect")
      assert.strictEqual(defect.turns.length, 2)
      assert.include(defect.message, "2 turn(s)")
      assert.include(defect.message, "never")
      assert.notInclude(defect.message, 'used"')
    })
  )

  it.effect("keep quiet when the test has failed, died or was interrupted itself", () =>
    Effect.gen(function* () {
      const own = new Error("own")
      const tests: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
        Effect.fail(own),
        Effect.die(own),
        Effect.interrupt
      ]
      for (const test of tests) {
        const exit = yield* Effect.exit(test.pipe(Effect.provide(left)))
        if (!Exit.isFailure(exit)) return assert.fail("it must fail")
        assert.strictEqual(exit.cause.reasons.length, 1)
        assert.isUndefined(defectOf("UnusedTurns", exit))
      }
    })
  )

  it.effect("may be ignored", () =>
    ask().pipe(Effect.provide(TestModel.layer(["used", "unused"], { unused: "ignore" })))
  )

  it.effect("are counted, and can be asked for before the end", () =>
    Effect.gen(function* () {
      const { remaining, verify } = yield* TestModel.TestModel
      assert.strictEqual(yield* remaining, 2)
      yield* ask()
      assert.strictEqual(yield* remaining, 1)
      assert.strictEqual((yield* Effect.flip(verify))._tag, "UnusedTurns")
      yield* ask()
      assert.strictEqual(yield* remaining, 0)
      yield* verify
    }).pipe(Effect.provide(TestModel.layer(["one", "two"])))
  )
})

it.effect("it says who it is, and whether it takes output schemas", () =>
  Effect.gen(function* () {
    for (const structuredOutput of [undefined, true, false]) {
      const info = yield* ModelInfo.get.pipe(
        Effect.provide(TestModel.layer([], structuredOutput === undefined ? {} : { structuredOutput }))
      )
      assert.deepStrictEqual(info, {
        provider: "troupe-test",
        model: "test",
        readsSettings: true,
        structuredOutput: structuredOutput ?? true
      })
    }
  })
)
