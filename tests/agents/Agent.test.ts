import { assert, describe, it as async } from "@effect/vitest"
import { it } from "../support/edges.ts"
import { Context, Deferred, Duration, Effect, Exit, Fiber, Layer, Option, Ref, Schedule, Schema, Stream } from "effect"
import type { Response } from "effect/ai"
import { AiError, LanguageModel, Prompt, Tool, Toolkit } from "effect/ai"
import { TestClock } from "effect/testing"
import * as Troupe from "troupe"
import { Agent, AgentTool, type CurrentRun, RunError, Runner, TestModel, WorkerPool } from "troupe"
import { collect, effective, textOf } from "../support/grammar.ts"
import { cpuTime } from "../support/cpuTime.ts"

const doubling = AgentTool.fromFunction("double", {
  description: "Doubles a number",
  parameters: Schema.Struct({ n: Schema.Finite }),
  success: Schema.Finite,
  execute: ({ n }) => n * 2
})
const Fail = Tool.make("fail", { description: "Fails", failure: Schema.String })
const FailSoft = Tool.make("fail", { description: "Fails", failure: Schema.String, failureMode: "return" })

const resultsOf = (prompt: Prompt.Prompt) =>
  prompt.content.flatMap((message) =>
    message.role === "tool" ? message.content.filter((part) => part.type === "tool-result") : []
  )
const lastCall = Effect.gen(function* () {
  const { calls } = yield* TestModel.TestModel
  return (yield* calls).at(-1)!
})
const rate = (retryAfter?: Duration.Input) =>
  new AiError.RateLimitError(retryAfter === undefined ? {} : { retryAfter: Duration.fromInputUnsafe(retryAfter) })
const down = new AiError.InternalProviderError({ description: "down" })

describe("steps", () => {
  it.effect("answers with the text of a step that asks for no tool", () =>
    Effect.gen(function* () {
      const agent = Agent.make("agent", { instructions: "Be brief." })
      assert.strictEqual(yield* agent.run("Hello"), "Hi!")
      const call = yield* lastCall
      assert.deepStrictEqual(
        call.prompt.content.map((message) => message.role),
        ["system", "user"]
      )
    }).pipe(Effect.provide(TestModel.layer(["Hi!"])))
  )

  it.effect("gives results back in the order asked, whichever tool ends first", () =>
    Effect.gen(function* () {
      const wait = AgentTool.fromFunction("wait", {
        description: "Waits",
        parameters: Schema.Struct({ seconds: Schema.Finite }),
        execute: ({ seconds }) => Effect.as(Effect.sleep(Duration.seconds(seconds)), `waited ${seconds}`)
      })
      const agent = Agent.make("agent", { tools: [wait] })
      const fiber = yield* Effect.forkChild(collect(agent, "go"))
      yield* TestClock.adjust("5 seconds")
      const { events } = yield* Fiber.join(fiber)
      assert.deepStrictEqual(
        events.filter((event) => event._tag === "ToolCompleted").map((event) => event.result),
        ["waited 1", "waited 2", "waited 3"]
      )
      assert.deepStrictEqual(
        resultsOf((yield* lastCall).prompt).map((part) => part.result),
        ["waited 3", "waited 1", "waited 2"]
      )
    }).pipe(
      Effect.provide(
        TestModel.layer([
          TestModel.toolCalls(
            { name: "wait", params: { seconds: 3 } },
            { name: "wait", params: { seconds: 1 } },
            { name: "wait", params: { seconds: 2 } }
          ),
          "done"
        ])
      )
    )
  )

  it.effect.each([
    { given: undefined, most: 8 },
    { given: 2, most: 2 },
    { given: "unbounded" as const, most: 12 }
  ])("runs at most $most tools at once with toolConcurrency $given", ({ given, most }) =>
    Effect.gen(function* () {
      let running = 0
      let seen = 0
      const busy = AgentTool.fromFunction("busy", {
        description: "Is busy",
        execute: () =>
          Effect.acquireUseRelease(
            Effect.sync(() => {
              seen = Math.max(seen, ++running)
            }),
            () => Effect.sleep("1 second"),
            () => Effect.sync(() => running--)
          )
      })
      const agent = Agent.make("agent", { tools: [busy], toolConcurrency: given })
      const fiber = yield* Effect.forkChild(agent.run("go"))
      yield* TestClock.adjust("20 seconds")
      yield* Fiber.join(fiber)
      assert.strictEqual(seen, most)
    }).pipe(
      Effect.provide(
        TestModel.layer([
          TestModel.toolCalls(...Array.from({ length: 12 }, () => ({ name: "busy", params: {} }))),
          "done"
        ])
      )
    )
  )

  it.effect("shows the model every problem of its arguments, for tools of both kinds", () =>
    Effect.gen(function* () {
      const parameters = Schema.Struct({ from: Schema.Finite, to: Schema.Finite })
      const direct = AgentTool.fromFunction("direct", { description: "d", parameters, execute: () => 0 })
      const toolkit = Toolkit.make(
        Tool.make("returns", { description: "r", parameters, success: Schema.Finite, failureMode: "return" }),
        Tool.make("fails", { description: "f", parameters, success: Schema.Finite })
      )
      const handlers = toolkit.toLayer({ returns: () => Effect.succeed(0), fails: () => Effect.succeed(0) })
      const agent = Agent.make("agent", { tools: [direct], toolkit })
      yield* agent.run("go").pipe(Effect.provide(handlers))
      for (const { result } of resultsOf((yield* lastCall).prompt)) {
        assert.match(JSON.stringify(result), /do not fit.*Fix the arguments.*at .*from.*at .*to/)
      }
    }).pipe(
      Effect.provide(
        TestModel.layer([
          TestModel.toolCalls(
            ...["direct", "returns", "fails"].map((name) => ({ name, params: { from: "a", to: null } }))
          ),
          "ok"
        ])
      )
    )
  )

  it.effect("shows the model unknown tools, wrong arguments and broken JSON, and continues", () =>
    Effect.gen(function* () {
      const agent = Agent.make("agent", { tools: [doubling] })
      assert.strictEqual(yield* agent.run("go"), "ok")
      const results = resultsOf((yield* lastCall).prompt)
      assert.deepStrictEqual(
        results.map((part) => part.isFailure),
        [true, true, true, false]
      )
      assert.include(JSON.stringify(results[0]!.result), "the tools are: double")
      assert.include(JSON.stringify(results[1]!.result), "do not fit")
      assert.include(JSON.stringify(results[2]!.result), "do not fit")
      assert.strictEqual(results[3]!.result, 42)
    }).pipe(
      Effect.provide(
        TestModel.layer([
          TestModel.toolCalls(
            { name: "tripel", params: { n: 1 } },
            { name: "double", params: { n: "one" } },
            { name: "double", params: '{"n": 1' },
            { name: "double", params: { n: 21 } }
          ),
          "ok"
        ])
      )
    )
  )

  it.effect("says of a model that calls tools in place of the answer it is asked for that it does", () =>
    Effect.gen(function* () {
      const answering = Agent.make("agent", { tools: [doubling], maxSteps: 2, onMaxSteps: "answer" })
      const stopped = Agent.make("agent", { tools: [doubling], output: Schema.Int, stopWhen: () => true })
      for (const run of [Effect.asVoid(answering.run("go")), Effect.asVoid(stopped.run("go"))]) {
        const error = yield* Effect.flip(run)
        assert.strictEqual(error._tag === "MaxStepsExceeded" && error.wasAsked, true)
        assert.include(error.message, "its model went on calling tools")
        assert.notInclude(error.message, "onMaxSteps")
      }
    }).pipe(Effect.provide(TestModel.layer(() => TestModel.toolCall("double", { n: 1 }))))
  )

  it.effect("fails at maxSteps with what was done, or answers by onMaxSteps", () =>
    Effect.gen(function* () {
      const looping = Agent.make("agent", { tools: [doubling], maxSteps: 3 })
      const { exit } = yield* collect(looping, "go")
      const error = Exit.findError(exit)
      assert.isTrue(error._tag === "Success")
      if (error._tag !== "Success" || error.success._tag !== "MaxStepsExceeded") return assert.fail("another error")
      assert.strictEqual(error.success.spent.steps, 3)
      assert.strictEqual(error.success.spent.toolCalls.length, 3)
      assert.strictEqual(resultsOf(error.success.transcript).length, 3)
      const answering = Agent.make("agent", { tools: [doubling], maxSteps: 2, onMaxSteps: "answer" })
      assert.strictEqual(yield* answering.run("go"), "so far")
      assert.strictEqual((yield* lastCall).toolChoice, "none")
    }).pipe(
      Effect.provide(
        TestModel.layer((call) => (call.toolChoice === "none" ? "so far" : TestModel.toolCall("double", { n: 1 })))
      )
    )
  )

  it.effect("stops when stopWhen says so; a typed agent is then asked for its answer", () =>
    Effect.gen(function* () {
      const seen: Array<number> = []
      const text = Agent.make("agent", {
        tools: [doubling],
        stopWhen: (info) => {
          seen.push(info.step)
          return info.toolCalls.some((call) => call.result === 8)
        }
      })
      assert.strictEqual(yield* text.run("go"), "two")
      assert.deepStrictEqual(seen, [1, 2])
      const typed = Agent.make("agent", {
        tools: [doubling],
        output: Schema.Struct({ ok: Schema.Boolean }),
        stopWhen: () => Effect.succeed(true)
      })
      assert.deepStrictEqual(yield* typed.run("go"), { ok: true })
    }).pipe(
      Effect.provide(
        TestModel.layer([
          { text: "one", ...TestModel.toolCall("double", { n: 1 }) },
          { text: "two", ...TestModel.toolCall("double", { n: 4 }) },
          TestModel.toolCall("double", { n: 1 }),
          TestModel.json({ ok: true })
        ])
      )
    )
  )

  it.effect("forces a tool in the first step only", () =>
    Effect.gen(function* () {
      const agent = Agent.make("agent", { tools: [doubling], toolChoice: { tool: "double" } })
      yield* agent.run("go")
      const { calls } = yield* TestModel.TestModel
      assert.deepStrictEqual(
        (yield* calls).map((call) => call.toolChoice),
        [{ tool: "double" }, "auto"]
      )
    }).pipe(Effect.provide(TestModel.layer([TestModel.toolCall("double", { n: 1 }), "done"])))
  )

  it.effect("calls again after a pause, and gives the whole answer", () =>
    Effect.gen(function* () {
      const result = yield* Agent.make("agent", {}).result("go")
      assert.strictEqual(result.output, "first half, second half, end")
      assert.strictEqual(result.steps, 3)
      assert.include(JSON.stringify((yield* lastCall).prompt.content), "first half")
      const typed = Agent.make("agent", { output: Schema.Struct({ n: Schema.Finite }), outputRepairs: 0 })
      assert.deepStrictEqual(yield* typed.run("go"), { n: 42 })
      // The text before a tool call is not a part of the answer.
      assert.strictEqual(yield* Agent.make("agent", { tools: [doubling] }).run("go"), "84")
    }).pipe(
      Effect.provide(
        TestModel.layer([
          { text: "first half, ", finishReason: "pause" },
          { text: "second half, ", finishReason: "pause" },
          "end",
          { text: '{"n": 4', finishReason: "pause" },
          "2}",
          { text: "I look. ", finishReason: "pause" },
          TestModel.toolCall("double", { n: 42 }),
          "84"
        ])
      )
    )
  )

  it.effect("says that an answer was cut off before its first word, and does not ask for it again", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Agent.make("agent", {}).run("go"))
      assert.strictEqual(error._tag === "OutputTruncated" ? error.spent.steps : error._tag, 1)
      const typed = Agent.make("agent", { output: Schema.Struct({ n: Schema.Finite }) })
      const invalid = yield* Effect.flip(typed.run("go"))
      assert.strictEqual(invalid._tag === "InvalidOutput" ? invalid.finishReason : invalid._tag, "length")
      assert.include(JSON.stringify((yield* lastCall).prompt.content), "be shorter")
      assert.include(invalid.message, "token limit")
      assert.strictEqual(yield* Agent.make("agent", { onLength: "accept" }).run("go"), "short")
    }).pipe(
      Effect.provide(
        TestModel.layer([
          ...Array.from({ length: 4 }, () => ({ reasoning: "Hm", finishReason: "length" as const })),
          "short"
        ])
      )
    )
  )

  it.effect("fails on an answer that was cut off, unless it may be", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Agent.make("agent", {}).run("go"))
      assert.strictEqual(error._tag === "OutputTruncated" ? error.text : error._tag, "only half")
      const accepting = yield* Agent.make("agent", { onLength: "accept" }).result("go")
      assert.deepStrictEqual([accepting.output, accepting.finishReason], ["only half", "length"])
    }).pipe(
      Effect.provide(
        TestModel.layer([
          { text: "only half", finishReason: "length" },
          { text: "only half", finishReason: "length" }
        ])
      )
    )
  )

  it.effect("does not run tool calls of an answer that was cut off", () =>
    Effect.gen(function* () {
      let ran = 0
      const count = AgentTool.fromFunction("count", { description: "Counts", execute: () => ++ran })
      const error = yield* Effect.flip(Agent.make("agent", { tools: [count] }).run("go"))
      assert.strictEqual(error._tag, "OutputTruncated")
      assert.strictEqual(ran, 0)
      assert.deepStrictEqual(error._tag === "OutputTruncated" ? error.spent.toolCalls.map((call) => call.status) : [], [
        "not-started",
        "not-started"
      ])
    }).pipe(
      Effect.provide(
        TestModel.layer([
          { ...TestModel.toolCall("count", {}), finishReason: "length" },
          { ...TestModel.toolCall("count", {}), finishReason: "length" }
        ])
      )
    )
  )

  it.effect("asks once more after an empty turn, then fails", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* Agent.make("agent", {}).run("go"), "here")
      const error = yield* Effect.flip(Agent.make("agent", {}).run("go"))
      assert.strictEqual(error._tag, "EmptyTurn")
    }).pipe(Effect.provide(TestModel.layer([{ text: "" }, "here", { text: " " }, {}])))
  )

  it.effect("reports a refusal with its words", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Agent.make("agent", {}).run("go"))
      assert.strictEqual(error._tag === "ModelRefused" ? error.text : error._tag, "I must not.")
      assert.include(error.message, "I must not. Change")
    }).pipe(Effect.provide(TestModel.layer([{ text: "I must not.", finishReason: "content-filter" }])))
  )

  it.effect("keeps reasoning apart from the text", () =>
    Effect.gen(function* () {
      const { events } = yield* collect(Agent.make("agent", {}), "go")
      assert.strictEqual(textOf(events), "answer")
      assert.strictEqual(
        events.flatMap((event) => (event._tag === "ReasoningDelta" ? [event.delta] : [])).join(""),
        "because"
      )
      const last = events.at(-1)
      assert.strictEqual(last?._tag === "RunCompleted" ? last.output : last?._tag, "answer")
    }).pipe(Effect.provide(TestModel.layer([{ reasoning: "because", text: "answer", chunk: 2 }])))
  )
})

describe("tools that fail", () => {
  it.effect("are results for the model with failureMode return, for each kind of failure", () =>
    Effect.gen(function* () {
      const kit = Toolkit.make(FailSoft)
      const tools = [
        AgentTool.fromFunction("throws", {
          description: "x",
          execute: () => {
            throw new Error("thrown")
          }
        }),
        AgentTool.fromFunction("dies", { description: "x", execute: () => Effect.die(new Error("died")) }),
        AgentTool.fromFunction("generates", {
          description: "x",
          execute: function* () {
            return yield* Effect.fail("gave up")
          }
        })
      ]
      const agent = Agent.make("agent", { toolkit: kit, tools })
      const { events } = yield* collect(agent, "go").pipe(
        Effect.provide(kit.toLayer({ fail: () => Effect.fail("soft") }))
      )
      assert.strictEqual(events.filter((event) => event._tag === "ToolFailed").length, 4)
      const seen = resultsOf((yield* lastCall).prompt).map((part) => JSON.stringify(part.result))
      for (const [index, word] of ["soft", "thrown", "died", "gave up"].entries()) assert.include(seen[index], word)
    }).pipe(
      Effect.provide(
        TestModel.layer([
          TestModel.toolCalls(...["fail", "throws", "dies", "generates"].map((name) => ({ name, params: {} }))),
          "done"
        ])
      )
    )
  )

  it.effect("end the run with failureMode error: siblings interrupted, finalizers done, all failures listed", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const bothRun = yield* Deferred.make<void>()
      let running = 0
      const begin = Effect.suspend(() => (++running === 2 ? Deferred.succeed(bothRun, undefined) : Effect.void))
      const kit = Toolkit.make(Fail)
      const slow = AgentTool.fromFunction("slow", {
        description: "Is slow",
        execute: () =>
          Effect.andThen(begin, Effect.never).pipe(
            Effect.onInterrupt(() =>
              Effect.andThen(
                Effect.yieldNow,
                Effect.sync(() => log.push("slow ended"))
              )
            )
          )
      })
      const spiteful = AgentTool.fromFunction("spiteful", {
        description: "Fails when interrupted",
        execute: () =>
          Effect.andThen(begin, Effect.never).pipe(Effect.onInterrupt(() => Effect.die(new Error("and another thing"))))
      })
      const agent = Agent.make("agent", { toolkit: kit, tools: [doubling, slow, spiteful], toolConcurrency: 3 })
      const { exit } = yield* collect(agent, "go").pipe(
        Effect.provide(kit.toLayer({ fail: () => Effect.andThen(Deferred.await(bothRun), Effect.fail("boom")) }))
      )
      const found = Exit.findError(exit)
      if (found._tag !== "Success" || found.success._tag !== "ToolError") return assert.fail(JSON.stringify(exit))
      const error = found.success
      assert.deepStrictEqual(log, ["slow ended"])
      assert.deepStrictEqual(
        error.failures.map((failure) => failure.tool),
        ["fail", "spiteful"]
      )
      assert.strictEqual(error.failures[0].failure, "boom")
      assert.deepStrictEqual(
        error.spent.toolCalls.map((call) => `${call.tool} ${call.status}`),
        ["double completed", "fail failed", "slow interrupted", "spiteful interrupted", "double not-started"]
      )
      assert.deepStrictEqual(error.interrupted, ["call_3", "call_4", "call_5"])
      assert.include(error.message, "boom")
      assert.include(error.message, "and another thing")
    }).pipe(
      Effect.provide(
        TestModel.layer([
          TestModel.toolCalls(
            { name: "double", params: { n: 1 } },
            { name: "fail", params: {} },
            { name: "slow", params: {} },
            { name: "spiteful", params: {} },
            { name: "double", params: { n: 2 } }
          )
        ])
      )
    )
  )

  it.effect("time out after toolTimeout, or after their own", () =>
    Effect.gen(function* () {
      const never = AgentTool.fromFunction("never", { description: "x", execute: () => Effect.never })
      const own = AgentTool.fromFunction("own", {
        description: "x",
        timeout: "1 second",
        execute: () => Effect.never
      })
      const fiber = yield* Effect.forkChild(
        Agent.make("agent", { tools: [never, own], toolTimeout: "10 seconds" }).run("go")
      )
      yield* TestClock.adjust("11 seconds")
      yield* Fiber.join(fiber)
      const seen = resultsOf((yield* lastCall).prompt).map((part) => JSON.stringify(part.result))
      assert.include(seen[0], "within 10s")
      assert.include(seen[1], "within 1s")
    }).pipe(
      Effect.provide(
        TestModel.layer([TestModel.toolCalls({ name: "never", params: {} }, { name: "own", params: {} }), "done"])
      )
    )
  )
})

describe("tools and the run they are in", () => {
  const generate = function* () {
    return (yield* Effect.succeed(41)) + 1
  }
  it.effect.each<readonly [string, () => unknown, AgentTool.Kind | undefined]>([
    ["an Effect", () => Effect.succeed(42), undefined],
    ["a generator function", generate, undefined],
    ["an arrow that gives a generator", () => generate(), undefined],
    ["an arrow declared to be an effect", () => Effect.succeed(42), "effect"],
    ["a generator declared to be one", () => generate(), "effect"],
    ["a plain value", () => 42, "sync"]
  ])("give what the function gives: %s", ([, execute, kind]) =>
    Effect.gen(function* () {
      const tool = AgentTool.fromFunction("give", { description: "Gives", execute, kind })
      yield* Agent.make("agent", { tools: [tool] }).run("go")
      const [result] = resultsOf((yield* lastCall).prompt)
      assert.deepStrictEqual([result!.result, result!.isFailure], [42, false])
    }).pipe(Effect.provide(TestModel.layer([TestModel.toolCall("give", {}), "done"])))
  )

  it.effect("know path, step, call and a key that is the same for a call and different for every other", () =>
    Effect.gen(function* () {
      const seen: Array<CurrentRun.RunInfo> = []
      const look = AgentTool.fromFunction("look", {
        description: "Looks",
        execute: (_, context) =>
          Effect.map(Runner.current, (info) => {
            seen.push(Option.getOrThrow(info))
            assert.strictEqual(context.idempotencyKey, seen.at(-1)!.idempotencyKey)
          })
      })
      const inner = Agent.make("inner", { description: "Looks", tools: [look] })
      const outer = Agent.make("outer", { tools: [AgentTool.fromRunner(inner)] })
      const { events } = yield* collect(outer, "go")
      assert.deepStrictEqual(
        seen.map((info) => [info.path, info.step, info.toolCallId]),
        [
          [["outer", "inner"], 1, "call_2"],
          [["outer", "inner"], 1, "call_3"]
        ]
      )
      assert.strictEqual(new Set(seen.map((info) => info.idempotencyKey)).size, 2)
      assert.isTrue(events.some((event) => event._tag === "ToolCompleted" && event.path.length === 2))
      const last = events.at(-1)
      assert.strictEqual(last?._tag === "RunCompleted" ? last.spent.usage.inputTokens.total : 0, 40)
      assert.strictEqual(Option.isNone(yield* Runner.current), true)
    }).pipe(
      Effect.provide(
        TestModel.layer([
          TestModel.toolCall("inner", { input: "look" }),
          TestModel.toolCalls({ name: "look", params: {} }, { name: "look", params: {} }),
          "inner done",
          "outer done"
        ])
      )
    )
  )

  it.effect("emit progress before the result", () =>
    Effect.gen(function* () {
      const Long = Tool.make("long", { description: "Takes long", success: Schema.String })
      const kit = Toolkit.make(Long)
      const short = AgentTool.fromFunction("short", {
        description: "x",
        execute: (_, { progress }) => Effect.as(progress(50), "short done")
      })
      const { events } = yield* collect(Agent.make("agent", { toolkit: kit, tools: [short] }), "go").pipe(
        Effect.provide(kit.toLayer({ long: (_, { preliminary }) => Effect.as(preliminary("half"), "whole") }))
      )
      assert.sameMembers(
        events.flatMap((event) => (event._tag === "ToolProgress" ? [event.result] : [])),
        ["half", 50]
      )
    }).pipe(
      Effect.provide(
        TestModel.layer([TestModel.toolCalls({ name: "long", params: {} }, { name: "short", params: {} }), "done"])
      )
    )
  )

  it.effect("never get each other's handlers when two agents have equally named tools", () =>
    Effect.gen(function* () {
      const Search = Tool.make("search", { description: "Searches", success: Schema.String })
      const kit = Toolkit.make(Search)
      const handlers = (from: string) => kit.toLayer({ search: () => Effect.as(Effect.sleep("1 second"), from) })
      class Web extends Agent.Service<Web>()("app/Web", { toolkit: kit }) {}
      class Mail extends Agent.Service<Mail>()("app/Mail", { toolkit: kit, tools: [] }) {}
      const bound = Runner.provide(Agent.make("bound", { toolkit: kit }), handlers("bound"))
      const carried = Agent.make("carried", {
        tools: [
          AgentTool.fromFunction("search", { description: "x", execute: () => "carried" }),
          AgentTool.fromRunner(Web, { name: "web", description: "Asks the web agent" })
        ]
      })
      const fiber = yield* Effect.all([Web.run("go"), Mail.run("go"), bound.run("go"), carried.run("go")], {
        concurrency: "unbounded"
      }).pipe(
        Effect.provide([
          Web.layer.pipe(Layer.provide(handlers("web"))),
          Mail.layer.pipe(Layer.provide(handlers("mail")))
        ]),
        Effect.forkChild
      )
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(yield* Fiber.join(fiber), ["web", "mail", "bound", "carried"])
    }).pipe(
      Effect.provide(
        TestModel.layer((call) => {
          const result = resultsOf(call.prompt).at(-1)
          return result === undefined ? TestModel.toolCall("search", {}) : String(result.result)
        })
      )
    )
  )
})

describe("an agent as a service", () => {
  it.effect("keeps the pool of threads its layer was built with", () =>
    Effect.gen(function* () {
      const pools: Array<unknown> = []
      const look = AgentTool.fromFunction("look", {
        description: "x",
        execute: () =>
          Effect.context<never>().pipe(Effect.map((all) => void pools.push(all.mapUnsafe.get("troupe/ToolWorkers"))))
      })
      class Own extends Agent.Service<Own>()("app/Own", { tools: [look] }) {}
      yield* Own.run("go").pipe(Effect.provide(Own.layer.pipe(Layer.provide(WorkerPool.layer({ size: 1 })))))
      assert.lengthOf(pools, 1)
      assert.isDefined(pools[0])
    }).pipe(Effect.provide(TestModel.layer([TestModel.toolCall("look", {}), "done"])))
  )

  it.effect("keeps the services its layer was built with, Troupe's own too", () =>
    Effect.gen(function* () {
      const services = Object.values(Troupe)
        .flatMap((module): ReadonlyArray<unknown> => Object.values(module))
        .filter((one): one is typeof TestModel.TestModel => Context.isKey(one) && !Context.isReference(one))
        .filter((one) => one.key !== TestModel.TestModel.key)
      assert.isAbove(services.length, 3)
      const found = AgentTool.fromFunction("found", {
        description: "x",
        execute: () =>
          Effect.forEach([...services, TestModel.TestModel], (one) => Effect.as(one, one.key), {
            concurrency: "unbounded"
          })
      })
      class Own extends Agent.Service<Own>()("app/Own", { tools: [found] }) {}
      const dummies = Layer.mergeAll(Layer.empty, ...services.map((one) => Layer.succeed(one, {} as never)))
      const { transcript } = yield* Own.result("go").pipe(
        Effect.provide(
          Own.layer.pipe(Layer.provide([dummies, TestModel.layer([TestModel.toolCall("found", {}), "done"])]))
        )
      )
      assert.deepStrictEqual(
        resultsOf(transcript)[0]!.result,
        [...services, TestModel.TestModel].map(({ key }) => key)
      )
    })
  )
})

describe("output", () => {
  const Verdict = Schema.Struct({ score: Schema.Int, reason: Schema.String })
  const cases: ReadonlyArray<readonly [string, Schema.Top, string, unknown]> = [
    ["a struct", Verdict, '{"score":3,"reason":"fine"}', { score: 3, reason: "fine" }],
    ["a code fence", Verdict, 'Here:\n```json\n{"score":3,"reason":"fine"}\n```', { score: 3, reason: "fine" }],
    [
      "a think prefix",
      Verdict,
      '<think>{"score":9}</think>\n{"score":3,"reason":"fine"}',
      { score: 3, reason: "fine" }
    ],
    ["text around", Verdict, 'The verdict is {"score":3,"reason":"a } in it"}.', { score: 3, reason: "a } in it" }],
    ["an array, wrapped", Schema.Array(Schema.String), '{"value":["a"]}', ["a"]],
    ["an array, bare", Schema.Array(Schema.String), '["a","b"]', ["a", "b"]],
    ["a label, bare", Schema.Literals(["spam", "ham"]), "spam", "spam"],
    ["a number", Schema.Finite, '{"value":4.5}', 4.5],
    ["a date", Schema.Struct({ on: Schema.Date }), '{"on":"2026-01-02T00:00:00.000Z"}', { on: new Date("2026-01-02") }],
    ["an optional field", Schema.Struct({ a: Schema.optionalKey(Schema.Int) }), "{}", {}],
    [
      "a union",
      Schema.Union([Verdict, Schema.Struct({ none: Schema.Literal(true) })]),
      '{"value":{"none":true}}',
      { none: true }
    ]
  ]
  for (const [name, schema, answer, value] of cases) {
    for (const structuredOutput of [true, false]) {
      it.effect(`reads ${name}${structuredOutput ? "" : " of a model without native output"}`, () =>
        Effect.gen(function* () {
          const agent = Agent.make("agent", { output: schema as Schema.Codec<unknown, unknown> })
          assert.deepStrictEqual(yield* agent.run("go"), value)
          assert.isDefined((yield* lastCall).output)
        }).pipe(Effect.provide(TestModel.layer([answer], { structuredOutput })))
      )
    }
  }

  it.effect("puts the schema into the instructions of a foreign model that also has tools", () =>
    Effect.gen(function* () {
      const agent = Agent.make("agent", { instructions: "Judge.", output: Verdict, tools: [doubling] })
      assert.deepStrictEqual(yield* agent.run("go"), { score: 1, reason: "x" })
      const system = (yield* lastCall).prompt.content[0]!
      assert.include(String(system.content), '"score"')
    }).pipe(
      Effect.provide(
        TestModel.layer([TestModel.toolCall("double", { n: 1 }), TestModel.json({ score: 1, reason: "x" })], {
          structuredOutput: false
        })
      )
    )
  )

  it.effect("shows the model every problem of an answer, as it may correct it once", () =>
    Effect.gen(function* () {
      yield* Agent.make("agent", { output: Verdict }).run("go")
      const seen = JSON.stringify((yield* lastCall).prompt.content.at(-1))
      assert.include(seen, JSON.stringify('at ["score"]').slice(1, -1))
      assert.include(seen, JSON.stringify('at ["reason"]').slice(1, -1))
    }).pipe(
      Effect.provide(
        TestModel.layer([TestModel.json({ score: "three", reason: 1 }), TestModel.json({ score: 3, reason: "x" })])
      )
    )
  )

  it.effect("does not show the model thousands of issues", () =>
    Effect.gen(function* () {
      const list = Agent.make("list", {
        output: Schema.Struct({ items: Schema.Array(Schema.Finite) }),
        outputRepairs: 0
      })
      const error = yield* Effect.flip(list.run("go"))
      if (error._tag !== "InvalidOutput") return assert.fail(error._tag)
      assert.isBelow(error.issue.length, 2500)
      assert.match(error.issue, /^Expected number.*[^]*\nand more$/)
    }).pipe(Effect.provide(TestModel.layer([TestModel.json({ items: Array.from({ length: 5000 }, () => "x") })])))
  )

  it.effect("asks the model to correct an answer once, with the reason", () =>
    Effect.gen(function* () {
      const { events, exit } = yield* collect(Agent.make("agent", { output: Verdict }), "go")
      assert.isTrue(Exit.isSuccess(exit))
      assert.strictEqual(events.filter((event) => event._tag === "OutputRejected").length, 1)
      assert.include(JSON.stringify((yield* lastCall).prompt.content.at(-1)), "score")
    }).pipe(
      Effect.provide(TestModel.layer([TestModel.json({ score: "three" }), TestModel.json({ score: 3, reason: "x" })]))
    )
  )

  it.effect.each([
    ["brackets", "[".repeat(100_000)],
    ["objects", '{"a":'.repeat(30_000)],
    ["quoted objects", '{"'.repeat(50_000)],
    ["escaped objects", `"${String.raw`{\"a\":`.repeat(20_000)}`],
    ["spaces in a fence", `x \`\`\`json${" ".repeat(100_000)}x`],
    ["letters in a fence", `\`\`\`${"x".repeat(100_000)}`]
  ] as const)("is not slow to refuse a model that repeats itself: %s", ([, text]) =>
    Effect.gen(function* () {
      const small = Agent.make("small", { output: Schema.Struct({ a: Schema.Finite }), outputRepairs: 0 })
      const started = cpuTime()
      const exit = yield* Effect.exit(small.run("go")).pipe(Effect.provide(TestModel.layer([text])))
      assert.isBelow(cpuTime() - started, 1000)
      const error = Exit.findError(exit)
      assert.strictEqual(error._tag === "Success" && error.success._tag, "InvalidOutput")
    })
  )

  it.effect.each([0, 1, 2])(
    "fails after %s repairs with the raw text, the finish reason and the usage",
    (outputRepairs) =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(Agent.make("agent", { output: Verdict, outputRepairs }).run("go"))
        if (error._tag !== "InvalidOutput") return assert.fail(error._tag)
        assert.deepStrictEqual(
          [error.text, error.finishReason, error.attempts, error.spent.usage.inputTokens.total],
          ["nonsense", "stop", outputRepairs + 1, 10 * (outputRepairs + 1)]
        )
      }).pipe(Effect.provide(TestModel.layer(Array.from({ length: outputRepairs + 1 }, () => "nonsense"))))
  )
})

describe("input", () => {
  it.effect("takes images and files, and an earlier transcript as it was", () =>
    Effect.gen(function* () {
      const agent = Agent.make("agent", { instructions: "Look." })
      const first = yield* agent.result([
        {
          role: "user",
          content: [
            { type: "text", text: "What is this?" },
            { type: "file", mediaType: "image/png", data: new Uint8Array([1, 2, 3]) }
          ]
        }
      ])
      yield* agent.run(Prompt.concat(first.transcript, "And now?"))
      assert.deepStrictEqual(
        (yield* lastCall).prompt.content.map((message) => message.role),
        ["system", "user", "assistant", "user"]
      )
      const json = yield* Schema.encodeEffect(Prompt.Prompt)(first.transcript)
      assert.deepStrictEqual(
        (yield* Schema.decodeEffect(Prompt.Prompt)(JSON.parse(JSON.stringify(json)))).content.length,
        2
      )
    }).pipe(Effect.provide(TestModel.layer(["a cat", "still a cat"])))
  )

  const call = (id: string) => Prompt.toolCallPart({ id, name: "double", params: { n: 1 }, providerExecuted: false })
  const result = (id: string) =>
    Prompt.toolResultPart({ id, name: "double", isFailure: false, result: 2, providerExecuted: false })
  const user = Prompt.userMessage({ content: [Prompt.textPart({ text: "go" })] })

  it.effect("gives a result to every call, in the order asked", () =>
    Effect.gen(function* () {
      const input = Prompt.fromMessages([
        user,
        Prompt.assistantMessage({ content: [call("a"), call("b"), call("c")] }),
        Prompt.toolMessage({ content: [result("c"), result("a")] })
      ])
      yield* Agent.make("agent", { tools: [doubling] }).run(input)
      assert.deepStrictEqual(
        resultsOf((yield* lastCall).prompt).map((part) => [part.id, part.isFailure]),
        [
          ["a", false],
          ["b", true],
          ["c", false]
        ]
      )
    }).pipe(Effect.provide(TestModel.layer(["done"])))
  )

  it.effect("refuses a result without a call, two results for one, and no message at all", () =>
    Effect.gen(function* () {
      const agent = Agent.make("agent", {})
      const inputs = [
        Prompt.fromMessages([user, Prompt.toolMessage({ content: [result("a")] })]),
        Prompt.fromMessages([
          user,
          Prompt.assistantMessage({ content: [call("a")] }),
          Prompt.toolMessage({ content: [result("a"), result("a")] })
        ]),
        Prompt.empty,
        [{ role: "unknown", content: 3 }] as never
      ]
      for (const input of inputs) assert.strictEqual((yield* Effect.flip(agent.run(input)))._tag, "InvalidTranscript")
    }).pipe(Effect.provide(TestModel.layer([])))
  )

  it.effect("makes instructions of the input, with services and errors of its own", () =>
    Effect.gen(function* () {
      class Tone extends Context.Service<Tone, string>()("test/Tone") {}
      const agent = Agent.make("agent", {
        instructions: (input) =>
          typeof input === "string"
            ? Effect.map(Tone, (tone) => `Be ${tone} about ${input}.`)
            : Effect.fail("no text" as const)
      })
      const provided = Effect.provideService(Tone, "kind")
      assert.strictEqual(yield* agent.run("cats").pipe(provided), "purr")
      assert.include(JSON.stringify((yield* lastCall).prompt.content[0]), "Be kind about cats.")
      assert.strictEqual(
        yield* agent.run([]).pipe(
          provided,
          Effect.flip,
          Effect.map((e) => (typeof e === "string" ? e : e._tag))
        ),
        "InvalidTranscript"
      )
    }).pipe(Effect.provide(TestModel.layer(["purr"])))
  )
})

describe("model calls that fail", () => {
  it.effect("are made again by the schedule; completed tools never run again", () =>
    Effect.gen(function* () {
      const ran = yield* Ref.make(0)
      const once = AgentTool.fromFunction("once", {
        description: "x",
        execute: () => Ref.updateAndGet(ran, (n) => n + 1)
      })
      const fiber = yield* Effect.forkChild(collect(Agent.make("agent", { tools: [once] }), "go"))
      yield* TestClock.adjust("1 minute")
      const { events, exit } = yield* Fiber.join(fiber)
      assert.isTrue(Exit.isSuccess(exit))
      assert.strictEqual(yield* Ref.get(ran), 1)
      assert.deepStrictEqual(
        events.flatMap((event) => (event._tag === "StepRetried" ? [event.attempt] : [])),
        [2, 3]
      )
    }).pipe(
      Effect.provide(
        TestModel.layer([TestModel.toolCall("once", {}), TestModel.fail(down), TestModel.fail(rate()), "done"])
      )
    )
  )

  it.effect("after partial text emit what to discard", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.forkChild(collect(Agent.make("agent", {}), "go"))
      yield* TestClock.adjust("1 minute")
      const { events } = yield* Fiber.join(fiber)
      assert.strictEqual(textOf(events), "the answer")
      assert.isAbove(events.length, effective(events).length)
    }).pipe(
      Effect.provide(
        TestModel.layer([
          { text: "the wrong", chunk: 3, after: 2, fail: down },
          { text: "the answer", chunk: 4 }
        ])
      )
    )
  )

  it.effect("wait as long as the server says, and not at all when that is longer than a minute", () =>
    Effect.gen(function* () {
      const agent = Agent.make("agent", {})
      const fiber = yield* Effect.forkChild(agent.run("go"))
      yield* TestClock.adjust("29 seconds")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(yield* Fiber.join(fiber), "late")
      const error = yield* Effect.flip(agent.run("go"))
      assert.strictEqual(error._tag === "ModelError" ? error.attempts : error._tag, 1)
    }).pipe(
      Effect.provide(TestModel.layer([TestModel.fail(rate("30 seconds")), "late", TestModel.fail(rate("2 minutes"))]))
    )
  )

  it.effect.each(["none" as const, Schedule.recurs(1)])("follow the agent's own policy (%#)", (retry) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Agent.make("agent", { retry }).run("go"))
      if (error._tag !== "ModelError") return assert.fail(error._tag)
      assert.strictEqual(error.attempts, retry === "none" ? 1 : 2)
      assert.strictEqual(error.isRetryable, true)
    }).pipe(Effect.provide(TestModel.layer(() => TestModel.fail(down))))
  )

  it.effect("carry the partial text, the bill and the conversation", () =>
    Effect.gen(function* () {
      const { exit } = yield* collect(Agent.make("agent", { tools: [doubling], retry: "none" }), "go")
      const found = Exit.findError(exit)
      if (found._tag !== "Success" || found.success._tag !== "ModelError") return assert.fail("no ModelError")
      const { spent, step, transcript } = found.success
      assert.deepStrictEqual([spent.text, spent.steps, step, spent.usage.outputTokens.total], ["so f", 2, 2, 5])
      assert.strictEqual(resultsOf(transcript).length, 1)
      assert.include(found.success.message, "down")
    }).pipe(
      Effect.provide(
        TestModel.layer([TestModel.toolCall("double", { n: 1 }), { text: "so far", chunk: 2, after: 2, fail: down }])
      )
    )
  )
})

describe("definitions", () => {
  const bad: ReadonlyArray<readonly [string, () => unknown]> = [
    ["two tools of one name", () => Agent.make("a", { tools: [doubling, doubling] })],
    ["a tool of a toolkit among the tools", () => Agent.make("a", { tools: [Fail as never] })],
    ["an agent among the tools", () => Agent.make("a", { tools: [Agent.make("b", {}) as never] })],
    ["a missing tool", () => Agent.make("a", { tools: [undefined as never] })],
    [
      "a tool name that providers refuse",
      () => AgentTool.fromFunction("two words", { description: "x", execute: () => 1 })
    ],
    ["a toolkit's name that providers refuse", () => Agent.make("a", { toolkit: Toolkit.make(Tool.make("a.b", {})) })],
    [
      "parameters without a JSON form",
      () =>
        AgentTool.fromFunction("x", {
          description: "x",
          parameters: Schema.Struct({ r: Schema.instanceOf(RegExp) }),
          execute: () => 1
        })
    ],
    [
      "a toolkit's parameters without a JSON form",
      () =>
        Agent.make("a", { toolkit: Toolkit.make(Tool.make("x", { parameters: Schema.Struct({ d: Schema.Date }) })) })
    ],
    [
      "parameters that are not an object",
      () =>
        AgentTool.fromFunction("x", {
          description: "x",
          parameters: Schema.Array(Schema.String),
          execute: () => 1
        })
    ],
    ["an output without a JSON form", () => Agent.make("a", { output: Schema.Struct({ s: Schema.Symbol }) })],
    ["a tool choice that is not a tool", () => Agent.make("a", { tools: [doubling], toolChoice: { tool: "triple" } })],
    ["a limit below 1", () => Agent.make("a", { maxSteps: 0 })],
    ["a limit that is not a whole number", () => Agent.make("a", { maxSteps: 1.5 })],
    ["half a repair", () => Agent.make("a", { outputRepairs: 0.5 })],
    ["a concurrency below 1", () => Agent.make("a", { toolConcurrency: 0 })],
    ["a time limit that is not a duration", () => Agent.make("a", { toolTimeout: "soon" as never })],
    ["a run's time limit that is not a duration", () => Runner.withTimeout(Agent.make("a", {}), "soon" as never)],
    ["a name that is empty", () => Agent.make(" ", {})],
    ["a tool without a description", () => AgentTool.fromRunner(Agent.make("a", {}))]
  ]
  async.each(bad)("refuse %s where it is written", (_, define) => {
    try {
      define()
    } catch (error) {
      if (!(error instanceof RunError.InvalidDefinition)) throw error
      return assert.match(error.message, /^[^:]+: .+\. .+/)
    }
    assert.fail("nothing was thrown")
  })
})

it.effect("bills an answer that the provider ended with an error", () =>
  Effect.gen(function* () {
    const agent = Agent.make("agent", { retry: "none" })
    const error = yield* Effect.flip(agent.run("go"))
    assert.strictEqual(error._tag, "ModelError")
    assert.strictEqual("spent" in error ? error.spent.usage.outputTokens.total : undefined, 77)
  }).pipe(
    Effect.provide(
      TestModel.layer([
        { text: "half", finishReason: "error", usage: { inputTokens: { total: 5 }, outputTokens: { total: 77 } } }
      ])
    )
  )
)

it.effect("shows a tool of a struct without fields to the model as one without parameters", () =>
  Effect.gen(function* () {
    const shown: Array<unknown> = []
    const turns: Array<Array<Response.PartEncoded>> = [
      [
        { type: "tool-call", id: "1", name: "now", params: {} },
        { type: "tool-call", id: "2", name: "later", params: {} }
      ],
      [{ type: "text", text: "noon, then one" }]
    ]
    const Model = Layer.effect(
      LanguageModel.LanguageModel,
      LanguageModel.make({
        generateText: ({ tools }) =>
          Effect.sync(() => {
            shown.push(...tools.map((tool) => Tool.getJsonSchema(tool)))
            return turns.shift()!
          }),
        streamText: () => Stream.empty
      })
    )
    const kit = Toolkit.make(Tool.make("now", { parameters: Schema.Struct({}), success: Schema.String }))
    const later = AgentTool.fromFunction("later", {
      description: "Tells a later time",
      parameters: Schema.Struct({}),
      execute: () => "one"
    })
    const agent = Agent.make("agent", { toolkit: kit, tools: [later] })
    const live = Layer.merge(Model, kit.toLayer({ now: () => Effect.succeed("noon") }))
    const { output, transcript } = yield* agent.result("When?").pipe(Effect.provide(live))
    assert.strictEqual(output, "noon, then one")
    const results = transcript.content.flatMap((message) => (message.role === "tool" ? message.content : []))
    assert.deepStrictEqual(
      results.map((part) => (part.type === "tool-result" ? part.result : part)),
      ["noon", "one"]
    )
    assert.deepStrictEqual(
      shown,
      Array.from({ length: 4 }, () => ({ type: "object", additionalProperties: false }))
    )
  })
)

it.effect("names the tool whose handler was not provided, before the model is asked", () =>
  Effect.gen(function* () {
    const agent = Agent.make("agent", { toolkit: Toolkit.make(Fail) })
    const exit = yield* Effect.exit(agent.run("go") as Effect.Effect<string, Agent.Error, LanguageModel.LanguageModel>)
    const defect = Exit.findDefect(exit)
    const message = defect._tag === "Success" ? String(defect.success) : "no defect"
    assert.include(message, 'agent "agent": no handler was provided for its tool "fail"')
    assert.include(message, "toLayer")
    assert.strictEqual((yield* (yield* TestModel.TestModel).calls).length, 0)
  }).pipe(Effect.provide(TestModel.layer([])))
)

describe("a model that is not ours", () => {
  it.effect("works by effect/ai's own interface, and a bad answer of generateObject keeps its usage", () =>
    Effect.gen(function* () {
      const answers = ["no json", '{"n": 1}']
      const usage = { inputTokens: { total: 7 }, outputTokens: { total: 3 } }
      const Foreign = Layer.effect(
        LanguageModel.LanguageModel,
        LanguageModel.make({
          generateText: () =>
            Effect.sync(
              () =>
                [
                  { type: "text", text: answers.shift()! },
                  { type: "finish", reason: "stop", usage }
                ] satisfies Array<Response.PartEncoded>
            ),
          streamText: () => Stream.empty
        })
      )
      const agent = Agent.make("agent", { output: Schema.Struct({ n: Schema.Int }) })
      const result = yield* agent.result("go").pipe(Effect.provide(Foreign))
      assert.deepStrictEqual(result.output, { n: 1 })
      assert.deepStrictEqual(
        [result.steps, result.usage.inputTokens.total, result.usage.outputTokens.total],
        [2, 14, 6]
      )
    })
  )
})
