import { assert, describe, it } from "@effect/vitest"
import { Data, Effect, Exit, Fiber, Result, Schema } from "effect"
import { TestClock } from "effect/testing"
import { Agent, Parallel, RunError, Runner, TestModel } from "troupe"
import { collect } from "../support/grammar.ts"

class Broken extends Data.TaggedError("Broken")<{ readonly what: string }> {}

const after = (ms: number, text: string) =>
  Runner.make(text, { run: (input: string) => Effect.as(Effect.sleep(ms), `${input} ${text}`) })
const failing = (ms: number, what: string) =>
  Runner.make(what, { run: (_input: string) => Effect.andThen(Effect.sleep(ms), Effect.fail(new Broken({ what }))) })

const in_ = <A, E, R>(ms: number, effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(effect)
    yield* TestClock.adjust(ms)
    const exit = fiber.pollUnsafe()
    yield* Fiber.interrupt(fiber)
    return exit ?? assert.fail(`not done after ${ms} ms`)
  })

describe("a parallel of an array", () => {
  it.effect("gives its outputs in order, whichever came first", () =>
    Effect.gen(function* () {
      const both = Parallel.make("both", [after(20, "slow"), after(10, "quick")])
      assert.deepStrictEqual(yield* in_(20, both.run("go")), Exit.succeed(["go slow", "go quick"] as const))
      const two = Parallel.make("two", [after(30, "a"), failing(1, "b"), after(10, "c")], { mode: Parallel.quorum(2) })
      assert.deepStrictEqual(yield* in_(30, two.run("go")), Exit.succeed(["go a", "go c"]))
    })
  )

  it.effect("distinguishes branches with the same name", () =>
    Effect.gen(function* () {
      const same = Parallel.make("same", [failing(5, "x"), failing(5, "x"), after(1, "y")], { mode: Parallel.settle })
      const exit = yield* in_(5, same.run("go"))
      assert.isTrue(Exit.isSuccess(exit) && exit.value.length === 3)
      const broken = Parallel.make("same", [failing(1, "x"), failing(5, "x")])
      const error = yield* in_(5, Effect.flip(broken.run("go")))
      if (!Exit.isSuccess(error)) return assert.fail("it did not fail")
      assert.deepStrictEqual(
        [error.value.failures.map(({ branch }) => branch), error.value.interrupted],
        [["x"], ["x 2"]]
      )
      const numbered = Parallel.make("numbered", [after(9, "x"), failing(1, "x"), after(9, "x 2")])
      const other = yield* in_(9, Effect.flip(numbered.run("go")))
      if (!Exit.isSuccess(other)) return assert.fail("it did not fail")
      assert.deepStrictEqual(
        [other.value.failures.map(({ branch }) => branch), other.value.interrupted],
        [["x 3"], ["x", "x 2"]]
      )
    })
  )
})

describe("a parallel that is decided or interrupted", () => {
  it.effect("begins no other branch once it is decided", () =>
    Effect.gen(function* () {
      const begun: Array<string> = []
      const branch = (name: string, outcome: Effect.Effect<string, string>) =>
        Runner.make(name, {
          run: (_input: string) =>
            Effect.andThen(
              Effect.sync(() => begun.push(name)),
              outcome
            )
        })
      const [fails, succeeds, next] = [
        branch("fails", Effect.fail("no")),
        branch("succeeds", Effect.succeed("yes")),
        branch("next", Effect.succeed("next"))
      ]
      const error = yield* Effect.flip(Parallel.make("one by one", { fails, next }, { concurrency: 1 }).run("go"))
      assert.deepStrictEqual(error.interrupted, ["next"])
      assert.strictEqual(yield* Parallel.make("race", { succeeds, next }, { mode: Parallel.race }).run("go"), "yes")
      assert.deepStrictEqual(begun, ["fails", "succeeds"])
    })
  )

  it.effect("loses nothing that fails while it is interrupted from outside, to any depth", () =>
    Effect.gen(function* () {
      const spiteful = Runner.make("spiteful", {
        run: (_input: string) => Effect.onInterrupt(Effect.never, () => Effect.die(new Error("and another thing")))
      })
      const waiting = Runner.make("waiting", { run: (_input: string) => Effect.never })
      const bad = Runner.make("bad", { run: (_input: string) => Effect.fail("tolerated") })
      const boom = Runner.make("boom", {
        run: (_input: string) => Effect.andThen(Effect.sleep(10), Effect.fail("boom"))
      })
      const quiet = Parallel.make("quiet", { bad, waiting }, { mode: Parallel.race })
      const inner = Parallel.make("inner", { waiting, spiteful })
      const middle = Parallel.make("middle", { inner, waiting }, { mode: Parallel.quorum(1) })
      const outer = Parallel.make("outer", { quiet, middle, boom })
      const fiber = yield* Effect.forkChild(Effect.flip(outer.run("go")))
      yield* TestClock.adjust(10)
      const error = yield* Fiber.join(fiber)
      assert.deepStrictEqual(
        error.failures.map(({ branch }) => branch),
        ["boom", "middle"]
      )
      assert.deepStrictEqual(error.interrupted, ["quiet"])
      const nested = error.failures[1]?.error
      if (!(nested instanceof Parallel.ParallelError)) return assert.fail(String(nested))
      assert.deepStrictEqual([nested.name, nested.interrupted], ["middle", ["waiting"]])
      assert.include(nested.message, "and another thing")
      return undefined
    })
  )
})

describe("the events of a parallel", () => {
  it.effect("has one item for each branch as it ends, under the branch's name", () =>
    Effect.gen(function* () {
      const agent = Agent.make("agent", {})
      const never = Runner.make("never", { run: (_input: string) => Effect.never })
      const one = Parallel.make("one", { never, agent }, { mode: Parallel.race })
      const { events } = yield* collect(one, "go")
      assert.deepStrictEqual(
        events.flatMap((event) =>
          event._tag === "ItemCompleted" ? [[event.item, event.status, event.done, event.total]] : []
        ),
        [
          ["agent", "completed", 1, 2],
          ["never", "interrupted", 2, 2]
        ]
      )
      assert.include(
        events.map((event) => event.path.join(">")),
        "one>agent"
      )
    }).pipe(Effect.provide(TestModel.layer(["hi"])))
  )

  it.effect("of a branch that dies or interrupts itself is a failure, and never lost", () =>
    Effect.gen(function* () {
      const dies = Runner.make("dies", { run: (_input: string) => Effect.die(new TypeError("a bug")) })
      const leaves = Runner.make("leaves", { run: (_input: string) => Effect.interrupt })
      const fine = after(1, "fine")
      const all = Parallel.make("all", { dies, leaves, fine }, { mode: Parallel.settle })
      const exit = yield* in_(1, all.run("go"))
      if (!Exit.isSuccess(exit)) return assert.fail("a settled parallel failed")
      assert.deepStrictEqual(exit.value.fine, Result.succeed("go fine"))
      for (const branch of [exit.value.dies, exit.value.leaves]) {
        assert.strictEqual(Result.isFailure(branch) ? branch.failure._tag : undefined, "BranchDefect")
      }
      for (const name of ["dies", "leaves"] as const) {
        const one = Parallel.make("one", { [name]: { dies, leaves }[name], slow: after(1000, "slow") })
        const error = yield* in_(1, Effect.flip(one.run("go")))
        if (!Exit.isSuccess(error)) return assert.fail("it did not fail")
        assert.deepStrictEqual(
          error.value.failures.map(({ branch, error }) => [branch, error._tag]),
          [[name, "BranchDefect"]]
        )
      }
    })
  )
})

describe("combine", () => {
  it.effect("makes one output of all by a function, plain or an Effect", () =>
    Effect.gen(function* () {
      const plain = Parallel.make(
        "plain",
        { a: after(1, "a"), b: after(1, "b") },
        { combine: ({ a, b }) => `${a}+${b}` }
      )
      assert.deepStrictEqual(yield* in_(1, plain.run("go")), Exit.succeed("go a+go b"))
      const fails = Parallel.make("fails", [after(1, "a")], {
        combine: ([a]) => Effect.fail(new Broken({ what: a }))
      })
      assert.deepStrictEqual(yield* in_(1, fails.run("go")), Exit.fail(new Broken({ what: "go a" })))
    })
  )

  it.effect("gives a runner the outputs as text, failed branches too", () =>
    Effect.gen(function* () {
      const chair = Agent.make("chair", { instructions: "Sum up." })
      const branches = { good: after(1, "good"), bad: failing(1, "bad") }
      const settled = Parallel.make("settled", branches, { mode: Parallel.settle, combine: chair })
      const { events, exit } = yield* Effect.flatten(in_(5, collect(settled, "go")))
      assert.isTrue(Exit.isSuccess(exit))
      assert.include(
        events.map((event) => event.path.join(">")),
        "settled>chair"
      )
      const { prompt } = (yield* (yield* TestModel.TestModel).calls).at(-1)!
      const text = JSON.stringify(prompt.content)
      for (const part of ["## good", "go good", "## bad", "failed"]) assert.include(text, part)
    }).pipe(Effect.provide(TestModel.layer(["all is well"])))
  )
})

describe("a hedge", () => {
  it.effect("begins another attempt after the delay, takes the first success and interrupts the rest", () =>
    Effect.gen(function* () {
      const begun: Array<number> = []
      let interrupted = 0
      const slowFirst = Runner.make("work", {
        run: (_input: string) =>
          Effect.gen(function* () {
            begun.push(yield* Effect.clockWith((clock) => clock.currentTimeMillis))
            const attempt = begun.length
            yield* Effect.sleep(attempt === 1 ? 1000 : 50).pipe(
              Effect.onInterrupt(() => Effect.sync(() => interrupted++))
            )
            return attempt
          })
      })
      const hedged = Parallel.hedge("hedged", slowFirst, { delay: 100, attempts: 3 })
      assert.deepStrictEqual(yield* in_(150, hedged.run("go")), Exit.succeed(2))
      assert.deepStrictEqual([begun, interrupted], [[0, 100], 1])
    })
  )

  it.effect("makes one attempt when that is quick, and does not wait when one fails", () =>
    Effect.gen(function* () {
      let attempts = 0
      const work = (fails: number) =>
        Runner.make("work", {
          run: (_input: string) =>
            Effect.suspend(() =>
              ++attempts <= fails ? Effect.fail(new Broken({ what: `${attempts}` })) : Effect.succeed(attempts)
            )
        })
      assert.deepStrictEqual(yield* in_(0, Parallel.hedge("h", work(0), { delay: 100 }).run("go")), Exit.succeed(1))
      attempts = 0
      const patient = Parallel.hedge("h", work(2), { delay: 100, attempts: 3 })
      assert.deepStrictEqual(yield* in_(0, patient.run("go")), Exit.succeed(3))
      attempts = 0
      const error = yield* in_(0, Effect.flip(Parallel.hedge("h", work(9), { delay: 100, attempts: 3 }).run("go")))
      if (!Exit.isSuccess(error)) return assert.fail("it did not fail")
      assert.deepStrictEqual(
        error.value.failures.map(({ branch, error }) => [branch, error._tag === "Broken" ? error.what : error._tag]),
        [
          ["1", "1"],
          ["2", "2"],
          ["3", "3"]
        ]
      )
    })
  )

  it("that could not work is refused", () => {
    const work = after(1, "a")
    for (const options of [{ delay: 1, attempts: 0 }, { delay: 1, attempts: 1.5 }, { delay: "soon" as never }]) {
      assert.throws(() => Parallel.hedge("h", work, options), RunError.InvalidDefinition)
    }
  })
})

describe("the error of a parallel", () => {
  it.effect("is a schema, and says what failed by fields where it has no message", () =>
    Effect.gen(function* () {
      const dying = Effect.andThen(Effect.sleep(2), Effect.die(new Error("a bug")))
      const branches = {
        broken: failing(1, "the press"),
        dead: Runner.make("dead", { run: (_input: string) => dying }),
        slow: after(9, "slow")
      }
      const panel = Parallel.make("panel", branches, { mode: Parallel.quorum(2) })
      const exit = yield* in_(9, Effect.flip(panel.run("go")))
      if (!Exit.isSuccess(exit)) return assert.fail("it did not fail")
      const error: Parallel.ParallelError<Broken> = exit.value
      assert.include(error.message, '"what":"the press"')
      const codec = Schema.fromJsonString(Parallel.ParallelError)
      const decoded = Schema.decodeSync(codec)(Schema.encodeSync(codec)(error))
      assert.instanceOf(decoded, Parallel.ParallelError)
      assert.deepStrictEqual(
        decoded.failures.map(({ branch, error }) => [branch, error]),
        [
          ["broken", { _tag: "Broken", what: "the press" }],
          ["dead", new Parallel.BranchDefect({ defect: new Error("a bug") })]
        ]
      )
      assert.deepStrictEqual(decoded.interrupted, ["slow"])
    })
  )

  it("knows its failures' types where it is made, too", () => {
    const failures = [{ branch: "a", error: new Broken({ what: "x" }) }]
    const made = new Parallel.ParallelError({ name: "made", failures, interrupted: [] })
    const [first] = made.failures
    const what: string | undefined = first?.error._tag === "Broken" ? first.error.what : undefined
    assert.strictEqual(what, "x")
  })
})

describe("the event of a failed parallel", () => {
  it.effect("lists the failures without their conversations and bills, which earlier events hold", () =>
    Effect.gen(function* () {
      const agent = Agent.make("agent", { tools: [], maxSteps: 1, output: Schema.Struct({ n: Schema.Int }) })
      const inner = Parallel.make("inner", { agent })
      const { events } = yield* collect(Parallel.make("outer", { inner }), "a long conversation")
      const last = events.at(-1)
      const error = JSON.stringify(last?._tag === "RunFailed" ? last.error : undefined)
      assert.include(error, '"_tag":"InvalidOutput"')
      assert.notInclude(error, '"transcript"')
      assert.notInclude(error, '"spent"')
    }).pipe(Effect.provide(TestModel.layer(["no number", "none"])))
  )
})
