/** The contract that every model Layer of ours keeps, as the agent loop uses it. `suite(name, layerFor)` runs it. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, type Layer, Schema, type Scope, Stream } from "effect"
import { LanguageModel, Prompt, type Response, Tool, Toolkit } from "effect/ai"
import { ModelInfo } from "troupe"

/** What a scripted model has to be ready for. */
export type Scenario = "text" | "tool" | "tools" | "after a tool" | "object"

/** The tool of the contract, and the answers a scripted model gives. */
export const script = {
  text: "The capital of France is Paris, and that of Italy is Rome.",
  tool: { name: "add", params: { a: 2, b: 40 } },
  object: { city: "Paris", population: 2100000 }
} as const

const Add = Tool.make("add", {
  description: "Add two numbers: a + b",
  parameters: Schema.Struct({ a: Schema.Finite, b: Schema.Finite }),
  success: Schema.Finite
})
const kit = Toolkit.make(Add)
// Handlers are never called: the loop resolves tools itself, as here.
const toolkit = {
  tools: kit.tools,
  handle: () => Effect.die("the model must not run tools")
} as unknown as Toolkit.WithHandler<{
  readonly add: typeof Add
}>
const City = Schema.Struct({ city: Schema.String, population: Schema.Finite })
const question = "What is 2 + 40? Use the tool."
const document = "Paris is the capital of France. The city Paris has a population of 2100000. It lies on the Seine."
const deferred = { disableToolCallResolution: true, toolCallValidation: "deferred" } as const

const format: ModelInfo.OutputFormat = {
  name: "city",
  description: undefined,
  jsonSchema: LanguageModel.defaultCodecTransformer(City).jsonSchema
}

type AnyPart = Response.AnyPart

/** Well-formed: metadata first if at all, each delta inside of its block, one finish, last, with whole numbers. */
const assertStream = (parts: ReadonlyArray<AnyPart>): void => {
  const open = new Set<string>()
  parts.forEach((part, index) => {
    if (part.type.endsWith("-start")) open.add(`${part.type.slice(0, -6)} ${(part as { readonly id: string }).id}`)
    if (part.type.endsWith("-delta"))
      assert.isTrue(open.has(`${part.type.slice(0, -6)} ${(part as { readonly id: string }).id}`))
    if (part.type.endsWith("-end"))
      assert.isTrue(open.delete(`${part.type.slice(0, -4)} ${(part as { readonly id: string }).id}`))
    if (part.type === "finish") assert.strictEqual(index, parts.length - 1)
  })
  assert.deepStrictEqual([...open], [])
  assertFinish(parts)
}

const assertFinish = (parts: ReadonlyArray<AnyPart>): Response.FinishPart => {
  const finishes = parts.filter((part) => part.type === "finish")
  assert.strictEqual(finishes.length, 1)
  assert.isTrue(Number.isInteger(finishes[0]!.usage.inputTokens.total))
  assert.isTrue(Number.isInteger(finishes[0]!.usage.outputTokens.total))
  return finishes[0]!
}

const textOf = (parts: ReadonlyArray<AnyPart>): string =>
  parts.map((part) => (part.type === "text" ? part.text : part.type === "text-delta" ? part.delta : "")).join("")

/** Runs the contract. `layerFor` gives a model that is ready for a scenario; one that answers by itself ignores it. */
export const suite = (
  name: string,
  layerFor: (scenario: Scenario) => Effect.Effect<Layer.Layer<LanguageModel.LanguageModel, unknown>, never, Scope.Scope>
): void => {
  const on = <A, E>(scenario: Scenario, effect: Effect.Effect<A, E, LanguageModel.LanguageModel>) =>
    Effect.flatMap(layerFor(scenario), (model) => Effect.provide(effect, model))

  describe(`${name} keeps the contract of a model:`, () => {
    it.live("a text answer is text, with one finish and its usage", () =>
      on(
        "text",
        Effect.gen(function* () {
          const response = yield* LanguageModel.generateText({ prompt: `Summarise: ${document}`, ...deferred })
          assert.isAbove(response.text.trim().length, 0)
          assert.strictEqual(assertFinish(response.content).reason, "stop")
        })
      )
    )

    it.live("a stream is well-formed, and adds up to a message", () =>
      on(
        "text",
        Effect.gen(function* () {
          const parts = yield* Stream.runCollect(
            LanguageModel.streamText({ prompt: `Summarise: ${document}`, ...deferred })
          )
          assertStream(parts)
          assert.isAbove(textOf(parts).trim().length, 0)
          const prompt = Prompt.fromResponseParts(parts)
          assert.strictEqual(prompt.content[0]?.role, "assistant")
          const encoded = yield* Schema.encodeEffect(Prompt.Prompt)(prompt)
          yield* Schema.decodeEffect(Prompt.Prompt)(JSON.parse(JSON.stringify(encoded)))
        })
      )
    )

    for (const toolChoice of ["required", { tool: "add" }, "auto"] as const) {
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
            for (const call of calls) yield* Schema.decodeUnknownEffect(Add.parametersSchema)(call.params)
            assert.deepStrictEqual(calls[0]!.params, { a: 2, b: 40 })
            assert.strictEqual(assertFinish(parts).reason, "tool-calls")
          }
        })
      )
    }

    it.live("toolChoice none calls no tool", () =>
      on(
        "text",
        Effect.gen(function* () {
          const response = yield* LanguageModel.generateText({
            prompt: question,
            toolkit,
            toolChoice: "none",
            ...deferred
          })
          assert.strictEqual(response.toolCalls.length, 0)
        })
      )
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
    it.live("after a tool's result it answers in text", () =>
      on(
        "after a tool",
        Effect.gen(function* () {
          const response = yield* LanguageModel.generateText({ prompt: afterTool, toolkit, ...deferred })
          assert.strictEqual(response.toolCalls.length, 0)
          assert.include(response.text, "42")
        })
      )
    )

    it.live("generateObject gives a value that decodes", () =>
      on(
        "object",
        Effect.gen(function* () {
          const { value } = yield* LanguageModel.generateObject({ prompt: document, schema: City, objectName: "city" })
          assert.deepStrictEqual(value, script.object)
        })
      )
    )

    it.live("an output format around a call gives JSON that fits, whole and streamed", () =>
      Effect.gen(function* () {
        const asked = Effect.provideService(ModelInfo.OutputFormat, format)
        const whole = yield* on("object", asked(LanguageModel.generateText({ prompt: document, ...deferred })))
        const streamed = yield* on(
          "object",
          asked(Stream.runCollect(LanguageModel.streamText({ prompt: document, ...deferred })))
        )
        for (const text of [whole.text, textOf(streamed)]) {
          assert.deepStrictEqual(yield* Schema.decodeEffect(Schema.fromJsonString(City))(text), script.object)
        }
      })
    )

    it.live("images, files and odd characters in the conversation are accepted", () =>
      on(
        "text",
        LanguageModel.generateText({
          prompt: [
            { role: "system", content: "Look." },
            {
              role: "user",
              content: [
                { type: "text", text: "Look \u0000 \u{1F3AD} \u202E at this" },
                { type: "file", mediaType: "image/png", data: new Uint8Array([137, 80]) },
                { type: "file", mediaType: "text/plain", fileName: "a.txt", data: new TextEncoder().encode(document) }
              ]
            }
          ],
          ...deferred
        })
      )
    )

    it.live("a stream that is dropped after its first part ends at once", () =>
      on(
        "text",
        Effect.gen(function* () {
          const first = yield* LanguageModel.streamText({ prompt: document, ...deferred }).pipe(
            Stream.take(1),
            Stream.runCollect
          )
          assert.strictEqual(first.length, 1)
        })
      )
    )

    it.live("calls at the same time do not mix", () =>
      on(
        "tools",
        Effect.gen(function* () {
          const sums = [3, 5, 7, 9]
          const responses = yield* Effect.forEach(
            sums,
            (n) =>
              LanguageModel.generateText({
                prompt: `What is ${n} + 40? Use the tool.`,
                toolkit,
                toolChoice: "required",
                ...deferred
              }),
            { concurrency: "unbounded" }
          )
          const ids = responses.flatMap((response) => response.toolCalls.map((call) => call.id))
          assert.strictEqual(ids.length, sums.length)
        })
      )
    )

    it.live("it says who it is", () =>
      on(
        "text",
        Effect.gen(function* () {
          const info = ModelInfo.get(yield* LanguageModel.LanguageModel)
          assert.isAbove((info?.provider ?? "").length, 0)
          assert.strictEqual(info?.structuredOutput, true)
        })
      )
    )
  })
}
