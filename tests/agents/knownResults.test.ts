/** What a tool or a branch gave is known and reported, also when it was interrupted while its work was finished. */
import { assert, describe } from "@effect/vitest"
import { Effect, Fiber, Schema, Stream } from "effect"
import { type Prompt, Tool, Toolkit } from "effect/ai"
import { TestClock } from "effect/testing"
import { Agent, AgentTool, Parallel, RunError, type RunEvent, Runner, TestModel } from "troupe"
import { it } from "../support/edges.ts"
import { checkGrammar } from "../support/grammar.ts"

const receipt = Effect.uninterruptible(Effect.as(Effect.sleep(100), "receipt"))
const pays = {
  "an Effect": AgentTool.fromFunction("pay", { description: "Pays", execute: () => receipt }),
  "a generator": AgentTool.fromFunction("pay", {
    description: "Pays",
    execute: function* () {
      return yield* receipt
    }
  }),
  "an Effect within a timeout": AgentTool.fromFunction("pay", {
    description: "Pays",
    timeout: "1 hour",
    execute: () => receipt
  })
}
const bad = AgentTool.fromFunction("bad", {
  description: "Fails",
  failureMode: "error",
  execute: () => Effect.andThen(Effect.sleep(10), Effect.fail("bad"))
})
const both = TestModel.toolCalls({ name: "pay", params: {} }, { name: "bad", params: {} })
const resultsOf = (prompt: Prompt.Prompt) =>
  prompt.content.flatMap((message) =>
    message.role === "tool"
      ? message.content.flatMap((part) =>
          part.type === "tool-result" ? [[part.name, part.result, part.isFailure]] : []
        )
      : []
  )
const watched = <I, A, E, R>(runner: Runner.Runner<I, A, E, R>) => {
  const events: Array<RunEvent.RunEvent> = []
  return { events, runner: Runner.onEvent(runner, (event) => Effect.sync(() => void events.push(event))) }
}
const statuses = (error: { readonly spent: RunEvent.Spent }) =>
  error.spent.toolCalls.map(({ status, tool }) => `${tool} ${status}`)

describe("a tool that cannot be interrupted", () => {
  for (const [name, pay] of Object.entries(pays)) {
    it.effect(`has completed when a sibling failed meanwhile: ${name}`, () =>
      Effect.gen(function* () {
        const { events, runner } = watched(Agent.make("agent", { tools: [pay, bad] }))
        const fiber = yield* Effect.forkChild(Effect.flip(runner.run("go")))
        yield* TestClock.adjust(100)
        const error = yield* Fiber.join(fiber)
        assert.instanceOf(error, RunError.ToolError)
        if (error._tag !== "ToolError") return
        assert.deepStrictEqual([error.interrupted, statuses(error)], [[], ["pay completed", "bad failed"]])
        assert.deepStrictEqual(resultsOf(error.transcript), [
          ["pay", "receipt", false],
          ["bad", { error: "bad" }, true]
        ])
        checkGrammar(events)
        assert.isTrue(events.some((event) => event._tag === "ToolCompleted" && event.tool === "pay"))
      }).pipe(Effect.provide(TestModel.layer([both])))
    )
  }

  it.effect("has completed when the run was interrupted meanwhile, and its result is in the transcript", () =>
    Effect.gen(function* () {
      const { events, runner } = watched(Agent.make("agent", { tools: [pays["an Effect"]] }))
      const fiber = yield* Effect.forkChild(runner.run("go"))
      yield* TestClock.adjust(10)
      const stopping = yield* Effect.forkChild(Fiber.interrupt(fiber))
      yield* TestClock.adjust(100)
      yield* Fiber.join(stopping)
      const last = events.at(-1)
      if (last?._tag !== "RunInterrupted") return assert.fail(`ends with ${last?._tag}`)
      assert.deepStrictEqual(statuses(last), ["pay completed"])
      assert.include(JSON.stringify(last.transcript), "receipt")
      checkGrammar(events)
    }).pipe(Effect.provide(TestModel.layer([TestModel.toolCall("pay", {})])))
  )

  it.effect("has completed when its timeout had passed meanwhile", () =>
    Effect.gen(function* () {
      const agent = Agent.make("agent", { tools: [pays["an Effect"]], toolTimeout: 50 })
      const fiber = yield* Effect.forkChild(agent.result("go"))
      yield* TestClock.adjust(100)
      const { transcript } = yield* Fiber.join(fiber)
      assert.deepStrictEqual(resultsOf(transcript), [["pay", "receipt", false]])
    }).pipe(Effect.provide(TestModel.layer([TestModel.toolCall("pay", {}), "ok"])))
  )

  it.effect("that is not done with it is interrupted", () =>
    Effect.gen(function* () {
      const later: Array<string> = []
      const pay = AgentTool.fromFunction("pay", {
        description: "Pays",
        execute: () =>
          receipt.pipe(
            Effect.andThen(Effect.sleep(50)),
            Effect.tap(() => Effect.sync(() => later.push("later")))
          )
      })
      const fiber = yield* Effect.forkChild(Effect.flip(Agent.make("agent", { tools: [pay, bad] }).run("go")))
      yield* TestClock.adjust(1000)
      const error = yield* Fiber.join(fiber)
      assert.deepStrictEqual(error._tag === "ToolError" && [error.interrupted.length, statuses(error)], [
        1,
        ["pay interrupted", "bad failed"]
      ])
      assert.deepStrictEqual(later, [])
    }).pipe(Effect.provide(TestModel.layer([both])))
  )
})

describe("a handler of a toolkit that cannot be interrupted", () => {
  const pay = Tool.make("pay", { description: "Pays", success: Schema.String, failure: Schema.String })
  const kit = Toolkit.make(pay)
  const handles = (effect: Effect.Effect<string, string>) => kit.toLayer({ pay: () => effect })
  const once = TestModel.layer([TestModel.toolCall("pay", {})])
  /** Interrupts a run, streamed or not, while its handler works. */
  const interrupted = <E, R>(agent: Runner.Runner<string, string, E, R>, streamed: boolean) =>
    Effect.gen(function* () {
      const { events, runner } = watched(agent)
      const running = streamed ? Stream.runForEach(runner.stream("go"), () => Effect.never) : runner.run("go")
      const fiber = yield* Effect.forkChild(running)
      yield* TestClock.adjust(10)
      const stopping = yield* Effect.forkChild(Fiber.interrupt(fiber))
      yield* TestClock.adjust(100)
      yield* Fiber.join(stopping)
      const last = events.at(-1)
      if (last?._tag !== "RunInterrupted") return assert.fail(`ends with ${last?._tag}`)
      checkGrammar(events)
      return last
    })

  it.effect("has completed when a sibling failed meanwhile", () =>
    Effect.gen(function* () {
      const { events, runner } = watched(Agent.make("agent", { toolkit: kit, tools: [bad] }))
      const fiber = yield* Effect.forkChild(Effect.flip(runner.run("go")))
      yield* TestClock.adjust(100)
      const error = yield* Fiber.join(fiber)
      if (error._tag !== "ToolError") return assert.fail(`failed with ${error._tag}`)
      assert.deepStrictEqual([error.interrupted, statuses(error)], [[], ["pay completed", "bad failed"]])
      assert.deepStrictEqual(resultsOf(error.transcript)[0], ["pay", "receipt", false])
      checkGrammar(events)
      assert.isTrue(events.some((event) => event._tag === "ToolCompleted" && event.tool === "pay"))
    }).pipe(Effect.provide([handles(receipt), TestModel.layer([both])]))
  )

  for (const streamed of [false, true]) {
    it.effect(`has completed when the run was interrupted meanwhile, ${streamed ? "streamed" : "not streamed"}`, () =>
      Effect.gen(function* () {
        const last = yield* interrupted(Agent.make("agent", { toolkit: kit }), streamed)
        assert.deepStrictEqual(statuses(last), ["pay completed"])
        assert.include(JSON.stringify(last.transcript), "receipt")
      }).pipe(Effect.provide([handles(receipt), once]))
    )
  }

  it.effect("has completed when its toolkit was given with its handlers", () =>
    Effect.gen(function* () {
      const last = yield* interrupted(Agent.make("agent", { toolkit: yield* kit }), false)
      assert.deepStrictEqual(statuses(last), ["pay completed"])
    }).pipe(Effect.provide([handles(receipt), once]))
  )

  it.effect("has completed when a sibling failed while a slow reader had its progress to read", () =>
    Effect.gen(function* () {
      const { events, runner } = watched(Agent.make("agent", { toolkit: kit, tools: [bad] }))
      const reader = yield* Effect.forkChild(Stream.runForEach(runner.stream("go"), () => Effect.never))
      // Both calls have begun.
      yield* TestClock.adjust(1)
      yield* TestClock.adjust(100)
      const last = events.at(-1)
      if (last?._tag !== "RunFailed") return assert.fail(`ends with ${last?._tag}`)
      assert.deepStrictEqual(statuses(last), ["pay completed", "bad failed"])
      checkGrammar(events)
      yield* Fiber.interrupt(reader)
    }).pipe(
      Effect.provide([
        kit.toLayer({
          pay: (_, { preliminary }) =>
            Effect.andThen(
              Effect.forEach(Array.from({ length: 200 }), () => preliminary("soon")),
              receipt
            )
        }),
        TestModel.layer([both])
      ])
    )
  )

  it.effect("has completed when its timeout had passed meanwhile", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.forkChild(Agent.make("agent", { toolkit: kit, toolTimeout: 50 }).result("go"))
      yield* TestClock.adjust(100)
      const { transcript } = yield* Fiber.join(fiber)
      assert.deepStrictEqual(resultsOf(transcript), [["pay", "receipt", false]])
    }).pipe(Effect.provide([handles(receipt), TestModel.layer([TestModel.toolCall("pay", {}), "ok"])]))
  )

  it.effect("has failed when it failed meanwhile", () =>
    Effect.gen(function* () {
      const last = yield* interrupted(Agent.make("agent", { toolkit: kit }), false)
      assert.deepStrictEqual(statuses(last), ["pay failed"])
      assert.include(JSON.stringify(last.transcript), "no money")
    }).pipe(Effect.provide([handles(Effect.andThen(receipt, Effect.fail("no money"))), once]))
  )

  it.effect("that is not done with it is interrupted", () =>
    Effect.gen(function* () {
      const last = yield* interrupted(Agent.make("agent", { toolkit: kit }), false)
      assert.deepStrictEqual(statuses(last), ["pay interrupted"])
    }).pipe(Effect.provide([handles(Effect.tap(receipt, () => Effect.sleep(50))), once]))
  )
})

describe("a branch that cannot be interrupted", () => {
  it.effect("has completed when a sibling failed meanwhile", () =>
    Effect.gen(function* () {
      const pay = Runner.make("pay", { run: (_input: string) => receipt })
      const fails = Runner.make("fails", {
        run: (_input: string) => Effect.andThen(Effect.sleep(10), Effect.fail("bad"))
      })
      const waits = Runner.make("waits", { run: (_input: string) => Effect.never })
      const { events, runner } = watched(Parallel.make("all", { pay, fails, waits }))
      const fiber = yield* Effect.forkChild(Effect.flip(runner.run("go")))
      yield* TestClock.adjust(100)
      const error = yield* Fiber.join(fiber)
      assert.deepStrictEqual([error.failures, error.interrupted], [[{ branch: "fails", error: "bad" }], ["waits"]])
      const items = events.flatMap((event) => (event._tag === "ItemCompleted" ? [`${event.item} ${event.status}`] : []))
      assert.sameMembers(items, ["fails failed", "pay completed", "waits interrupted"])
      assert.isTrue(events.some((event) => event._tag === "RunCompleted" && event.path.at(-1) === "pay"))
      checkGrammar(events)
    })
  )
})

describe("runners as tools", () => {
  it.effect("return their failures by default, and the result of a finished sibling survives", () =>
    Effect.gen(function* () {
      const good = Runner.make("good", { description: "Works", run: (_input: string) => Effect.succeed("fine") })
      const broken = Runner.make("broken", { description: "Fails", run: (_input: string) => Effect.fail("no") })
      const boss = Agent.make("boss", { tools: [AgentTool.fromRunner(good), AgentTool.fromRunner(broken)] })
      const { output, transcript } = yield* boss.result("go")
      assert.strictEqual(output, "done")
      assert.deepStrictEqual(resultsOf(transcript), [
        ["good", "fine", false],
        ["broken", { error: "no" }, true]
      ])
    }).pipe(
      Effect.provide(
        TestModel.layer([
          TestModel.toolCalls({ name: "good", params: { input: "x" } }, { name: "broken", params: { input: "x" } }),
          "done"
        ])
      )
    )
  )

  it.effect("that are to fail the run leave the result of a finished sibling in the transcript", () =>
    Effect.gen(function* () {
      const good = Runner.make("good", { description: "Works", run: (_input: string) => Effect.succeed("fine") })
      const broken = Runner.make("broken", {
        description: "Fails",
        run: (_input: string) => Effect.andThen(Effect.sleep(10), Effect.fail("no"))
      })
      const tools = [AgentTool.fromRunner(good), AgentTool.fromRunner(broken, { failureMode: "error" })]
      const fiber = yield* Effect.forkChild(Effect.flip(Agent.make("boss", { tools }).run("go")))
      yield* TestClock.adjust(10)
      const error = yield* Fiber.join(fiber)
      assert.deepStrictEqual(error._tag === "ToolError" && resultsOf(error.transcript)[0], ["good", "fine", false])
    }).pipe(
      Effect.provide(
        TestModel.layer([
          TestModel.toolCalls({ name: "good", params: { input: "x" } }, { name: "broken", params: { input: "x" } })
        ])
      )
    )
  )
})

describe("a refusal of the sync edge inside of a tool", () => {
  const cases = {
    thrown: () => {
      throw new RunError.NestedSyncEdge({ situation: "fiber" })
    },
    failed: () => Effect.fail(new RunError.NestedSyncEdge({ situation: "server" })),
    died: () => Effect.die(new RunError.NestedSyncEdge({ situation: "fiber" })),
    "of a missing edge": () => Effect.fail(new RunError.MissingSyncEdge({ path: ["inner"], model: "m" }))
  }
  for (const [name, execute] of Object.entries(cases)) {
    it.effect(`fails the run, since no model can fix it: ${name}`, () =>
      Effect.gen(function* () {
        const tool = AgentTool.fromFunction("t", {
          description: "Runs",
          parameters: Schema.Struct({}),
          execute: execute as () => Effect.Effect<string, RunError.NestedSyncEdge>
        })
        const error = yield* Effect.flip(Agent.make("agent", { tools: [tool] }).run("go"))
        assert.strictEqual(error._tag, name === "of a missing edge" ? "MissingSyncEdge" : "NestedSyncEdge")
      }).pipe(Effect.provide(TestModel.layer([TestModel.toolCall("t", {}), "unused"], { unused: "ignore" })))
    )
  }
})
