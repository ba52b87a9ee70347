/** The contract that every model Layer of ours keeps, as the agent loop uses it. `suite(name, layerFor)` runs it. */
import { assert, describe, it as byPromise } from "@effect/vitest"
import { Effect, Fiber, type Layer, Schema, type Scope, Stream } from "effect"
import { LanguageModel, Prompt, Tool, Toolkit } from "effect/ai"
import { ModelInfo } from "troupe"
import { bySyncEdge } from "../support/edges.ts"
import { type AnyPart, assertFinish, assertStream, kept, textOf, until } from "./checks.ts"
import * as responder from "./responder.ts"

/** What a scripted model has to be ready for. */
export type Scenario = "text" | "tool" | "tools" | "after a tool" | "object"

/** The tool of the contract, and the answers a scripted model gives. */
export const script = {
  text: responder.text,
  tool: { name: "add", params: { a: 2, b: 40 } },
  object: responder.object
} as const

/** What a model can show beyond the scenarios. Without one of these, the behaviours that need it are not looked at. */
export interface Capabilities {
  /** True when a call of `add` has the numbers of the question, so that answers to several questions are distinct. */
  readonly readsTheRequest?: boolean | undefined
  /** `"sync"`: by `Effect.runSync` with the sync edge, where `Effect.runPromise` is the default. */
  readonly edge?: "sync" | undefined
  /** True for a model whose words and numbers mean nothing: only their form is looked at. */
  readonly isMeaningless?: boolean | undefined
  /** True for a model that fails when it is given a file, instead of answering without having read it. */
  readonly readsNoFiles?: boolean | undefined
  /** A model whose whole answers never come and whose streams begin and never end; `running` counts its open requests. */
  readonly endless?:
    | Effect.Effect<
        {
          readonly layer: Layer.Layer<LanguageModel.LanguageModel, unknown>
          readonly running: Effect.Effect<number>
        },
        never,
        Scope.Scope
      >
    | undefined
}

const Add = Tool.make("add", {
  description: "Add two numbers: a + b",
  parameters: Schema.Struct({ a: Schema.Finite, b: Schema.Finite }),
  success: Schema.Finite
})
const Weather = Tool.make("get_weather", {
  description: "Get the weather forecast for a city",
  parameters: Schema.Struct({ city: Schema.String }),
  success: Schema.String
})
const kit = Toolkit.make(Add, Weather)
// Handlers are never called: the loop resolves tools itself, as here.
const toolkit = {
  tools: kit.tools,
  handle: () => Effect.die("the model must not run tools")
} as unknown as Toolkit.WithHandler<{
  readonly add: typeof Add
  readonly get_weather: typeof Weather
}>
const City = Schema.Struct({ city: Schema.String, population: Schema.Finite })
const question = "What is 2 + 40? Use the tool."
const document = "Paris is the capital of France. It lies on the Seine.\ncity: Paris\npopulation: 2100000"
const deferred = { disableToolCallResolution: true, toolCallValidation: "deferred" } as const

/** For a model that would write any text, and hardly end it. */
const Flag = Schema.Struct({ ok: Schema.Boolean })

const formats: Readonly<Record<"city" | "flag", ModelInfo.OutputFormat>> = {
  city: { name: "city", description: undefined, jsonSchema: LanguageModel.defaultCodecTransformer(City).jsonSchema },
  flag: { name: "flag", description: undefined, jsonSchema: LanguageModel.defaultCodecTransformer(Flag).jsonSchema }
}

/** Runs the contract. `layerFor` gives a model that is ready for a scenario; one that answers by itself ignores it. */
export const suite = (
  name: string,
  layerFor: (
    scenario: Scenario
  ) => Effect.Effect<Layer.Layer<LanguageModel.LanguageModel, unknown>, never, Scope.Scope>,
  capabilities: Capabilities = {}
): void => {
  const it = capabilities.edge === "sync" ? bySyncEdge : byPromise
  const means = capabilities.isMeaningless !== true
  /** Of several tools a model without meaning would take any. */
  const required = means ? "required" : ({ tool: "add" } as const)
  const assertEnd = (parts: ReadonlyArray<AnyPart>) =>
    assert.include(means ? ["stop"] : ["stop", "length"], assertFinish(parts).reason)
  const assertSays = (text: string, expected: string) =>
    means ? assert.include(text, expected) : assert.isAbove(text.length, 0)
  const on = <A, E>(scenario: Scenario, effect: Effect.Effect<A, E, LanguageModel.LanguageModel>) =>
    Effect.flatMap(layerFor(scenario), (model) => Effect.provide(effect, model))

  describe(`${name} keeps the contract of a model:`, () => {
    it.live("a text answer is text, with one finish and its usage", () =>
      on(
        "text",
        Effect.gen(function* () {
          const response = yield* LanguageModel.generateText({ prompt: `Summarise: ${document}`, ...deferred })
          assert.isAbove(response.text.trim().length, 0)
          assertEnd(response.content)
        })
      )
    )

    it.live("a stream is well-formed, says the same, and adds up to the same message", () =>
      Effect.gen(function* () {
        const options = { prompt: `Summarise: ${document}`, ...deferred }
        const whole = yield* on("text", LanguageModel.generateText(options))
        const parts = yield* on("text", Stream.runCollect(LanguageModel.streamText(options)))
        assertStream(parts)
        assertEnd(parts)
        assert.isAbove(textOf(parts).trim().length, 0)
        assert.strictEqual(textOf(parts), whole.text)
        assert.deepStrictEqual(yield* kept(parts), yield* kept(whole.content))
      })
    )

    const forced = [{ tool: "add" }, { mode: "required", oneOf: ["add"] }] as const
    for (const toolChoice of means ? (["required", ...forced, { oneOf: ["add"] }, "auto"] as const) : forced) {
      it.live(`a tool is called with arguments that fit, toolChoice ${JSON.stringify(toolChoice)}`, () =>
        Effect.gen(function* () {
          const options = { prompt: question, toolkit, toolChoice, ...deferred }
          const whole = yield* on("tool", LanguageModel.generateText(options))
          const streamed = yield* on("tool", Stream.runCollect(LanguageModel.streamText(options)))
          assertStream(streamed)
          for (const parts of [whole.content, streamed] as ReadonlyArray<ReadonlyArray<AnyPart>>) {
            const calls = parts.filter((part) => part.type === "tool-call")
            assert.isAbove(calls.length, 0)
            assert.strictEqual(new Set(calls.map((call) => call.id)).size, calls.length)
            for (const call of calls) {
              assert.isAbove(call.id.length, 0)
              assert.strictEqual(call.name, "add")
              if (means) yield* Schema.decodeUnknownEffect(Add.parametersSchema)(call.params)
              // A number may be above what numbers can be.
              else assert.hasAllKeys(call.params, ["a", "b"])
            }
            if (means) assert.deepStrictEqual(calls[0]!.params, { a: 2, b: 40 })
            assert.strictEqual(assertFinish(parts).reason, "tool-calls")
          }
          assert.deepStrictEqual(yield* kept(streamed), yield* kept(whole.content))
        })
      )
    }

    it.live("toolChoice none calls no tool", () =>
      Effect.gen(function* () {
        const options = { prompt: question, toolkit, toolChoice: "none", ...deferred } as const
        const whole = yield* on("text", LanguageModel.generateText(options))
        const streamed = yield* on("text", Stream.runCollect(LanguageModel.streamText(options)))
        assertStream(streamed)
        for (const parts of [whole.content, streamed] as ReadonlyArray<ReadonlyArray<AnyPart>>) {
          assert.deepStrictEqual(
            parts.filter((part) => part.type === "tool-call"),
            []
          )
          assertEnd(parts)
        }
      })
    )

    const afterTool = Prompt.make([
      { role: "system", content: "You do arithmetic." },
      { role: "user", content: [{ type: "text", text: question }] },
      {
        role: "assistant",
        content: [
          { type: "reasoning", text: "I add." },
          { type: "tool-call", id: "c1", name: "add", params: { a: 2, b: 40 }, providerExecuted: false }
        ]
      },
      {
        role: "tool",
        content: [{ type: "tool-result", id: "c1", name: "add", isFailure: false, result: 42, providerExecuted: false }]
      }
    ])
    it.live("after a tool's result it answers in text, whole and streamed", () =>
      Effect.gen(function* () {
        const options = { prompt: afterTool, toolkit, ...deferred }
        const whole = yield* on("after a tool", LanguageModel.generateText(options))
        const streamed = yield* on("after a tool", Stream.runCollect(LanguageModel.streamText(options)))
        assertStream(streamed)
        assert.strictEqual(whole.toolCalls.length, 0)
        assertSays(whole.text, "42")
        assert.strictEqual(textOf(streamed), whole.text)
      })
    )

    it.live("its own answer goes back into the conversation, with results in the order of its calls", () =>
      Effect.gen(function* () {
        const options = { prompt: question, toolkit, toolChoice: required, ...deferred } as const
        const parts = yield* on("tool", Stream.runCollect(LanguageModel.streamText(options)))
        const results = parts.flatMap((part) =>
          part.type === "tool-call"
            ? [
                Prompt.toolResultPart({
                  id: part.id,
                  name: part.name,
                  isFailure: false,
                  result: 42,
                  providerExecuted: false
                })
              ]
            : []
        )
        const prompt = Prompt.fromMessages([
          ...Prompt.make(question).content,
          ...Prompt.fromResponseParts(parts).content,
          Prompt.toolMessage({ content: results })
        ])
        const { text } = yield* on("after a tool", LanguageModel.generateText({ prompt, toolkit, ...deferred }))
        assertSays(text, "42")
      })
    )

    it.live("generateObject gives a value that decodes", () =>
      on(
        "object",
        Effect.gen(function* () {
          const options = { prompt: document, objectName: "city" }
          if (!means) return yield* LanguageModel.generateObject({ ...options, schema: Flag })
          const { value } = yield* LanguageModel.generateObject({ ...options, schema: City })
          return assert.deepStrictEqual(value, script.object)
        })
      )
    )

    it.live("an output format around a call gives JSON that fits, whole and streamed", () =>
      Effect.gen(function* () {
        const asked = Effect.provideService(ModelInfo.OutputFormat, formats[means ? "city" : "flag"])
        const whole = yield* on("object", asked(LanguageModel.generateText({ prompt: document, ...deferred })))
        const streamed = yield* on(
          "object",
          asked(Stream.runCollect(LanguageModel.streamText({ prompt: document, ...deferred })))
        )
        for (const text of [whole.text, textOf(streamed)]) {
          if (!means) yield* Schema.decodeEffect(Schema.fromJsonString(Flag))(text)
          else assert.deepStrictEqual(yield* Schema.decodeEffect(Schema.fromJsonString(City))(text), script.object)
        }
      })
    )

    it.live("odd characters in the conversation are accepted, and images and files are unless it says so", () =>
      on(
        "text",
        Effect.gen(function* () {
          const odd = `Summarise \u0000 \u{1F3AD} \u202E this: ${document}`
          const plain = yield* LanguageModel.generateText({ prompt: odd, ...deferred })
          assert.isAbove(plain.text.trim().length, 0)
          const answered = LanguageModel.generateText({
            prompt: [
              { role: "system", content: "Look." },
              {
                role: "user",
                content: [
                  { type: "text", text: odd },
                  { type: "file", mediaType: "image/png", data: new Uint8Array([137, 80]) },
                  { type: "file", mediaType: "text/plain", fileName: "a.txt", data: new TextEncoder().encode(document) }
                ]
              }
            ],
            ...deferred
          })
          if (capabilities.readsNoFiles === true) {
            assert.match((yield* Effect.flip(answered)).message, /image\/png/)
          } else {
            assert.isAbove((yield* answered).text.trim().length, 0)
          }
        })
      )
    )

    it.live(
      "a long conversation is accepted: several calls at once, one failed, reasoning, an answer, a question",
      () =>
        on(
          "text",
          Effect.gen(function* () {
            const call = (id: string) =>
              ({ type: "tool-call", id, name: "add", params: { a: 1, b: 1 }, providerExecuted: false }) as const
            const { text } = yield* LanguageModel.generateText({
              prompt: [
                { role: "system", content: "You do arithmetic." },
                { role: "user", content: [{ type: "text", text: "Add." }] },
                {
                  role: "assistant",
                  content: [
                    { type: "reasoning", text: "Twice." },
                    { type: "text", text: "I add." },
                    call("c1"),
                    call("c2")
                  ]
                },
                {
                  role: "tool",
                  content: [
                    {
                      type: "tool-result",
                      id: "c1",
                      name: "add",
                      isFailure: false,
                      result: 2,
                      providerExecuted: false
                    },
                    {
                      type: "tool-result",
                      id: "c2",
                      name: "add",
                      isFailure: true,
                      result: { error: "overflow" },
                      providerExecuted: false
                    }
                  ]
                },
                { role: "assistant", content: [{ type: "text", text: "The first is 2, the second failed." }] },
                { role: "user", content: [{ type: "text", text: `Summarise: ${document}` }] }
              ],
              ...deferred
            })
            assert.isAbove(text.trim().length, 0)
          })
        )
    )

    it.live("a stream that is dropped after its first part ends at once, and the next call is answered", () =>
      on(
        "text",
        Effect.gen(function* () {
          const stream = LanguageModel.streamText({ prompt: `Summarise: ${document}`, ...deferred })
          const first = yield* Stream.runCollect(Stream.take(stream, 1))
          assert.strictEqual(first.length, 1)
          assertStream(yield* Stream.runCollect(stream))
        })
      )
    )

    it.live("calls at the same time, whole and streamed, do not mix", () =>
      on(
        "tools",
        Effect.gen(function* () {
          const answers = yield* Effect.forEach(
            [3, 5, 7, 9, 11, 13],
            (a, index) => {
              const prompt = `What is ${a} + 40? Use the tool.`
              const options = { prompt, toolkit, toolChoice: required, ...deferred } as const
              return Effect.map(
                index % 2 === 0
                  ? Effect.map(LanguageModel.generateText(options), ({ content }): ReadonlyArray<AnyPart> => content)
                  : Stream.runCollect(LanguageModel.streamText(options)),
                (parts) => ({
                  a,
                  calls: parts.filter((part) => part.type === "tool-call"),
                  finish: assertFinish(parts)
                })
              )
            },
            { concurrency: "unbounded" }
          )
          for (const { a, calls, finish } of answers) {
            assert.strictEqual(calls.length, 1)
            assert.strictEqual(finish.reason, "tool-calls")
            if (!means) continue
            const params = yield* Schema.decodeUnknownEffect(Add.parametersSchema)(calls[0]!.params)
            if (capabilities.readsTheRequest === true) assert.deepStrictEqual(params, { a, b: 40 })
          }
        })
      )
    )

    const { endless } = capabilities
    if (endless !== undefined) {
      it.live("a call that is interrupted before it answers ends at once, and leaves nothing running", () =>
        Effect.gen(function* () {
          const { layer, running } = yield* endless
          yield* Effect.gen(function* () {
            const fibers = yield* Effect.forEach(["one", "two"], (prompt) =>
              Effect.forkChild(LanguageModel.generateText({ prompt, ...deferred }))
            )
            yield* until(running, 2)
            yield* Effect.timeout(Fiber.interrupt(fibers[0]!), "1 second")
            yield* until(running, 1)
            assert.isUndefined(fibers[1]!.pollUnsafe())
            yield* Effect.timeout(Fiber.interrupt(fibers[1]!), "1 second")
            yield* until(running, 0)
          }).pipe(Effect.provide(layer))
        })
      )

      it.live("a stream that is dropped, or interrupted in mid-text, ends at once, and leaves nothing running", () =>
        Effect.gen(function* () {
          const { layer, running } = yield* endless
          yield* Effect.gen(function* () {
            const stream = LanguageModel.streamText({ prompt: "go", ...deferred })
            const text = Stream.filter(stream, (part) => part.type === "text-delta")
            const first = yield* Effect.timeout(Stream.runCollect(Stream.take(text, 1)), "2 seconds")
            assert.strictEqual(first.length, 1)
            yield* until(running, 0)

            let seen = 0
            const fiber = yield* Effect.forkChild(Stream.runForEach(text, () => Effect.sync(() => seen++)))
            yield* until(
              Effect.sync(() => Math.min(seen, 1)),
              1
            )
            yield* until(running, 1)
            yield* Effect.timeout(Fiber.interrupt(fiber), "1 second")
            yield* until(running, 0)
          }).pipe(Effect.provide(layer))
        })
      )
    }

    it.live("it says who it is", () =>
      on(
        "text",
        Effect.gen(function* () {
          const info = yield* ModelInfo.get
          assert.isAbove((info?.provider ?? "").length, 0)
          assert.strictEqual(info?.structuredOutput, true)
        })
      )
    )
  })
}
