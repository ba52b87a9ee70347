/** A map of a stream in which inputs wait: it goes on with the outputs that it has kept, or says why it cannot. */
import { assert, describe } from "@effect/vitest"
import { Effect, Result, Schema, Stream } from "effect"
import { Prompt } from "effect/ai"
import { Gather, Parallel, RunError, Runner } from "troupe"
import { it } from "../support/edges.ts"
import { collect } from "../support/grammar.ts"
import { errorOf } from "../support/runners.ts"

const go = Runner.event("go", { schema: Schema.Finite })

/** Works on numbers: those in `waits` wait for a number to add, those below 0 fail. Notes what it has worked on to the end. */
const workers = (...waits: ReadonlyArray<number>) => {
  const made: Array<number> = []
  const worker = Runner.make("worker", {
    run: (n: number) =>
      Effect.gen(function* () {
        if (n < 0) return yield* Effect.fail(`failed ${n}`)
        const more = waits.includes(n) ? yield* go.run("") : 0
        made.push(n)
        return n + more
      })
  })
  return { made, worker }
}
const each = (ns: ReadonlyArray<number>) => Stream.fromIterable(ns)

const suspended = (error: unknown): RunError.RunSuspended => {
  if (error instanceof RunError.RunSuspended) return error
  throw error
}
/** The transcript as another process has it, with `value` as the answer to the first `count` of what waits. */
const answered = (error: unknown, value: number, count = Infinity): ReadonlyArray<number> => {
  const { transcript, waitingFor } = suspended(error)
  const answers = Object.fromEntries(waitingFor.slice(0, count).map(({ id }) => [id, value]))
  const json = JSON.stringify(Schema.encodeSync(Prompt.Prompt)(Runner.answer(transcript, answers)))
  // It takes the transcript in the place of its input.
  return Schema.decodeSync(Prompt.Prompt)(JSON.parse(json)) as unknown as ReadonlyArray<number>
}
const refusedWith = (error: unknown): string => {
  assert.instanceOf(error, RunError.CannotResume)
  return error.message
}

describe("a map of a stream with an input that waits", () => {
  it.effect("goes on with it, and gives the kept outputs again without making them", () =>
    Effect.gen(function* () {
      const { made, worker } = workers(2)
      const seen: Array<number> = []
      const sums = Gather.mapStream("sums", worker, {
        inputs: each,
        into: Stream.runForEach((n) => Effect.sync(() => void seen.push(n))),
        concurrency: 3,
        keep: 10
      })
      const error = yield* Effect.flip(sums.run([1, 2, 3, 4, 5]))
      // Those alongside it went on as far as there was room, and nothing after it was read.
      assert.deepStrictEqual([made, seen], [[1, 3, 4], [1]])
      assert.strictEqual(suspended(error).blockedBy, undefined)
      yield* sums.run(answered(error, 100))
      assert.deepStrictEqual(made, [1, 3, 4, 2, 5])
      assert.deepStrictEqual(seen, [1, 1, 102, 3, 4, 5])
    })
  )

  it.effect("emits nothing of an input that waits, and of those that had ended nothing again", () =>
    Effect.gen(function* () {
      const { worker } = workers(2)
      const sums = Gather.mapStream("sums", worker, { inputs: each, into: Stream.runCollect, ordered: false, keep: 10 })
      const items = (events: ReadonlyArray<{ readonly _tag: string }>) =>
        events.flatMap((event) => ("item" in event && "done" in event ? [[event.item, event.done]] : []))
      const first = yield* collect(sums, [1, 2, 3])
      assert.deepStrictEqual(items(first.events), [
        ["0", 1],
        ["2", 2]
      ])
      assert.strictEqual(first.events.at(-1)?._tag, "RunSuspended")
      const second = yield* collect(sums, answered(errorOf(first.exit), 5))
      assert.deepStrictEqual(items(second.events), [["1", 3]])
      assert.strictEqual(second.events.at(-1)?._tag, "RunCompleted")
    })
  )

  it.effect("keeps failures too in mode settle", () =>
    Effect.gen(function* () {
      const { made, worker } = workers(2)
      const sums = Gather.mapStream("sums", worker, {
        inputs: each,
        into: Stream.runCollect,
        mode: Parallel.settle,
        keep: 3
      })
      const error = yield* Effect.flip(sums.run([-1, 2, 3]))
      const outputs = [Result.fail("failed -1"), Result.succeed(7), Result.succeed(3)]
      assert.deepStrictEqual(yield* sums.run(answered(error, 5)), outputs as never)
      assert.deepStrictEqual(made, [3, 2])
    })
  )

  it.effect("waits again for what was not answered", () =>
    Effect.gen(function* () {
      const { made, worker } = workers(1, 3)
      const sums = Gather.mapStream("sums", worker, { inputs: each, into: Stream.runCollect, keep: 10 })
      const error = yield* Effect.flip(sums.run([1, 2, 3]))
      assert.lengthOf(suspended(error).waitingFor, 2)
      const again = yield* Effect.flip(sums.run(answered(error, 10, 1)))
      assert.lengthOf(suspended(again).waitingFor, 1)
      assert.deepStrictEqual(yield* sums.run(answered(again, 20)), [11, 2, 23])
      assert.deepStrictEqual(made, [2, 1, 3])
    })
  )

  it.effect("fails when another one fails, and not in the end", () =>
    Effect.gen(function* () {
      const { worker } = workers(1)
      const sums = Gather.mapStream("sums", worker, { inputs: each, into: Stream.runCollect, keep: 10 })
      const error = yield* Effect.flip(sums.run([1, -2]))
      assert.instanceOf(error, Parallel.ParallelError)
      assert.deepStrictEqual(error.interrupted, [])
      assert.deepStrictEqual(
        error.failures.map(({ branch, error }) => [branch, error]),
        [["1", "failed -2"]]
      )
    })
  )

  it.effect("is suspended, also when its consumer takes outputs that end too early for all", () =>
    Effect.gen(function* () {
      const { worker } = workers(2)
      const sums = Gather.mapStream("sums", worker, {
        inputs: each,
        into: (outputs) => Effect.catchCause(Stream.runCollect(outputs), () => Effect.succeed([])),
        keep: 10
      })
      const error = yield* Effect.flip(sums.run([1, 2]))
      assert.deepStrictEqual(yield* sums.run(answered(error, 1)), [1, 3])
    })
  )

  it.effect("does not wait for it when its consumer has enough", () =>
    Effect.gen(function* () {
      const { worker } = workers(1)
      const some = Gather.mapStream("some", worker, {
        inputs: each,
        into: (outputs) => Stream.runCollect(Stream.take(outputs, 2)),
        ordered: false,
        keep: 10
      })
      assert.deepStrictEqual(yield* some.run([1, 2, 3, 4]), [2, 3])
    })
  )
})

describe("a map of a stream that cannot go on", () => {
  const refused = <In>(sums: Runner.Runner<In, unknown, unknown, never>, input: In) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(sums.run(input))
      const reason = suspended(error).blockedBy?.reason ?? ""
      const message = refusedWith(yield* Effect.flip(sums.run(answered(error, 1) as never)))
      assert.include(message, reason)
      return reason
    })

  it.effect("says so: where nothing is kept, where more has come than is kept, and where its input is not data", () =>
    Effect.gen(function* () {
      const { made, worker } = workers(9)
      const into = Stream.runCollect
      assert.include(yield* refused(Gather.mapStream("sums", worker, { inputs: each, into }), [9]), "say with keep")
      assert.include(
        yield* refused(Gather.mapStream("sums", worker, { inputs: each, into, keep: 2 }), [1, 2, 3, 9]),
        "more than 2 outputs have come"
      )
      const inputs = (ns: Stream.Stream<number>) => ns
      const given = yield* refused(Gather.mapStream("sums", worker, { inputs, into, keep: 9 }), Stream.make(9))
      assert.include(given, "its input cannot be kept as JSON")
      assert.notInclude(made, 9)
    })
  )

  it.effect("refuses what it has not kept: more than it keeps, a failure in mode failFast, another workflow's", () =>
    Effect.gen(function* () {
      const { made, worker } = workers(9)
      const make = (keep: number) => Gather.mapStream("sums", worker, { inputs: each, into: Stream.runCollect, keep })
      const error = yield* Effect.flip(make(5).run([1, 2, 9]))
      made.splice(0)
      assert.include(refusedWith(yield* Effect.flip(make(1).run(answered(error, 1)))), "not of this workflow")
      const other = Gather.map("sums", worker)
      assert.include(refusedWith(yield* Effect.flip(other.run(answered(error, 1)))), "not of this workflow")
      const settling = Gather.mapStream("sums", worker, {
        inputs: each,
        into: Stream.runCollect,
        mode: Parallel.settle,
        keep: 5
      })
      const failed = yield* Effect.flip(settling.run([-1, 9]))
      assert.include(refusedWith(yield* Effect.flip(make(5).run(answered(failed, 1)))), "not of this workflow")
      assert.deepStrictEqual(made, [])
    })
  )

  it.effect("refuses to end when the input that waits does not come again", () =>
    Effect.gen(function* () {
      const { worker } = workers(9)
      let count = 3
      const sums = Gather.mapStream("sums", worker, {
        inputs: (ns: ReadonlyArray<number>) => Stream.take(each(ns), count--),
        into: Stream.runCollect,
        keep: 5
      })
      const error = yield* Effect.flip(sums.run([1, 2, 9]))
      assert.include(refusedWith(yield* Effect.flip(sums.run(answered(error, 1)))), "its inputs ended before number 2")
    })
  )

  it.effect("is not made with a number of outputs to keep that is not a whole number from 0", () =>
    Effect.sync(() => {
      const { worker } = workers()
      for (const keep of [-1, 1.5, Number.NaN, Infinity]) {
        assert.throws(
          () => Gather.mapStream("sums", worker, { inputs: each, into: Stream.runCollect, keep }),
          RunError.InvalidDefinition
        )
      }
    })
  )
})

describe("a stream of runs in a function", () => {
  it.effect("says that the function cannot go on with one that waits, which can by itself", () =>
    Effect.gen(function* () {
      const { made, worker } = workers(1, 2)
      const reader = Runner.make("reading", {
        run: (ns: ReadonlyArray<number>) => Stream.runCollect(Gather.stream(worker, each(ns), { concurrency: 1 }))
      })
      for (const ns of [[1], [3, 2]]) {
        const failed = yield* Effect.flip(reader.run(ns))
        assert.instanceOf(failed, Parallel.ParallelError)
        const { error } = failed.failures[0]!
        assert.deepStrictEqual(suspended(error).blockedBy?.path, ["reading"])
        assert.include(suspended(error).message, '"reading" cannot be resumed in its middle')
        assert.notInclude(suspended(error).message, "Go on with")
      }
      const alone = Gather.stream(worker, Stream.make(2))
      const failed = yield* Effect.flip(Stream.runDrain(alone))
      const { error } = failed.failures[0]!
      assert.strictEqual(suspended(error).blockedBy, undefined)
      assert.deepStrictEqual(made, [3])
    })
  )
})

describe("a function that goes on where a stream in it waits", () => {
  it.effect("is refused, and makes nothing again that had ended", () =>
    Effect.gen(function* () {
      const { made, worker } = workers(1)
      const results = Gather.stream(worker, Stream.make(1, 2, 3), { mode: Parallel.settle })
      const reader = Runner.make("reading", {
        run: () => Effect.flatMap(Stream.runCollect(results), (all) => Effect.fromResult(Result.all(all)))
      })
      const error = yield* Effect.flip(reader.run(""))
      assert.deepStrictEqual(made, [2, 3])
      const refused = yield* Effect.flip(reader.run(answered(error, 100)))
      assert.include(refusedWith(refused), "Gather.mapStream has keep")
      assert.deepStrictEqual(made, [2, 3])
      assert.strictEqual(yield* go.run(answered(error, 100)), 100)
    })
  )
})

describe("a map of a stream in which some inputs wait", () => {
  const Given = Schema.Struct({
    waits: Schema.Array(Schema.Boolean).check(Schema.isMaxLength(8)),
    concurrency: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 4 })),
    ordered: Schema.Boolean,
    answers: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 3 }))
  })

  it.effect.prop("comes to what it comes to without waiting, and works once on each", [Given], ([given]) =>
    Effect.gen(function* () {
      const { answers, concurrency, ordered, waits } = given
      const inputs = waits.map((_, n) => n)
      const { made, worker } = workers(...inputs.filter((n) => waits[n]))
      const sums = Gather.mapStream("sums", worker, {
        inputs: each,
        into: Stream.runCollect,
        concurrency,
        ordered,
        keep: 8
      })
      let next = inputs
      for (let round = 0; ; round++) {
        assert.isAtMost(round, inputs.length)
        const exit = yield* Effect.exit(sums.run(next))
        if (exit._tag === "Success") {
          const outputs = exit.value
          assert.deepStrictEqual(ordered ? outputs : outputs.toSorted(), inputs)
          assert.deepStrictEqual(made.toSorted(), inputs)
          return
        }
        next = answered(errorOf(exit), 0, answers) as Array<number>
      }
    })
  )
})
