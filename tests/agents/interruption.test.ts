import { assert, describe, it as async } from "@effect/vitest"
import { it } from "../support/edges.ts"
import { Deferred, Effect, Exit, Fiber, Stream } from "effect"
import { TestClock } from "effect/testing"
import { Agent, AgentTool, type RunEvent, Runner, TestModel } from "troupe"
import { checkGrammar } from "../support/grammar.ts"

type Event = RunEvent.RunEvent

/** A runner whose every event is kept, the terminal one of an interrupted run included. */
const observed = <I, A, E, R>(runner: Runner.Runner<I, A, E, R>) => {
  const events: Array<Event> = []
  return { events, runner: Runner.onEvent(runner, (event) => Effect.sync(() => void events.push(event))) }
}

const terminalOf = (events: ReadonlyArray<Event>): Extract<Event, { readonly _tag: "RunInterrupted" }> => {
  checkGrammar(events)
  const last = events.at(-1)
  if (last?._tag !== "RunInterrupted") return assert.fail(`ends with ${last?._tag}`)
  return last
}

const textOf = (events: ReadonlyArray<Event>): string =>
  events.map((event) => (event._tag === "TextDelta" ? event.delta : "")).join("")

/** What the model and the tools do until they are interrupted, and what must be true of each call afterwards. */
const places = (log: Array<string>, begun: Deferred.Deferred<void>) => {
  const begin = Deferred.succeed(begun, undefined)
  const effect = AgentTool.fromFunction("effect", {
    description: "Never ends",
    execute: () =>
      Effect.andThen(begin, Effect.never).pipe(Effect.onInterrupt(() => Effect.sync(() => log.push("effect ended"))))
  })
  const promise = AgentTool.fromFunction("promise", {
    description: "Never ends by itself",
    execute: async (_, { signal }) => {
      Effect.runSync(begin)
      await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()))
      log.push("promise aborted")
    }
  })
  const quick = AgentTool.fromFunction("quick", { description: "Ends", execute: () => "quick" })
  const tools = [effect, promise, quick]
  return {
    "before the first token": {
      agent: Agent.make("agent", { tools }),
      turns: [{ hang: true }],
      begin: true,
      calls: [],
      log: [],
      modelInterrupted: true
    },
    "in mid-text": {
      agent: Agent.make("agent", { tools }),
      turns: [{ text: "abcdef", chunk: 2, after: 2, hang: true }],
      begin: true,
      calls: [],
      log: [],
      modelInterrupted: true
    },
    "in an Effect tool": {
      agent: Agent.make("agent", { tools, toolConcurrency: 2 }),
      turns: [
        TestModel.toolCalls(
          { name: "quick", params: {} },
          { name: "effect", params: {} },
          { name: "effect", params: {} },
          { name: "effect", params: {} }
        )
      ],
      begin: false,
      calls: ["quick completed", "effect interrupted", "effect interrupted", "effect not-started"],
      log: ["effect ended", "effect ended"],
      modelInterrupted: false
    },
    "in a promise tool": {
      agent: Agent.make("agent", { tools }),
      turns: [TestModel.toolCall("promise", {})],
      begin: false,
      calls: ["promise unknown"],
      log: ["promise aborted"],
      modelInterrupted: false
    },
    "between steps": {
      agent: Agent.make("agent", {
        tools,
        stopWhen: () => Effect.as(Effect.andThen(begin, Effect.never), true)
      }),
      turns: [TestModel.toolCall("quick", {})],
      begin: false,
      calls: ["quick completed"],
      log: [],
      modelInterrupted: false
    }
  }
}

const ways = {
  "run, its fiber interrupted": (runner: Agent.Agent<string, Agent.Error, never>) => runner.run("go"),
  "result, its fiber interrupted": (runner: Agent.Agent<string, Agent.Error, never>) => runner.result("go"),
  "stream, its fiber interrupted": (runner: Agent.Agent<string, Agent.Error, never>) =>
    Stream.runDrain(runner.stream("go"))
}

describe("a run that is interrupted", () => {
  for (const place of [
    "before the first token",
    "in mid-text",
    "in an Effect tool",
    "in a promise tool",
    "between steps"
  ] as const) {
    for (const [way, use] of Object.entries(ways)) {
      const { live } = place === "in a promise tool" ? async : it
      live(`${place}: ${way}`, () =>
        Effect.gen(function* () {
          const log: Array<string> = []
          const begun = yield* Deferred.make<void>()
          const given = places(log, begun)[place]
          const { events, runner } = observed(given.agent)
          yield* Effect.gen(function* () {
            const model = yield* TestModel.TestModel
            const context = yield* Effect.context<never>()
            const fiber = yield* Effect.forkChild(
              use(runner as Agent.Agent<string, Agent.Error, never>).pipe(Effect.provideContext(context))
            )
            // The model has been asked, and where a tool is what runs, the tool has begun.
            while ((yield* model.calls).length === 0) yield* Effect.yieldNow
            if (!given.begin) yield* Deferred.await(begun)
            else if (place === "in mid-text" && way.startsWith("stream")) {
              while (textOf(events) !== "abcd") yield* Effect.sleep(1)
            } else yield* Effect.sleep("20 millis")
            yield* Fiber.interrupt(fiber)
            assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(fiber)))
            const { spent } = terminalOf(events)
            assert.deepStrictEqual(
              spent.toolCalls.map((call) => `${call.tool} ${call.status}`),
              given.calls
            )
            assert.deepStrictEqual(log, given.log)
            assert.strictEqual((yield* model.calls)[0]!.interrupted, given.modelInterrupted)
            if (place === "in mid-text" && way.startsWith("stream")) assert.strictEqual(spent.text, "abcd")
          }).pipe(Effect.provide(TestModel.layer(given.turns)))
        })
      )
    }
  }

  it.live("by a consumer of its stream that stops early", () =>
    Effect.gen(function* () {
      const { events, runner } = observed(Agent.make("agent", {}))
      const taken = yield* runner.stream("go").pipe(
        Stream.filter((event) => event._tag === "TextDelta"),
        Stream.take(2),
        Stream.runCollect
      )
      assert.strictEqual(taken.length, 2)
      assert.strictEqual(terminalOf(events).spent.text.startsWith("ab"), true)
      const { calls } = yield* TestModel.TestModel
      assert.strictEqual((yield* calls)[0]!.interrupted, true)
    }).pipe(Effect.provide(TestModel.layer([{ text: "abcdef", chunk: 1, chunkDelay: "5 millis" }])))
  )

  it.effect("has what an answer used whose deltas were still being taken", () =>
    Effect.gen(function* () {
      const answered = yield* Deferred.make<void>()
      const taking = Effect.andThen(
        Deferred.succeed(answered, undefined),
        Effect.repeat(Effect.yieldNow, { times: 10 })
      )
      const slow = Runner.onEvent(Agent.make("agent", {}), ({ _tag }) => (_tag === "TextDelta" ? taking : Effect.void))
      const abandoning = Runner.make("abandoning", {
        run: (input: string) =>
          Effect.andThen(Effect.raceFirst(Deferred.await(answered), slow.run(input)), Runner.remaining)
      })
      const { output, usage } = yield* Runner.withBudget(abandoning, { tokens: 100 }).result("go")
      assert.deepStrictEqual([usage.inputTokens.total, usage.outputTokens.total], [10, 5])
      assert.strictEqual(output.tokens, 85)
    }).pipe(Effect.provide(TestModel.layer(["done"])))
  )

  it.effect("by a timeout, with the bill", () =>
    Effect.gen(function* () {
      const { events, runner } = observed(Agent.make("agent", {}))
      const fiber = yield* Effect.forkChild(Effect.flip(Runner.withTimeout(runner, "1 minute").run("go")))
      yield* TestClock.adjust("1 minute")
      const error = yield* Fiber.join(fiber)
      if (error._tag !== "RunTimedOut") return assert.fail(error._tag)
      assert.strictEqual(error.durationMs, 60_000)
      assert.strictEqual(error.spent.steps, 1)
      checkGrammar(events)
      assert.strictEqual(events.at(-1)?._tag, "RunFailed")
    }).pipe(Effect.provide(TestModel.layer([{ hang: true }])))
  )
})

describe("a stream", () => {
  it.live("makes the model wait for a slow consumer", () =>
    Effect.gen(function* () {
      const ahead: Array<number> = []
      let taken = 0
      let emitted = 0
      const runner = Runner.onEvent(Agent.make("agent", {}), (event) =>
        Effect.sync(() => {
          if (event._tag === "TextDelta") ahead.push(++emitted - taken)
        })
      )
      yield* runner.stream("go").pipe(
        Stream.runForEach((event) =>
          event._tag === "TextDelta"
            ? Effect.andThen(
                Effect.sync(() => taken++),
                Effect.yieldNow
              )
            : Effect.void
        ),
        Effect.provideService(Runner.StreamBuffer, 4)
      )
      assert.strictEqual(taken, 500)
      // The buffer, what the consumer holds in its hands, and the one that waits to be offered.
      assert.isAtMost(Math.max(...ahead), 16)
    }).pipe(Effect.provide(TestModel.layer([{ text: "x".repeat(500), chunk: 1 }])))
  )

  it.live("leaves no rejection unhandled when it fails", () =>
    Effect.gen(function* () {
      const unhandled: Array<unknown> = []
      const listen = (reason: unknown) => unhandled.push(reason)
      process.on("unhandledRejection", listen)
      const failing = Agent.make("agent", {
        tools: [
          AgentTool.fromFunction("rejects", {
            description: "x",
            failureMode: "error",
            execute: async () => {
              throw new Error("no")
            }
          }),
          AgentTool.fromFunction("late", {
            description: "Rejects after the run has ended",
            execute: (_, { signal }): Promise<string> =>
              new Promise((_resolve, reject) => {
                signal.addEventListener("abort", () => setTimeout(() => reject(new Error("late")), 5))
              })
          })
        ]
      })
      const exits = [yield* Effect.exit(failing.run("go")), yield* Effect.exit(Stream.runDrain(failing.stream("go")))]
      yield* Effect.sleep("30 millis")
      process.off("unhandledRejection", listen)
      assert.isTrue(exits.every((exit) => exit._tag === "Failure"))
      assert.deepStrictEqual(unhandled, [])
    }).pipe(
      Effect.provide(
        TestModel.layer(() => TestModel.toolCalls({ name: "rejects", params: {} }, { name: "late", params: {} }))
      )
    )
  )
})
