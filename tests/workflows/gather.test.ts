import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, ManagedRuntime, Option, Result, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import { Agent, Chain, Gather, Parallel, RunError, Runner, SyncEdge, TestModel } from "troupe"
import type { RunEvent } from "troupe"
import { checkGrammar, collect } from "../support/grammar.ts"
import { after, counted, errorOf, failing, items, live, outputOf, worker } from "../support/runners.ts"

describe("a broadcast", () => {
  it.effect("gives one input to all, and their outputs in their order", () =>
    Effect.gen(function* () {
      const all = Gather.broadcast("all", [after(30, "slow"), after(10, "quick"), after(20, "quick")])
      const { events } = yield* live(collect(all, "go"))
      assert.deepStrictEqual(outputOf(events), ["go slow", "go quick", "go quick"])
      assert.deepStrictEqual(yield* live(all.run("go")), ["go slow", "go quick", "go quick"])
      assert.deepStrictEqual((yield* live(all.result("go"))).output, ["go slow", "go quick", "go quick"])
      assert.deepStrictEqual(items(events), [
        ["quick", "completed", 1, 3],
        ["quick 2", "completed", 2, 3],
        ["slow", "completed", 3, 3]
      ])
    })
  )

  it.effect("has the modes of a parallel", () =>
    Effect.gen(function* () {
      const runners = [after(30, "slow"), failing(5, "bad"), after(10, "quick"), after(20, "middle")] as const
      assert.strictEqual(yield* live(Gather.broadcast("x", runners, { mode: Parallel.race }).run("go")), "go quick")
      assert.deepStrictEqual(yield* live(Gather.broadcast("x", runners, { mode: Parallel.quorum(2) }).run("go")), [
        "go quick",
        "go middle"
      ])
      assert.deepStrictEqual(yield* live(Gather.broadcast("x", runners, { mode: Parallel.settle }).run("go")), [
        Result.succeed("go slow"),
        Result.fail("bad"),
        Result.succeed("go quick"),
        Result.succeed("go middle")
      ])
      const error = yield* live(Effect.flip(Gather.broadcast("x", runners).run("go")))
      assert.deepStrictEqual(error.failures, [{ branch: "bad", error: "bad" }])
      assert.deepStrictEqual(error.interrupted, ["slow", "quick", "middle"])
    })
  )

  it("that cannot work is refused", () => {
    assert.throws(() => Gather.broadcast("x", []), RunError.InvalidDefinition)
    assert.throws(() => Gather.broadcast("x", [worker], { mode: Parallel.quorum(2) }), RunError.InvalidDefinition)
    assert.throws(() => Gather.broadcast("x", [worker], { concurrency: 0 }), RunError.InvalidDefinition)
  })
})

describe("a scatter", () => {
  it.effect("gives each runner its own input", () =>
    Effect.gen(function* () {
      const both = Gather.scatter("both", [after(20, "first"), worker])
      assert.deepStrictEqual(yield* live(both.run(["a", 10])), ["a first", 100])
      const { events } = yield* live(collect(both, ["a", 10] as const))
      assert.deepStrictEqual(outputOf(events), ["a first", 100])
      assert.deepStrictEqual(items(events), [
        ["worker", "completed", 1, 2],
        ["first", "completed", 2, 2]
      ])
    })
  )

  it.effect("with a wrong number of inputs fails before anything is begun", () =>
    Effect.gen(function* () {
      const { runner, seen } = counted()
      const both = Gather.scatter("both", [runner, runner])
      for (const inputs of [[1], [1, 2, 3]] as ReadonlyArray<ReadonlyArray<number>>) {
        const { exit } = yield* live(collect(both, inputs as never))
        const error = errorOf(exit)
        if (error._tag !== "WrongNumberOfInputs") return assert.fail(error._tag)
        assert.deepStrictEqual([error.needed, error.given], [2, inputs.length])
        assert.include(error.message, `"both" takes 2 inputs and was given ${inputs.length}`)
      }
      assert.strictEqual(seen.begun, 0)
    })
  )

  it.effect("fails with every failure", () =>
    Effect.gen(function* () {
      const two = Gather.scatter("two", [worker, worker, worker])
      const error = yield* live(Effect.flip(two.run([10, -10, -10])))
      if (error._tag !== "ParallelError") return assert.fail(error._tag)
      assert.deepStrictEqual(error.failures[0], { branch: "worker 2", error: "failed -10" })
    })
  )
})

describe("a map", () => {
  it.effect("keeps the order of its inputs, whichever is done first", () =>
    Effect.gen(function* () {
      const mapped = Gather.map("mapped", worker, { concurrency: "unbounded" })
      assert.deepStrictEqual(yield* live(mapped.run([30, 10, 20])), [300, 100, 200])
      assert.deepStrictEqual(yield* live(mapped.run(new Set([30, 10]))), [300, 100])
      const { events } = yield* live(collect(mapped, [30, 10, 20]))
      assert.deepStrictEqual(outputOf(events), [300, 100, 200])
      assert.deepStrictEqual(items(events), [
        ["1", "completed", 1, 3],
        ["2", "completed", 2, 3],
        ["0", "completed", 3, 3]
      ])
      assert.deepStrictEqual(
        events.flatMap((event) => (event._tag === "RunStarted" ? [event.path.join(">")] : [])),
        ["mapped", "mapped>worker", "mapped>worker", "mapped>worker"]
      )
      assert.deepStrictEqual(yield* mapped.run([]), [])
    })
  )

  it.effect("reaches its concurrency and never exceeds it", () =>
    Effect.gen(function* () {
      for (const [concurrency, most] of [
        [3, 3],
        [1, 1],
        ["unbounded", 20],
        [undefined, 8]
      ] as const) {
        const { runner, seen } = counted()
        const inputs = Array.from({ length: 20 }, (_, n) => n)
        const mapped = Gather.map("mapped", runner, concurrency === undefined ? {} : { concurrency })
        assert.deepStrictEqual(yield* live(mapped.run(inputs)), inputs)
        assert.deepStrictEqual([seen.most, seen.now], [most, 0])
      }
    })
  )

  it.effect("fails fast: interrupts what runs, begins nothing more, waits for finalizers, and names all of them", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const runner = Runner.make("runner", {
        run: (n: number) =>
          n === 1
            ? Effect.andThen(Effect.sleep(5), Effect.fail("boom" as const))
            : Effect.never.pipe(
                Effect.onInterrupt(() =>
                  n === 2
                    ? Effect.die(new Error("and another thing"))
                    : Effect.andThen(
                        Effect.sleep(20),
                        Effect.sync(() => log.push(`finalizer ${n}`))
                      )
                )
              )
      })
      const { events, exit } = yield* live(
        collect(
          Gather.map("mapped", runner, { concurrency: 3 }),
          Array.from({ length: 10 }, (_, n) => n)
        )
      )
      const error = errorOf(exit)
      assert.deepStrictEqual(
        error.failures.map(({ branch }) => branch),
        ["1", "2"]
      )
      assert.deepStrictEqual(error.interrupted, ["0", "3", "4", "5", "6", "7", "8", "9"])
      assert.deepStrictEqual(log, ["finalizer 0"])
      assert.deepStrictEqual(
        items(events)
          .map(([item, status]) => `${item} ${status}`)
          .toSorted(),
        ["0 interrupted", "1 failed", "2 failed"]
      )
      assert.deepStrictEqual(
        items(events).map(([, , done, total]) => [done, total]),
        [
          [1, 10],
          [2, 10],
          [3, 10]
        ]
      )
    })
  )

  it.effect("settles, races and votes", () =>
    Effect.gen(function* () {
      const inputs = [30, -5, 10, 20]
      const all = { concurrency: "unbounded" } as const
      assert.deepStrictEqual(yield* live(Gather.map("x", worker, { ...all, mode: Parallel.settle }).run(inputs)), [
        Result.succeed(300),
        Result.fail("failed -5"),
        Result.succeed(100),
        Result.succeed(200)
      ])
      assert.strictEqual(yield* live(Gather.map("x", worker, { ...all, mode: Parallel.race }).run(inputs)), 100)
      const two = Gather.map("x", worker, { ...all, mode: Parallel.quorum(2) })
      assert.deepStrictEqual(yield* live(two.run(inputs)), [100, 200])
      const error = yield* Effect.flip(two.run([1]))
      assert.deepStrictEqual(error._tag === "WrongNumberOfInputs" && [error.needed, error.given], [2, 1])
      assert.include(error.message, "takes 2 or more inputs and was given 1")
      assert.strictEqual(
        (yield* Effect.flip(Gather.map("x", worker, { mode: Parallel.race }).run([])))._tag,
        "WrongNumberOfInputs"
      )
    })
  )

  it.effect("sums the bill of its items, and keeps their conversations in order", () =>
    Effect.gen(function* () {
      const mapped = Gather.map("mapped", Agent.make("echo", {}))
      const { output, steps, transcript } = yield* mapped.result(["a", "b", "c"])
      assert.deepStrictEqual([output, steps, transcript.content.length], [["A", "B", "C"], 3, 6])
    }).pipe(
      Effect.provide(
        TestModel.layer((call) => (JSON.stringify(call.prompt).match(/"text":"(\w)"/)?.[1] ?? "?").toUpperCase())
      )
    )
  )

  it.effect("nests in other workflows", () =>
    Effect.gen(function* () {
      const chain = Chain.make("chain", [
        (text: string) => Effect.succeed(text.split(" ").map(Number)),
        Gather.map("numbers", worker),
        Gather.broadcast("both", [
          Runner.make("sum", { run: (ns: ReadonlyArray<number>) => Effect.succeed(ns.reduce((a, b) => a + b, 0)) }),
          Runner.make("count", { run: (ns: ReadonlyArray<number>) => Effect.succeed(ns.length) })
        ])
      ])
      const { events } = yield* live(collect(chain, "1 2 3"))
      assert.deepStrictEqual(outputOf(events), [60, 3])
      assert.isTrue(events.some((event) => event.path.join(">") === "chain>numbers>worker"))
    })
  )

  it("that cannot work is refused", () => {
    assert.throws(() => Gather.map("x", worker, { mode: Parallel.quorum(0) }), RunError.InvalidDefinition)
    assert.throws(() => Gather.map("x", worker, { concurrency: 0 }), RunError.InvalidDefinition)
  })
})

describe("a spawned run", () => {
  it.effect("runs in the background, and can be awaited and polled", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const handle = yield* Gather.spawn(worker, 10)
        assert.strictEqual(handle.name, "worker")
        yield* TestClock.adjust(5)
        assert.deepStrictEqual(yield* handle.poll, Option.none())
        yield* TestClock.adjust(5)
        assert.strictEqual(yield* handle.await, 100)
        assert.strictEqual(yield* handle.await, 100)
        assert.deepStrictEqual(yield* handle.poll, Option.some(Exit.succeed(100)))
        yield* handle.interrupt
        assert.strictEqual(yield* handle.await, 100)
      })
    )
  )

  it.effect("cannot outlive its scope, whose closing waits for its finalizers", () =>
    Effect.gen(function* () {
      const { runner, seen } = counted(1000)
      const scope = yield* Scope.make()
      const handle = yield* Scope.provide(Gather.spawn(runner, 1), scope)
      yield* TestClock.adjust(1)
      assert.strictEqual(seen.now, 1)
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
      yield* Effect.yieldNow
      assert.isUndefined(closing.pollUnsafe())
      yield* TestClock.adjust(1)
      yield* Fiber.join(closing)
      assert.deepStrictEqual([seen.now, seen.interrupted], [0, [1]])
      const exit = Option.getOrThrow(yield* handle.poll)
      assert.isTrue(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause))
    })
  )

  it.effect("is interrupted by its handle", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const { runner, seen } = counted(1000)
        const handle = yield* Gather.spawn(runner, 1)
        yield* TestClock.adjust(1)
        const stopping = yield* Effect.forkChild(handle.interrupt)
        yield* TestClock.adjust(1)
        yield* Fiber.join(stopping)
        assert.deepStrictEqual(seen.interrupted, [1])
      })
    )
  )

  it.effect("that fails stops no other run, until it is awaited", () =>
    Effect.gen(function* () {
      const parent = Runner.make("parent", {
        run: (wait: boolean) =>
          Effect.scoped(
            Effect.gen(function* () {
              const handle = yield* Gather.spawn(worker, -5)
              yield* Effect.sleep(30)
              assert.isTrue(Option.isSome(yield* handle.poll))
              return wait ? yield* handle.await : 1
            })
          )
      })
      const { events } = yield* live(collect(parent, false))
      assert.strictEqual(outputOf(events), 1)
      assert.isTrue(events.some((event) => event._tag === "RunFailed" && event.path.join(">") === "parent>worker"))
      assert.strictEqual(errorOf((yield* live(collect(parent, true))).exit), "failed -5")
    })
  )

  it.effect("is nested in the run that spawned it: path, bill, interruption", () =>
    Effect.gen(function* () {
      const parent = Runner.make("parent", {
        run: (_input: string) =>
          Effect.scoped(
            Effect.gen(function* () {
              const one = yield* Gather.spawn(Agent.make("one", {}), "a")
              yield* Gather.spawn(Runner.make("endless", { run: () => Effect.never }), "b")
              return yield* one.await
            })
          )
      })
      const { events } = yield* collect(parent, "go")
      const last = events.at(-1)
      assert.deepStrictEqual(last?._tag === "RunCompleted" && [last.output, last.spent.steps], ["hello", 1])
      assert.isTrue(
        events.some((event) => event._tag === "RunInterrupted" && event.path.join(">") === "parent>endless")
      )
      const emitted: Array<RunEvent.RunEvent> = []
      const waiting = Runner.make("waiting", {
        run: (ms: number) => Effect.scoped(Effect.andThen(Gather.spawn(worker, ms), Effect.never))
      }).pipe(Runner.onEvent((event) => Effect.sync(() => void emitted.push(event))))
      const fiber = yield* Effect.forkChild(waiting.run(1000))
      yield* TestClock.adjust(10)
      yield* Fiber.interrupt(fiber)
      checkGrammar(emitted)
      assert.strictEqual(emitted.filter((event) => event._tag === "RunInterrupted").length, 2)
    }).pipe(Effect.provide(TestModel.layer(["hello"])))
  )
})

describe("a spawned run whose scope is longer than the run above it", () => {
  it.effect("lives as long as the scope, and emits nothing after the end of the run above", () =>
    Effect.gen(function* () {
      const { runner, seen } = counted(1000)
      const emitted: Array<RunEvent.RunEvent> = []
      const parent = Runner.make("parent", { run: (n: number) => Gather.spawn(runner, n) }).pipe(
        Runner.onEvent((event) => Effect.sync(() => void emitted.push(event)))
      )
      const scope = yield* Scope.make()
      yield* Scope.provide(parent.run(1), scope)
      yield* TestClock.adjust(1)
      assert.strictEqual(seen.now, 1)
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
      yield* TestClock.adjust(1)
      yield* Fiber.join(closing)
      assert.deepStrictEqual([seen.now, seen.interrupted], [0, [1]])
      assert.deepStrictEqual(
        emitted.map(({ _tag, path }) => [_tag, path.join(">")]),
        [
          ["RunStarted", "parent"],
          ["RunStarted", "parent>counted"],
          ["RunCompleted", "parent"]
        ]
      )
    })
  )
})

describe("on the sync edge", () => {
  const sync = <A, E>(effect: Effect.Effect<A, E>) => Effect.runSyncExit(Effect.provide(effect, SyncEdge.layer))

  it("all of them do the same", () => {
    const { runner, seen } = counted(5)
    const inputs = Array.from({ length: 20 }, (_, n) => n)
    assert.deepStrictEqual(sync(Gather.map("x", runner, { concurrency: 4 }).run(inputs)), Exit.succeed(inputs))
    assert.deepStrictEqual([seen.most, seen.now], [4, 0])
    assert.deepStrictEqual(
      sync(Gather.broadcast("x", [after(10, "a"), after(2000, "b")], { mode: Parallel.race }).run("go")),
      Exit.succeed("go a")
    )
    assert.deepStrictEqual(sync(Gather.scatter("x", [worker, worker]).run([2, 1])), Exit.succeed([20, 10] as const))
    assert.deepStrictEqual(
      sync(Stream.runCollect(Gather.stream(worker, Stream.make(20, 1, 10)))),
      Exit.succeed([200, 10, 100])
    )
    assert.strictEqual(
      errorOf(
        sync(
          Gather.mapStream("x", worker, {
            inputs: (inputs: Stream.Stream<number>) => inputs,
            into: Stream.runDrain
          }).run(Stream.make(2000, -5))
        )
      )._tag,
      "ParallelError"
    )
    const spawned = Effect.scoped(
      Effect.gen(function* () {
        const [a, b] = [yield* Gather.spawn(worker, 10), yield* Gather.spawn(worker, 2000)]
        const output = yield* a.await
        return [output, Option.isNone(yield* b.poll)] as const
      })
    )
    assert.deepStrictEqual(sync(spawned), Exit.succeed([100, true] as const))
  })

  it("in a ManagedRuntime too", () => {
    const runtime = ManagedRuntime.make(SyncEdge.layer)
    for (let n = 0; n < 2; n++) {
      assert.deepStrictEqual(runtime.runSync(Stream.runCollect(Gather.stream(worker, Stream.make(10, 1)))), [100, 10])
      assert.strictEqual(
        runtime.runSync(Effect.scoped(Effect.flatMap(Gather.spawn(worker, 10), (handle) => handle.await))),
        100
      )
    }
    Effect.runSync(runtime.disposeEffect)
  })
})
