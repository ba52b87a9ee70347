/** What middleware can do around tool calls and runs, and what stays true when it is interrupted. */
import { assert, describe, it as async } from "@effect/vitest"
import { it } from "../support/edges.ts"
import { Cause, Deferred, Effect, Exit, Fiber, Schema } from "effect"
import { Prompt } from "effect/ai"
import { TestClock } from "effect/testing"
import {
  Agent,
  AgentTool,
  Approvals,
  Feature,
  Handoffs,
  Middleware,
  RunError,
  type RunEvent,
  Runner,
  TestModel
} from "troupe"
import { checkGrammar, collect } from "../support/grammar.ts"
import { asApproval } from "../support/waiting.ts"

const turns = (...script: ReadonlyArray<string | TestModel.Turn>) => TestModel.layer(script)
const calls = Effect.flatMap(TestModel.TestModel, ({ calls }) => calls)
const of = <T extends RunEvent.RunEvent["_tag"]>(events: ReadonlyArray<RunEvent.RunEvent>, tag: T) =>
  events.filter((event): event is Extract<RunEvent.RunEvent, { readonly _tag: T }> => event._tag === tag)
const payment = TestModel.toolCall("pay", { amount: 5 })
/** A tool that notes what it was called with. */
const paying = (log: Array<number>, needsApproval = false) =>
  AgentTool.fromFunction("pay", {
    description: "Pays",
    needsApproval,
    parameters: Schema.Struct({ amount: Schema.Finite }),
    execute: ({ amount }) => {
      log.push(amount)
      return `paid ${amount}`
    }
  })
/** The prompt in capitals. */
const loud = (prompt: Prompt.Prompt) => Prompt.make(JSON.stringify(prompt.content).toUpperCase())
const raise = (by: number) =>
  Middleware.make("raise", {
    tool: (call, next) => next({ ...call, params: { ...call.params, amount: Number(call.params["amount"]) + by } })
  })

describe("a middleware around tool calls", () => {
  it.effect("changes the arguments that the tool runs with", () =>
    Effect.gen(function* () {
      const paid: Array<number> = []
      const { events } = yield* collect(Agent.make("agent", { tools: [paying(paid)], middleware: [raise(1)] }), "go")
      assert.deepStrictEqual(paid, [6])
      assert.deepStrictEqual(of(events, "ToolCalled")[0]!.params, { amount: 5 })
      assert.strictEqual(of(events, "ToolCompleted")[0]!.result, "paid 6")
    }).pipe(Effect.provide(turns(payment, "done")))
  )

  it.effect("has its arguments checked again, and fails the run with those that do not fit", () =>
    Effect.gen(function* () {
      const paid: Array<number> = []
      const broken = Middleware.hooks("broken", { beforeTool: (call) => ({ ...call, params: { amount: "much" } }) })
      const error = yield* Effect.flip(Agent.make("agent", { tools: [paying(paid)], middleware: [broken] }).run("go"))
      assert.deepInclude(error, { _tag: "MiddlewareError", middleware: "broken" })
      assert.include(error.message, 'the arguments that it gave "pay" do not fit')
      assert.deepStrictEqual(paid, [])
    }).pipe(Effect.provide(turns(payment)))
  )

  it.effect("leaves arguments that the model got wrong to the model", () =>
    Effect.gen(function* () {
      const paid: Array<number> = []
      const region = Middleware.hooks("region", {
        beforeTool: (call) => ({ ...call, params: { ...call.params, region: "eu" } })
      })
      yield* Agent.make("agent", { tools: [paying(paid)], middleware: [region] }).run("go")
      assert.deepStrictEqual(paid, [5])
      assert.include(JSON.stringify((yield* calls)[1]!.prompt.content.at(-1)), "Fix the arguments")
    }).pipe(Effect.provide(turns(TestModel.toolCall("pay", { amount: "x" }), payment, "done")))
  )

  it.effect("cannot make another call of it", () =>
    Effect.gen(function* () {
      const other = Middleware.make("other", { tool: (call, next) => next({ ...call, tool: "look" }) })
      const error = yield* Effect.flip(Agent.make("agent", { tools: [paying([])], middleware: [other] }).run("go"))
      assert.include(error.message, 'middleware "other" failed: it called next with another call')
    }).pipe(Effect.provide(turns(payment)))
  )

  it.effect("replaces what the model sees", () =>
    Effect.gen(function* () {
      const hidden = Middleware.hooks("hidden", { afterTool: () => Middleware.outcome("[hidden]") })
      const { events } = yield* collect(Agent.make("agent", { tools: [paying([])], middleware: [hidden] }), "go")
      assert.strictEqual(of(events, "ToolCompleted")[0]!.result, "[hidden]")
      assert.include(JSON.stringify((yield* calls)[1]!.prompt.content.at(-1)), "[hidden]")
    }).pipe(Effect.provide(turns(payment, "done")))
  )

  it.effect("answers without calling the tool", () =>
    Effect.gen(function* () {
      const paid: Array<number> = []
      const dry = Middleware.make("dry", {
        tool: () => Effect.succeed(Middleware.outcome("not done", { isFailure: true }))
      })
      const { events } = yield* collect(Agent.make("agent", { tools: [paying(paid)], middleware: [dry] }), "go")
      assert.deepStrictEqual(paid, [])
      assert.strictEqual(of(events, "ToolFailed")[0]!.result, "not done")
    }).pipe(Effect.provide(turns(payment, "done")))
  )

  it.effect("calls a tool again that failed, under the same key", () =>
    Effect.gen(function* () {
      const keys: Array<string> = []
      const flaky = AgentTool.fromFunction("flaky", {
        description: "Fails once",
        failureMode: "error",
        execute: (_, { idempotencyKey }) => (keys.push(idempotencyKey) < 2 ? Effect.fail("once") : "done")
      })
      const again = Middleware.make("again", { tool: (call, next) => Effect.retry(next(call), { times: 1 }) })
      const agent = Agent.make("agent", { tools: [flaky], middleware: [again] })
      const { events } = yield* collect(agent, "go")
      assert.strictEqual(keys.length, 2)
      assert.strictEqual(keys[0], keys[1])
      assert.strictEqual(of(events, "ToolCompleted").length, 1)
      const end = events.at(-1)!
      assert.deepStrictEqual("spent" in end && end.spent.toolCalls.map(({ status }) => status), ["completed"])
    }).pipe(Effect.provide(turns(TestModel.toolCall("flaky", {}), "done")))
  )

  it.effect("sees a failure that fails the run, and passes it on as it was", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const hard = AgentTool.fromFunction("hard", {
        description: "Fails",
        failureMode: "error",
        execute: () => Effect.fail("hard")
      })
      const spy = Middleware.make("spy", {
        tool: (call, next) =>
          Effect.tapError(next(call), (error) => Effect.sync(() => "_tag" in error && seen.push(error._tag)))
      })
      const error = yield* Effect.flip(Agent.make("agent", { tools: [hard], middleware: [spy] }).run("go"))
      assert.deepStrictEqual(seen, ["ToolError"])
      if (error._tag !== "ToolError") return assert.fail(error._tag)
      assert.deepStrictEqual(
        error.failures.map(({ failure }) => failure),
        [{ error: "hard" }]
      )
    }).pipe(Effect.provide(turns(TestModel.toolCall("hard", {}))))
  )

  it.effect("limits the time of a tool, which it interrupts, and goes on", () =>
    Effect.gen(function* () {
      let released = false
      const slow = AgentTool.fromFunction("slow", {
        description: "Takes long",
        execute: () =>
          Effect.onInterrupt(Effect.never, () =>
            Effect.sync(() => {
              released = true
            })
          )
      })
      const limit = Middleware.make("limit", {
        tool: (call, next) =>
          Effect.timeoutOrElse(next(call), {
            duration: "1 second",
            orElse: () => Effect.succeed(Middleware.outcome("too slow", { isFailure: true }))
          })
      })
      const running = yield* Effect.forkChild(
        collect(Agent.make("agent", { tools: [slow], middleware: [limit] }), "go")
      )
      yield* TestClock.adjust("2 seconds")
      const { events } = yield* Fiber.join(running)
      assert.isTrue(released)
      assert.deepStrictEqual(
        of(events, "ToolFailed").map(({ result }) => result),
        ["too slow"]
      )
    }).pipe(Effect.provide(turns(TestModel.toolCall("slow", {}), "done")))
  )

  it.effect("loses nothing that the tool had done when it fails after it", () =>
    Effect.gen(function* () {
      class Refused extends Schema.TaggedError<Refused>()("Refused", {}) {}
      const paid: Array<number> = []
      const fails = Middleware.make("fails", {
        tool: (call, next) => Effect.andThen(next(call), Effect.fail(new Refused()))
      })
      const agent = Agent.make("agent", { tools: [paying(paid)], middleware: [fails] })
      const { events, exit } = yield* collect(agent, "go")
      assert.isTrue(Exit.isFailure(exit) && Cause.squash(exit.cause) instanceof Refused)
      const end = events.at(-1)!
      if (end._tag !== "RunFailed") return assert.fail(end._tag)
      assert.deepStrictEqual(
        end.spent.toolCalls.map(({ status }) => status),
        ["completed"]
      )
      assert.include(JSON.stringify(end.transcript), "paid 5")
    }).pipe(Effect.provide(turns(payment)))
  )
})

describe("interrupting a run", () => {
  const places = ["run", "model", "tool"] as const
  it.effect.each(places)("interrupts what is within next of a middleware around a %s", (place) =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const begun = yield* Deferred.make<void>()
      const around = (_: unknown, next: () => Effect.Effect<never, Middleware.Failure>) =>
        Effect.onInterrupt(next(), () => Effect.sync(() => log.push("middleware")))
      const waits = AgentTool.fromFunction("waits", {
        description: "Never ends",
        execute: () =>
          Effect.andThen(Deferred.succeed(begun, undefined), Effect.never).pipe(
            Effect.onInterrupt(() => Effect.sync(() => log.push("tool")))
          )
      })
      const script: ReadonlyArray<TestModel.Turn> =
        place === "model" ? [{ text: "abc", chunk: 1, after: 1, hang: true }] : [TestModel.toolCall("waits", {})]
      const spy = Middleware.make("spy", {
        [place]: (request: never, next: (request: never) => never) => around(request, () => next(request))
      } as object)
      const events: Array<RunEvent.RunEvent> = []
      const agent = Agent.make("agent", { tools: [waits], middleware: [spy] }).pipe(
        Runner.onEvent((event) => Effect.sync(() => void events.push(event)))
      )
      yield* Effect.gen(function* () {
        const running = yield* Effect.forkChild(agent.run("go"))
        yield* place === "model" ? Effect.yieldNow : Deferred.await(begun)
        for (let i = 0; i < 20; i++) yield* Effect.yieldNow
        yield* Fiber.interrupt(running)
        assert.deepStrictEqual(log, place === "model" ? ["middleware"] : ["tool", "middleware"])
        checkGrammar(events)
        assert.strictEqual(events.at(-1)?._tag, "RunInterrupted")
        if (place === "model") assert.isTrue((yield* calls)[0]!.interrupted)
      }).pipe(Effect.provide(TestModel.layer(script)))
    })
  )

  it.effect("keeps what a tool gave before its middleware was interrupted", () =>
    Effect.gen(function* () {
      const begun = yield* Deferred.make<void>()
      const waits = Middleware.make("waits", {
        tool: (call, next) =>
          next(call).pipe(Effect.tap(() => Effect.andThen(Deferred.succeed(begun, undefined), Effect.never)))
      })
      const events: Array<RunEvent.RunEvent> = []
      const agent = Agent.make("agent", { tools: [paying([])], middleware: [waits] }).pipe(
        Runner.onEvent((event) => Effect.sync(() => void events.push(event)))
      )
      const running = yield* Effect.forkChild(agent.run("go"))
      yield* Deferred.await(begun)
      yield* Fiber.interrupt(running)
      checkGrammar(events)
      const end = events.at(-1)!
      if (end._tag !== "RunInterrupted") return assert.fail(end._tag)
      assert.deepStrictEqual(
        end.spent.toolCalls.map(({ status }) => status),
        ["completed"]
      )
      assert.include(JSON.stringify(end.transcript), "paid 5")
    }).pipe(Effect.provide(turns(payment)))
  )

  it.effect("ends a call once whose middleware has failed, and whose end is still being taken", () =>
    Effect.gen(function* () {
      const ended = yield* Deferred.make<void>()
      const fails = Middleware.make("fails", { tool: (call, next) => Effect.andThen(next(call), Effect.fail("no")) })
      const taking = Effect.andThen(Deferred.succeed(ended, undefined), Effect.repeat(Effect.yieldNow, { times: 10 }))
      const events: Array<RunEvent.RunEvent> = []
      const agent = Agent.make("agent", { tools: [paying([])], middleware: [fails] }).pipe(
        Runner.onEvent((event) => {
          events.push(event)
          return event._tag === "ToolCompleted" ? taking : Effect.void
        })
      )
      const running = yield* Effect.forkChild(agent.run("go"))
      yield* Deferred.await(ended)
      yield* Fiber.interrupt(running)
      checkGrammar(events)
    }).pipe(Effect.provide(turns(payment)))
  )
})

describe("an approver", () => {
  it.effect("sees the arguments that the tool will run with", () =>
    Effect.gen(function* () {
      const shown: Array<unknown> = []
      const paid: Array<number> = []
      const approver = Approvals.layer((request) => {
        shown.push(request.params)
        return Effect.succeed(Approvals.approve)
      })
      yield* Agent.make("agent", { tools: [paying(paid, true)], middleware: [raise(1)] })
        .run("go")
        .pipe(Effect.provide(approver))
      assert.deepStrictEqual(shown, [{ amount: 6 }])
      assert.deepStrictEqual(paid, [6])
    }).pipe(Effect.provide(turns(payment, "done")))
  )

  it.effect("is shown the same of a suspended run, which goes on with them", () =>
    Effect.gen(function* () {
      const paid: Array<number> = []
      const agent = Agent.make("agent", { tools: [paying(paid, true)], middleware: [raise(1)] })
      const error = yield* Effect.flip(agent.run("go"))
      if (error._tag !== "RunSuspended") return assert.fail(error._tag)
      assert.deepStrictEqual(asApproval(error.waitingFor[0]).params, { amount: 6 })
      const [pending] = Runner.pending(error.transcript)
      assert.deepStrictEqual(asApproval(pending).params, { amount: 6 })
      const answered = Runner.answer(error.transcript, { [pending!.id]: Approvals.approve })
      assert.strictEqual(yield* agent.run(answered), "done")
      assert.deepStrictEqual(paid, [6])
    }).pipe(Effect.provide(turns(payment, "done")))
  )

  it.effect("has approved nothing when middleware gives other arguments than were shown", () =>
    Effect.gen(function* () {
      const paid: Array<number> = []
      const agent = (by: number) => Agent.make("agent", { tools: [paying(paid, true)], middleware: [raise(by)] })
      const error = yield* Effect.flip(agent(1).run("go"))
      if (error._tag !== "RunSuspended") return assert.fail(error._tag)
      const answered = Runner.answer(error.transcript, { [error.waitingFor[0].id]: Approvals.approve })
      const refused = yield* Effect.flip(agent(2).run(answered))
      assert.deepInclude(refused, { _tag: "InvalidApproval", reason: "changed" })
      assert.deepStrictEqual(paid, [])
    }).pipe(Effect.provide(turns(payment)))
  )

  it.effect("is not asked when a middleware answers", () =>
    Effect.gen(function* () {
      const closed = Middleware.make("closed", { tool: () => Effect.succeed(Middleware.outcome("closed")) })
      assert.strictEqual(
        yield* Agent.make("agent", { tools: [paying([], true)], middleware: [closed] }).run("go"),
        "done"
      )
    }).pipe(Effect.provide(turns(payment, "done")))
  )
})

describe("a middleware around runs", () => {
  it.effect("changes the input, also for instructions", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const agent = Agent.make("agent", {
        instructions: (input) => {
          seen.push(JSON.stringify(input))
          return ""
        },
        middleware: [Middleware.hooks("loud", { beforeAgent: (run) => ({ ...run, prompt: loud(run.prompt) }) })]
      })
      const { transcript } = yield* agent.result("hello")
      assert.include(JSON.stringify(transcript.content), "HELLO")
      assert.include(seen[0], "HELLO")
    }).pipe(Effect.provide(turns("done")))
  )

  it.effect("gives another output, which is decoded", () =>
    Effect.gen(function* () {
      const agent = Agent.make("agent", {
        output: Schema.Struct({ at: Schema.DateFromString }),
        middleware: [Middleware.hooks("later", { afterAgent: () => ({ output: { at: "2030-01-01T00:00:00.000Z" } }) })]
      })
      const { at } = yield* agent.run("go")
      assert.strictEqual(at.getUTCFullYear(), 2030)
    }).pipe(Effect.provide(turns('{"at":"2020-01-01T00:00:00.000Z"}')))
  )

  it.effect("fails the run with an output that does not fit", () =>
    Effect.gen(function* () {
      const agent = Agent.make("agent", {
        output: Schema.Struct({ n: Schema.Int }),
        middleware: [Middleware.hooks("wrong", { afterAgent: () => ({ output: { n: "many" } }) })]
      })
      const error = yield* Effect.flip(agent.run("go"))
      assert.deepInclude(error, { _tag: "MiddlewareError", middleware: "wrong" })
    }).pipe(Effect.provide(turns('{"n":1}')))
  )

  it.effect("answers without a step, and the conversation goes on from its answer", () =>
    Effect.gen(function* () {
      const closed = Middleware.make("closed", { run: () => Effect.succeed({ output: "We are closed." }) })
      const { steps, transcript } = yield* Agent.make("agent", { middleware: [closed] }).result("hello")
      assert.strictEqual(steps, 0)
      assert.deepStrictEqual(
        transcript.content.map(({ role }) => role),
        ["user", "assistant"]
      )
      assert.deepStrictEqual(yield* calls, [])
    }).pipe(Effect.provide(turns()))
  )

  it.effect("runs the agent again, and voids the events of the run before", () =>
    Effect.gen(function* () {
      const twice = Middleware.make("twice", {
        run: (run, next) =>
          Effect.flatMap(next(run), (first) => (first.output === "bad" ? next(run) : Effect.succeed(first)))
      })
      const { events } = yield* collect(Agent.make("agent", { middleware: [twice] }), "go")
      assert.deepInclude(of(events, "RunRetried")[0], { attempt: 2, reason: 'middleware "twice" runs it again' })
      assert.deepInclude(events.at(-1)!, { output: "good" })
    }).pipe(Effect.provide(turns("bad", "good")))
  )

  it.effect("lets a conversation be handed over", () =>
    Effect.gen(function* () {
      const copy = Middleware.hooks("copy", {
        afterAgent: (output) => ({ ...output }),
        afterTool: (outcome) => ({ ...outcome })
      })
      const first = Agent.make("first", { description: "First", tools: [Handoffs.to("second")], middleware: [copy] })
      const second = Agent.make("second", { description: "Second", middleware: [copy] })
      const desk = Handoffs.make("desk", { first, second }, { start: "first" })
      assert.strictEqual(yield* desk.run("go"), "from the second")
    }).pipe(
      Effect.provide(
        TestModel.layer(({ index, tools }) =>
          index === 0 ? TestModel.toolCall(tools[0]!, { reason: "x" }) : "from the second"
        )
      )
    )
  )
})

describe("a feature", () => {
  it.effect("brings middleware, inside of the agent's own", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const noting = (name: string) => Middleware.hooks(name, { beforeAgent: () => void log.push(name) })
      const brings = Feature.make("brings", { middleware: [noting("b"), noting("c")] })
      yield* Agent.make("agent", { use: [brings], middleware: [noting("a")] }).run("go")
      assert.deepStrictEqual(log, ["a", "b", "c"])
    }).pipe(Effect.provide(turns("done")))
  )
})

describe("a copy of an agent", () => {
  it.effect("has other middleware in place of its own", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const noting = (name: string) => Middleware.hooks(name, { beforeAgent: () => void log.push(name) })
      const agent = Agent.make("agent", { middleware: [noting("a")] })
      yield* Agent.with(agent, { middleware: [noting("b")] }).run("go")
      yield* Agent.with(agent, { maxSteps: 2 }).run("go")
      assert.deepStrictEqual(log, ["b", "a"])
    }).pipe(Effect.provide(turns("done", "done")))
  )
})

describe("middleware that is defined wrongly", () => {
  async("is refused where it is defined", () => {
    const refused = (make: () => unknown, text: RegExp) => assert.throws(make, RunError.InvalidDefinition, text)
    refused(() => Middleware.make("", {}), /has no name/)
    refused(() => Middleware.make("x", { onTool: () => {} } as never), /no option "onTool"/)
    refused(() => Middleware.make("x", { tool: "look" } as never), /tool is a text, not a function/)
    refused(() => Middleware.hooks("x", { beforeTool: 1 } as never), /beforeTool is a number, not a function/)
    refused(() => Agent.make("a", { middleware: [{ tool: () => {} }] as never }), /middleware\[0\] is an object/)
    refused(
      () => Agent.make("a", { middleware: Middleware.make("x", {}) as never }),
      /middleware is an object, not a list/
    )
    refused(() => Feature.make("f", { middleware: [1] as never }), /middleware\[0\] is a number/)
    refused(() => Middleware.layer("x" as never), /middleware\[0\] is a text/)
  })
})
