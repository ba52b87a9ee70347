/** Reports: as a table, as JSON, as JUnit's XML, and compared. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Eval, Runner } from "troupe"

const data = Array.from({ length: 8 }, (_, index) => ({ input: index, name: `case ${index}` }))
/** Right from a number on. */
const from = (least: number) =>
  Runner.make("guess", {
    run: (n: number) =>
      n === 7 && least === 9 ? Effect.fail(new Error('a "bad" <tag> \u0007')) : Effect.succeed(n >= least)
  })
const evaluate = (runner: ReturnType<typeof from>, name = "guesses") =>
  Eval.run(
    Eval.make(name, runner, {
      data,
      scorers: [
        Eval.gate(
          Eval.scorer("right", ({ output }) => output === true),
          { mean: 0.5, each: 0 }
        )
      ]
    })
  )

describe("a report", () => {
  it.effect("is a table that says what did not go well", () =>
    Effect.gen(function* () {
      const good = Eval.toTable(yield* evaluate(from(2)))
      assert.include(good, "right   75.0% pass (mean >= 50.0%, each >= 0.0%)")
      assert.isTrue(good.endsWith("passed"))
      const bad = Eval.toTable(yield* evaluate(from(9)))
      assert.include(bad, "right   0.0% FAIL")
      assert.include(bad, '- case 7: Error: a "bad" <tag>')
      assert.include(bad, "FAILED: right of guess; 1 runs failed, 0 may")
      assert.isTrue(bad.split("\n").every((line) => line.length <= 100))
    })
  )

  it.effect("comes back from JSON", () =>
    Effect.gen(function* () {
      const report = yield* evaluate(from(2))
      assert.deepStrictEqual(yield* Eval.fromJson(Eval.toJson(report)), report)
      const error = yield* Effect.flip(Eval.fromJson('{"v":1}'))
      assert.strictEqual(error._tag, "SchemaError")
    })
  )

  it.effect("is XML of JUnit, with any text in it", () =>
    Effect.gen(function* () {
      const xml = Eval.toJUnit(yield* evaluate(from(9), 'a & "b"'))
      assert.include(xml, '<testsuite name="a &amp; &quot;b&quot;.guess" tests="9" failures="1" errors="1"')
      assert.include(xml, 'message="a &quot;bad&quot; &lt;tag&gt; "')
      assert.match(xml, /name="mean of right" time="0"><failure message="0.0%, FAIL/)
    })
  )
})

describe("two reports", () => {
  it.effect("are compared case by case", () =>
    Effect.gen(function* () {
      const comparison = Eval.compare(yield* evaluate(from(6)), yield* evaluate(from(1)))
      const [scorer] = comparison.runners[0]!.scorers
      assert.deepStrictEqual([scorer!.before, scorer!.after, scorer!.compared], [0.25, 0.875, 8])
      assert.deepStrictEqual([scorer!.better.length, scorer!.worse.length], [5, 0])
      // Five of five: 2 / 2^5.
      assert.closeTo(scorer!.chance, 0.0625, 1e-9)
      const back = Eval.compare(yield* evaluate(from(1)), yield* evaluate(from(6)))
      assert.include(Eval.comparisonTable(back), "- case 1: right 100.0% -> 0.0%")
    })
  )

  it.effect("count what only one of them has, and equal ones do not differ", () =>
    Effect.gen(function* () {
      const whole = yield* evaluate(from(2))
      const short = yield* Eval.run(
        Eval.make("short", from(2), { data: data.slice(0, 5), scorers: [Eval.scorer("right", () => true)] })
      )
      const [one] = Eval.compare(short, whole).runners
      assert.deepStrictEqual([one!.added, one!.removed], [3, 0])
      const [same] = Eval.compare(whole, whole).runners
      assert.deepStrictEqual([same!.scorers[0]!.chance, same!.scorers[0]!.better.length], [1, 0])
    })
  )
})
