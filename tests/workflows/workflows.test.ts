import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Result, Schema } from "effect"
import { type LanguageModel, Prompt } from "effect/ai"
import { TestClock } from "effect/testing"
import {
  Agent,
  AgentTool,
  Chain,
  EvaluatorOptimizer,
  Gather,
  Parallel,
  Router,
  RunError,
  Runner,
  SyncEdge,
  TestModel
} from "troupe"
import { checkGrammar, collect } from "../support/grammar.ts"
import type { RunEvent } from "troupe"

const after = (ms: number, text: string) =>
  Runner.make(text, { run: (input: string) => Effect.as(Effect.sleep(ms), `${input} ${text}`) })
const failing = (ms: number, error: string) =>
  Runner.make(error, { run: (_input: string) => Effect.andThen(Effect.sleep(ms), Effect.fail(error)) })

/** Runs under a clock that goes on by itself. */
const live = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(effect)
    for (let n = 0; n < 40 && fiber.pollUnsafe() === undefined; n++) yield* TestClock.adjust(50)
    return yield* Fiber.join(fiber)
  })

describe("a chain", () => {
  it.effect("gives each step what the one before gave, and nests their runs", () =>
    Effect.gen(function* () {
      const writer = Agent.make("writer", {})
      const chain = Chain.make("chain", [
        writer,
        (text: string) => Effect.succeed(text.length),
        Runner.make("double", { run: (n: number) => Effect.succeed(n * 2) })
      ])
      const { events, exit } = yield* collect(chain, "go")
      assert.isTrue(Exit.isSuccess(exit))
      const last = events.at(-1)
      assert.strictEqual(last?._tag === "RunCompleted" ? last.output : undefined, 10)
      assert.deepStrictEqual(
        events.flatMap((event) => (event._tag === "RunStarted" ? [event.path.join(">")] : [])),
        ["chain", "chain>writer", "chain>double"]
      )
    }).pipe(Effect.provide(TestModel.layer(["hello"])))
  )

  it.effect("is associative", () =>
    Effect.gen(function* () {
      const [a, b, c] = [after(1, "a"), after(2, "b"), after(3, "c")]
      const forms = [
        Chain.make("x", [a, b, c]),
        Chain.make("x", [Chain.make("ab", [a, b]), c]),
        Chain.make("x", [a, Chain.make("bc", [b, c])])
      ]
      assert.deepStrictEqual(yield* live(Effect.forEach(forms, (form) => form.run("go"))), [
        "go a b c",
        "go a b c",
        "go a b c"
      ])
      const broken = [
        Chain.make("x", [a, failing(1, "no"), c]),
        Chain.make("x", [Chain.make("y", [a, failing(1, "no")]), c])
      ]
      assert.deepStrictEqual(yield* live(Effect.forEach(broken, (form) => Effect.flip(form.run("go")))), ["no", "no"])
    })
  )

  it("without steps is refused", () => {
    assert.throws(() => Chain.make("x", [] as never), RunError.InvalidDefinition)
  })
})

describe("a parallel", () => {
  it.effect("runs its branches at once and gives every output", () =>
    Effect.gen(function* () {
      const panel = Parallel.make("panel", { slow: after(100, "slow"), quick: after(50, "quick") })
      const fiber = yield* Effect.forkChild(panel.run("go"))
      yield* TestClock.adjust(100)
      assert.deepStrictEqual(yield* Fiber.join(fiber), { slow: "go slow", quick: "go quick" })
    })
  )

  it.effect("bounds its concurrency", () =>
    Effect.gen(function* () {
      const two = Parallel.make(
        "two",
        { a: after(100, "a"), b: after(100, "b"), c: after(100, "c") },
        { concurrency: 2 }
      )
      const fiber = yield* Effect.forkChild(two.run("go"))
      yield* TestClock.adjust(150)
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust(50)
      yield* Fiber.join(fiber)
    })
  )

  it.effect("fails fast with every failure, and names the interrupted", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const begun = yield* Deferred.make<void>()
      const waiting = Runner.make("waiting", {
        run: (_input: string) =>
          Effect.andThen(Deferred.succeed(begun, undefined), Effect.never).pipe(
            Effect.onInterrupt(() =>
              Effect.andThen(
                Effect.yieldNow,
                Effect.sync(() => log.push("finalizer"))
              )
            )
          )
      })
      const spiteful = Runner.make("spiteful", {
        run: (_input: string) => Effect.never.pipe(Effect.onInterrupt(() => Effect.die(new Error("and another thing"))))
      })
      const boom = Runner.make("boom", {
        run: (_input: string) => Effect.andThen(Deferred.await(begun), Effect.fail("boom" as const))
      })
      const done = Runner.make("done", { run: (_input: string) => Effect.succeed(1) })
      const panel = Parallel.make("panel", { done, waiting, spiteful, boom })
      const { events, exit } = yield* collect(panel, "go")
      assert.deepStrictEqual(log, ["finalizer"])
      const error = Exit.isFailure(exit) ? (Cause.squash(exit.cause) as Parallel.ParallelError<unknown>) : undefined
      assert.strictEqual(error?._tag, "ParallelError")
      assert.deepStrictEqual(
        error?.failures.map(({ branch }) => branch),
        ["boom", "spiteful"]
      )
      assert.deepStrictEqual(error?.interrupted, ["waiting"])
      assert.include(error?.message, "and another thing")
      assert.deepStrictEqual(
        events.flatMap((event) => (event._tag === "RunInterrupted" ? [event.path.join(">")] : [])),
        ["panel>waiting"]
      )
    })
  )

  it.effect("settles without losing a branch", () =>
    Effect.gen(function* () {
      const all = Parallel.make("all", { good: after(10, "good"), bad: failing(5, "bad") }, { mode: Parallel.settle })
      const { bad, good } = yield* live(all.run("go"))
      assert.deepStrictEqual([good, bad], [Result.succeed("go good"), Result.fail("bad")])
    })
  )

  it.effect("races to the first success, and fails when there is none", () =>
    Effect.gen(function* () {
      const won = Parallel.make(
        "race",
        { bad: failing(5, "bad"), slow: after(500, "slow"), quick: after(50, "quick") },
        { mode: Parallel.race }
      )
      assert.strictEqual(yield* live(won.run("go")), "go quick")
      const lost = Parallel.make("race", { a: failing(5, "a"), b: failing(10, "b") }, { mode: Parallel.race })
      const error = yield* live(Effect.flip(lost.run("go")))
      assert.deepStrictEqual(error.failures, [
        { branch: "a", error: "a" },
        { branch: "b", error: "b" }
      ])
    })
  )

  it.effect("is decided by a quorum as early as it can be", () =>
    Effect.gen(function* () {
      const two = (branches: Record<string, Runner.Runner<string, string, string, never>>) =>
        Parallel.make("two", branches, { mode: Parallel.quorum(2) })
      const fiber = yield* Effect.forkChild(
        two({ a: after(10, "a"), b: after(5000, "b"), c: after(30, "c") }).run("go")
      )
      yield* TestClock.adjust(30)
      assert.deepStrictEqual(yield* Fiber.join(fiber), { a: "go a", c: "go c" })
      const failed = yield* Effect.forkChild(
        Effect.flip(two({ a: failing(10, "a"), b: failing(20, "b"), c: after(5000, "c") }).run("go"))
      )
      yield* TestClock.adjust(20)
      assert.deepStrictEqual((yield* Fiber.join(failed)).interrupted, ["c"])
    })
  )

  it.effect("is interrupted as a whole", () =>
    Effect.gen(function* () {
      const events: Array<RunEvent.RunEvent> = []
      const panel = Parallel.make("panel", { a: after(1000, "a"), b: after(1000, "b") }).pipe(
        Runner.onEvent((event) => Effect.sync(() => void events.push(event)))
      )
      const fiber = yield* Effect.forkChild(panel.run("go"))
      yield* TestClock.adjust(10)
      yield* Fiber.interrupt(fiber)
      checkGrammar(events)
      assert.strictEqual(events.filter((event) => event._tag === "RunInterrupted").length, 3)
    })
  )

  it("that cannot work is refused", () => {
    assert.throws(() => Parallel.make("x", {}), RunError.InvalidDefinition)
    assert.throws(
      () => Parallel.make("x", { a: after(1, "a") }, { mode: Parallel.quorum(2) }),
      RunError.InvalidDefinition
    )
    for (const concurrency of [0, -1, 1.5, Number.NaN]) {
      assert.throws(() => Parallel.make("x", { a: after(1, "a") }, { concurrency }), RunError.InvalidDefinition)
    }
  })

  it("does the same on the sync edge", () => {
    const race = Parallel.make(
      "race",
      { slow: after(2000, "slow"), quick: after(10, "quick") },
      { mode: Parallel.race }
    )
    assert.strictEqual(Effect.runSync(race.run("go").pipe(Effect.provide(SyncEdge.layer))), "go quick")
    const broken = Parallel.make("broken", { slow: after(2000, "slow"), bad: failing(10, "bad") })
    const exit = Effect.runSyncExit(broken.run("go").pipe(Effect.provide(SyncEdge.layer)))
    assert.strictEqual(
      Exit.isFailure(exit) && (Cause.squash(exit.cause) as { readonly _tag: string })._tag,
      "ParallelError"
    )
  })
})

describe("a router", () => {
  const billing = Agent.make("billing", { description: "Invoices and payments" })
  const technical = Agent.make("technical", { description: "Errors and outages" })
  const routed = (answer: unknown) =>
    TestModel.layer((call) => (call.output === undefined ? "handled" : TestModel.json(answer)))

  it.effect("lets the model choose by the routes' descriptions, and shows the route in the events", () =>
    Effect.gen(function* () {
      const desk = Router.make("desk", { billing, technical })
      const { events } = yield* collect(desk, "My invoice is wrong")
      assert.deepStrictEqual(
        events.flatMap((event) => (event._tag === "RunStarted" ? [event.path.join(">")] : [])),
        ["desk", "desk>desk classifier", "desk>billing"]
      )
      const { calls } = yield* TestModel.TestModel
      assert.include(JSON.stringify((yield* calls)[0]!.prompt), "Invoices and payments")
    }).pipe(Effect.provide(routed({ route: "billing", confidence: 0.9 })))
  )

  it.effect("takes the fallback below the threshold, or fails", () =>
    Effect.gen(function* () {
      const routes = { billing, technical }
      const desk = Router.make("desk", routes, { threshold: 0.5, fallback: "technical" })
      const { events } = yield* collect(desk, "hm")
      assert.isTrue(events.some((event) => event.path.at(-1) === "technical"))
      const error = yield* Effect.flip(Router.make("desk", routes, { threshold: 0.5 }).run("hm"))
      assert.deepStrictEqual(
        [error._tag, error._tag === "RouteNotFound" ? error.route : ""],
        ["RouteNotFound", "billing"]
      )
    }).pipe(Effect.provide(routed({ route: "billing", confidence: 0.2 })))
  )

  it.effect("takes the fallback when the model names no route that there is, or fails with what it said", () =>
    Effect.gen(function* () {
      const routes = { billing, technical }
      const desk = Router.make("desk", routes, { fallback: "technical" })
      assert.deepStrictEqual(
        (yield* desk.result("hm")).decisions.map((one) =>
          one._tag === "RouteTaken" ? [one.routes, one.fallback] : []
        ),
        [[["technical"], true]]
      )
      const many = Router.many("desk", routes, { fallback: "technical" })
      assert.deepStrictEqual(yield* many.run("hm"), { technical: "handled" })
      const error = yield* Effect.flip(Router.make("desk", routes).run("hm"))
      assert.deepStrictEqual(
        [error._tag, error._tag === "RouteNotFound" ? error.route : ""],
        ["RouteNotFound", '{"route":"sales","confidence":0.9}']
      )
    }).pipe(Effect.provide(routed({ route: "sales", confidence: 0.9 })))
  )

  it.effect("chooses by a function, with errors of its own", () =>
    Effect.gen(function* () {
      const router = Router.make(
        "router",
        { short: after(0, "short"), long: after(0, "long") },
        {
          classify: (input: string) =>
            input === "" ? Effect.fail("empty" as const) : Effect.succeed(input.length < 5 ? "short" : "long")
        }
      )
      assert.deepStrictEqual(yield* live(Effect.all([router.run("a"), router.run("abcdef")])), [
        "a short",
        "abcdef long"
      ])
      assert.strictEqual(yield* Effect.flip(router.run("")), "empty")
      const lost = Router.make("router", { a: after(0, "a") }, { classify: () => Effect.succeed("toString" as "a") })
      assert.strictEqual((yield* Effect.flip(lost.run("x")))._tag, "RouteNotFound")
    })
  )

  it("that cannot work is refused", () => {
    assert.throws(() => Router.make("x", {}), RunError.InvalidDefinition)
    assert.throws(() => Router.make("x", { billing }, { fallback: "other" as never }), RunError.InvalidDefinition)
    assert.throws(() => Router.make("x", { billing }, { threshold: 2 }), RunError.InvalidDefinition)
  })
})

describe("an evaluator-optimizer", () => {
  const writer = Agent.make("writer", {})
  const judge = Agent.make("judge", { output: Schema.Struct({ score: Schema.Int }) })
  const make = (more: { readonly maxRounds?: number; readonly onMaxRounds?: "best" | "fail" }) =>
    EvaluatorOptimizer.make(
      "refined",
      { generator: writer, evaluator: judge },
      { accept: (verdict) => verdict.score >= 8, ...more }
    )
  const turns = (...scores: ReadonlyArray<number>) =>
    TestModel.layer(scores.flatMap((score, n) => [`draft ${n + 1}`, TestModel.json({ score })]))

  it.effect("revises until a draft is accepted, and shows the generator the earlier ones", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* make({}).run("Write"), "draft 3")
      const { calls } = yield* TestModel.TestModel
      const third = JSON.stringify((yield* calls)[4]!.prompt)
      for (const piece of ["Write", "draft 1", "draft 2", '\\"score\\":3']) assert.include(third, piece)
    }).pipe(Effect.provide(turns(3, 5, 9)))
  )

  it.effect("returns the best draft with onMaxRounds best; the last one is judged too", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* make({ onMaxRounds: "best" }).run("Write"), "draft 2")
    }).pipe(Effect.provide(turns(3, 7, 5)))
  )

  it.effect("fails when none is accepted", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(make({ maxRounds: 2 }).run("Write"))
      if (error._tag !== "NotAccepted") return assert.fail(error._tag)
      assert.deepStrictEqual([error.rounds, error.best, error.verdict], [2, "draft 1", { score: 6 }])
    }).pipe(Effect.provide(turns(6, 5)))
  )

  it.effect("judges by a function, and revises any input", () =>
    Effect.gen(function* () {
      const halve = EvaluatorOptimizer.make(
        "halve",
        {
          generator: Runner.make("n", { run: (n: number) => Effect.succeed(n / 2) }),
          evaluator: (n) => Effect.succeed(n)
        },
        { accept: (n) => n < 3, revise: (_input, rounds) => rounds.at(-1)!.draft }
      )
      assert.strictEqual(yield* halve.run(16), 2)
    })
  )

  it.effect("judges by a function that is given the task too", () =>
    Effect.gen(function* () {
      const judge = Agent.make("judge", {})
      const asked = EvaluatorOptimizer.make(
        "asked",
        {
          generator: Agent.make("writer", {}),
          evaluator: (draft, task) => judge.run(Prompt.concat(Prompt.make(task), `Draft: ${draft}`))
        },
        { accept: (verdict) => verdict === "yes" }
      )
      assert.strictEqual(yield* asked.run("Write a slogan."), "Buy it.")
      const judged = (yield* (yield* TestModel.TestModel).calls)[1]!.prompt
      assert.deepStrictEqual(judged.content, Prompt.concat(Prompt.make("Write a slogan."), "Draft: Buy it.").content)
    }).pipe(Effect.provide(TestModel.layer(["Buy it.", "yes"])))
  )

  it.effect("does not return a draft whose score is not a number", () =>
    Effect.gen(function* () {
      const scores = [Number.NaN, 9, Number.NaN]
      const tried = EvaluatorOptimizer.make(
        "tried",
        {
          generator: Runner.make("n", { run: (n: number) => Effect.succeed(n + 1) }),
          evaluator: (n) => Effect.succeed({ score: scores[n]! })
        },
        { onMaxRounds: "best", accept: () => false, revise: (_input, rounds) => rounds.at(-1)!.draft }
      )
      assert.strictEqual(yield* tried.run(-1), 1)
    })
  )
})

describe("a conversation that can be read once", () => {
  it.effect("is given to every member as a whole", () =>
    Effect.gen(function* () {
      const [a, b] = [Agent.make("a", { description: "A" }), Agent.make("b", { description: "B" })]
      const runners: ReadonlyArray<Runner.Runner<Prompt.RawInput, unknown, unknown, LanguageModel.LanguageModel>> = [
        EvaluatorOptimizer.make(
          "refined",
          { generator: a, evaluator: () => Effect.succeed(0) },
          { accept: () => false, maxRounds: 2, onMaxRounds: "best" }
        ),
        Router.make("router", { a, b }),
        Router.many("routers", { a, b }),
        Parallel.make("parallel", { a, b }),
        Parallel.hedge("hedge", a, { delay: 0 }),
        Gather.broadcast("broadcast", [a, b])
      ]
      for (const runner of runners) {
        const goal = function* () {
          yield { role: "user" as const, content: "the goal" }
        }
        yield* Effect.gen(function* () {
          yield* live(runner.run(goal()))
          const { calls } = yield* TestModel.TestModel
          const prompts = (yield* calls).map(({ prompt }) => JSON.stringify(prompt.content))
          assert.isAbove(prompts.length, 0)
          for (const prompt of prompts) assert.include(prompt, "the goal", runner.name)
        }).pipe(
          Effect.provide(
            TestModel.layer(({ output }) =>
              output === undefined
                ? "text"
                : TestModel.json({ route: "a", confidence: 1, routes: [{ route: "b", confidence: 1 }] })
            )
          )
        )
      }
    })
  )

  it.effect("is unchanged when its items are not messages", () =>
    Effect.gen(function* () {
      const count = function* () {
        yield* [1, 2, 3]
      }
      const take = Runner.make("take", {
        run: (numbers: Iterator<number>) => Effect.sync(() => numbers.next().value ?? 0)
      })
      assert.deepStrictEqual(yield* Parallel.make("shared", [take, take]).run(count()), [1, 2])
    })
  )
})

describe("nesting", () => {
  it.effect("goes to any depth, with one bill and one grammar", () =>
    Effect.gen(function* () {
      const writer = Agent.make("writer", {})
      const panel = Parallel.make("panel", { one: Runner.named(writer, "one"), two: Runner.named(writer, "two") })
      const desk = Router.make("desk", { panel }, { classify: () => Effect.succeed("panel") })
      const chain = Chain.make("chain", [
        desk,
        ({ one, two }: { readonly one: string; readonly two: string }) => Effect.succeed(`${one}+${two}`),
        writer
      ])
      const caller = Agent.make("caller", { tools: [AgentTool.fromRunner(Runner.described(chain, "Does it"))] })
      const { events } = yield* collect(caller, "go")
      const last = events.at(-1)
      assert.strictEqual(last?._tag === "RunCompleted" ? last.spent.steps : 0, 5)
      assert.isTrue(events.some((event) => event.path.join(">") === "caller>chain>desk>panel>one"))
    }).pipe(
      Effect.provide(
        TestModel.layer((call) =>
          call.tools.length > 0 && !call.prompt.content.some((message) => message.role === "tool")
            ? TestModel.toolCall("chain", { input: "go" })
            : "text"
        )
      )
    )
  )
})

describe("the message of a parallel's error", () => {
  it.effect("reads as sentences, for all failures of branches", () =>
    Effect.gen(function* () {
      const broken = Runner.make("broken", { run: (_input: string) => Effect.fail({ _tag: "Odd", size: 1n }) })
      const panel = Parallel.make("panel", {
        broken,
        late: Runner.withTimeout(Runner.make("late", { run: (_input: string) => Effect.never }), 20)
      })
      const both = yield* Effect.flip(live(panel.run("x")))
      assert.include(both.message, '"broken": {"_tag":"Odd"')
      const slow = Parallel.make("slow", {
        late: panel,
        rest: Runner.make("rest", { run: (_input: string) => Effect.never })
      })
      const { message } = yield* Effect.flip(live(slow.run("x")))
      assert.notInclude(message, "..")
    })
  )
})
