/** Rate limits, circuit breakers and the cache of answers: inside of retries, around each attempt of a model call. */
import { assert, describe } from "@effect/vitest"
import { it } from "../support/edges.ts"
import { Effect, Fiber, Layer, Predicate, Schedule, Schema } from "effect"
import { AiError } from "effect/ai"
import { CircuitBreaker as Breaker, Persistence, RateLimiter } from "effect/persistence"
import { TestClock } from "effect/testing"
import {
  Agent,
  AgentTool,
  CircuitBreaker,
  Guardrail,
  Middleware,
  Notice,
  RateLimit,
  ResponseCache,
  Runner,
  TestModel
} from "troupe"
import { vi } from "vitest"
import { collect, textOf } from "../support/grammar.ts"

const calls = Effect.flatMap(TestModel.TestModel, ({ calls }) => calls)
const count = Effect.map(calls, (all) => all.length)
const hello = (name: string, options: Agent.Options = {}) =>
  Agent.make(name, options as {}) as unknown as Agent.Agent<string, Agent.Error, never>
const twice = Schedule.recurs(2)
const down = TestModel.fail(new AiError.InternalProviderError({ description: "down" }))

describe("a rate limit", () => {
  const Limiter = RateLimiter.layer.pipe(Layer.provide(RateLimiter.layerStoreMemory))
  const limited = (options: Partial<RateLimit.Options> = {}) =>
    Middleware.layer(RateLimit.make({ requests: 2, per: "1 minute", ...options })).pipe(Layer.provide(Limiter))
  const answers = (count: number) => TestModel.layer(Array.from({ length: count }, () => "done"))

  it.effect("has agents of one Layer wait together", () =>
    Effect.gen(function* () {
      const all = Effect.all(
        ["a", "b", "c"].map((name) => hello(name).run("go")),
        { concurrency: 3 }
      )
      const fiber = yield* Effect.forkChild(all)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* count, 2)
      yield* TestClock.adjust("1 minute")
      yield* Fiber.join(fiber)
      assert.strictEqual(yield* count, 3)
    }).pipe(Effect.provide(limited()), Effect.provide(answers(3)))
  )

  it.effect("counts streamed calls, and each attempt", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.forkChild(collect(hello("a", { retry: twice }), "go"))
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual(yield* count, 2)
      yield* TestClock.adjust("1 minute")
      const { events } = yield* Fiber.join(fiber)
      assert.strictEqual(textOf(events), "done")
    }).pipe(Effect.provide(limited()), Effect.provide(TestModel.layer([down, down, "done"])))
  )

  it.effect("fails as a provider that limits where that is asked for", () =>
    Effect.gen(function* () {
      const agent = hello("a", { retry: "none" })
      yield* agent.run("go")
      const error = yield* Effect.flip(agent.run("go"))
      if (error._tag !== "ModelError") return assert.fail(error._tag)
      assert.strictEqual(error.reason.reason._tag, "RateLimitError")
    }).pipe(Effect.provide(limited({ requests: 1, onExceeded: "fail" })), Effect.provide(answers(1)))
  )

  it.effect("counts tokens of prompts", () =>
    Effect.gen(function* () {
      const agent = hello("a", { retry: "none" })
      yield* agent.run("word ".repeat(100))
      assert.strictEqual((yield* Effect.flip(agent.run("word ".repeat(100))))._tag, "ModelError")
    }).pipe(
      Effect.provide(limited({ requests: undefined, tokens: 200, onExceeded: "fail" })),
      Effect.provide(answers(1))
    )
  )

  it.effect("refuses a prompt that fits in no window, without asking to try again", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(hello("a").run("word ".repeat(500)))
      if (error._tag !== "ModelError") return assert.fail(error._tag)
      assert.strictEqual(error.reason.reason._tag, "InvalidRequestError")
      assert.match(error.message, /the rate limit allows 200 in a window/)
    }).pipe(
      Effect.provide(limited({ requests: undefined, tokens: 200, onExceeded: "fail" })),
      Effect.provide(answers(0))
    )
  )

  it.effect("is refused without a limit, or with one that is not a count", () =>
    Effect.sync(() => {
      assert.throws(() => RateLimit.make({ per: "1 minute" }), /it limits nothing/)
      assert.throws(() => RateLimit.make({ per: "1 minute", requests: 0.5 }), /requests is 0.5/)
      assert.throws(() => RateLimit.make({ per: "soon" as never, requests: 1 }), /per is not a duration/)
    })
  )
})

describe("a circuit breaker", () => {
  const broken = Middleware.layer(CircuitBreaker.make()).pipe(
    Layer.provide(Breaker.layer({ tripPolicy: Breaker.consecutive(2), openDuration: "30 seconds" })),
    Layer.provide(Breaker.layerStoreMemory())
  )

  it.effect("opens for all agents after failures of the provider, and closes with the first call that succeeds", () =>
    Effect.gen(function* () {
      const a = hello("a", { retry: "none" })
      const b = hello("b", { retry: twice })
      yield* Effect.flip(a.run("go"))
      yield* Effect.flip(a.run("go"))
      const error = yield* Effect.flip(b.run("go"))
      // It is not retried, and no model is called.
      assert.strictEqual(yield* count, 2)
      assert.include(error.message, "Circuit open")
      yield* TestClock.adjust("31 seconds")
      assert.strictEqual(yield* b.run("go"), "done")
      const { events } = yield* collect(a, "go")
      assert.strictEqual(textOf(events), "streamed")
    }).pipe(Effect.provide(broken), Effect.provide(TestModel.layer([down, down, "done", "streamed"])))
  )

  it.effect("sees failures in the middle of streams", () =>
    Effect.gen(function* () {
      const agent = hello("a", { retry: "none" })
      yield* collect(agent, "go")
      yield* collect(agent, "go")
      const { exit } = yield* collect(agent, "go")
      assert.include(String(exit), "Circuit open")
    }).pipe(
      Effect.provide(broken),
      Effect.provide(TestModel.layer([1, 2].map(() => ({ text: ["a", "b"], after: 1, ...down }))))
    )
  )

  it.effect("stays closed for requests that are wrong", () =>
    Effect.gen(function* () {
      const agent = hello("a", { retry: "none" })
      for (let n = 0; n < 3; n++) yield* Effect.flip(agent.run("go"))
      assert.strictEqual(yield* count, 3)
    }).pipe(
      Effect.provide(broken),
      Effect.provide(
        TestModel.layer([1, 2, 3].map(() => TestModel.fail(new AiError.InvalidRequestError({ description: "wrong" }))))
      )
    )
  )
})

describe("metrics of a model behind limits, breakers and a cache", () => {
  const guards = Middleware.layer(
    RateLimit.make({ requests: 100, per: "1 minute" }),
    CircuitBreaker.make(),
    ResponseCache.make()
  ).pipe(
    Layer.provide([RateLimiter.layer, Breaker.layer({ tripPolicy: Breaker.consecutive(5), openDuration: "1 second" })]),
    Layer.provide([RateLimiter.layerStoreMemory, Breaker.layerStoreMemory(), Persistence.layerMemory])
  )

  it.effect("are made once, and not for each call", () =>
    Effect.gen(function* () {
      const set = vi.spyOn(WeakMap.prototype, "set")
      yield* Effect.addFinalizer(() => Effect.sync(() => set.mockRestore()))
      for (const text of ["a", "b", "c"]) yield* hello("a").run(text)
      assert.strictEqual(yield* count, 3)
      const made = set.mock.calls.filter(([, value]) => Predicate.hasProperty(value, "firstChunk"))
      assert.lengthOf(made, 1)
    }).pipe(Effect.provide(guards), Effect.provide(TestModel.layer(["1", "2", "3"])))
  )
})

describe("a run nested in a model call, such as that of a judge", () => {
  const judge = Agent.make("judge", { output: Guardrail.Verdict, retry: "none" })
  const judged = Agent.make("judged", {
    retry: "none",
    middleware: [Guardrail.input("manners", judge, { hold: true })]
  })
  const pass = TestModel.json({ _tag: "Pass" })

  it.effect("takes the limit of all agents once for each call", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* judged.run("go"), "done")
    }).pipe(
      Effect.provide(
        Middleware.layer(RateLimit.make({ requests: 2, per: "1 minute", onExceeded: "fail" })).pipe(
          Layer.provide(RateLimiter.layer),
          Layer.provide(RateLimiter.layerStoreMemory)
        )
      ),
      Effect.provide(TestModel.layer([pass, "done"]))
    )
  )

  it.effect("closes the circuit of all agents again", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* Effect.flip(judged.run("go")))._tag, "ModelError")
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(yield* judged.run("go"), "done")
    }).pipe(
      Effect.provide(
        Middleware.layer(CircuitBreaker.make()).pipe(
          Layer.provide(Breaker.layer({ tripPolicy: Breaker.consecutive(1), openDuration: "1 second" })),
          Layer.provide(Breaker.layerStoreMemory())
        )
      ),
      Effect.provide(TestModel.layer([down, pass, "done"]))
    )
  )
})

describe("a response cache", () => {
  const cache = (options: ResponseCache.Options = {}) =>
    Middleware.layer(ResponseCache.make(options)).pipe(Layer.provide(Persistence.layerMemory))
  const look = AgentTool.fromFunction("look", {
    description: "Looks",
    parameters: Schema.Struct({ at: Schema.String }),
    execute: ({ at }) => `seen ${at}`
  })

  it.effect("gives the same answer again, whole or streamed, without a call or tokens", () =>
    Effect.gen(function* () {
      const agent = hello("a", { tools: [look] })
      const first = yield* agent.result("go")
      const second = yield* agent.result("go")
      const { events } = yield* collect(hello("b", { tools: [look] }), "go")
      assert.strictEqual(yield* count, 2)
      assert.deepStrictEqual([first.output, second.output, textOf(events)], ["done", "done", "done"])
      assert.isAbove(first.usage.inputTokens.total ?? 0, 0)
      assert.strictEqual(second.usage.inputTokens.total ?? 0, 0)
    }).pipe(
      Effect.provide(cache()),
      Effect.provide(TestModel.layer([{ reasoning: "why", ...TestModel.toolCall("look", { at: "a" }) }, "done"]))
    )
  )

  it.effect("in front of limits and breakers of one Layer asks none of them for what it has", () =>
    Effect.gen(function* () {
      const shared = Middleware.layer(
        ResponseCache.make(),
        RateLimit.make({ requests: 1, per: "1 minute", onExceeded: "fail" }),
        CircuitBreaker.make()
      ).pipe(
        Layer.provide(Persistence.layerMemory),
        Layer.provide(RateLimiter.layer.pipe(Layer.provide(RateLimiter.layerStoreMemory))),
        Layer.provide(Breaker.layer({ tripPolicy: Breaker.consecutive(2), openDuration: "1 second" })),
        Layer.provide(Breaker.layerStoreMemory())
      )
      const agent = hello("a", { retry: "none" })
      yield* Effect.gen(function* () {
        assert.strictEqual(yield* agent.run("go"), "done")
        assert.strictEqual(yield* agent.run("go"), "done")
        assert.strictEqual((yield* Effect.flip(agent.run("other")))._tag, "ModelError")
      }).pipe(Effect.provide(shared))
    }).pipe(Effect.provide(TestModel.layer(["done"])))
  )

  it.effect("gives an answer that a budget does not charge", () =>
    Effect.gen(function* () {
      const agent = Agent.make("a", {})
      const often = Runner.make("often", { run: () => Effect.forEach([1, 2, 3, 4, 5], () => agent.run("go")) })
      const answers = yield* Runner.withBudget(often, { tokens: 20 }).run("go")
      assert.deepStrictEqual([answers.length, yield* count], [5, 1])
    }).pipe(Effect.provide(cache()), Effect.provide(TestModel.layer(["done"])))
  )

  it.effect("does not give an answer again that a run has failed with, so that another attempt can succeed", () =>
    Effect.gen(function* () {
      const typed = Agent.make("typed", { output: Schema.Struct({ n: Schema.Int }), outputRepairs: 0 })
      assert.deepStrictEqual(yield* Runner.withRetry(typed, { times: 1 }).run("go"), { n: 1 })
      assert.deepStrictEqual(yield* typed.run("go"), { n: 1 })
      const check = Guardrail.output("polite", (text) =>
        Effect.succeed(text === "rude" ? Guardrail.trip("rude") : Guardrail.pass)
      )
      const polite = Agent.make("polite", { middleware: [check] })
      assert.strictEqual((yield* Effect.flip(polite.run("go")))._tag, "GuardrailTripped")
      assert.strictEqual(yield* polite.run("go"), "kind")
      assert.strictEqual(yield* count, 4)
    }).pipe(
      Effect.provide(cache()),
      Effect.provide(TestModel.layer(["not JSON", TestModel.json({ n: 1 }), "rude", "kind"]))
    )
  )

  it.effect("keeps streamed answers for runs that do not stream", () =>
    Effect.gen(function* () {
      yield* collect(hello("a"), "go")
      assert.strictEqual(yield* hello("a").run("go"), "one two")
      assert.strictEqual(yield* count, 1)
    }).pipe(Effect.provide(cache()), Effect.provide(TestModel.layer([{ text: ["one ", "two"] }])))
  )

  it.effect("distinguishes what is sent, also by middleware further in, and forgets in time", () =>
    Effect.gen(function* () {
      const dated = hello("a", { middleware: [Notice.make({ zone: "UTC" })] })
      yield* dated.run("go")
      yield* TestClock.adjust("2 minutes")
      yield* dated.run("go")
      yield* hello("a", { instructions: "Be brief." }).run("go")
      yield* hello("a").run("go")
      assert.strictEqual(yield* count, 4)
      yield* hello("a").run("go")
      assert.strictEqual(yield* count, 4)
      yield* TestClock.adjust("2 hours")
      yield* hello("a").run("go")
      assert.strictEqual(yield* count, 5)
    }).pipe(Effect.provide(cache()), Effect.provide(TestModel.layer(["1", "2", "3", "4", "5"])))
  )

  it.effect("keeps no answer that was cut off, and looks up only what it is to", () =>
    Effect.gen(function* () {
      const agent = hello("a", { onLength: "accept" })
      yield* agent.run("go")
      yield* agent.run("go")
      yield* agent.run("no cache")
      yield* agent.run("no cache")
      assert.strictEqual(yield* count, 4)
    }).pipe(
      Effect.provide(cache({ only: ({ prompt }) => !JSON.stringify(prompt.content).includes("no cache") })),
      Effect.provide(TestModel.layer([{ text: "cut", finishReason: "length" }, "done", "a", "b"]))
    )
  )
})
