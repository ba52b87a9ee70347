/** Ids of nested runs, which are made of their place. */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Option, Schema, Stream } from "effect"
import { Agent, AgentTool, Chain, Gather, Middleware, Parallel, Runner, TestModel } from "troupe"
import { CurrentJournal, none } from "../../src/services/Journal.ts"
import { idsOf } from "../support/journal.ts"

const leaf = Runner.make("leaf", { run: (input: string) => Effect.succeed(input) })
const other = Runner.named(leaf, "other")

const idOf = Effect.map(Runner.current, (info) => Option.getOrThrow(info).runId)
const asking = Runner.make("asks", { run: (_input: string) => idOf })

describe("the id of a nested run", () => {
  it.effect("says where it begins in a workflow", () =>
    Effect.gen(function* () {
      const both = Parallel.make("both", { a: leaf, b: Chain.make("b", [leaf, other]) })
      const ids = yield* idsOf(Chain.make("top", [Runner.map(both, ({ a }) => a), leaf]), "go")
      assert.deepStrictEqual(ids, [
        "ROOT",
        "ROOT/both",
        "ROOT/both/[a]/a",
        "ROOT/both/[b]/b",
        "ROOT/both/[b]/b/leaf",
        "ROOT/both/[b]/b/other",
        "ROOT/leaf"
      ])
    })
  )

  it.effect("counts the runs of one name, in the order in which they begin", () =>
    Effect.gen(function* () {
      const top = Runner.make("top", {
        run: (input: string) => Effect.andThen(leaf.run(input), Effect.andThen(other.run(input), leaf.run(input)))
      })
      assert.deepStrictEqual(yield* idsOf(top, "go"), ["ROOT", "ROOT/leaf", "ROOT/other", "ROOT/leaf#2"])
    })
  )

  it.effect("has the step and the call of a tool, and the middleware that began it", () =>
    Effect.gen(function* () {
      const judge = Middleware.make("judge", {
        model: (request, next) => Effect.andThen(leaf.run("judge"), next(request)),
        tool: (call, next) => Effect.andThen(leaf.run("judge"), next(call))
      })
      const lead = Agent.make("lead", {
        tools: [AgentTool.fromRunner(Runner.described(Runner.named(asking, "worker"), "Works"))],
        middleware: [judge]
      })
      const model = TestModel.layer([
        TestModel.toolCalls(
          { id: "c1", name: "worker", params: { input: "1" } },
          { id: "c2", name: "worker", params: { input: "2" } }
        ),
        "done"
      ])
      const ids = yield* idsOf(lead, "go").pipe(Effect.provide(model))
      assert.deepStrictEqual(ids.toSorted(), [
        "ROOT",
        "ROOT/1/c1/worker",
        "ROOT/1/c2/worker",
        "ROOT/@judge/1/c1/leaf",
        "ROOT/@judge/1/c2/leaf",
        "ROOT/@judge/1/leaf",
        "ROOT/@judge/2/leaf"
      ])
    })
  )

  it.effect("is another in each attempt of a retry, and has the number of its item in a stream", () =>
    Effect.gen(function* () {
      let tries = 0
      const twice = Runner.make("twice", {
        run: (input: string) =>
          Effect.andThen(
            Stream.runDrain(Gather.stream(leaf, Stream.make(input, input), { concurrency: 2 })),
            Effect.suspend(() => (++tries === 1 ? Effect.fail("no" as const) : leaf.run(input)))
          )
      }).pipe(Runner.withRetry({ times: 1 }))
      assert.deepStrictEqual(yield* idsOf(twice, "go"), [
        "ROOT",
        "ROOT/[0]/leaf",
        "ROOT/[1]/leaf",
        "ROOT/~2/[0]/leaf",
        "ROOT/~2/[1]/leaf",
        "ROOT/~2/leaf"
      ])
    })
  )

  it.effect("is of one run only, where runs of one name begin at once in a function", () =>
    Effect.gen(function* () {
      const begun = yield* Deferred.make<void>()
      const slow = Runner.make("slow", { run: (_input: string) => Effect.andThen(Deferred.await(begun), idOf) })
      const top = Runner.make("top", {
        run: (input: string) =>
          Effect.all([slow.run(input), slow.run(input), Deferred.succeed(begun, undefined)], { concurrency: 3 })
      })
      const [first, second] = yield* top.run("go")
      assert.notStrictEqual(first, second)
    })
  )

  it.effect("cannot be that of another run, even if names look like ids", () =>
    Effect.gen(function* () {
      const names = ["a/b", "a", "b", "a#2", "~2", "[a]", "@a", "a%2Fb"]
      const nested = names.map((name) => Runner.named(Chain.make("inner", [leaf, leaf]), name))
      const top = Runner.make("top", {
        run: (input: string) =>
          Effect.andThen(
            Effect.forEach([...nested, ...nested], (one) => one.run(input)),
            Parallel.make("all", { a: leaf, b: leaf }).run(input)
          )
      })
      const ids = yield* idsOf(top, "go")
      assert.strictEqual(new Set(ids).size, ids.length)
    })
  )

  it.effect("stays short in a deep tree, and is then the same in each run too", () =>
    Effect.gen(function* () {
      let deep: Runner.Runner<string, string, never, never> = asking
      for (let n = 0; n < 40; n++) {
        const inner = deep
        deep = Runner.make(`a level with a long name, number ${n}`, { run: (input: string) => inner.run(input) })
      }
      const journal = { ...none, rootId: "one" }
      const run = Effect.provideService(deep.run("go"), CurrentJournal, journal)
      const id = yield* run
      assert.isBelow(id.length, 256)
      assert.isTrue(id.startsWith("one/"))
      assert.strictEqual(yield* run, id)
    })
  )

  it.effect("is made of the id that the journal gives the root, and so are keys of calls", () =>
    Effect.gen(function* () {
      const keys: Array<string | undefined> = []
      const note = AgentTool.fromFunction("note", {
        description: "Notes it",
        parameters: Schema.Struct({ text: Schema.String }),
        execute: (_, { idempotencyKey }) => {
          keys.push(idempotencyKey)
          return "noted"
        }
      })
      const clerk = Agent.make("clerk", { tools: [note] })
      const program = Chain.make("desk", [clerk])
        .run("go")
        .pipe(
          Effect.provide(TestModel.layer([TestModel.toolCall("note", { text: "a" }, "c1"), "done"])),
          Effect.provideService(CurrentJournal, { ...none, rootId: "order-7" })
        )
      yield* program
      yield* program
      assert.deepStrictEqual(keys, ["order-7/clerk/1/c1", "order-7/clerk/1/c1"])
    })
  )
})
