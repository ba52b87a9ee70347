import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Schema } from "effect"
import { Prompt } from "effect/ai"
import { TestClock } from "effect/testing"
import { Agent, Chain, Parallel, PlanExecuteEvaluate, RunError, Runner, SyncEdge, TestModel } from "troupe"
import type { RunEvent } from "troupe"
import { ofOutput } from "../../src/layers/internal/model/jsonSchema.ts"
import { checkGrammar, collect } from "../support/grammar.ts"
import { Broken, echo, failureOf, fixed, paths, planOf, step } from "../support/plans.ts"

describe("planned by a model", () => {
  const research = Agent.make("research", { description: "Finds facts" })
  const write = Agent.make("write", { description: "Writes texts" })
  const judge = Agent.make("judge", { output: Schema.Struct({ score: Schema.Int, advice: Schema.String }) })
  const plan = planOf(
    { id: "facts", task: "Find the facts", dependsOn: [], worker: "research" },
    { id: "text", task: "Write it up", dependsOn: ["facts"], worker: "write" }
  )

  it.effect("has the workers do the steps, and each step's run is named by its id", () =>
    Effect.gen(function* () {
      const work = PlanExecuteEvaluate.make(
        "work",
        { workers: { research, write }, evaluator: judge },
        { instructions: "Be thrifty.", accept: ({ score }) => score >= 8 }
      )
      const { events } = yield* collect(work, "Tell me of Effect")
      assert.deepStrictEqual(paths(events), ["work", "work>work planner", "work>facts", "work>text", "work>judge"])
      assert.deepStrictEqual(
        events.flatMap((event) =>
          event._tag === "PlanMade" || event._tag === "RoundCompleted"
            ? [event._tag === "PlanMade" ? event.plan : [event.accepted, event.verdict]]
            : event._tag === "ItemCompleted"
              ? [`${event.item} ${event.status} ${event.done}/${event.total}`]
              : []
        ),
        [
          JSON.parse(JSON.stringify(plan)),
          "facts completed 1/2",
          "text completed 2/2",
          [true, { score: 9, advice: "none" }]
        ]
      )
      const last = events.at(-1)
      assert.deepStrictEqual(last?._tag === "RunCompleted" && [last.output, last.spent.steps], [
        { text: "the text" },
        4
      ])
      const { calls } = yield* TestModel.TestModel
      const prompts = (yield* calls).map(({ prompt }) => JSON.stringify(prompt.content))
      for (const piece of ["research: Finds facts", "write: Writes texts", "Be thrifty.", "Tell me of Effect"]) {
        assert.include(prompts[0], piece)
      }
      assert.include(prompts[1], "Tell me of Effect")
      assert.include(prompts[1], "Find the facts")
      for (const piece of ["Write it up", "the facts", "Find the facts"]) assert.include(prompts[2], piece)
      assert.include(prompts[3], "the text")
    }).pipe(
      Effect.provide(
        TestModel.layer([TestModel.json(plan), "the facts", "the text", TestModel.json({ score: 9, advice: "none" })])
      )
    )
  )

  it.effect("asks for the plan natively, in a form that OpenAI can hold a model to", () =>
    Effect.gen(function* () {
      const planner = Agent.make("planner", { output: PlanExecuteEvaluate.Plan })
      const all = [
        PlanExecuteEvaluate.make("made", { workers: { research, write } }),
        PlanExecuteEvaluate.make("given", { planner, workers: { research, write } }),
        PlanExecuteEvaluate.make("alike", { executor: write })
      ]
      for (const one of all) yield* one.run("go")
      const { calls } = yield* TestModel.TestModel
      const formats = (yield* calls).flatMap(({ output }) => output ?? [])
      assert.deepStrictEqual(
        formats.map(({ jsonSchema, name }) => [name, ofOutput(jsonSchema).strictable]),
        [
          ["Plan", true],
          ["Plan", true],
          ["Plan", true]
        ]
      )
      assert.include(JSON.stringify(formats[0]), JSON.stringify({ enum: ["research", "write"] }).slice(1, -1))
      assert.notInclude(JSON.stringify(formats[2]), "worker")
    }).pipe(
      Effect.provide(
        TestModel.layer((call) =>
          call.output === undefined
            ? "text"
            : TestModel.json({ steps: [{ id: "a", task: "go", dependsOn: [], worker: "write" }] })
        )
      )
    )
  )

  it.effect("plans again with the verdict, and keeps finished steps", () =>
    Effect.gen(function* () {
      const work = PlanExecuteEvaluate.make(
        "work",
        { workers: { research, write }, evaluator: judge },
        {
          accept: ({ score }) => score >= 8,
          combine: ({ results }) => Object.entries(results).flat().join()
        }
      )
      const { decisions, output, steps } = yield* work.result("Tell me")
      assert.deepStrictEqual([output, steps], ["facts,the facts,text,second text", 7])
      assert.deepStrictEqual(
        decisions.map((one) => [
          one._tag,
          one.path.join(">"),
          one._tag === "RoundCompleted" ? one.accepted : undefined
        ]),
        [
          ["PlanMade", "work", undefined],
          ["RoundCompleted", "work", false],
          ["PlanMade", "work", undefined],
          ["RoundCompleted", "work", true]
        ]
      )
      const { calls } = yield* TestModel.TestModel
      const prompt = JSON.stringify((yield* calls)[4]!.prompt.content)
      for (const piece of ["Tell me", "Write it up", "the facts", "first text", "too long"])
        assert.include(prompt, piece)
    }).pipe(
      Effect.provide(
        TestModel.layer([
          TestModel.json(plan),
          "the facts",
          "first text",
          TestModel.json({ score: 3, advice: "too long" }),
          TestModel.json(planOf(plan.steps[0]!, { ...plan.steps[1]!, task: "Write it short" })),
          "second text",
          TestModel.json({ score: 9, advice: "" })
        ])
      )
    )
  )

  it.effect("shows a custom planner the workers, and the problems of its plan", () =>
    Effect.gen(function* () {
      const planner = Agent.make("planner", { output: PlanExecuteEvaluate.Plan })
      const work = PlanExecuteEvaluate.make("work", { planner, workers: { research, write } })
      assert.deepStrictEqual(yield* work.run("Tell me"), { text: "done", facts: "done" })
      const { calls } = yield* TestModel.TestModel
      const [first, second] = (yield* calls).map(({ prompt }) => JSON.stringify(prompt.content))
      assert.include(first, "- research: Finds facts")
      for (const piece of ["facts -> text -> facts", "painter", "Tell me"]) assert.include(second, piece)
    }).pipe(
      Effect.provide(
        TestModel.layer([
          TestModel.json(
            planOf({ ...plan.steps[0]!, dependsOn: ["text"] }, plan.steps[1]!, {
              id: "image",
              task: "Paint",
              dependsOn: [],
              worker: "painter"
            })
          ),
          TestModel.json(planOf(plan.steps[0]!, { ...plan.steps[1]!, dependsOn: [] })),
          "done",
          "done"
        ])
      )
    )
  )

  it.effect("keeps the images of a goal in every runner's input", () =>
    Effect.gen(function* () {
      const image = { type: "file", mediaType: "image/png", data: new Uint8Array([1, 2, 3]) } as const
      const messages: ReadonlyArray<Prompt.MessageEncoded> = [{ role: "user", content: [image] }]
      const work = PlanExecuteEvaluate.make("work", { workers: { write } }, { combine: write })
      const once = (function* () {
        yield* messages
      })()
      for (const goal of [messages, Prompt.make(messages), once]) yield* work.run(goal)
      const { calls } = yield* TestModel.TestModel
      const prompts = (yield* calls).map(({ prompt }) => prompt.content)
      assert.lengthOf(prompts, 9)
      for (const content of prompts) {
        const parts = content.flatMap((message) => (message.role === "user" ? message.content : []))
        assert.strictEqual(parts.filter((part) => part.type === "file").length, 1)
      }
    }).pipe(
      Effect.provide(
        TestModel.layer((call) =>
          call.output === undefined
            ? "text"
            : TestModel.json({ steps: [{ id: "a", task: "go", dependsOn: [], worker: "write" }] })
        )
      )
    )
  )
})

describe("the steps of a plan", () => {
  it.effect("run at once where they can, and each begins the moment those it depends on are done", () =>
    Effect.gen(function* () {
      const begun: Array<readonly [string, number]> = []
      const takes: Readonly<Record<string, number>> = { a: 100, b: 300, c: 50, d: 10 }
      const graph = PlanExecuteEvaluate.make("graph", {
        planner: fixed(step("a"), step("b"), step("c", ["a"]), step("d", ["c", "b"])),
        executor: ({ step }) =>
          Effect.clockWith((clock) => Effect.sync(() => begun.push([step.id, clock.currentTimeMillisUnsafe()]))).pipe(
            Effect.andThen(Effect.sleep(takes[step.id]!)),
            Effect.as(step.id)
          )
      })
      const fiber = yield* Effect.forkChild(graph.run("go"))
      yield* TestClock.adjust(309)
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(yield* Fiber.join(fiber), { d: "d" })
      assert.deepStrictEqual(begun, [
        ["a", 0],
        ["b", 0],
        ["c", 100],
        ["d", 300]
      ])
    })
  )

  it.effect("get the results that they depend on, and those at the end are the output", () =>
    Effect.gen(function* () {
      const graph = PlanExecuteEvaluate.make("graph", {
        planner: fixed(step("c", ["b", "a", "a"]), step("a"), step("b", ["a"]), step("d")),
        executor: echo
      })
      const { events } = yield* collect(graph, "go")
      const last = events.at(-1)
      assert.deepStrictEqual(last?._tag === "RunCompleted" && last.output, { c: "c(b(a()),a())", d: "d()" })
      assert.deepStrictEqual(paths(events).toSorted(), ["graph", "graph>a", "graph>b", "graph>c", "graph>d"])
    })
  )

  it.effect("that fails interrupts the others, and every failure is reported", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const graph = PlanExecuteEvaluate.make("graph", {
        planner: fixed(step("done"), step("waits"), step("spiteful"), step("boom", ["done"]), step("later", ["boom"])),
        executor: ({ step }) => {
          switch (step.id) {
            case "waits":
              return Effect.never.pipe(
                Effect.onInterrupt(() =>
                  Effect.andThen(
                    Effect.sleep(5),
                    Effect.sync(() => log.push("finalizer"))
                  )
                )
              )
            case "spiteful":
              return Effect.never.pipe(Effect.onInterrupt(() => Effect.die(new Error("and another thing"))))
            case "boom":
              return Effect.andThen(Effect.sleep(10), Effect.fail(new Broken({ what: "boom" })))
            default:
              return Effect.succeed(step.id)
          }
        }
      })
      const fiber = yield* Effect.forkChild(collect(graph, "go"))
      yield* TestClock.adjust(15)
      const { events, exit } = yield* Fiber.join(fiber)
      assert.deepStrictEqual(log, ["finalizer"])
      const error = failureOf(exit) as PlanExecuteEvaluate.StepsFailed<Broken>
      assert.strictEqual(error._tag, "StepsFailed")
      assert.deepStrictEqual(
        [error.failures.map(({ step }) => step), error.interrupted, error.done],
        [["boom", "spiteful"], ["waits", "later"], { done: "done" }]
      )
      for (const piece of ["boom broke", "and another thing", "waits, later"]) assert.include(error.message, piece)
      assert.deepStrictEqual(
        events.flatMap((event) => (event._tag === "RunInterrupted" ? [event.path.join(">")] : [])),
        ["graph>waits"]
      )
      assert.deepStrictEqual(
        events.flatMap((event) => (event._tag === "ItemCompleted" ? [`${event.item} ${event.status}`] : [])).toSorted(),
        ["boom failed", "done completed", "later interrupted", "spiteful failed", "waits interrupted"]
      )
    })
  )

  it.effect("are all interrupted with the run", () =>
    Effect.gen(function* () {
      const events: Array<RunEvent.RunEvent> = []
      const graph = PlanExecuteEvaluate.make("graph", {
        planner: fixed(step("a"), step("b"), step("c", ["a"])),
        executor: () => Effect.never
      }).pipe(Runner.onEvent((event) => Effect.sync(() => void events.push(event))))
      const fiber = yield* Effect.forkChild(graph.run("go"))
      yield* TestClock.adjust(10)
      yield* Fiber.interrupt(fiber)
      checkGrammar(events)
      assert.deepStrictEqual(
        events.flatMap((event) => (event._tag === "RunInterrupted" ? [event.path.join(">")] : [])),
        ["graph>a", "graph>b", "graph"]
      )
    })
  )

  it.effect("end with the stream that is no longer read", () =>
    Effect.gen(function* () {
      const stopped = yield* Deferred.make<void>()
      const graph = PlanExecuteEvaluate.make("graph", {
        planner: fixed(step("a")),
        executor: () => Effect.never.pipe(Effect.onInterrupt(() => Deferred.succeed(stopped, undefined)))
      })
      const fiber = yield* Effect.forkChild(collect(graph, "go"))
      yield* TestClock.adjust(10)
      yield* Fiber.interrupt(fiber)
      assert.isTrue(Deferred.isDoneUnsafe(stopped))
    })
  )
})

describe("its definition", () => {
  const worker = Runner.make("worker", { run: (text: string) => Effect.succeed(text) })
  it("is refused when it cannot work", () => {
    for (const [members, options] of [
      [{ workers: {} }],
      [{ workers: { worker } }, { maxRounds: 0 }],
      [{ workers: { worker } }, { maxSteps: Number.NaN }],
      [{ workers: { worker } }, { concurrency: 0 }],
      [{ workers: { worker } }, { planRepairs: -1 }],
      [{ workers: { worker }, planner: fixed(step("a")) }, { instructions: "Hm" }],
      [{ workers: { worker }, executor: worker } as never],
      [{ workers: { worker }, evaluator: worker } as never],
      [{} as { readonly workers: {} }]
    ] as const) {
      assert.throws(() => PlanExecuteEvaluate.make("work", members, options), RunError.InvalidDefinition)
    }
  })

  it("describes its structure", () => {
    const work = PlanExecuteEvaluate.make(
      "work",
      { workers: { worker }, evaluator: () => Effect.succeed(true) },
      { accept: (good) => good, combine: worker }
    )
    assert.deepStrictEqual(
      work.definition.structure().members.map(({ name, role }) => [name, role]),
      [
        ["work planner", "planner"],
        ["worker", "worker"],
        ["evaluator", "evaluator"],
        ["worker", "combine"]
      ]
    )
  })
})

describe("both edges", () => {
  const slow = ({ results, step }: PlanExecuteEvaluate.Task<unknown>) =>
    Effect.as(Effect.sleep(20), `${step.id}(${Object.values(results).join()})`)
  const graph = PlanExecuteEvaluate.make("graph", {
    planner: fixed(step("a"), step("b"), step("c", ["a", "b"])),
    executor: slow
  })
  const broken = PlanExecuteEvaluate.make("broken", {
    planner: fixed(step("a"), step("b"), step("c", ["a"])),
    executor: (task) =>
      task.step.id === "c" ? Effect.fail(new Broken({ what: "c" })) : task.step.id === "b" ? Effect.never : slow(task)
  })
  const nested = Chain.make("chain", [
    Parallel.make("both", { graph, again: graph }),
    ({ again, graph }: { readonly again: unknown; readonly graph: unknown }) => Effect.succeed([again, graph])
  ])
  const program = Effect.all([nested.run("go"), Effect.map(Effect.flip(broken.run("go")), ({ message }) => message)])

  it("do the same", async () => {
    const expected = [
      [{ c: "c(a(),b())" }, { c: "c(a(),b())" }],
      '"broken" round 1: a step failed: "c": c broke. Interrupted or not begun: b. See `done` for what did succeed.'
    ]
    assert.deepStrictEqual<unknown>(Effect.runSync(program.pipe(Effect.provide(SyncEdge.layer))), expected)
    assert.deepStrictEqual<unknown>(await Effect.runPromise(program), expected)
  })
})
