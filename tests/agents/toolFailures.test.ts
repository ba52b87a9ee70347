/** How tools fail: every kind of failure, both failure modes, tools of toolkits and of functions, run and stream. */
import { assert, describe, it as async } from "@effect/vitest"
import { it } from "../support/edges.ts"
import { Deferred, Effect, Exit, Fiber, Schema } from "effect"
import { Prompt, Tool, Toolkit } from "effect/ai"
import { TestClock } from "effect/testing"
import { Agent, AgentTool, RunError, Runner, TestModel } from "troupe"
import { collect } from "../support/grammar.ts"

const resultsOf = (prompt: Prompt.Prompt) =>
  prompt.content.flatMap((message) =>
    message.role === "tool" ? message.content.filter((part) => part.type === "tool-result") : []
  )
const lastCall = Effect.gen(function* () {
  const { calls } = yield* TestModel.TestModel
  return (yield* calls).at(-1)!
})
const toolErrorOf = (exit: Exit.Exit<unknown, unknown>): RunError.ToolError => {
  const found = Exit.findError(exit)
  if (found._tag === "Success" && found.success instanceof RunError.ToolError) return found.success
  return assert.fail(`no ToolError: ${JSON.stringify(exit)}`)
}

class Broken extends Schema.TaggedError<Broken>()("Broken", { part: Schema.String }) {
  override get message() {
    return `the ${this.part} broke`
  }
}

const direct = {
  "fails with a typed error": () => Effect.fail(new Broken({ part: "wheel" })),
  "fails with a text": () => Effect.fail("the wheel broke"),
  throws: () => {
    throw new Error("the wheel broke")
  },
  "throws inside of its Effect": () =>
    Effect.sync(() => {
      throw new Error("the wheel broke")
    }),
  rejects: async () => {
    throw new Error("the wheel broke")
  },
  "gives a promise that rejects": () => Promise.reject(new Error("the wheel broke")),
  dies: () => Effect.die(new Error("the wheel broke")),
  "fails in a generator": function* () {
    return yield* Effect.fail(new Error("the wheel broke"))
  },
  "throws in a generator": function* () {
    yield* Effect.void
    throw new Error("the wheel broke")
  },
  "is interrupted from within": () => Effect.interrupt,
  "waits for a fiber that somebody interrupts": () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.forkChild(Effect.never)
      yield* Effect.forkChild(Fiber.interrupt(fiber))
      return yield* Fiber.join(fiber)
    })
} satisfies Record<string, () => unknown>

const handlers = {
  "fails with a typed error": () => Effect.fail(new Broken({ part: "wheel" })),
  "throws inside of its Effect": () =>
    Effect.sync((): string => {
      throw new Error("the wheel broke")
    }),
  "throws before there is an Effect": (): Effect.Effect<string, Broken> => {
    throw new Error("the wheel broke")
  },
  dies: () => Effect.die(new Error("the wheel broke")),
  "is interrupted from within": () => Effect.interrupt
} satisfies Record<string, () => Effect.Effect<string, Broken>>

const expected = (name: string) => (name.includes("interrupt") ? "interrupted from within" : "wheel")

const once = (toolkit: boolean, name: string, failureMode: "return" | "error") => {
  if (!toolkit) {
    const execute = direct[name as keyof typeof direct] as () => unknown
    return Agent.make("agent", {
      tools: [AgentTool.fromFunction("tool", { description: "A tool", failureMode, execute })]
    })
  }
  const kit = Toolkit.make(
    Tool.make("tool", { description: "A tool", success: Schema.String, failure: Broken, failureMode })
  )
  const layer = kit.toLayer({ tool: handlers[name as keyof typeof handlers] as () => Effect.Effect<string, Broken> })
  return Runner.provide(Agent.make("agent", { toolkit: kit }), layer)
}

describe.each([
  ...Object.keys(direct).map((name) => ({ toolkit: false, from: "a function", name })),
  ...Object.keys(handlers).map((name) => ({ toolkit: true, from: "a toolkit", name }))
])("a tool of $from that $name", ({ name, toolkit }) => {
  // Promises are refused on the sync edge, see tests/layers/sync/SyncEdge.test.ts.
  const { live } = name.includes("reject") ? async : it
  live("goes to the model with failureMode return, and the run continues", () =>
    Effect.gen(function* () {
      const agent = once(toolkit, name, "return")
      const { events } = yield* collect(agent, "go")
      const failed = events.filter((event) => event._tag === "ToolFailed")
      assert.strictEqual(failed.length, 1)
      assert.include(JSON.stringify(failed[0]!.result), expected(name))
      const result = resultsOf((yield* lastCall).prompt)[0]!
      assert.isTrue(result.isFailure)
      assert.deepStrictEqual(result.result, failed[0]!.result)
      assert.strictEqual(yield* agent.run("go"), "done")
    }).pipe(
      Effect.provide(
        TestModel.layer((call) => (resultsOf(call.prompt).length > 0 ? "done" : TestModel.toolCall("tool", {})))
      )
    )
  )

  live("fails the run with failureMode error", () =>
    Effect.gen(function* () {
      const agent = once(toolkit, name, "error")
      const { events, exit } = yield* collect(agent, "go")
      const ran = yield* Effect.exit(agent.run("go"))
      for (const error of [toolErrorOf(exit), toolErrorOf(ran)]) {
        assert.deepStrictEqual(
          error.failures.map((failure) => failure.tool),
          ["tool"]
        )
        assert.include(JSON.stringify(error.failures[0].failure), expected(name))
        assert.deepStrictEqual(
          error.spent.toolCalls.map((call) => call.status),
          ["failed"]
        )
        assert.include(error.message, expected(name))
        assert.include(error.message, 'failureMode: "return"')
        assert.notInclude(error.message, "..")
      }
      assert.strictEqual(events.filter((event) => event._tag === "ToolFailed").length, 1)
    }).pipe(Effect.provide(TestModel.layer(() => TestModel.toolCall("tool", {}))))
  )
})

describe("a tool that takes too long", () => {
  const never = (failureMode: "return" | "error") => {
    const kit = Toolkit.make(Tool.make("kit", { description: "x", failureMode }))
    return { kit, layer: kit.toLayer({ kit: () => Effect.never }) }
  }

  it.effect("fails the run with failureMode error, and its finalizers have run before", () =>
    Effect.gen(function* () {
      let released = false
      const slow = AgentTool.fromFunction("slow", {
        description: "x",
        failureMode: "error",
        execute: () =>
          Effect.ensuring(
            Effect.never,
            Effect.andThen(
              Effect.yieldNow,
              Effect.sync(() => (released = true))
            )
          )
      })
      const fiber = yield* Effect.forkChild(
        collect(Agent.make("agent", { tools: [slow], toolTimeout: "3 seconds" }), "go")
      )
      yield* TestClock.adjust("2999 millis")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      const { exit } = yield* Fiber.join(fiber)
      assert.isTrue(released)
      assert.include(JSON.stringify(toolErrorOf(exit).failures[0].failure), "within 3s")
    }).pipe(Effect.provide(TestModel.layer([TestModel.toolCall("slow", {})])))
  )

  it.effect.each(["return", "error"] as const)("counts as failed in a toolkit too (failureMode %s)", (failureMode) =>
    Effect.gen(function* () {
      const { kit, layer } = never(failureMode)
      const agent = Agent.make("agent", { toolkit: kit, toolTimeout: "1 second" })
      const fiber = yield* Effect.forkChild(collect(agent, "go").pipe(Effect.provide(layer)))
      yield* TestClock.adjust("1 second")
      const { exit } = yield* Fiber.join(fiber)
      assert.strictEqual(Exit.isSuccess(exit), failureMode === "return")
      if (failureMode === "error") assert.include(toolErrorOf(exit).message, "within 1s")
    }).pipe(
      Effect.provide(
        TestModel.layer((call) => (resultsOf(call.prompt).length > 0 ? "done" : TestModel.toolCall("kit", {})))
      )
    )
  )

  async.live("gets its signal fired", () =>
    Effect.gen(function* () {
      const aborted: Array<string> = []
      const hear = (name: string, signal: AbortSignal) =>
        new Promise<string>((resolve) =>
          signal.addEventListener("abort", () => {
            aborted.push(name)
            resolve("too late")
          })
        )
      const agent = Agent.make("agent", {
        toolTimeout: "10 millis",
        tools: [
          AgentTool.fromFunction("a", {
            description: "async function",
            execute: async (_, { signal }) => await hear("async", signal)
          }),
          AgentTool.fromFunction("p", {
            description: "gives a promise",
            execute: (_, { signal }) => hear("plain", signal)
          }),
          AgentTool.fromFunction("e", {
            description: "Effect",
            execute: (_, { signal }) => Effect.promise(() => hear("Effect", signal))
          }),
          AgentTool.fromFunction("g", {
            description: "generator",
            execute: function* (_, { signal }) {
              return yield* Effect.promise(() => hear("generator", signal))
            }
          })
        ]
      })
      assert.strictEqual(yield* agent.run("go"), "done")
      assert.sameMembers(aborted, ["async", "plain", "Effect", "generator"])
      for (const { result } of resultsOf((yield* lastCall).prompt))
        assert.include(JSON.stringify(result), "within 10ms")
    }).pipe(
      Effect.provide(
        TestModel.layer([TestModel.toolCalls(...["a", "p", "e", "g"].map((name) => ({ name, params: {} }))), "done"])
      )
    )
  )
})

describe("a ToolError", () => {
  const fine = AgentTool.fromFunction("fine", { description: "x", execute: () => 42 })
  const soft = AgentTool.fromFunction("soft", { description: "x", execute: () => Effect.fail("soft") })
  const endless = AgentTool.fromFunction("endless", { description: "x", execute: () => Effect.never })
  const hard = AgentTool.fromFunction("hard", {
    description: "x",
    failureMode: "error",
    execute: () => Effect.andThen(Effect.sleep("5 millis"), Effect.fail("hard"))
  })
  const agent = Agent.make("agent", { tools: [fine, soft, endless, hard], toolConcurrency: 4 })
  const calls = (...names: ReadonlyArray<string>) =>
    TestModel.toolCalls(...names.map((name) => ({ name, params: {}, id: name })))

  it.live("carries a transcript from which the next run goes on, with every outcome that is known", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(agent.run("go"))
      if (error._tag !== "ToolError") return assert.fail(error._tag)
      assert.deepStrictEqual(
        error.spent.toolCalls.map((call) => `${call.tool} ${call.status}`),
        ["fine completed", "soft failed", "endless interrupted", "hard failed"]
      )
      assert.strictEqual(yield* agent.run(Prompt.concat(error.transcript, "Go on.")), "went on")
      const results = resultsOf((yield* lastCall).prompt)
      assert.deepStrictEqual(
        results.map((part) => [part.id, part.isFailure]),
        [
          ["fine", false],
          ["soft", true],
          ["endless", true],
          ["hard", true]
        ]
      )
      assert.strictEqual(results[0]!.result, 42)
      assert.include(JSON.stringify(results[1]!.result), "soft")
      assert.include(JSON.stringify(results[2]!.result), "interrupted")
      assert.include(JSON.stringify(results[3]!.result), "hard")
    }).pipe(Effect.provide(TestModel.layer([calls("fine", "soft", "endless", "hard"), "went on"])))
  )

  it.live("distinguishes a call that never began from one that was interrupted", () =>
    Effect.gen(function* () {
      const narrow = Agent.make("agent", { tools: [fine, endless, hard], toolConcurrency: 2 })
      const error = yield* Effect.flip(narrow.run("go"))
      if (error._tag !== "ToolError") return assert.fail(error._tag)
      assert.deepStrictEqual(
        error.spent.toolCalls.map((call) => `${call.tool} ${call.status}`),
        ["endless interrupted", "hard failed", "fine not-started"]
      )
      assert.deepStrictEqual(error.interrupted, ["endless", "fine"])
      const results = resultsOf(error.transcript).map((part) => JSON.stringify(part.result))
      assert.include(results[0], "may or may not have happened")
      assert.include(results[2], "not executed")
    }).pipe(Effect.provide(TestModel.layer([calls("endless", "hard", "fine")])))
  )

  async.live("is seen only when nothing of the step is left running", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const begun = yield* Deferred.make<void>()
      const careful = AgentTool.fromFunction("careful", {
        description: "Takes its time to clean up",
        execute: () =>
          Effect.andThen(Deferred.succeed(begun, undefined), Effect.never).pipe(
            Effect.onInterrupt(() =>
              Effect.andThen(
                Effect.sleep("20 millis"),
                Effect.sync(() => log.push("cleaned"))
              )
            )
          )
      })
      const heedful = AgentTool.fromFunction("heedful", {
        description: "A promise that heeds its signal",
        execute: async (_, { signal }) => {
          await new Promise((resolve) => signal.addEventListener("abort", resolve))
          log.push("heeded")
        }
      })
      const killer = AgentTool.fromFunction("killer", {
        description: "x",
        failureMode: "error",
        execute: () => Effect.andThen(Deferred.await(begun), Effect.fail("no"))
      })
      const error = yield* Effect.flip(Agent.make("agent", { tools: [careful, heedful, killer] }).run("go"))
      log.push(error._tag)
      yield* Effect.sleep("30 millis")
      assert.sameMembers(log.slice(0, 2), ["cleaned", "heeded"])
      assert.deepStrictEqual(log.slice(2), ["ToolError"])
      assert.deepStrictEqual(error._tag === "ToolError" ? error.spent.toolCalls.map((call) => call.status) : [], [
        "interrupted",
        "unknown",
        "failed"
      ])
    }).pipe(Effect.provide(TestModel.layer([calls("careful", "heedful", "killer")])))
  )
})
