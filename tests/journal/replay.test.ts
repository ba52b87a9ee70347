/** What is kept of a run, and what happens when it is made again. */
import { assert, describe } from "@effect/vitest"
import { AiError } from "effect/ai"
import { Cause, Effect, Exit, Fiber, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import {
  Agent,
  AgentTool,
  Approvals,
  Chain,
  Gather,
  Middleware,
  Parallel,
  type RunEvent,
  Runner,
  Step,
  TestModel,
  ToolSource
} from "troupe"
import { it } from "../support/edges.ts"
import { attempt, MemoryJournal } from "../support/journal.ts"

const outputOf = <A, E>(exit: Exit.Exit<A, E> | undefined): A => {
  if (exit === undefined) return assert.fail("it was killed")
  return Exit.isSuccess(exit) ? exit.value : assert.fail(Cause.pretty(exit.cause))
}
const errorIn = <A, E>(exit: Exit.Exit<A, E> | undefined): E => {
  const reason = exit !== undefined && Exit.isFailure(exit) ? exit.cause.reasons.find(Cause.isFailReason) : undefined
  return reason === undefined ? assert.fail("it did not fail") : reason.error
}
const kinds = (journal: MemoryJournal) => journal.ended.map(({ key, kind, name }) => `${kind} ${name} ${key}`)
const pay = (log: Array<string>, hints: AgentTool.Hints = {}) =>
  AgentTool.fromFunction("pay", {
    description: "Pays",
    hints,
    parameters: Schema.Struct({ to: Schema.String }),
    execute: ({ to }) => {
      log.push(to)
      return `paid ${to}`
    }
  })
const twoCalls = TestModel.toolCalls(
  { name: "pay", params: { to: "a" }, id: "c1" },
  { name: "pay", params: { to: "b" }, id: "c2" }
)

describe("an agent with a journal", () => {
  it.effect("calls no model and no tool again, and gives the same result and events", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      let calls = 0
      const model = TestModel.layer(({ prompt }) => {
        calls++
        return prompt.content.at(-1)?.role === "tool"
          ? { text: "done", usage: { inputTokens: { total: 7 }, outputTokens: { total: 2 } } }
          : { ...twoCalls, text: "I pay.", reasoning: "Two of them." }
      })
      const events: Array<RunEvent.RunEvent> = []
      const agent = Runner.onEvent(Agent.make("clerk", { tools: [pay(log, { idempotent: true })] }), (event) =>
        Effect.sync(() => void events.push(event))
      )
      const journal = new MemoryJournal()
      const program = agent.result("go").pipe(Effect.provide(model))
      const first = outputOf(yield* attempt(program, journal))
      const before = events.splice(0)
      const second = outputOf(yield* attempt(program, journal))
      const keep = (result: typeof first) => JSON.parse(JSON.stringify({ ...result, duration: 0 })) as unknown
      assert.deepStrictEqual(keep(second), keep(first))
      assert.strictEqual(first.runId, "root")
      assert.deepStrictEqual([calls, log], [2, ["a", "b"]])
      const bare = (all: ReadonlyArray<RunEvent.RunEvent>) =>
        all.map((event) => ({ ...event, at: 0, durationMs: 0, transcript: JSON.stringify("transcript" in event) }))
      assert.deepStrictEqual(bare(events), bare(before))
      assert.deepStrictEqual(
        journal.ended.map(({ idempotent, key }) => [key, idempotent]),
        [
          ["root/1/model", true],
          ["root/1/c1", true],
          ["root/1/c2", true],
          ["root/2/model", true]
        ]
      )
    })
  )

  it.effect("keeps the failure of a model with its reason, after its retries", () =>
    Effect.gen(function* () {
      let calls = 0
      const reason = new AiError.InternalProviderError({ description: "down" })
      const model = TestModel.layer(() => {
        calls++
        return TestModel.fail(reason)
      })
      const agent = Agent.make("clerk", { retry: "none" })
      const journal = new MemoryJournal()
      const program = Effect.provide(agent.run("go"), model)
      const first = errorIn(yield* attempt(program, journal))
      const again = errorIn(yield* attempt(program, journal))
      assert.strictEqual(calls, 1)
      if (first._tag !== "ModelError" || again._tag !== "ModelError") return assert.fail(again._tag)
      assert.isTrue(AiError.isAiError(again.reason))
      assert.strictEqual(again.message, first.message)
      assert.strictEqual(again.attempts, 1)
    })
  )

  it.effect("keeps the failure of a tool as the model saw it", () =>
    Effect.gen(function* () {
      let ran = 0
      const broken = AgentTool.fromFunction("broken", {
        description: "Fails",
        execute: () => {
          ran++
          throw new Error("no paper")
        }
      })
      const model = TestModel.layer(({ prompt }) =>
        prompt.content.at(-1)?.role === "tool"
          ? JSON.stringify(prompt.content.at(-1)!.content)
          : TestModel.toolCall("broken", {}, "c1")
      )
      const journal = new MemoryJournal()
      const program = Effect.provide(Agent.make("clerk", { tools: [broken] }).run("go"), model)
      const first = outputOf(yield* attempt(program, journal))
      assert.include(first, "no paper")
      assert.strictEqual(outputOf(yield* attempt(program, journal)), first)
      assert.strictEqual(ran, 1)
    })
  )

  it.effect("runs its middleware again, and keeps what runners in it did", () =>
    Effect.gen(function* () {
      let around = 0
      let judged = 0
      const judge = Agent.make("judge", {})
      const judging = Middleware.make("judging", {
        model: (request, next) => {
          around++
          return request.path.at(-1) === "judge"
            ? next(request)
            : Effect.andThen(judge.run("Is it good?"), next(request))
        },
        part: (part) => (part.type === "text-delta" ? { ...part, delta: `${part.delta}!` } : part)
      })
      const model = TestModel.layer(({ prompt }) => {
        if (JSON.stringify(prompt.content).includes("Is it good?")) judged++
        return "done"
      })
      const agent = Agent.make("clerk", { middleware: [judging] })
      const journal = new MemoryJournal()
      const program = Effect.provide(agent.run("go"), model)
      assert.strictEqual(outputOf(yield* attempt(program, journal)), "done!")
      assert.strictEqual(outputOf(yield* attempt(program, journal)), "done!")
      assert.deepStrictEqual([around, judged], [2, 1])
      assert.deepStrictEqual(kinds(journal), ["model test root/@judging/1/judge/1/model", "model test root/1/model"])
    })
  )

  it.effect("asks an approver once, and keeps Effects in instructions and stopWhen, and what sources list", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const asked = { approver: 0, instructions: 0, stop: 0 }
      const has = { tool: true }
      const desk = ToolSource.make("desk", () => Effect.sync(() => (has.tool ? [pay(log)] : [])))
      const agent = Agent.make("clerk", {
        tools: [desk],
        instructions: () => Effect.sync(() => `Be kind, ${++asked.instructions}.`),
        stopWhen: () => Effect.sync(() => ++asked.stop > 5)
      })
      const prompts: Array<string> = []
      const model = TestModel.layer(({ prompt, tools }) => {
        prompts.push(JSON.stringify([prompt.content[0], tools]))
        return prompt.content.at(-1)?.role === "tool" ? "done" : TestModel.toolCall("pay", { to: "a" }, "c1")
      })
      const approver = Approvals.layerPolicy({ destructive: "ask" }, () =>
        Effect.sync(() => (asked.approver++, Approvals.approve))
      )
      const program = agent.run("go").pipe(Effect.provide([model, approver]))
      const journal = new MemoryJournal()
      yield* attempt(program, journal, { at: journal.ended.length + 6, moment: "before" })
      has.tool = false
      assert.strictEqual(outputOf(yield* attempt(program, journal)), "done")
      assert.deepStrictEqual(log, ["a"])
      assert.deepStrictEqual(asked, { approver: 1, instructions: 1, stop: 1 })
      assert.include(prompts.at(-1), "Be kind, 1.")
    })
  )
})

describe("the tools of sources", () => {
  it.effect(
    "are offered in the order in which they first appeared, also where the source lists them otherwise by now",
    () =>
      Effect.gen(function* () {
        const tool = (name: string) => AgentTool.fromFunction(name, { description: name, execute: () => name })
        const [a, b, c] = [tool("a"), tool("b"), tool("c")]
        let lists = [[a], [c, b, a], [c, b, a]]
        let step = 0
        const source = ToolSource.make("desk", () => Effect.sync(() => lists[Math.min(step++, lists.length - 1)]!))
        const offered: Array<string> = []
        const model = TestModel.layer(({ prompt, tools }) => {
          offered.push(tools.join())
          return prompt.content.length > 6 ? "done" : TestModel.toolCall("a", {}, `c${prompt.content.length}`)
        })
        const program = Effect.provide(Agent.make("clerk", { tools: [source] }).run("go"), model)
        const whole = new MemoryJournal()
        outputOf(yield* attempt(program, whole))
        const expected = offered.splice(0)
        assert.deepStrictEqual(expected, ["a", "a,c,b", "a,c,b", "a,c,b"])
        for (let at = 0; at < whole.ended.length; at++) {
          const journal = new MemoryJournal()
          lists = [[a], [c, b, a], [c, b, a]]
          step = 0
          yield* attempt(program, journal, { at, moment: "before" })
          const before = offered.splice(0)
          if (before.length >= 2) lists = [[c, b, a]]
          step = 0
          outputOf(yield* attempt(program, journal))
          assert.deepStrictEqual([...before, ...offered.splice(0)], expected, `killed at ${at}`)
        }
      })
  )
})

describe("decisions", () => {
  const slow = (name: string, ms: () => number, log: Array<string>) =>
    Runner.make(name, {
      run: (_input: string) =>
        Effect.andThen(
          Effect.suspend(() => Effect.sleep(ms())),
          Step.run(
            "write",
            Schema.String,
            Effect.sync(() => (log.push(name), name))
          )
        )
    })

  for (const canLook of [true, false]) {
    it.effect(`the winner of a race stays the winner${canLook ? ", and the others do not begin" : ""}`, () =>
      Effect.gen(function* () {
        const times = { a: 10, b: 1000 }
        const log: Array<string> = []
        const race = Parallel.make(
          "race",
          { a: slow("a", () => times.a, log), b: slow("b", () => times.b, log) },
          { mode: Parallel.race }
        )
        const journal = new MemoryJournal(canLook)
        const run = Effect.gen(function* () {
          const fiber = yield* Effect.forkChild(attempt(race.run("go"), journal))
          for (let n = 0; n < 40; n++) yield* TestClock.adjust(50)
          return outputOf(yield* Fiber.join(fiber))
        })
        assert.strictEqual(yield* run, "a")
        times.a = 500
        times.b = 5
        assert.strictEqual(yield* run, "a")
        if (canLook) assert.deepStrictEqual(log, ["a"])
      })
    )
  }

  it.effect("a run that was in time is so when it is made again, and one that was late is late", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const times = { a: 10 }
      const limited = Runner.withTimeout(
        slow("a", () => times.a, log),
        "1 second"
      )
      const late = Runner.withTimeout(
        slow("late", () => 5000, log),
        "1 second"
      )
      const both = Runner.make("both", {
        run: (input: string) => Effect.all([limited.run(input), Effect.flip(late.run(input))])
      })
      const journal = new MemoryJournal()
      const run = Effect.gen(function* () {
        const fiber = yield* Effect.forkChild(attempt(both.run("go"), journal))
        for (let n = 0; n < 40; n++) yield* TestClock.adjust(500)
        return outputOf(yield* Fiber.join(fiber))
      })
      const [first, error] = yield* run
      times.a = 3000
      const [again, sameError] = yield* run
      assert.deepStrictEqual([again, sameError._tag, sameError.message], [first, error._tag, error.message])
      assert.deepStrictEqual(log, ["a"])
    })
  )
})

describe("going to sleep", () => {
  const paid = Runner.make("paid", {
    run: (_input: string) => Effect.catch(Step.signal("paid", Schema.Int), () => Effect.succeed(-1))
  })
  const work = (log: Array<string>) =>
    Runner.make("work", {
      run: (input: string) =>
        Effect.andThen(
          Effect.sleep(10),
          Step.run(
            "work",
            Schema.String,
            Effect.sync(() => (log.push(input), "worked"))
          )
        )
    })
  const settled = (program: Effect.Effect<unknown, unknown>, journal: MemoryJournal) =>
    Effect.gen(function* () {
      const fiber = yield* Effect.forkChild(attempt(program, journal))
      for (let n = 0; n < 20; n++) yield* TestClock.adjust(10)
      return yield* Fiber.join(fiber)
    })

  const cases: Record<string, (log: Array<string>) => Runner.Runner<string, unknown, unknown, never>> = {
    "Parallel.failFast": (log) => Parallel.make("p", { paid, work: work(log) }),
    "Parallel.settle": (log) => Parallel.make("p", { paid, work: work(log) }, { mode: Parallel.settle }),
    "Parallel.quorum": (log) => Parallel.make("p", { paid, work: work(log) }, { mode: Parallel.quorum(2) }),
    "Gather.map": (log) =>
      Runner.mapInput(
        Gather.map(
          "g",
          Runner.make("one", {
            run: (input: string): Effect.Effect<unknown, unknown> =>
              input === "a" ? paid.run(input) : work(log).run(input)
          })
        ),
        (_input: string) => ["a", "b"]
      ),
    "Gather.stream": (log) =>
      Runner.make("g", {
        run: (_input: string) =>
          Stream.runCollect(
            Gather.stream(
              Runner.make("one", {
                run: (input: string): Effect.Effect<unknown, unknown> =>
                  input === "a" ? paid.run(input) : work(log).run(input)
              }),
              Stream.make("a", "b"),
              { concurrency: 2 }
            )
          )
      }),
    Chain: (log) => Chain.make("c", [work(log), paid, Runner.make("end", { run: (n: number) => Effect.succeed(n) })]),
    "withRetry and orElse": (log) =>
      Runner.withRetry(Runner.orElse(paid, work(log)), { times: 3 }) as Runner.Runner<string, unknown, unknown, never>
  }
  for (const [name, make] of Object.entries(cases)) {
    it.effect(`in ${name} does not fail: what is alongside it ends first, and it goes on`, () =>
      Effect.gen(function* () {
        const log: Array<string> = []
        const tags: Array<string> = []
        const runner = Runner.onEvent(make(log), (event) => Effect.sync(() => void tags.push(event._tag)))
        const journal = new MemoryJournal()
        const first = yield* settled(runner.run("go"), journal)
        assert.isTrue(first !== undefined && Exit.isFailure(first) && Cause.hasInterruptsOnly(first.cause))
        assert.strictEqual(tags.at(-1), "RunSuspended")
        assert.notInclude(tags, "RunFailed")
        assert.notInclude(tags, "RunInterrupted")
        const before = log.length
        journal.sent.push({ name: "paid", payload: "much" }, { name: "paid", payload: 5 })
        const second = yield* settled(runner.run("go"), journal)
        assert.include(JSON.stringify(outputOf(second)), "5")
        assert.strictEqual(journal.refused.length, 1)
        assert.strictEqual(log.length, name === "withRetry and orElse" ? 0 : 1)
        assert.strictEqual(before, log.length)
      })
    )
  }

  it.effect("of a runner that is a tool leaves its siblings to end, and is not a failure of the tool", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const agent = Agent.make("lead", {
        tools: [AgentTool.fromRunner(Runner.described(paid, "Waits")), pay(log)]
      })
      const model = TestModel.layer(({ prompt }) =>
        prompt.content.at(-1)?.role === "tool"
          ? JSON.stringify(prompt.content.at(-1)!.content)
          : TestModel.toolCalls(
              { name: "paid", params: { input: "x" }, id: "c1" },
              { name: "pay", params: { to: "a" }, id: "c2" }
            )
      )
      const journal = new MemoryJournal()
      const program = Effect.provide(agent.run("go"), model)
      const first = yield* settled(program, journal)
      assert.isTrue(first !== undefined && Exit.isFailure(first) && Cause.hasInterruptsOnly(first.cause))
      assert.deepStrictEqual(log, ["a"])
      journal.sent.push({ name: "paid", payload: 7 })
      const second = outputOf(yield* settled(program, journal))
      assert.include(String(second), "7")
      assert.deepStrictEqual(log, ["a"])
    })
  )
})

describe("a step of one's own", () => {
  it.effect("runs once, gives what it gave, and fails as it failed", () =>
    Effect.gen(function* () {
      let ran = 0
      const schemas = { success: Schema.Date, error: Schema.Struct({ why: Schema.String }) }
      const runner = Runner.make("r", {
        run: (_input: string) =>
          Effect.gen(function* () {
            const date = yield* Step.run(
              "date",
              Schema.Date,
              Effect.sync(() => new Date(++ran))
            )
            const failed = yield* Effect.flip(
              Step.run(
                "fail",
                schemas,
                Effect.suspend(() => (ran++, Effect.fail({ why: "x" })))
              )
            )
            return [date.getTime(), failed.why]
          })
      })
      const journal = new MemoryJournal()
      const first = outputOf(yield* attempt(runner.run("go"), journal))
      assert.deepStrictEqual(outputOf(yield* attempt(runner.run("go"), journal)), first)
      assert.strictEqual(ran, 2)
      assert.deepStrictEqual(yield* runner.run("go"), [3, "x"])
    })
  )

  it.effect("cannot wait for a signal where nothing keeps it, and says so", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Step.signal("paid", Schema.Int))
      assert.strictEqual(error._tag, "NotDurable")
      assert.include(error.message, "Durable.make")
      const inside = Step.run(
        "outer",
        Schema.String,
        Effect.map(Effect.flip(Step.signal("paid", Schema.Int)), ({ _tag }): string => _tag).pipe(Effect.orDie)
      )
      const runner = Runner.make("r", { run: (_input: string) => inside })
      assert.strictEqual(outputOf(yield* attempt(runner.run("go"), new MemoryJournal())), "NotDurable")
    })
  )

  it.effect("that begins twice at once is refused where it is kept, as is a run; named apart they are not", () =>
    Effect.gen(function* () {
      const leaf = Runner.make("leaf", { run: (input: string) => Effect.as(Effect.yieldNow, input) })
      const both = (second: typeof leaf) =>
        Runner.make("both", {
          run: (input: string) => Effect.all([leaf.run(input), second.run(input)], { concurrency: 2 })
        })
      const exit = yield* attempt(both(leaf).run("go"), new MemoryJournal())
      const problem = exit !== undefined && Exit.isFailure(exit) ? Cause.pretty(exit.cause) : ""
      assert.include(problem, "root/leaf and root/leaf#2")
      assert.include(problem, "Runner.named")
      assert.deepStrictEqual(
        outputOf(yield* attempt(both(Runner.named(leaf, "other")).run("go"), new MemoryJournal())),
        ["go", "go"]
      )
      assert.deepStrictEqual(yield* both(leaf).run("go"), ["go", "go"])
      const timed = Runner.make("timed", {
        run: (input: string) => Effect.andThen(Effect.timeout(leaf.run(input), 5), Effect.timeout(leaf.run(input), 5))
      })
      assert.strictEqual(outputOf(yield* attempt(timed.run("go"), new MemoryJournal())), "go")
    })
  )

  it.effect("whose kept outcome does not fit says so", () =>
    Effect.gen(function* () {
      const journal = new MemoryJournal()
      journal.kept.set("root/n", { ok: "five" })
      const runner = Runner.make("r", { run: (_input: string) => Step.run("n", Schema.Int, Effect.succeed(5)) })
      const exit = yield* attempt(runner.run("go"), journal)
      assert.include(
        exit !== undefined && Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "",
        "what is kept of it does not fit"
      )
    })
  )
})
