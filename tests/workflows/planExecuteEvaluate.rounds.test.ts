import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Schema } from "effect"
import { TestClock } from "effect/testing"
import { PlanExecuteEvaluate, Runner } from "troupe"
import { collect } from "../support/grammar.ts"
import { Broken, echo, failureOf, fixed, type Given, paths, planning, planOf, step } from "../support/plans.ts"

describe("a plan that cannot be carried out", () => {
  const refused = (...plans: ReadonlyArray<PlanExecuteEvaluate.PlanLike>) =>
    Effect.gen(function* () {
      const { planner, requests } = planning(...plans)
      const count = { worked: 0 }
      const worker = Runner.make("worker", {
        run: (_text: string) => Effect.sync(() => ++count.worked)
      })
      const work = PlanExecuteEvaluate.make(
        "work",
        { planner, workers: { one: worker, two: worker } },
        { maxSteps: 3, planRepairs: plans.length - 1 }
      )
      const error = yield* Effect.flip(work.run("go"))
      assert.strictEqual(count.worked, 0)
      return error._tag === "InvalidPlan" ? { error, requests } : assert.fail(error._tag)
    })
  const by = (id: string, dependsOn: ReadonlyArray<string> = [], worker: string | null = "one") =>
    step(id, dependsOn, { worker })

  it.effect("is refused with everything that is wrong with it", () =>
    Effect.gen(function* () {
      const problems = (...steps: ReadonlyArray<Given>) =>
        Effect.map(refused(planOf(...steps)), ({ error }) => error.problems)
      assert.deepStrictEqual(yield* problems(), ["it has no steps"])
      assert.deepStrictEqual(yield* problems(by("a", ["b"]), by("b", ["c"]), by("c", ["a"])), [
        "steps depend on one another in a circle: a -> b -> c -> a"
      ])
      assert.deepStrictEqual(yield* problems(by("a", ["a"]), by("b", ["a", "c"]), by("c", ["b"])), [
        "steps depend on one another in a circle: a -> a",
        "steps depend on one another in a circle: b -> c -> b"
      ])
      assert.deepStrictEqual(yield* problems(by("a"), by("a"), by("b", ["x"], "three"), by("", [], null)), [
        "it has 4 steps, and 3 are allowed",
        "a step has no id",
        'two steps have the id "a"',
        'step "b" depends on "x", which is not a step',
        'step "b" names the worker "three"; there are: one, two',
        'step "" names no worker; there are: one, two'
      ])
    })
  )

  it.effect("goes to the planner, and the last one is in the error", () =>
    Effect.gen(function* () {
      const bad = planOf(by("a", ["b"]))
      const worse = planOf(by("a", ["a"]))
      const { error, requests } = yield* refused(bad, worse)
      assert.deepStrictEqual([error.attempts, error.round, error.plan], [2, 1, worse as typeof error.plan])
      assert.include(error.message, "a -> a")
      assert.deepStrictEqual(
        requests.map(({ plan, problems, round }) => [plan, problems, round]),
        [
          [undefined, [], 1],
          [bad, ['step "a" depends on "b", which is not a step'], 1]
        ]
      )
      const encoded = yield* Schema.encodeEffect(PlanExecuteEvaluate.InvalidPlan)(error)
      assert.strictEqual(JSON.parse(JSON.stringify(encoded)).plan.steps[0].id, "a")
    })
  )
})

describe("planning again", () => {
  it.effect("keeps finished steps when a step has failed, and shows the planner the failure", () =>
    Effect.gen(function* () {
      const ran: Array<string> = []
      const { planner, requests } = planning(
        planOf(step("a"), step("b", ["a"]), step("c", ["b"])),
        planOf(step("a"), step("b2", ["a"]), step("c", ["b2"]))
      )
      const work = PlanExecuteEvaluate.make("work", {
        planner,
        executor: (task) =>
          Effect.suspend(() => {
            ran.push(task.step.id)
            return task.step.id === "b" ? Effect.fail(new Broken({ what: "b" })) : echo(task)
          })
      })
      const { events } = yield* collect(work, "go")
      assert.deepStrictEqual(ran, ["a", "b", "b2", "c"])
      const last = events.at(-1)
      assert.deepStrictEqual(last?._tag === "RunCompleted" && last.output, { c: "c(b2(a()))" })
      assert.deepStrictEqual(
        events.flatMap((event) => (event._tag === "RoundCompleted" ? [[event.accepted, event.verdict]] : [])),
        [
          [false, { failures: [{ step: "b", error: "b broke" }] }],
          [true, null]
        ]
      )
      const { failures, plan, results, round, verdict } = requests[1]!
      assert.deepStrictEqual(
        [failures.map(({ step }) => step), plan?.steps.length, results, round, verdict],
        [["b"], 3, { a: "a()" }, 2, undefined]
      )
    })
  )

  it.effect("runs again what is changed and what is built on it, and builds on what it leaves out", () =>
    Effect.gen(function* () {
      const ran: Array<string> = []
      const { planner } = planning(
        planOf(step("a"), step("b", ["a"]), step("other")),
        planOf(step("a", [], { task: "do a better" }), step("b", ["a"]), step("d", ["other"])),
        planOf(step("b", ["a"]), step("d", ["other"]), step("e", ["d", "b"]))
      )
      const work = PlanExecuteEvaluate.make(
        "work",
        {
          planner,
          executor: ({ results, round, step }) =>
            Effect.sync(() => {
              ran.push(`${step.id}${round}`)
              return `${step.id}${round}(${Object.values(results).join()})`
            }),
          evaluator: ({ round }) => Effect.succeed(round)
        },
        { accept: (round) => round === 3 }
      )
      const { decisions, output } = yield* work.result("go")
      assert.deepStrictEqual(output, { e: "e3(d2(other1()),b2(a2()))" })
      assert.deepStrictEqual(ran.toSorted(), ["a1", "a2", "b1", "b2", "d2", "e3", "other1"])
      const last = decisions.findLast((one) => one._tag === "PlanMade")
      assert.include(JSON.stringify(last), JSON.stringify({ id: "a", task: "do a better" }).slice(1, -1))
    })
  )

  it.effect("does a step again whose input has changed since, even rounds ago", () =>
    Effect.gen(function* () {
      const { planner } = planning(
        planOf(step("a"), step("b", ["a"])),
        planOf(step("a", [], { task: "do a better" })),
        planOf(step("a", [], { task: "do a better" }), step("b", ["a"]))
      )
      const work = PlanExecuteEvaluate.make(
        "work",
        {
          planner,
          executor: ({ results, round, step }) =>
            Effect.succeed(`${step.id}${round}(${Object.values(results).join()})`),
          evaluator: ({ round }) => Effect.succeed(round)
        },
        { accept: (round) => round === 3 }
      )
      assert.deepStrictEqual(yield* work.run("go"), { b: "b3(a2())" })
    })
  )

  const scored = (scores: ReadonlyArray<number>, more: { readonly onMaxRounds?: "best" | "fail" }) => {
    const { planner, requests } = planning(...scores.map((score) => planOf(step(`s${score}`))))
    const work = PlanExecuteEvaluate.make(
      "work",
      {
        planner,
        executor: ({ step }) => Effect.succeed(Number(step.id.slice(1))),
        evaluator: ({ results }) => Effect.succeed({ score: Object.values(results)[0]! })
      },
      { accept: ({ score }) => score >= 8, ...more }
    )
    return { work, requests }
  }

  it.effect("fails when no results are accepted, or ends with the best", () =>
    Effect.gen(function* () {
      const { requests, work } = scored([3, 7, 5], { onMaxRounds: "best" })
      assert.deepStrictEqual(yield* work.run("go"), { s7: 7 })
      assert.deepStrictEqual(
        requests.map(({ verdict }) => verdict),
        [undefined, { score: 3 }, { score: 7 }]
      )
      const { exit } = yield* collect(scored([3, 7, 5], {}).work, "go")
      const error = failureOf(exit) as PlanExecuteEvaluate.PlanNotAccepted
      assert.deepStrictEqual(
        [error._tag, error.rounds, error.results, error.verdict, error.plan.steps[0]?.id],
        ["PlanNotAccepted", 3, { s7: 7 }, { score: 7 }, "s7"]
      )
    })
  )

  it.effect("that ends with a failed step still has the best results of before, unless it is to fail", () =>
    Effect.gen(function* () {
      const run = (onMaxRounds: "best" | "fail") => {
        const { planner } = planning(planOf(step("a")), planOf(step("a"), step("b")))
        return PlanExecuteEvaluate.make(
          "work",
          {
            planner,
            executor: (task) => (task.step.id === "b" ? Effect.fail(new Broken({ what: "b" })) : echo(task)),
            evaluator: () => Effect.succeed(false)
          },
          { maxRounds: 2, accept: (good) => good, onMaxRounds }
        ).run("go")
      }
      assert.deepStrictEqual(yield* run("best"), { a: "a()" })
      assert.strictEqual((yield* Effect.flip(run("fail")))._tag, "StepsFailed")
    })
  )

  it.effect("keeps the result of a step whose event is not read yet when another fails", () =>
    Effect.gen(function* () {
      const ran: Array<string> = []
      const { planner } = planning(planOf(step("quick"), step("bad")), planOf(step("quick"), step("good", ["quick"])))
      const work = PlanExecuteEvaluate.make("work", {
        planner,
        executor: (task) =>
          Effect.suspend(() => {
            ran.push(task.step.id)
            return task.step.id === "bad"
              ? Effect.andThen(Effect.sleep(10), Effect.fail(new Broken({ what: "bad" })))
              : echo(task)
          })
      }).pipe(
        Runner.onEvent((event) =>
          event._tag === "RunCompleted" && event.path.at(-1) === "quick" ? Effect.sleep(20) : Effect.void
        )
      )
      const fiber = yield* Effect.forkChild(work.run("go"))
      yield* TestClock.adjust(20)
      assert.deepStrictEqual(yield* Fiber.join(fiber), { good: "good(quick())" })
      assert.deepStrictEqual(ran, ["quick", "bad", "good"])
    })
  )

  it.effect("that would change nothing ends it early", () =>
    Effect.gen(function* () {
      const { planner, requests } = planning(planOf(step("a")), planOf(step("a")), planOf(step("a")))
      const work = PlanExecuteEvaluate.make(
        "work",
        { planner, executor: echo, evaluator: () => Effect.succeed(false) },
        { accept: (good) => good, onMaxRounds: "fail" }
      )
      const error = yield* Effect.flip(work.run("go"))
      assert.deepStrictEqual([error._tag, requests.length], ["PlanNotAccepted", 3])
      assert.include(requests[2]!.problems.join(), "done already")
    })
  )

  it.effect("is not done for a defect, nor with onStepFailure fail, nor beyond the limit", () =>
    Effect.gen(function* () {
      const boom = Effect.fail(new Broken({ what: "it" }))
      const run = (rounds: number, executor: () => Effect.Effect<string, Broken>, onStepFailure?: "fail" | "replan") =>
        Effect.gen(function* () {
          const { planner, requests } = planning(...Array.from({ length: rounds }, () => planOf(step("a"))))
          const work = PlanExecuteEvaluate.make("work", { planner, executor }, { onStepFailure, maxRounds: rounds })
          const error = yield* Effect.flip(work.run("go"))
          return [error._tag, requests.length, error._tag === "StepsFailed" ? error.round : 0]
        })
      assert.deepStrictEqual(yield* run(3, () => Effect.die(new TypeError("a bug"))), ["StepsFailed", 1, 1])
      assert.deepStrictEqual(yield* run(3, () => boom, "fail"), ["StepsFailed", 1, 1])
      assert.deepStrictEqual(yield* run(2, () => boom), ["StepsFailed", 2, 2])
      const once = PlanExecuteEvaluate.make("once", { planner: fixed(step("a")), executor: () => boom })
      assert.strictEqual((yield* Effect.flip(once.run("go")))._tag, "StepsFailed")
    })
  )

  it.effect("of a fixed graph is a new attempt at the steps that have failed", () =>
    Effect.gen(function* () {
      let attempts = 0
      const graph = PlanExecuteEvaluate.make(
        "graph",
        {
          planner: fixed(step("a"), step("b", ["a"])),
          executor: (task) =>
            task.step.id === "b" && ++attempts < 3 ? Effect.fail(new Broken({ what: "b" })) : echo(task)
        },
        { onStepFailure: "replan" }
      )
      const { events } = yield* collect(graph, "go")
      assert.deepStrictEqual(paths(events), ["graph", "graph>a", "graph>b", "graph>b", "graph>b"])
    })
  )
})
