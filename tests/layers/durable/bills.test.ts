/** What a durable run uses is in the bill and in the budgets of the run that asks for it, once. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Layer, Schema, Scope, Stream } from "effect"
import * as Agent from "troupe/Agent"
import * as AgentTool from "troupe/AgentTool"
import * as Durable from "troupe/Durable"
import * as Parallel from "troupe/Parallel"
import * as Runner from "troupe/Runner"
import * as Step from "troupe/Step"
import * as TestModel from "troupe/TestModel"
import { engine, eventually, temporaryFile } from "../../support/durable.ts"

const usage = { inputTokens: { total: 70 }, outputTokens: { total: 30 } }
const look = AgentTool.fromFunction("look", { description: "Looks", execute: () => "nothing" })
/** Looks once, and answers: two steps, 200 tokens. */
const Model = TestModel.layer(({ prompt }) =>
  prompt.content.some(({ role }) => role === "tool")
    ? { text: "done", usage }
    : { toolCalls: [{ id: "c", name: "look", params: {} }], usage }
)
const desk = Agent.make("desk", { tools: [look] })
const orders = Durable.make(desk, { name: "orders", version: "1", key: String })
const live = Layer.mergeAll(Model, Layer.unwrap(Effect.map(temporaryFile, engine)))

const billOf = ({ steps, usage }: { readonly steps: number; readonly usage: Runner.Result<unknown>["usage"] }) => [
  steps,
  usage.inputTokens.total,
  usage.outputTokens.total
]

describe("what a durable run uses", () => {
  it.live("is in the bill of the run that asks for it", () =>
    Effect.gen(function* () {
      const asking = Runner.make("asking", { run: (input: string) => orders.run(input) })
      expect(billOf(yield* asking.result("a"))).toEqual([2, 140, 60])
    }).pipe(Effect.provide(live))
  )

  it.live("is not in the bill of a run that is given a result that was kept before", () =>
    Effect.gen(function* () {
      const asking = Runner.make("asking", { run: (input: string) => orders.run(input) })
      yield* asking.run("a")
      expect((yield* asking.result("a")).steps).toBe(0)
    }).pipe(Effect.provide(live))
  )

  it.live("is there once where two branches of a run ask for it", () =>
    Effect.gen(function* () {
      const asking = Runner.make("asking", { run: (input: string) => orders.run(input) })
      const both = Parallel.make("both", { left: asking, right: asking })
      expect(billOf(yield* both.result("a"))).toEqual([2, 140, 60])
    }).pipe(Effect.provide(live))
  )

  it.live("counts in a budget around it, and exceeds it", () =>
    Effect.gen(function* () {
      const limited = Runner.withBudget(orders, { tokens: 150 })
      const error = yield* Effect.flip(limited.run("a"))
      expect(error).toMatchObject({ _tag: "BudgetExceeded", limit: "tokens", allowed: 150 })
      // It is kept, and goes on under another budget, which counts the rest.
      const { spent } = error as { readonly spent: { readonly steps: number } }
      const rest = yield* Runner.make("again", { run: (input: string) => orders.run(input) }).result("a")
      expect(rest.output).toBe("done")
      expect(spent.steps + rest.steps).toBe(2)
    }).pipe(Effect.provide(live))
  )

  it.live("leaves the rest of a budget", () =>
    Effect.gen(function* () {
      const asking = Runner.make("asking", {
        run: (input: string) => Effect.andThen(orders.run(input), Runner.remaining)
      })
      const left = yield* Runner.withBudget(asking, { tokens: 1000, steps: 10, toolCalls: 5 }).run("a")
      expect(left).toMatchObject({ tokens: 800, steps: 8, toolCalls: 4 })
    }).pipe(Effect.provide(live))
  )

  it.live("is counted once in a durable run that is made again", () =>
    Effect.gen(function* () {
      const file = yield* temporaryFile
      const left: Array<number | undefined> = []
      const asking = Runner.withBudget(
        Runner.make("asking", {
          run: (input: string) =>
            Effect.gen(function* () {
              yield* orders.run(input)
              yield* Effect.orDie(Step.signal("go", Schema.String))
              left.push((yield* Runner.remaining).tokens)
              return yield* Effect.orDie(orders.run(input))
            })
        }),
        { tokens: 1000 }
      )
      const outer = Durable.make(asking, { name: "outer", version: "1", key: String })
      const first = yield* Scope.make()
      const worker = Durable.worker(outer).pipe(Layer.provideMerge(engine(file)))
      const context = yield* Layer.buildWithScope(worker, first)
      yield* Effect.gen(function* () {
        yield* Durable.submit(outer, "a")
        yield* eventually(Effect.map(Durable.status(outer, "a"), (status) => status === "suspended"))
      }).pipe(Effect.provideContext(context))
      yield* Scope.close(first, Exit.void)
      yield* Effect.gen(function* () {
        yield* Durable.signal(outer, "a", "go", "gone")
        const top = Runner.make("top", { run: (input: string) => outer.run(input) })
        expect(yield* top.run("a")).toBe("done")
        const events = yield* Stream.runCollect(Durable.events(outer, "a"))
        expect(events.at(-1)).toMatchObject({ _tag: "RunCompleted", spent: { steps: 2 } })
        expect(left).toEqual([800])
      }).pipe(Effect.provide(engine(file)))
    }).pipe(Effect.provide(Model))
  )
})
