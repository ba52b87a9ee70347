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
const look = AgentTool.fromFunction("look", { description: "Looks", execute: () => "seen" })
const tokens = (total: number) => ({ inputTokens: { total: 0 }, outputTokens: { total } })
/** A model that plays the lead's turns for nothing, and answers workers at a price by the name in their task. */
const spending = (prices: Readonly<Record<string, number>>, ...turns: ReadonlyArray<ReturnType<typeof calls>>) => {
  let turn = 0
  return TestModel.layer(({ prompt }) => {
    const [first] = prompt.content
    const task = JSON.stringify(first).match(/task of (\w+)/)?.[1]
    if (task === undefined) return { ...(turns[turn++] ?? { text: "done" }), usage: tokens(0) }
    return { text: "done", delay: "10 millis", usage: tokens(prices[task]!) }
  })
}
const prompts = Effect.map(
  Effect.flatMap(TestModel.TestModel, (model) => model.calls),
  (all) => all.map(({ prompt }) => JSON.stringify(prompt.content))
)

describe("an orchestrator", () => {
  it.effect("has its workers work at once, nested in its run under their names", () =>
    Effect.gen(function* () {
      const lead = Orchestrator.make(
        "lead",
        { research: worker("research", 30), write: Runner.named(worker("write", 30), "other") },
        { instructions: "Divide." }
      )
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
      const add = AgentTool.fromFunction("add", { description: "Adds", execute: () => 42 })
      const lead = Orchestrator.make("lead", { research: worker("research", 0) }, { tools: [add] })
      const chain = Chain.make("chain", [lead, (text: string) => Effect.succeed(text.length)])
      assert.strictEqual(yield* chain.run("go"), 4)
      assert.include(Runner.toMermaid(chain), '"research"')
      assert.include(Runner.toMermaid(chain), '"add"')
    }).pipe(Effect.provide(TestModel.layer([{ toolCalls: [{ name: "add", params: {} }] }, calls("research"), "done"])))
  )

  it.effect("receives the failure of a worker, and goes on", () =>
    Effect.gen(function* () {
      const broken = Runner.make("broken", {
        description: "Breaks",
        run: (_task: string) => Effect.fail(new Broken({ what: "the press" }))
      })
      const lead = Orchestrator.make("lead", { broken })
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
      const lead = Orchestrator.make("lead", { a: never, b: never })
      const fiber = yield* Effect.forkChild(lead.run("go"))
      yield* TestClock.adjust(10)
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(interrupted, 2)
    }).pipe(Effect.provide(TestModel.layer([calls("a", "b")])))
  )

  it("runs on the sync edge too", () => {
    const lead = Orchestrator.make("lead", { research: worker("research", 5) }, { spawn: {} })
    const program = lead.run("go").pipe(Effect.provide(TestModel.layer([calls("research"), "done"])))
    assert.strictEqual(Effect.runSync(program.pipe(Effect.provide(SyncEdge.layer))), "done")
  })

  it("that could not work is refused", () => {
    const workers = { research: worker("research") }
    for (const make of [
      () => Orchestrator.make("lead", {}),
      () => Orchestrator.make("lead", workers, { spawn: { maxDepth: 0 } }),
      () => Orchestrator.make("lead", workers, { budget: { runs: 0 } }),
      () => Orchestrator.make("lead", workers, { budget: { tokens: 10, reserve: 20 } }),
      () => Orchestrator.make("lead", { plain: Agent.make("plain", {}) }),
      () => Orchestrator.make("lead", { "two words": worker("x") }),
      () => Orchestrator.make("lead", { spawn: worker("x") }, { spawn: {} }),
      () => Orchestrator.make("lead", {}, { spawn: { maxSteps: 0 } }),
      () => Orchestrator.make("lead", {}, { spawn: { tools: [look, look] } }),
      () =>
        Orchestrator.make(
          "lead",
          {},
          { spawn: { tools: [AgentTool.fromRunner(worker("x"), { name: "spawn" })], maxDepth: 2 } }
        )
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
      const lead = Orchestrator.make("lead", { counted }, { budget: { runs: 2 } })
      assert.strictEqual(yield* lead.run("go"), "done")
      assert.strictEqual(runs, 2)
      const prompt = (yield* prompts).at(-1)!
      assert.strictEqual(prompt.split("the budget of 2 worker runs is used up").length - 1, 2)
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
      const lead = Orchestrator.make("lead", { slow, hungry }, { budget: { tokens: 1000, reserve: 10 } })
      const result = yield* after(0, lead.result("go"))
      assert.deepStrictEqual([result.output, interrupted], ["enough", 1])
      const prompt = yield* prompts
      assert.include(prompt[2], "interrupted: the budget of 1000 tokens is used up")
      assert.include(prompt[3], "not executed: the budget of 1000 tokens is used up")
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
      const lead = Orchestrator.make("lead", { idle }, { budget: { tokens: 1000, reserve: 400 } })
      assert.strictEqual(yield* after(100, lead.run("go")), "done")
      assert.strictEqual(runs, 3)
    }).pipe(Effect.provide(TestModel.layer([calls("idle", "idle", "idle"), calls("idle"), "done"])))
  )

  it.effect("of tokens is not overspent together by first workers of unknown cost", () =>
    Effect.gen(function* () {
      const spend = Agent.make("spend", { description: "Uses tokens" })
      const lead = Orchestrator.make("lead", { spend }, { toolConcurrency: "unbounded", budget: { tokens: 1000 } })
      const { output, usage } = yield* after(30, lead.result("go"))
      // The first works alone, 300; then two at once, and for more nothing is left.
      assert.deepStrictEqual([output, usage.outputTokens.total], ["done", 900])
      assert.strictEqual((yield* prompts).at(-1)!.split("tokens 100 are left").length - 1, 5)
      assert.strictEqual((yield* prompts).at(-1)!.split("this may need 300").length - 1, 5)
    }).pipe(Effect.provide(spending({ spend: 300 }, calls(...Array.from({ length: 8 }, () => "spend")))))
  )

  it.effect("of tokens sets aside what a worker of that name has used, or else what any has", () =>
    Effect.gen(function* () {
      let [at, most] = [0, 0]
      const counted = Runner.make("counted", {
        description: "Needs no model",
        run: (_task: string) =>
          Effect.gen(function* () {
            most = Math.max(most, ++at)
            yield* Effect.sleep(10)
            at--
          })
      })
      const big = Agent.make("big", { description: "Uses many tokens" })
      const small = Agent.make("small", { description: "Uses few" })
      const lead = Orchestrator.make("lead", { counted, big, small }, { budget: { tokens: 1000 } })
      const { usage } = yield* after(100, lead.result("go"))
      // small, alone: 100; big has 100 set aside, and uses 700; the other big does not begin, and small and counted do.
      assert.strictEqual(usage.outputTokens.total, 900)
      assert.include((yield* prompts).at(-1), "of the budget of 1000 tokens 200 are left")
      assert.strictEqual(most, 3)
    }).pipe(
      Effect.provide(
        spending(
          { small: 100, big: 700 },
          calls("counted"),
          calls("small"),
          calls("big"),
          calls("big", "small", "counted", "counted", "counted")
        )
      )
    )
  )

  it.effect("of tokens sets aside what the run's ledger has counted, also where a server reports no usage", () =>
    Effect.gen(function* () {
      const write = Agent.make("write", { description: "Writes" })
      const lead = Orchestrator.make("lead", { write }, { toolConcurrency: "unbounded", budget: { tokens: 1000 } })
      assert.strictEqual(yield* after(30, lead.run("go")), "done")
      // A text of 1400 characters is about 350 tokens, so two of four have room.
      const [prompt] = (yield* prompts).slice(-1)
      assert.strictEqual(prompt!.split("of the budget of 1000 tokens").length - 1, 2)
    }).pipe(
      Effect.provide(
        TestModel.layer(({ prompt }) => {
          if (!JSON.stringify(prompt.content[0]).includes("task of")) {
            const isDone = prompt.content.some(({ role }) => role === "tool")
            return { ...(isDone ? { text: "done" } : calls("write", "write", "write", "write")), usage: tokens(0) }
          }
          const usage = { inputTokens: { total: undefined }, outputTokens: { total: undefined } }
          return { text: "x".repeat(1400), delay: "10 millis", usage }
        })
      )
    )
  )

  it.effect("of tokens lets those that a worker spawns work before it has ended, one first", () =>
    Effect.gen(function* () {
      const lead = Orchestrator.make("lead", {}, { spawn: { maxDepth: 2 }, budget: { tokens: 1000 } })
      const { events } = yield* after(30, collect(lead, "go"))
      assert.deepStrictEqual(
        events.flatMap((event) =>
          event._tag === "RunStarted" || event._tag === "RunCompleted"
            ? [`${event._tag.slice(3)} ${event.path.slice(1).join(">")}`]
            : []
        ),
        [
          "Started ",
          "Started a",
          "Started a>c",
          "Completed a>c",
          // It is known by now what one costs.
          "Started a>d",
          "Started b",
          "Completed a>d",
          "Completed a",
          "Completed b",
          "Completed "
        ]
      )
    }).pipe(
      Effect.provide(
        TestModel.layer(({ prompt }) => {
          const { content } = prompt
          const text = JSON.stringify(content)
          const usage = tokens(50)
          if (content.some(({ role }) => role === "tool")) return { text: "done", usage }
          if (text.includes("You are a")) return { ...spawns("c", "d"), usage }
          return text.includes("You are") ? { text: "done", usage, delay: "10 millis" } : spawns("a", "b")
        })
      )
    )
  )

  it.effect("of tokens begins none that wait for the first when all are interrupted", () =>
    Effect.gen(function* () {
      const begun: Array<string> = []
      const slow = Runner.make("slow", {
        description: "Slow",
        run: (task: string) =>
          Effect.andThen(
            Effect.sync(() => begun.push(task)),
            Effect.never
          )
      })
      const lead = Orchestrator.make("lead", { slow }, { budget: { tokens: 1000 } })
      const fiber = yield* Effect.forkChild(lead.run("go"))
      yield* TestClock.adjust(10)
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(begun.length, 1)
    }).pipe(Effect.provide(TestModel.layer([calls("slow", "slow", "slow")])))
  )

  it.effect("of tokens is not known by a first worker that failed before it used any", () =>
    Effect.gen(function* () {
      let [at, most] = [0, 0]
      const broken = Runner.make("broken", {
        description: "Breaks",
        run: (_task: string) =>
          Effect.gen(function* () {
            most = Math.max(most, ++at)
            yield* Effect.sleep(10)
            at--
            return yield* Effect.fail("broken")
          })
      })
      const lead = Orchestrator.make("lead", { broken }, { budget: { tokens: 1000 } })
      assert.strictEqual(yield* after(30, lead.run("go")), "done")
      assert.strictEqual(most, 1)
    }).pipe(Effect.provide(TestModel.layer([calls("broken", "broken", "broken"), "done"])))
  )
})

describe("a budget of an orchestrator", () => {
  it.effect("is that of any runner: it limits steps of all, or fails the run", () =>
    Effect.gen(function* () {
      const busy = Agent.make("busy", { description: "Looks around", tools: [look] })
      const answers = Orchestrator.make("lead", { busy }, { budget: { steps: 3 } })
      const script = TestModel.layer(({ prompt, tools }) =>
        JSON.stringify(prompt.content).includes("You cannot call tools any more")
          ? "what I have"
          : tools.includes("busy")
            ? calls("busy")
            : { toolCalls: [{ name: "look", params: {} }] }
      )
      assert.strictEqual(yield* Effect.provide(answers.run("go"), script), "what I have")
      const fails = Orchestrator.make("lead", { busy }, { budget: { steps: 3, onExceeded: "fail" } })
      const error = yield* Effect.flip(fails.run("go")).pipe(Effect.provide(script))
      assert.instanceOf(error, RunError.BudgetExceeded)
      assert.deepInclude(error, { limit: "steps", path: ["lead"], by: ["lead", "busy"] })
    })
  )
})

describe("spawned agents", () => {
  it.effect("do the task that the model gives them, with the tools that it names", () =>
    Effect.gen(function* () {
      const lead = Orchestrator.make("lead", {}, { spawn: { instructions: "Be brief.", tools: [look] } })
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
      const wide = Orchestrator.make("wide", {}, { spawn: { maxBreadth: 2 } })
      assert.strictEqual(yield* wide.run("go"), "done")
      const prompt = (yield* prompts).at(-1)!
      assert.include(prompt, "you have spawned 2 agents, which is the limit")
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
      const deep = Orchestrator.make("deep", {}, { spawn: { maxDepth: 3, maxTotal: 2 } })
      const { events } = yield* collect(deep, "go")
      assert.deepStrictEqual(
        events.flatMap((event) => (event._tag === "RunStarted" ? [event.path.join(">")] : [])),
        ["deep", "deep>a", "deep>a>b"]
      )
      assert.include(
        (yield* prompts).find((text) => text.includes("which is the limit")),
        "2 agents were spawned"
      )
      const shallow = Orchestrator.make("shallow", {}, { spawn: { maxDepth: 2 } })
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
