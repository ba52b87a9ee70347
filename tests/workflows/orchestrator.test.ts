import { assert, describe, it } from "@effect/vitest"
import { Data, Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { Agent, AgentTool, Chain, Orchestrator, RunError, Runner, SyncEdge, TestModel } from "troupe"
import { collect } from "../support/grammar.ts"

class Broken extends Data.TaggedError("Broken")<{ readonly what: string }> {}

const worker = (name: string, ms = 10) =>
  Runner.make(name, {
    description: `Does ${name}`,
    run: (task: string) => Effect.as(Effect.sleep(ms), `${name} did ${task}`)
  })
const calls = (...names: ReadonlyArray<string>) => ({
  toolCalls: names.map((name) => ({ name, params: { input: `task of ${name}` } }))
})
const spawns = (...names: ReadonlyArray<string>) => ({
  toolCalls: names.map((name) => ({
    name: "spawn",
    params: { name, instructions: `You are ${name}.`, task: `do ${name}` }
  }))
})
const after = <A, E, R>(ms: number, effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(effect)
    yield* TestClock.adjust(ms)
    if (fiber.pollUnsafe() === undefined) assert.fail(`not done after ${ms} ms`)
    return yield* Fiber.join(fiber)
  })
const prompts = Effect.map(
  Effect.flatMap(TestModel.TestModel, (model) => model.calls),
  (all) => all.map(({ prompt }) => JSON.stringify(prompt.content))
)

describe("an orchestrator", () => {
  it.effect("has its workers work at once, nested in its run under their names", () =>
    Effect.gen(function* () {
      const lead = Orchestrator.make("lead", {
        instructions: "Divide.",
        workers: { research: worker("research", 30), write: Runner.named(worker("write", 30), "other") }
      })
      const { events } = yield* after(30, collect(lead, "go"))
      const last = events.at(-1)
      assert.strictEqual(last?._tag === "RunCompleted" ? last.output : last?._tag, "All done.")
      assert.deepStrictEqual(
        events.flatMap((event) => (event._tag === "RunStarted" ? [event.path.join(">")] : [])),
        ["lead", "lead>research", "lead>write"]
      )
      assert.include((yield* prompts).at(-1), "research did task of research")
    }).pipe(Effect.provide(TestModel.layer([calls("research", "write"), "All done."])))
  )

  it.effect("has tools of its own, a typed output, and nests", () =>
    Effect.gen(function* () {
      const add = AgentTool.fromFunction({ name: "add", description: "Adds", execute: () => 42 })
      const lead = Orchestrator.make("lead", { workers: { research: worker("research", 0) }, tools: [add] })
      const chain = Chain.make("chain", [lead, (text: string) => Effect.succeed(text.length)])
      assert.strictEqual(yield* chain.run("go"), 4)
      assert.include(Runner.toMermaid(chain), '"research"')
      assert.include(Runner.toMermaid(chain), '"add"')
    }).pipe(Effect.provide(TestModel.layer([{ toolCalls: [{ name: "add", params: {} }] }, calls("research"), "done"])))
  )

  it.effect("is told what a worker fails with, and goes on", () =>
    Effect.gen(function* () {
      const broken = Runner.make("broken", {
        description: "Breaks",
        run: (_task: string) => Effect.fail(new Broken({ what: "the press" }))
      })
      const lead = Orchestrator.make("lead", { workers: { broken } })
      assert.strictEqual(yield* lead.run("go"), "I do it myself.")
      assert.include((yield* prompts).at(-1), "the press")
    }).pipe(Effect.provide(TestModel.layer([calls("broken"), "I do it myself."])))
  )

  it.effect("interrupted, interrupts every worker", () =>
    Effect.gen(function* () {
      let interrupted = 0
      const never = Runner.make("never", {
        description: "Never ends",
        run: (_task: string) => Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted++))
      })
      const lead = Orchestrator.make("lead", { workers: { a: never, b: never } })
      const fiber = yield* Effect.forkChild(lead.run("go"))
      yield* TestClock.adjust(10)
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(interrupted, 2)
    }).pipe(Effect.provide(TestModel.layer([calls("a", "b")])))
  )

  it("runs on the sync edge too", () => {
    const lead = Orchestrator.make("lead", { workers: { research: worker("research", 5) }, spawn: {} })
    const program = lead.run("go").pipe(Effect.provide(TestModel.layer([calls("research"), "done"])))
    assert.strictEqual(Effect.runSync(program.pipe(Effect.provide(SyncEdge.layer))), "done")
  })

  it("that could not work is refused", () => {
    const workers = { research: worker("research") }
    for (const make of [
      () => Orchestrator.make("lead", {}),
      () => Orchestrator.make("lead", { workers, spawn: { maxDepth: 0 } }),
      () => Orchestrator.make("lead", { workers, budget: { runs: 0 } }),
      () => Orchestrator.make("lead", { workers: { plain: Agent.make("plain", {}) } }),
      () => Orchestrator.make("lead", { workers: { "two words": worker("x") } }),
      () => Orchestrator.make("lead", { workers: { spawn: worker("x") }, spawn: {} })
    ]) {
      assert.throws(make, RunError.InvalidDefinition)
    }
  })
})

describe("a budget", () => {
  it.effect("of runs is kept by workers that are called at once", () =>
    Effect.gen(function* () {
      let runs = 0
      const counted = Runner.make("counted", {
        description: "Counts",
        run: (_task: string) =>
          Effect.andThen(
            Effect.yieldNow,
            Effect.sync(() => ++runs)
          )
      })
      const lead = Orchestrator.make("lead", { workers: { counted }, budget: { runs: 2 } })
      assert.strictEqual(yield* lead.run("go"), "done")
      assert.strictEqual(runs, 2)
      const told = (yield* prompts).at(-1)!
      assert.strictEqual(told.split("the budget of 2 worker runs is used up").length - 1, 2)
      // Each run has its own.
      assert.strictEqual(yield* lead.run("again"), "done again")
      assert.strictEqual(runs, 3)
    }).pipe(
      Effect.provide(
        TestModel.layer([calls("counted", "counted", "counted", "counted"), "done", calls("counted"), "done again"])
      )
    )
  )

  it.effect("of tokens interrupts workers under way when it is used up, and begins no more", () =>
    Effect.gen(function* () {
      let interrupted = 0
      const slow = Runner.make("slow", {
        description: "Slow",
        run: (_task: string) => Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted++))
      })
      const hungry = Agent.make("hungry", { description: "Uses tokens" })
      const lead = Orchestrator.make("lead", { workers: { slow, hungry }, budget: { tokens: 1000 } })
      const result = yield* after(0, lead.result("go"))
      assert.deepStrictEqual([result.output, interrupted], ["enough", 1])
      const told = yield* prompts
      assert.include(told[2], "interrupted: the budget of 1000 tokens is used up")
      assert.include(told[3], "not executed: the budget of 1000 tokens is used up")
    }).pipe(
      Effect.provide(
        TestModel.layer([
          calls("slow", "hungry"),
          { text: "much", usage: { inputTokens: { total: 900 }, outputTokens: { total: 200 } } },
          calls("hungry"),
          "enough"
        ])
      )
    )
  )

  it.effect("of tokens is reserved before a worker begins", () =>
    Effect.gen(function* () {
      let runs = 0
      const idle = Runner.make("idle", {
        description: "Idle",
        run: (_task: string) => Effect.as(Effect.sleep(10), ++runs)
      })
      const lead = Orchestrator.make("lead", { workers: { idle }, budget: { tokens: 1000, reserve: 400 } })
      assert.strictEqual(yield* after(100, lead.run("go")), "done")
      assert.strictEqual(runs, 3)
    }).pipe(Effect.provide(TestModel.layer([calls("idle", "idle", "idle"), calls("idle"), "done"])))
  )
})

describe("spawned agents", () => {
  const look = AgentTool.fromFunction({ name: "look", description: "Looks", execute: () => "seen" })

  it.effect("do the task that the model gives them, with the tools that it names", () =>
    Effect.gen(function* () {
      const lead = Orchestrator.make("lead", { spawn: { instructions: "Be brief.", tools: [look] } })
      const { events } = yield* collect(lead, "go")
      assert.deepStrictEqual(
        events.flatMap((event) => (event._tag === "RunStarted" ? [event.path.join(">")] : [])),
        ["lead", "lead>scout"]
      )
      const [, first] = yield* Effect.flatMap(TestModel.TestModel, (model) => model.calls)
      assert.deepStrictEqual(first!.tools, ["look"])
      assert.include(JSON.stringify(first!.prompt.content), "Be brief.\\n\\nYou scout.")
    }).pipe(
      Effect.provide(
        TestModel.layer([
          {
            toolCalls: [
              { name: "spawn", params: { name: "scout", instructions: "You scout.", task: "look", tools: ["look"] } }
            ]
          },
          { toolCalls: [{ name: "look", params: {} }] },
          "scouted",
          "done"
        ])
      )
    )
  )

  it.effect("are limited in breadth and total, also when they are asked for at once", () =>
    Effect.gen(function* () {
      const wide = Orchestrator.make("wide", { spawn: { maxBreadth: 2 } })
      assert.strictEqual(yield* wide.run("go"), "done")
      const told = (yield* prompts).at(-1)!
      assert.include(told, "you have spawned 2 agents, which is the limit")
      assert.strictEqual((yield* prompts).length, 4)
    }).pipe(
      Effect.provide(
        TestModel.layer(({ prompt }) => {
          if (prompt.content[0]?.role === "system") return "spawned"
          return prompt.content.some(({ role }) => role === "tool") ? "done" : spawns("a", "b", "c")
        })
      )
    )
  )

  it.effect("spawn others as deep as they may, and no more than there may be in all", () =>
    Effect.gen(function* () {
      const deep = Orchestrator.make("deep", { spawn: { maxDepth: 3, maxTotal: 2 } })
      const { events } = yield* collect(deep, "go")
      assert.deepStrictEqual(
        events.flatMap((event) => (event._tag === "RunStarted" ? [event.path.join(">")] : [])),
        ["deep", "deep>a", "deep>a>b"]
      )
      assert.include(
        (yield* prompts).find((text) => text.includes("which is the limit")),
        "2 agents were spawned"
      )
      const shallow = Orchestrator.make("shallow", { spawn: { maxDepth: 2 } })
      yield* shallow.run("go")
      const { calls: all } = yield* TestModel.TestModel
      const last = (yield* all).filter(
        ({ prompt: { content } }) => content[0]?.role === "system" && content[0].content === "You are b."
      )
      assert.deepStrictEqual(last.at(-1)!.tools, [])
    }).pipe(
      Effect.provide(
        TestModel.layer(({ prompt, tools }) => {
          const [first] = prompt.content
          if (prompt.content.some(({ role }) => role === "tool") || tools.length === 0) return "done"
          if (first?.role !== "system") return spawns("a")
          return spawns(first.content.includes("You are a.") ? "b" : "c")
        })
      )
    )
  )
})
