import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Exit, Fiber, Schema } from "effect"
import { TestClock } from "effect/testing"
import { PlanExecuteEvaluate } from "troupe"
import { cases } from "../support/cases.ts"
import { collect } from "../support/grammar.ts"
import { Broken, failureOf, fixed, type Given, planOf } from "../support/plans.ts"

const bits = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 2 ** 12 - 1 }))
const upTo = (maximum: number, minimum = 0) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))
const listOf = <S extends Schema.Top>(item: S, minimum: number, maximum: number) =>
  Schema.Array(item).check(Schema.isMinLength(minimum), Schema.isMaxLength(maximum))

const nameOf = (index: number) => `s${index}`
const has = (mask: number, index: number) => (mask & (1 << index)) !== 0

/** Steps that depend on steps before them only, listed in any order. */
const RandomGraph = Schema.Struct({
  steps: listOf(Schema.Struct({ dependsOn: bits, ms: upTo(40, 1), place: upTo(1000) }), 1, 12),
  concurrency: upTo(5, 1)
})
const graphOf = ({ steps }: typeof RandomGraph.Type) =>
  steps
    .map(({ dependsOn, ms, place }, index) => ({
      place,
      ms,
      id: nameOf(index),
      task: `${ms}`,
      dependsOn: steps.flatMap((_, other) => (other < index && has(dependsOn, other) ? [nameOf(other)] : []))
    }))
    .toSorted((a, b) => a.place - b.place)

interface Span {
  readonly begin: number
  end: number
}

/** Runs the graph with steps that take their time, and says when each began and ended. */
const timed = (steps: ReadonlyArray<Given>, concurrency: number | "unbounded") =>
  Effect.gen(function* () {
    const spans = new Map<string, Span>()
    let atOnce = 0
    let most = 0
    const graph = PlanExecuteEvaluate.make(
      "graph",
      {
        planner: fixed(...steps),
        executor: ({ results, step }) =>
          Effect.gen(function* () {
            assert.isFalse(spans.has(step.id), "a step ran twice")
            assert.sameMembers(Object.keys(results), [...step.dependsOn])
            const span = { begin: yield* Clock.currentTimeMillis, end: Number.POSITIVE_INFINITY }
            spans.set(step.id, span)
            most = Math.max(most, ++atOnce)
            yield* Effect.sleep(Number(step.task))
            atOnce--
            span.end = yield* Clock.currentTimeMillis
            return step.id
          })
      },
      { concurrency }
    )
    const fiber = yield* Effect.forkChild(collect(graph, "go"))
    for (let ms = 0; ms <= 600 && fiber.pollUnsafe() === undefined; ms++) yield* TestClock.adjust(1)
    const { events, exit } = yield* Fiber.join(fiber)
    assert.isTrue(Exit.isSuccess(exit))
    return { spans, most, events }
  })

describe("any graph of steps", () => {
  it.effect.prop(
    "runs each step once, after those it depends on, and never leaves a place empty that a ready step could have",
    [RandomGraph],
    ([random]) =>
      Effect.gen(function* () {
        const steps = graphOf(random)
        const { events, most, spans } = yield* timed(steps, random.concurrency)
        assert.strictEqual(spans.size, steps.length)
        assert.isAtMost(most, random.concurrency)
        const all = [...spans.values()]
        for (const { dependsOn, id } of steps) {
          const ready = Math.max(0, ...dependsOn.map((other) => spans.get(other)!.end))
          const { begin } = spans.get(id)!
          assert.isAtLeast(begin, ready)
          for (let at = ready; at < begin; at++) {
            const running = all.filter((span) => span.begin <= at && at < span.end).length
            assert.strictEqual(running, random.concurrency, `${id} waits from ${ready} to ${begin}, at ${at}`)
          }
        }
        const done = events.flatMap((event) => (event._tag === "ItemCompleted" ? [event.done] : []))
        assert.deepStrictEqual(
          done,
          steps.map((_, index) => index + 1)
        )
      }),
    { arbitrary: { runs: cases(60) } }
  )

  it.effect.prop(
    "begins each step the moment it can when there is room for all",
    [RandomGraph],
    ([random]) =>
      Effect.gen(function* () {
        const steps = graphOf(random)
        const { spans } = yield* timed(steps, "unbounded")
        for (const { dependsOn, id } of steps) {
          assert.strictEqual(spans.get(id)!.begin, Math.max(0, ...dependsOn.map((other) => spans.get(other)!.end)))
        }
      }),
    { arbitrary: { runs: cases(40) } }
  )
})

/** Steps that depend on any others, themselves included. */
const Tangle = listOf(bits, 1, 7)
const tangleOf = (masks: typeof Tangle.Type): ReadonlyArray<Given> =>
  masks.map((mask, index) => ({
    id: nameOf(index),
    task: "go",
    dependsOn: masks.flatMap((_, other) => (has(mask, other) ? [nameOf(other)] : []))
  }))

/** Whether a step needs itself, by following every dependency for as long as it takes. */
const isCircular = (steps: ReadonlyArray<Given>): boolean => {
  const needs = new Map(steps.map(({ dependsOn, id }) => [id, new Set(dependsOn)]))
  for (let round = 0; round < steps.length; round++) {
    for (const set of needs.values()) for (const id of set) for (const other of needs.get(id)!) set.add(other)
  }
  return steps.some(({ id }) => needs.get(id)!.has(id))
}

describe("any tangle of steps", () => {
  it.effect.prop(
    "is refused when and only when there is a circle in it, which is named",
    [Tangle],
    ([masks]) =>
      Effect.gen(function* () {
        const steps = tangleOf(masks)
        const graph = PlanExecuteEvaluate.make("graph", {
          planner: fixed(...steps),
          executor: ({ step }) => (isCircular(steps) ? assert.fail("it began") : Effect.succeed(step.id))
        })
        const exit = yield* Effect.exit(graph.run("go"))
        assert.strictEqual(Exit.isFailure(exit), isCircular(steps))
        if (Exit.isSuccess(exit)) return
        const { problems } = failureOf(exit) as PlanExecuteEvaluate.InvalidPlan
        const seen = new Set<string>()
        for (const problem of problems) {
          const circle = /^steps depend on one another in a circle: (.*)$/.exec(problem)?.[1]?.split(" -> ")
          assert.isDefined(circle, problem)
          assert.strictEqual(circle![0], circle!.at(-1))
          circle!.slice(1).forEach((id, index) => {
            assert.include(steps.find((step) => step.id === circle![index])!.dependsOn!, id)
            assert.isFalse(seen.has(id), "a step is in two of the circles named")
            seen.add(id)
          })
        }
      }),
    { arbitrary: { runs: cases(300) } }
  )
})

/**
 * A round: which steps there are, which have another task than in the round before, which fail. What a step depends on
 * belongs to its task. A step that needs one that is not there is not there either.
 */
const RandomRounds = Schema.Struct({
  dependsOn: listOf(listOf(bits, 3, 3), 6, 6),
  rounds: listOf(Schema.Struct({ there: bits, tasks: listOf(upTo(2), 6, 6), fails: bits }), 1, 5)
})
const roundsOf = ({ dependsOn, rounds }: typeof RandomRounds.Type): ReadonlyArray<ReadonlyArray<Given>> =>
  rounds.map(({ tasks, there }) => {
    const steps: Array<Given> = []
    for (const [index, task] of tasks.entries()) {
      const needs = tasks.flatMap((_, other) =>
        other < index && has(dependsOn[index]![task]!, other) ? [nameOf(other)] : []
      )
      const isThere = index === 0 || has(there, index)
      if (isThere && needs.every((id) => steps.some((step) => step.id === id))) {
        steps.push({ id: nameOf(index), task: `${task}`, dependsOn: needs })
      }
    }
    return steps
  })

/** What the plan gives when it is run from nothing. */
const afresh = (steps: ReadonlyArray<Given>): Readonly<Record<string, string>> => {
  const outputs: Record<string, string> = {}
  for (const { dependsOn, id, task } of steps) {
    outputs[id] = `${id}.${task}(${[...dependsOn!]
      .toSorted()
      .map((other) => outputs[other])
      .join()})`
  }
  return outputs
}

describe("any course of rounds", () => {
  it.effect.prop(
    "never does again what is done unless its input has changed, and never gives what is out of date",
    [RandomRounds],
    ([random]) =>
      Effect.gen(function* () {
        const plans = roundsOf(random)
        const successes = new Map<string, string>()
        /** In which round each step has run last. */
        const ran = new Map<string, number>()
        const work = PlanExecuteEvaluate.make(
          "work",
          {
            planner: ({ round }) => Effect.succeed(planOf(...plans[round - 1]!)),
            executor: ({ results, round, step }) =>
              Effect.suspend(() => {
                const output = `${step.id}.${step.task}(${[...step.dependsOn]
                  .toSorted()
                  .map((id) => String(results[id]))
                  .join()})`
                const isRenewed = step.dependsOn.some((id) => ran.get(id) === round)
                assert.isTrue(isRenewed || successes.get(step.id) !== output, "done again for nothing")
                ran.set(step.id, round)
                // What runs has changed, whether it succeeds or not.
                successes.delete(step.id)
                const { fails } = random.rounds[round - 1]!
                if (has(fails, Number(step.id.slice(1)))) return Effect.fail(new Broken({ what: step.id }))
                successes.set(step.id, output)
                return Effect.succeed(output)
              }),
            evaluator: ({ plan, results }) =>
              Effect.sync(() => {
                assert.deepStrictEqual(results, afresh(plan.steps))
                return false
              })
          },
          { planRepairs: 0, maxRounds: plans.length, accept: (good) => good, onMaxRounds: "fail" }
        )
        const { exit } = yield* collect(work, "go")
        const { _tag } = failureOf(exit) as { readonly _tag: string }
        assert.include(["StepsFailed", "PlanNotAccepted"], _tag)
        if (_tag === "StepsFailed") {
          const { failures } = failureOf(exit) as PlanExecuteEvaluate.StepsFailed<Broken>
          assert.isTrue(
            failures.every(({ error }) => error instanceof Broken),
            failures.map(({ error, step }) => `${step}: ${error.message}`).join("; ")
          )
        }
      }),
    { arbitrary: { runs: cases(200) } }
  )
})
