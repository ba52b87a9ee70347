/** Evaluations for tests of the command line. */
import { Effect } from "effect"
import { Eval, Runner } from "troupe"

const echo = Runner.make("echo", { run: (text: string) => Effect.succeed(text) })
const data = [
  { input: "a", expected: "a" },
  { input: "b", expected: "c" }
]

export const good = Eval.make("good", echo, { data, scorers: [Eval.gate(Eval.exact, { mean: 0.5 })] })
export const bad = Eval.make("bad", echo, { data, scorers: [Eval.gate(Eval.exact)] })
