/** What the compiler knows of an evaluation: inputs and outputs in scorers, and the services that are left. */
import type { Effect } from "effect"
import type { LanguageModel } from "effect/ai"
import { Agent, DemoModel, Eval, Runner } from "troupe"
import { expectTypeOf, it } from "vitest"

const clerk = Agent.make("clerk", { instructions: "Answer questions." })
const data = [{ input: "What is 2 + 40?", expected: "42" }]

it("the types of runners, data and scorers are those of the evaluation", () => {
  const own = Eval.make("own", Runner.provide(clerk, DemoModel.layer), {
    data,
    scorers: [Eval.includes, ({ expected, output }) => output.length < 200 && expected === output]
  })
  expectTypeOf(own).toEqualTypeOf<Eval.Eval>()
  const two = Eval.make(
    "two",
    { demo: Runner.provide(clerk, DemoModel.layer), given: clerk },
    { data, scorers: [({ output }) => output.length < 200, Eval.gate(Eval.exact)] }
  )
  expectTypeOf(two).toEqualTypeOf<Eval.Eval<never, LanguageModel.LanguageModel>>()
  expectTypeOf(Eval.run(two)).toEqualTypeOf<Effect.Effect<Eval.Report, never, LanguageModel.LanguageModel>>()
})

it("what does not fit is a compile error", () => {
  const mistakes = () => {
    // @ts-expect-error -- an input that the runner does not take
    Eval.make("input", clerk, { data: [{ input: 7 }], scorers: [] })
    // @ts-expect-error -- not a runner
    Eval.make("runner", { clerk: 1 }, { data, scorers: [] })
    // @ts-expect-error -- the scorer expects a text
    Eval.make("scorer", clerk, { data: [{ input: "a", expected: 1 }], scorers: [Eval.includes] })
  }
  expectTypeOf(mistakes).toBeFunction()
})
