import { execFileSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Option, Result, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import { Gather, Parallel, RunError, Runner } from "troupe"
import type { RunEvent } from "troupe"
import { cases } from "../support/cases.ts"
import { checkGrammar, collect } from "../support/grammar.ts"
import { counted, errorOf, items, live, outputOf, worker } from "../support/runners.ts"

const numbers = (inputs: Stream.Stream<number>) => inputs
const root = fileURLToPath(new URL("../..", import.meta.url))
const inNode = (script: string, ...flags: ReadonlyArray<string>): string =>
  execFileSync(process.execPath, [...flags, "--conditions=troupe-source", "--input-type=module", "-e", script], {
    cwd: root,
    encoding: "utf8",
    timeout: 120_000
  })

describe("a stream", () => {
  it.effect("keeps the order, or does not, and bounds its concurrency", () =>
    Effect.gen(function* () {
      const inputs = Stream.make(30, 10, 20)
      assert.deepStrictEqual(yield* live(Stream.runCollect(Gather.stream(worker, inputs))), [300, 100, 200])
      assert.deepStrictEqual(
        yield* live(Stream.runCollect(Gather.stream(worker, inputs, { ordered: false }))),
        [100, 200, 300]
      )
      for (const ordered of [true, false]) {
        for (const concurrency of [1, 2, 7]) {
          const { runner, seen } = counted()
          const outputs = yield* live(
            Stream.runCollect(Gather.stream(runner, Stream.range(1, 30), { concurrency, ordered }))
          )
          assert.deepStrictEqual(
            outputs.toSorted((a, b) => a - b),
            Array.from({ length: 30 }, (_, n) => n + 1)
          )
          assert.deepStrictEqual([seen.most, seen.now], [concurrency, 0])
        }
      }
      assert.deepStrictEqual(yield* Stream.runCollect(Gather.stream(worker, Stream.empty)), [])
    })
  )

  for (const ordered of [true, false]) {
    it.effect(`pulls no input that will not be read, ${ordered ? "in order" : "in any order"}`, () =>
      Effect.gen(function* () {
        const concurrency = 4
        let pulled = 0
        const inputs = Stream.fromEffectRepeat(Effect.sync(() => ++pulled))
        const read = yield* Deferred.make<void>()
        const goOn = yield* Deferred.make<void>()
        let got = 0
        const fiber = yield* Gather.stream(worker, inputs, { concurrency, ordered }).pipe(
          Stream.tap(() =>
            ++got === 3 ? Effect.andThen(Deferred.succeed(read, undefined), Deferred.await(goOn)) : Effect.void
          ),
          Stream.take(5),
          Stream.runCollect,
          Effect.forkChild
        )
        yield* TestClock.adjust("10 minutes")
        yield* Deferred.await(read)
        // Three are read; the window beyond them is full, and nothing moves it.
        assert.strictEqual(pulled, 3 + concurrency)
        yield* TestClock.adjust("10 minutes")
        assert.strictEqual(pulled, 3 + concurrency)
        yield* Deferred.succeed(goOn, undefined)
        yield* TestClock.adjust("10 minutes")
        assert.deepStrictEqual(yield* Fiber.join(fiber), [10, 20, 30, 40, 50])
        assert.isAtMost(pulled, 5 + concurrency)
      })
    )
  }

  it.effect("that is ended early interrupts everything, and waits for it", () =>
    Effect.gen(function* () {
      const { runner, seen } = counted(10)
      let closed = 0
      const inputs = Stream.range(1, 1000).pipe(
        Stream.mapEffect((n) => Effect.as(n < 6 ? Effect.void : Effect.never, n)),
        Stream.ensuring(
          Effect.andThen(
            Effect.sleep(5),
            Effect.sync(() => void closed++)
          )
        )
      )
      const first = Gather.stream(runner, inputs, { concurrency: 3 }).pipe(Stream.take(1), Stream.runCollect)
      assert.deepStrictEqual(yield* live(first), [1])
      assert.deepStrictEqual([seen.now, seen.interrupted.length, closed], [0, seen.begun - seen.completed, 1])
      const fiber = yield* Effect.forkChild(Stream.runDrain(Gather.stream(runner, inputs, { concurrency: 3 })))
      yield* TestClock.adjust(5)
      assert.strictEqual(seen.now, 3)
      const stopping = yield* Effect.forkChild(Fiber.interrupt(fiber))
      yield* TestClock.adjust(5)
      yield* Fiber.join(stopping)
      assert.deepStrictEqual([seen.now, closed], [0, 2])
    })
  )

  it.effect("fails fast with every failure, when everything is over", () =>
    Effect.gen(function* () {
      for (const ordered of [true, false]) {
        let closed = false
        const log: Array<number> = []
        const runner = Runner.make("runner", {
          run: (n: number) =>
            n === 2
              ? Effect.andThen(Effect.sleep(5), Effect.fail("boom" as const))
              : n === 0
                ? Effect.succeed(n)
                : Effect.never.pipe(
                    Effect.onInterrupt(() =>
                      n === 3
                        ? Effect.andThen(Effect.sleep(10), Effect.die(new Error("and another thing")))
                        : Effect.andThen(
                            Effect.sleep(20),
                            Effect.sync(() => log.push(n))
                          )
                    )
                  )
        })
        const inputs = Stream.range(0, 100).pipe(Stream.ensuring(Effect.sync(() => (closed = true))))
        const got: Array<number> = []
        const error = yield* Gather.stream(runner, inputs, { concurrency: 4, ordered }).pipe(
          // What the reader does about it begins when everything is over.
          Stream.tapError(() => Effect.sync(() => log.push(-1))),
          Stream.runForEach((n) => Effect.sync(() => void got.push(n))),
          Effect.flip,
          live
        )
        assert.strictEqual(log.pop(), -1)
        assert.deepStrictEqual([error._tag, error.name, got, closed], ["ParallelError", "runner", [0], true])
        assert.deepStrictEqual(
          error.failures.map(({ branch }) => branch),
          ["2", "3"]
        )
        assert.strictEqual(error.failures[0]?.error, "boom")
        assert.deepStrictEqual(
          [error.interrupted.toSorted(), log.toSorted()],
          [
            ["1", "4"],
            [1, 4]
          ]
        )
      }
    })
  )

  it.effect("without a reader for now still fails fast", () =>
    Effect.gen(function* () {
      const { runner, seen } = counted(1000)
      const either = Runner.make("either", {
        run: (n: number) => (n === 0 ? Effect.succeed(n) : n === 1 ? Effect.fail("boom") : runner.run(n))
      })
      const goOn = yield* Deferred.make<void>()
      const fiber = yield* Gather.stream(either, Stream.range(0, 9), { concurrency: 5, ordered: false }).pipe(
        Stream.runForEach(() => Deferred.await(goOn)),
        Effect.flip,
        Effect.forkChild
      )
      yield* TestClock.adjust(10)
      assert.deepStrictEqual([seen.now, seen.interrupted.length], [0, seen.begun])
      yield* Deferred.succeed(goOn, undefined)
      assert.strictEqual((yield* Fiber.join(fiber))._tag, "ParallelError")
    })
  )

  it.effect("settles: failures and defects are outputs", () =>
    Effect.gen(function* () {
      const odd = Runner.make("odd", {
        run: (n: number) =>
          n === 2
            ? Effect.die(new Error("a bug"))
            : n === 3
              ? Effect.interrupt
              : n === 1
                ? Effect.fail("no")
                : Effect.succeed(n)
      })
      const results = yield* Stream.runCollect(Gather.stream(odd, Stream.range(0, 4), { mode: Parallel.settle }))
      assert.deepStrictEqual(
        [results[0], results[1], results[4]],
        [Result.succeed(0), Result.fail("no"), Result.succeed(4)]
      )
      for (const index of [2, 3]) {
        assert.instanceOf(Option.getOrThrow(Result.getFailure(results[index]!)), Parallel.BranchDefect)
      }
    })
  )

  it.effect("fails with what its inputs fail with", () =>
    Effect.gen(function* () {
      const broken = Stream.concat(Stream.make(10, 10), Stream.fail("no more" as const))
      const { runner, seen } = counted()
      assert.strictEqual(yield* live(Effect.flip(Stream.runDrain(Gather.stream(runner, broken)))), "no more")
      assert.deepStrictEqual(seen.interrupted, [10, 10])
      const got: Array<unknown> = []
      const error = yield* Gather.stream(worker, broken, { mode: Parallel.settle }).pipe(
        Stream.runForEach((result) => Effect.sync(() => void got.push(result))),
        Effect.flip,
        live
      )
      assert.deepStrictEqual([error, got], ["no more", [Result.succeed(100), Result.succeed(100)]])
    })
  )

  it.effect("fails with what its inputs fail with, and with what failed because of that", () =>
    Effect.gen(function* () {
      const spiteful = Runner.make("spiteful", {
        run: (_n: number) => Effect.never.pipe(Effect.onInterrupt(() => Effect.die(new Error("and another thing"))))
      })
      const broken = Stream.concat(Stream.make(1), Stream.fail("no more" as const))
      const exit = yield* live(Effect.exit(Stream.runDrain(Gather.stream(spiteful, broken))))
      const errors = Exit.isFailure(exit) ? exit.cause.reasons.filter(Cause.isFailReason).map(({ error }) => error) : []
      assert.deepStrictEqual(
        errors.map((error) => (error === "no more" ? error : error.failures.map(({ branch }) => branch))),
        ["no more", ["0"]]
      )
    })
  )

  it.effect("that is stopped reports the failures of the stop with its cause", () =>
    Effect.gen(function* () {
      const spiteful = Runner.make("spiteful", {
        run: (n: number) =>
          n === 0
            ? Effect.succeed(n)
            : Effect.never.pipe(Effect.onInterrupt(() => Effect.die(new Error("and another thing"))))
      })
      const outputs = Gather.stream(spiteful, Stream.make(0, 1))
      const refused = yield* live(
        Effect.exit(
          Stream.runForEach(outputs, () => Effect.andThen(Effect.sleep(1), Effect.fail("disk full" as const)))
        )
      )
      const fiber = yield* Effect.forkChild(Stream.runDrain(outputs))
      yield* TestClock.adjust(1)
      yield* Fiber.interrupt(fiber)
      const interrupted = yield* Fiber.await(fiber)
      const reasons = (exit: Exit.Exit<void, "disk full" | Parallel.ParallelError<never>>) =>
        Exit.isSuccess(exit)
          ? []
          : exit.cause.reasons.map((reason) =>
              Cause.isFailReason(reason)
                ? reason.error === "disk full"
                  ? reason.error
                  : reason.error.failures.map(({ branch }) => branch)
                : reason._tag
            )
      assert.deepStrictEqual(reasons(refused), ["disk full", ["1"]])
      assert.deepStrictEqual(reasons(interrupted), ["Interrupt", ["1"]])
      assert.deepStrictEqual(yield* Stream.runCollect(Stream.take(outputs, 1)), [0])
    })
  )

  it.effect("inside of a run is nested in it", () =>
    Effect.gen(function* () {
      const summed = Runner.make("summed", {
        run: (ns: ReadonlyArray<number>) =>
          Stream.runFold(
            Gather.stream(worker, Stream.fromIterable(ns)),
            () => 0,
            (a, b) => a + b
          )
      })
      const { events } = yield* live(collect(summed, [1, 2]))
      assert.strictEqual(outputOf(events), 30)
      assert.strictEqual(events.filter((event) => event.path.join(">") === "summed>worker").length, 4)
    })
  )

  it("that cannot work is refused", () => {
    for (const concurrency of [0, 1.5, Number.NaN, Infinity]) {
      assert.throws(() => Gather.stream(worker, Stream.empty, { concurrency }), RunError.InvalidDefinition)
      assert.throws(
        () => Gather.mapStream("x", worker, { inputs: numbers, into: Stream.runDrain, concurrency }),
        RunError.InvalidDefinition
      )
    }
  })
})

describe("a map of a stream", () => {
  it.effect("is a runner that consumes the outputs", () =>
    Effect.gen(function* () {
      const saved: Array<number> = []
      const each = Gather.mapStream("each", worker, {
        inputs: (text: string) => Stream.map(Stream.fromIterable(text.split(" ")), Number),
        into: Stream.runForEach((n) => Effect.sync(() => void saved.push(n)))
      })
      yield* live(each.run("30 10 20"))
      assert.deepStrictEqual(saved, [300, 100, 200])
      const sum = Gather.mapStream("sum", worker, {
        inputs: numbers,
        into: Stream.runFold(
          () => 0,
          (a, b) => a + b
        )
      })
      const { events } = yield* live(collect(sum, Stream.make(30, 10, 20)))
      assert.strictEqual(outputOf(events), 600)
      assert.deepStrictEqual(items(events), [
        ["1", "completed", 1, undefined],
        ["2", "completed", 2, undefined],
        ["0", "completed", 3, undefined]
      ])
      assert.strictEqual((yield* live(sum.result(Stream.make(1, 2)))).output, 30)
      const settled = Gather.mapStream("settled", worker, {
        inputs: numbers,
        into: Stream.runCollect,
        mode: Parallel.settle
      })
      const { events: emitted } = yield* live(collect(settled, Stream.make(10, -5)))
      assert.deepStrictEqual(yield* live(settled.run(Stream.make(10, -5))), [
        Result.succeed(100),
        Result.fail("failed -5")
      ])
      assert.deepStrictEqual(items(emitted), [
        ["1", "failed", 1, undefined],
        ["0", "completed", 2, undefined]
      ])
    })
  )

  it.effect("interrupts what is under way when it fails, or has enough", () =>
    Effect.gen(function* () {
      const some = Gather.mapStream("some", worker, {
        inputs: numbers,
        into: (outputs) => outputs.pipe(Stream.take(1), Stream.runCollect),
        concurrency: 3
      })
      const { events } = yield* live(collect(some, Stream.make(10, 500, 500, 500, 500)))
      assert.deepStrictEqual(outputOf(events), [100])
      assert.deepStrictEqual(
        items(events)
          .map(([, status]) => status)
          .toSorted(),
        ["completed", "interrupted", "interrupted", "interrupted"].slice(0, items(events).length)
      )
      const all = Gather.mapStream("all", worker, { inputs: numbers, into: Stream.runDrain, concurrency: 3 })
      const { events: emitted, exit } = yield* live(collect(all, Stream.make(500, -10, 500, 500, 500)))
      assert.deepStrictEqual(errorOf(exit).interrupted, ["0", "2"])
      assert.deepStrictEqual(
        items(emitted).map(([item, status, done]) => [item, status, done]),
        [
          ["1", "failed", 1],
          ["0", "interrupted", 2],
          ["2", "interrupted", 3]
        ]
      )
    })
  )

  it.effect("interrupts the others at once, even if the failure's event is read slowly", () =>
    Effect.gen(function* () {
      const { runner, seen } = counted(1000)
      const either = Runner.make("either", { run: (n: number) => (n === 2 ? Effect.fail("no") : runner.run(n)) })
      const emitted = Gather.mapStream("emitted", either, { inputs: numbers, into: Stream.runDrain }).pipe(
        Runner.onEvent((event) => (event._tag === "ItemCompleted" ? Effect.sleep(100_000) : Effect.void))
      )
      const fiber = yield* Effect.forkChild(Effect.flip(emitted.run(Stream.make(0, 1, 2))))
      for (let n = 0; n < 10; n++) yield* TestClock.adjust(1)
      assert.deepStrictEqual(seen.interrupted, [0, 1])
      yield* TestClock.adjust(1_000_000)
      assert.deepStrictEqual((yield* Fiber.join(fiber)).interrupted, ["0", "1"])
    })
  )

  it("takes 100,000 inputs in bounded memory, on both edges", () => {
    const script = `
      import { Effect, Stream } from "effect"
      import * as Gather from "troupe/Gather"
      import * as Parallel from "troupe/Parallel"
      import * as Runner from "troupe/Runner"
      import * as SyncEdge from "troupe/SyncEdge"
      const kilobyte = Runner.make("kilobyte", { run: (n) => Effect.as(Effect.yieldNow, "x".repeat(1000) + n) })
      const used = () => { gc(); return process.memoryUsage().heapUsed }
      let most = 0
      const total = 100_000
      const watch = (n) => { if (n % 10_000 === 9_999) most = Math.max(most, used()) }
      const make = (options) => Gather.mapStream("many", kilobyte, {
        ...options,
        inputs: (inputs) => inputs,
        into: (outputs) => Stream.runFold(outputs, () => 0, (n) => { watch(n); return n + 1 })
      })
      const inputs = Stream.range(1, total)
      const measure = async (options, sync) => {
        const program = make(options).run(inputs)
        await Effect.runPromise(make(options).run(Stream.range(1, 2_000)))
        most = 0
        const before = used()
        const count = sync ? Effect.runSync(Effect.provide(program, SyncEdge.layer)) : await Effect.runPromise(program)
        return { count, grown: most - before }
      }
      const results = [
        await measure({ concurrency: 16 }, false),
        await measure({ concurrency: 16, ordered: false, mode: Parallel.settle }, true)
      ]
      console.log(JSON.stringify(results))`
    const results = JSON.parse(inNode(script, "--expose-gc")) as ReadonlyArray<Record<"count" | "grown", number>>
    for (const { count, grown } of results) {
      assert.strictEqual(count, 100_000)
      // The outputs alone would be 100 MB.
      assert.isBelow(grown, 4_000_000)
    }
  }, 120_000)
})

/** One input: how long it takes, and how it ends. */
const RandomItem = Schema.Struct({
  ms: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 4 })),
  end: Schema.Literals(["ok", "ok", "ok", "ok", "fails", "dies", "interrupts"])
})
const RandomUse = Schema.Struct({
  items: Schema.Array(RandomItem).check(Schema.isMaxLength(12)),
  concurrency: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 5 })),
  ordered: Schema.Boolean,
  settles: Schema.Boolean,
  /** After how many outputs, or after how long, it is ended; 13 and 30 are after its end. */
  take: Schema.Literals([1, 3, 13, 13, 13]),
  stopAfter: Schema.Literals([0, 2, 5, 30, 30, 30])
})

describe("any stream of inputs", () => {
  it.effect.prop(
    "gives each output once, keeps its bound, fails for a reason, and leaves nothing behind",
    [RandomUse],
    ([use]) =>
      Effect.gen(function* () {
        const seen = { now: 0, most: 0, begun: 0, ended: 0, closed: 0 }
        const runner = Runner.make("random", {
          run: ([index, item]: readonly [number, typeof RandomItem.Type]) =>
            Effect.suspend(() => {
              seen.begun++
              seen.most = Math.max(seen.most, ++seen.now)
              const end = {
                ok: Effect.succeed(index),
                fails: Effect.fail("failed"),
                dies: Effect.die(new Error("died")),
                interrupts: Effect.interrupt
              }[item.end]
              return item.ms === 0 ? end : Effect.andThen(Effect.sleep(item.ms), end)
            }).pipe(
              Effect.onInterrupt(() => Effect.sleep(1)),
              Effect.ensuring(
                Effect.sync(() => {
                  seen.now--
                  seen.ended++
                })
              )
            )
        })
        const mode = use.settles ? Parallel.settle : Parallel.failFast
        const inputs = Stream.fromIterable(use.items.entries()).pipe(
          Stream.ensuring(Effect.sync(() => void seen.closed++))
        )
        const got: Array<unknown> = []
        const emitted: Array<RunEvent.RunEvent> = []
        const whole = Gather.mapStream("whole", runner, {
          inputs: (_input: string) => inputs,
          into: (outputs) =>
            outputs.pipe(
              Stream.take(use.take),
              Stream.runForEach((output) => Effect.sync(() => void got.push(output)))
            ),
          concurrency: use.concurrency,
          ordered: use.ordered,
          mode: mode as Parallel.FailFast
        }).pipe(Runner.onEvent((event) => Effect.sync(() => void emitted.push(event))))
        const fiber = yield* Effect.forkChild(whole.run("go"))
        yield* TestClock.adjust(use.stopAfter)
        const stopping = yield* Effect.forkChild(Fiber.interrupt(fiber))
        yield* TestClock.adjust(10)
        yield* Fiber.join(stopping)
        const exit = yield* Fiber.await(fiber)

        checkGrammar(emitted)
        assert.deepStrictEqual([seen.now, seen.ended, seen.closed], [0, seen.begun, 1])
        assert.isAtMost(seen.most, use.concurrency)
        assert.strictEqual(items(emitted).length, seen.begun)
        assert.deepStrictEqual(
          items(emitted).map(([, , done]) => done),
          Array.from({ length: seen.begun }, (_, n) => n + 1)
        )
        const indices = got.map((output) =>
          use.settles ? Result.getOrElse(output as Result.Result<number, unknown>, () => -1) : (output as number)
        )
        if (use.ordered) {
          assert.deepStrictEqual(
            indices,
            indices.map((_, n) => (use.settles && use.items[n]!.end !== "ok" ? -1 : n))
          )
        }
        const succeeded = indices.filter((index) => index >= 0)
        assert.strictEqual(new Set(succeeded).size, succeeded.length)
        const bad = use.items.some(({ end }) => end !== "ok")
        if (Exit.isSuccess(exit)) {
          assert.strictEqual(got.length, Math.min(use.take, use.items.length))
        } else if (Cause.hasInterruptsOnly(exit.cause)) {
          assert.isBelow(use.stopAfter, 30)
        } else {
          assert.isTrue(bad && !use.settles)
          assert.strictEqual(errorOf(exit)._tag, "ParallelError")
          assert.isAtLeast((errorOf(exit) as Parallel.ParallelError<string>).failures.length, 1)
        }
      }),
    { arbitrary: { runs: cases(300) } }
  )
})
