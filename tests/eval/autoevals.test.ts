/** The scorers of `autoevals` as they are: those that compute, and one that asks a model. */
import { assert, describe, it } from "@effect/vitest"
import { ExactMatch, Factuality, JSONDiff, Levenshtein, NumericDiff } from "autoevals"
import { Effect } from "effect"
import { Eval, Runner } from "troupe"
import { json, serve } from "../support/wire.ts"

const scoresOf = (report: Eval.Report) =>
  report.runners[0]!.cases.map(({ scores }) => scores.map(({ score, scorer }) => [scorer, score]))

describe("autoevals", () => {
  it.effect("its functions are scorers under their own names", () =>
    Effect.gen(function* () {
      const echo = Runner.make("echo", { run: (text: string) => Effect.succeed(text) })
      const words = Eval.make("words", echo, {
        data: [
          { input: "hallo", expected: "hello" },
          { input: "hello", expected: "hello" }
        ],
        scorers: [Levenshtein, Eval.gate(ExactMatch, { mean: 0.5 })]
      })
      const report = yield* Eval.run(words)
      assert.deepStrictEqual(scoresOf(report), [
        [
          ["Levenshtein", 0.8],
          ["ExactMatch", 0]
        ],
        [
          ["Levenshtein", 1],
          ["ExactMatch", 1]
        ]
      ])
      assert.isTrue(report.passed)
      const double = Runner.make("double", { run: (n: number) => Effect.succeed(n * 2) })
      const numbers = Eval.make("numbers", double, { data: [{ input: 1, expected: 4 }], scorers: [NumericDiff] })
      assert.closeTo(scoresOf(yield* Eval.run(numbers))[0]![0]![1] as number, 2 / 3, 1e-9)
      const wrap = Runner.make("wrap", { run: (a: number) => Effect.succeed({ a, b: "x" }) })
      const data = [{ input: 1, expected: { a: 1, b: "x" } }]
      const objects = Eval.make("objects", wrap, { data, scorers: [JSONDiff] })
      assert.deepStrictEqual(scoresOf(yield* Eval.run(objects)), [[["JSONDiff", 1]]])
    })
  )

  it.live("a scorer of it that asks a model gives its score, and why", () =>
    Effect.gen(function* () {
      const choice = { name: "select_choice", arguments: JSON.stringify({ reasons: "It is so.", choice: "C" }) }
      const call = { id: "c", type: "function", function: choice }
      const message = { role: "assistant", content: null, tool_calls: [call] }
      const server = yield* serve(json({ choices: [{ index: 0, message, finish_reason: "tool_calls" }] }))
      const echo = Runner.make("echo", { run: (text: string) => Effect.succeed(text) })
      const judged = Eval.make("judged", echo, {
        data: [{ input: "Paris", expected: "Paris" }],
        scorers: [
          Eval.scorer(
            "Factuality",
            (args: { readonly input: string; readonly output: string; readonly expected?: string }) =>
              Factuality({
                ...args,
                openAiApiKey: "k",
                openAiBaseUrl: `${server.url}/v1`,
                model: "gpt-4o",
                useCoT: true
              })
          )
        ]
      })
      // As it is it takes its key from the environment.
      assert.doesNotThrow(() => Eval.make("graded", echo, { data: [], scorers: [Levenshtein, Factuality] }))
      const report = yield* Eval.run(judged)
      const [score] = report.runners[0]!.cases[0]!.scores
      assert.deepInclude(score, { scorer: "Factuality", score: 1 })
      assert.include(JSON.stringify(score?.metadata), "It is so.")
      assert.lengthOf(server.bodies, 1)
    })
  )
})
