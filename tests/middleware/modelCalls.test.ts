/** What middleware is given, and what it can do around model calls. */
import { assert, describe } from "@effect/vitest"
import { it } from "../support/edges.ts"
import { Effect, Fiber, Layer, Schema, Stream } from "effect"
import { AiError, LanguageModel, Prompt, Tool, Toolkit } from "effect/ai"
import { TestClock } from "effect/testing"
import { Agent, AgentTool, Middleware, RunError, type RunEvent, TestModel } from "troupe"
import { collect, textOf } from "../support/grammar.ts"

const add = AgentTool.fromFunction("add", {
  description: "Adds",
  parameters: Schema.Struct({ a: Schema.Finite, b: Schema.Finite }),
  hints: { readOnly: true },
  execute: ({ a, b }) => a + b
})
const look = AgentTool.fromFunction("look", { description: "Looks", execute: () => "seen" })
const calls = Effect.flatMap(TestModel.TestModel, ({ calls }) => calls)
const turns = (...script: ReadonlyArray<string | TestModel.Turn>) => TestModel.layer(script)
const addition = TestModel.toolCall("add", { a: 1, b: 2 })
const of = <T extends RunEvent.RunEvent["_tag"]>(events: ReadonlyArray<RunEvent.RunEvent>, tag: T) =>
  events.filter((event): event is Extract<RunEvent.RunEvent, { readonly _tag: T }> => event._tag === tag)
const around = (...middleware: ReadonlyArray<Middleware.Middleware>) =>
  Agent.make("agent", { middleware, tools: [add, look] })
const middlewareError = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.flatMap(Effect.flip(effect), (error) =>
    error instanceof RunError.MiddlewareError ? Effect.succeed(error) : Effect.die(error)
  )

describe("what middleware is given", () => {
  it.effect("is plain data that its schemas encode and decode", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const round = <A, B>(name: string, schema: Schema.Codec<A, B>, value: A) =>
        Effect.sync(() => {
          const json = JSON.stringify(Schema.encodeSync(schema)(value))
          const back = Schema.decodeUnknownSync(schema)(JSON.parse(json))
          assert.strictEqual(JSON.stringify(Schema.encodeSync(schema)(back)), json)
          seen.push(name)
        })
      const recorder = Middleware.make("recorder", {
        run: (run, next) =>
          round("run", Middleware.RunRequest, run).pipe(
            Effect.andThen(next(run)),
            Effect.tap((output) => round("output", Middleware.RunOutput, output))
          ),
        model: (request, next) =>
          round("request", Middleware.ModelRequest, request).pipe(
            Effect.andThen(next(request)),
            Effect.tap((turn) => round("turn", Middleware.Turn, turn))
          ),
        tool: (call, next) =>
          round("call", Middleware.ToolCall, call).pipe(
            Effect.andThen(next(call)),
            Effect.tap((outcome) => round("outcome", Middleware.Outcome, outcome))
          )
      })
      yield* around(recorder).run("go")
      assert.deepStrictEqual(seen, ["run", "request", "turn", "call", "outcome", "request", "turn", "output"])
    }).pipe(Effect.provide(turns({ ...addition, reasoning: "why" }, "3")))
  )

  it.effect("says what is asked of the model, and what it answered", () =>
    Effect.gen(function* () {
      const requests: Array<Middleware.ModelRequest> = []
      const answers: Array<Middleware.Turn> = []
      const recorder = Middleware.hooks("recorder", {
        beforeModel: (request) => void requests.push(request),
        afterModel: (turn) => void answers.push(turn)
      })
      const agent = Agent.make("agent", { instructions: "Be brief.", middleware: [recorder], tools: [add] })
      yield* agent.run("go")
      const [first, second] = requests
      assert.deepStrictEqual([first!.step, second!.step], [1, 2])
      assert.deepStrictEqual(first!.path, ["agent"])
      assert.deepStrictEqual(
        first!.prompt.content.map(({ role }) => role),
        ["system", "user"]
      )
      assert.deepStrictEqual(
        first!.tools.map(({ name, description }) => [name, description]),
        [["add", "Adds"]]
      )
      assert.deepInclude(first!.tools[0]!.parameters as object, { type: "object", required: ["a", "b"] })
      assert.deepStrictEqual(answers[0]!.toolCalls, [{ id: "call_1", name: "add", params: { a: 1, b: 2 } }])
      assert.deepStrictEqual([answers[1]!.text, answers[1]!.finishReason], ["3", "stop"])
    }).pipe(Effect.provide(turns(addition, "3")))
  )

  it.effect("says what a tool is called with, and what the tool says about itself", () =>
    Effect.gen(function* () {
      let seen: Middleware.ToolCall | undefined
      const recorder = Middleware.hooks("recorder", {
        beforeTool: (call) => {
          seen = call
        }
      })
      yield* around(recorder).run("go")
      const { idempotencyKey, prompt, runId, ...rest } = seen!
      assert.deepStrictEqual(rest, {
        path: ["agent"],
        step: 1,
        toolCallId: "call_1",
        tool: "add",
        params: { a: 1, b: 2 },
        hints: { readOnly: true, destructive: false, idempotent: false, openWorld: true }
      })
      assert.include(idempotencyKey, runId)
      assert.deepStrictEqual(
        prompt.content.map(({ role }) => role),
        ["user", "assistant"]
      )
    }).pipe(Effect.provide(turns(addition, "3")))
  )

  it.effect("leaves out calls whose arguments are not an object, which fail before", () =>
    Effect.gen(function* () {
      const anything = Tool.dynamic("anything", { description: "Takes anything", parameters: { type: "object" } })
      const kit = Toolkit.make(anything)
      const seen: Array<string> = []
      const recorder = Middleware.hooks("recorder", { beforeTool: (call) => void seen.push(call.tool) })
      const { events } = yield* collect(Agent.make("agent", { toolkit: kit, middleware: [recorder] }), "go").pipe(
        Effect.provide(kit.toLayer({ anything: () => Effect.die("it was called") } as never))
      )
      assert.deepStrictEqual(seen, [])
      assert.include(JSON.stringify(of(events, "ToolFailed")[0]!.result), "not an object")
    }).pipe(Effect.provide(turns(TestModel.toolCall("anything", "text"), "done")))
  )
})

describe("a middleware around model calls", () => {
  it.effect("changes what is sent, and not the transcript", () =>
    Effect.gen(function* () {
      const short = Middleware.make("short", {
        model: (request, next) => next({ ...request, prompt: Prompt.make("Just say hello.") })
      })
      const { transcript } = yield* around(short).result("a long story")
      assert.strictEqual(JSON.stringify((yield* calls)[0]!.prompt.content).includes("a long story"), false)
      assert.include(JSON.stringify(transcript.content), "a long story")
    }).pipe(Effect.provide(turns("hello")))
  )

  it.effect("offers fewer tools, and those left out cannot be called in that step", () =>
    Effect.gen(function* () {
      const first = Middleware.make("first", {
        model: (request, next) =>
          next(request.step === 1 ? { ...request, tools: request.tools.filter(({ name }) => name !== "add") } : request)
      })
      const { events } = yield* collect(around(first), "go")
      assert.deepStrictEqual(
        (yield* calls).map(({ tools }) => tools),
        [["look"], ["add", "look"], ["add", "look"]]
      )
      assert.include(JSON.stringify(of(events, "ToolFailed")[0]!.result), 'no tool \\"add\\" in this step')
      assert.strictEqual(of(events, "ToolCompleted")[0]!.result, 3)
    }).pipe(Effect.provide(turns(addition, addition, "3")))
  )

  it.effect("cannot offer a tool that the agent does not have", () =>
    Effect.gen(function* () {
      const more = Middleware.make("more", {
        model: (request, next) =>
          next({ ...request, tools: [...request.tools, { name: "fly", description: "", parameters: {} }] })
      })
      const error = yield* middlewareError(around(more).run("go"))
      assert.strictEqual(
        error.message,
        '"agent": middleware "more" failed: it offers the tool "fly", which the agent does not have.'
      )
    }).pipe(Effect.provide(turns()))
  )

  it.effect("shows a tool in other words", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const words = Middleware.make("words", {
        model: (request, next) =>
          next({
            ...request,
            tools: request.tools.map((tool) => ({ ...tool, description: `Better: ${tool.description}` }))
          })
      })
      const spy = LanguageModel.make({
        generateText: ({ tools }) => {
          seen.push(...tools.map((tool) => tool.description ?? ""))
          return Effect.succeed([{ type: "text", text: "ok" }])
        },
        streamText: () => Stream.empty
      })
      yield* around(words)
        .run("go")
        .pipe(Effect.provide(Layer.effect(LanguageModel.LanguageModel, spy)))
      assert.deepStrictEqual(seen, ["Better: Adds", "Better: Looks"])
    })
  )

  it.effect("answers without a call: nothing is sent, nothing is billed, and the answer is streamed", () =>
    Effect.gen(function* () {
      const cached = Middleware.make("cached", {
        model: () => Effect.succeed(Middleware.turn("from the cache"))
      })
      const { events } = yield* collect(around(cached), "go")
      assert.strictEqual(textOf(events), "from the cache")
      assert.deepStrictEqual(of(events, "TurnReplaced"), [])
      assert.deepStrictEqual(yield* calls, [])
      const end = events.at(-1)!
      assert.strictEqual("spent" in end && end.spent.usage.inputTokens.total, undefined)
      const { output, transcript } = yield* around(cached).result("go")
      assert.strictEqual(output, "from the cache")
      assert.include(JSON.stringify(transcript.content), "from the cache")
    }).pipe(Effect.provide(turns()))
  )

  it.effect("can have tools called by the turn that it makes", () =>
    Effect.gen(function* () {
      const forced = Middleware.make("forced", {
        model: (request, next) =>
          request.step === 1
            ? Effect.succeed(Middleware.turn({ toolCalls: [{ id: "x", name: "add", params: { a: 2, b: 2 } }] }))
            : next(request)
      })
      const { events } = yield* collect(around(forced), "go")
      assert.strictEqual(of(events, "ToolCompleted")[0]!.result, 4)
    }).pipe(Effect.provide(turns("4")))
  )

  it.effect("voids what was streamed when it replaces the turn", () =>
    Effect.gen(function* () {
      const polite = Middleware.make("polite", {
        model: (request, next) => Effect.map(next(request), (turn) => ({ ...turn, text: "Good day." }))
      })
      const { events } = yield* collect(around(polite), "go")
      const [replaced] = of(events, "TurnReplaced")
      assert.deepInclude(replaced, { step: 1, by: "polite", discardFrom: of(events, "StepStarted")[0]!.seq + 1 })
      assert.strictEqual(textOf(events), "Good day.")
      assert.deepInclude(events.at(-1)!, { output: "Good day." })
      assert.strictEqual(of(events, "StepCompleted")[0]!.usage.inputTokens.total, 10)
    }).pipe(Effect.provide(turns({ text: "What?", chunk: 2 })))
  )

  it.effect("keeps what a provider has signed when it changes the text", () =>
    Effect.gen(function* () {
      const signed = { test: { signature: "s1" } }
      const model = turns({
        parts: [
          { type: "reasoning", text: "hm", metadata: signed },
          { type: "text", text: "no" }
        ]
      })
      const yes = Middleware.make("yes", {
        model: (request, next) => Effect.map(next(request), (turn) => ({ ...turn, text: "yes" }))
      })
      // As a cache would: through JSON, which keeps no identity.
      const stored = Middleware.make("stored", {
        model: (request, next) =>
          Effect.map(next(request), (turn) =>
            Schema.decodeSync(Middleware.Turn)(
              JSON.parse(JSON.stringify(Schema.encodeSync(Middleware.Turn)(turn))) as typeof Middleware.Turn.Encoded
            )
          )
      })
      for (const [middleware, text] of [
        [yes, "yes"],
        [stored, "no"]
      ] as const) {
        const { transcript } = yield* around(middleware).result("go").pipe(Effect.provide(model))
        const answer = transcript.content.at(-1)!
        if (answer.role !== "assistant") return assert.fail(answer.role)
        assert.deepStrictEqual(
          answer.content.map((part) => ("text" in part ? [part.type, part.text, part.options] : [part.type])),
          [
            ["reasoning", "hm", signed],
            ["text", text, {}]
          ]
        )
      }
    })
  )

  it.effect("cannot have a call made that was refused, by changing its turn", () =>
    Effect.gen(function* () {
      let nested: unknown = {}
      for (let depth = 0; depth < 100; depth++) nested = { nested }
      const copies = Middleware.make("copies", {
        model: (request, next) => Effect.map(next(request), (turn) => ({ ...turn, text: "changed" }))
      })
      const stored = Middleware.make("stored", {
        model: (request, next) =>
          Effect.map(next(request), (turn) =>
            Schema.decodeSync(Middleware.Turn)(
              JSON.parse(JSON.stringify(Schema.encodeSync(Middleware.Turn)(turn))) as typeof Middleware.Turn.Encoded
            )
          )
      })
      for (const middleware of [copies, stored]) {
        const model = turns({ ...TestModel.toolCall("look", nested as object), text: "deep" }, "done")
        const { events } = yield* collect(around(middleware), "go").pipe(Effect.provide(model))
        assert.deepStrictEqual(of(events, "ToolCompleted"), [])
        assert.include(JSON.stringify(of(events, "ToolFailed")[0]!.result), "levels deep")
      }
    })
  )

  it.effect("calls again, and every call is billed", () =>
    Effect.gen(function* () {
      const twice = Middleware.make("twice", {
        model: (request, next) =>
          Effect.flatMap(next(request), (turn) => (turn.text === "bad" ? next(request) : Effect.succeed(turn)))
      })
      const { events } = yield* collect(around(twice), "go")
      assert.deepInclude(of(events, "TurnReplaced")[0], { by: "twice" })
      assert.strictEqual(textOf(events), "good")
      assert.strictEqual(of(events, "StepCompleted")[0]!.usage.outputTokens.total, 10)
      const end = events.at(-1)!
      assert.strictEqual("spent" in end && end.spent.usage.outputTokens.total, 10)
    }).pipe(Effect.provide(turns("bad", "good")))
  )

  it.effect("calls twice at once, and only the later call is streamed", () =>
    Effect.gen(function* () {
      const hedged = Middleware.make("hedged", {
        model: (request, next) =>
          Effect.map(
            Effect.all([next(request), Effect.delay(next(request), "15 millis")], { concurrency: 2 }),
            ([, later]) => later
          )
      })
      const running = yield* Effect.forkChild(collect(around(hedged), "go"))
      for (let n = 0; n < 20; n++) yield* TestClock.adjust("5 millis")
      const { events } = yield* Fiber.join(running)
      assert.strictEqual(textOf(events), "bbbb")
      assert.strictEqual(of(events, "TurnReplaced").length, 1)
      const end = events.at(-1)!
      assert.strictEqual("spent" in end && end.spent.usage.outputTokens.total, 10)
    }).pipe(
      Effect.provide(
        turns({ text: "aaaa", chunk: 1, chunkDelay: "10 millis" }, { text: "bbbb", chunk: 1, chunkDelay: "10 millis" })
      )
    )
  )

  it.effect("answers with a model of its own choice", () =>
    Effect.gen(function* () {
      const cheap = Middleware.make("cheap", {
        model: (request, next) => next(request).pipe(Effect.provide(turns("cheap")))
      })
      assert.strictEqual(yield* around(cheap).run("go"), "cheap")
      assert.deepStrictEqual(yield* calls, [])
    }).pipe(Effect.provide(turns()))
  )

  it.effect("asks a model in words for a typed answer that only the agent's own takes natively", () =>
    Effect.gen(function* () {
      const prompts: Array<string> = []
      const spare = TestModel.layer(
        ({ prompt }) => {
          prompts.push(JSON.stringify(prompt.content))
          return '{"n":1}'
        },
        { structuredOutput: false }
      )
      const cheap = Middleware.make("cheap", { model: (request, next) => next(request).pipe(Effect.provide(spare)) })
      const output = Schema.Struct({ n: Schema.Int })
      const agent = Agent.make("agent", { output, tools: [look], middleware: [cheap] })
      assert.deepStrictEqual(yield* agent.run("go"), { n: 1 })
      assert.include(prompts[0]!, "JSON schema")
    }).pipe(Effect.provide(turns()))
  )

  it.effect("recovers from a model that failed in the middle of its answer", () =>
    Effect.gen(function* () {
      const fallback = Middleware.make("fallback", {
        model: (request, next) => Effect.catch(next(request), () => Effect.succeed(Middleware.turn("Sorry.")))
      })
      const agent = Agent.make("agent", { retry: "none", middleware: [fallback] })
      const { events } = yield* collect(agent, "go")
      assert.strictEqual(textOf(events), "Sorry.")
      assert.deepInclude(of(events, "TurnReplaced")[0], { by: "fallback" })
    }).pipe(
      Effect.provide(
        turns({
          text: "half of it",
          chunk: 2,
          after: 2,
          fail: new AiError.InternalProviderError({ description: "down" })
        })
      )
    )
  )
})
