/** `Runner.asLanguageModel`: a runner where a model is asked for. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Schema, Stream } from "effect"
import { AiError, LanguageModel, Tool, Toolkit } from "effect/ai"
import { Agent, AgentTool, Chain, Runner, TestModel } from "troupe"
import { checkGrammar, collect } from "./support/grammar.ts"

const inner = Agent.make("inner", { instructions: "You are inside." })
const outer = Agent.make("outer", { instructions: "You are outside." })
const Inner = Runner.asLanguageModel(inner)
const calls = Effect.flatMap(TestModel.TestModel, ({ calls }) => calls)
const over = (script: TestModel.Script, options?: TestModel.Options) =>
  Layer.provideMerge(Inner, TestModel.layer(script, options))

describe("a runner as a language model", () => {
  it.effect("answers an agent by its own runs, which are nested in the agent's and count once", () =>
    Effect.gen(function* () {
      const { events, exit } = yield* collect(outer, "Hello")
      assert.isTrue(Exit.isSuccess(exit))
      checkGrammar(events)
      assert.deepStrictEqual(
        events.flatMap((event) => (event._tag === "RunStarted" ? [event.path.join(" > ")] : [])),
        ["outer", "outer > inner"]
      )
      const last = events.at(-1)!
      assert.deepStrictEqual(
        last._tag === "RunCompleted" ? [last.output, last.spent.usage.outputTokens.total, last.spent.steps] : last,
        ["Hi!", 5, 2]
      )
      const [call] = yield* calls
      assert.deepStrictEqual(
        call!.prompt.content.map((message) => message.role),
        ["system", "system", "user"]
      )
    }).pipe(Effect.provide(over(["Hi!"])))
  )

  it.effect("gives the output of a workflow, whole, to a program of effect/ai that streams", () =>
    Effect.gen(function* () {
      const chain = Chain.make("chain", [inner, (text: string) => Effect.succeed(text.toUpperCase())])
      const parts = yield* Stream.runCollect(LanguageModel.streamText({ prompt: "Hello" })).pipe(
        Effect.provide(Runner.asLanguageModel(chain))
      )
      assert.deepStrictEqual(
        parts.flatMap((part) => (part.type === "text-delta" ? [part.delta] : [])),
        ["HI!"]
      )
    }).pipe(Effect.provide(TestModel.layer([{ text: "Hi!", chunk: 1 }])))
  )

  it("answers under runSync", () => {
    assert.strictEqual(Effect.runSync(outer.run("Hello").pipe(Effect.provide(over(["Hi!"])))), "Hi!")
  })

  it.effect("has no usage of its own", () =>
    Effect.gen(function* () {
      const { text, usage } = yield* LanguageModel.generateText({ prompt: "Hello" })
      assert.deepStrictEqual([text, usage.inputTokens.total, usage.outputTokens.total], ["Hi!", undefined, undefined])
    }).pipe(Effect.provide(over(["Hi!"])))
  )

  it.effect("asks for JSON in words, for an agent and for generateObject", () =>
    Effect.gen(function* () {
      const output = Schema.Struct({ sum: Schema.Finite })
      assert.deepStrictEqual(yield* Agent.make("typed", { output }).run("2 + 40"), { sum: 42 })
      const object = yield* LanguageModel.generateObject({ prompt: "1 + 1", schema: output })
      assert.deepStrictEqual(object.value, { sum: 2 })
      for (const call of yield* calls) {
        // The model behind the runner is not asked for a shape by any other means.
        assert.strictEqual(call.output, undefined)
        assert.match(JSON.stringify(call.prompt.content.at(-1)), /fits this JSON schema.*sum/)
      }
    }).pipe(Effect.provide(over([{ text: '{"sum":42}' }, { text: '```json\n{"sum":2}\n```' }])))
  )

  it.effect("refuses tools before the runner runs", () =>
    Effect.gen(function* () {
      const noop = AgentTool.fromFunction("noop", { description: "Does nothing", execute: () => "nothing" })
      const error = yield* Effect.flip(Agent.make("armed", { tools: [noop] }).run("go"))
      assert.strictEqual(error._tag, "ModelError")
      if (error._tag === "ModelError") {
        assert.deepStrictEqual([error.reason.reason._tag, error.attempts], ["InvalidRequestError", 1])
      }
      const toolkit = Toolkit.make(Tool.make("look", { success: Schema.String }))
      const direct = yield* Effect.flip(
        LanguageModel.generateText({ prompt: "go", toolkit }).pipe(
          Effect.provide(toolkit.toLayer({ look: () => Effect.succeed("") }))
        )
      )
      assert.strictEqual(AiError.isAiError(direct) && direct.reason._tag, "InvalidRequestError")
    }).pipe(Effect.provide(over([])))
  )

  it.effect("fails with the provider's error, and with words for any other, without retries of its own", () =>
    Effect.gen(function* () {
      const limited = yield* Effect.flip(LanguageModel.generateText({ prompt: "go" }))
      assert.strictEqual(limited.reason._tag, "QuotaExhaustedError")
      const failing = Runner.make("failing", { run: () => Effect.fail(new Error("out of paper")) })
      const error = yield* Effect.flip(outer.run("go").pipe(Effect.provide(Runner.asLanguageModel(failing))))
      assert.include(error.message, 'the runner "failing", used as a model, failed: out of paper')
      assert.strictEqual(error._tag === "ModelError" ? error.attempts : 0, 1)
    }).pipe(Effect.provide(over([{ fail: new AiError.QuotaExhaustedError({}) }])))
  )

  it.effect("is interrupted with the call", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.forkChild(outer.run("go"))
      yield* Effect.yieldNow
      yield* Effect.yieldNow
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(
        (yield* calls).map((call) => call.interrupted),
        [true]
      )
    }).pipe(Effect.provide(over([{ hang: true }])))
  )
})
