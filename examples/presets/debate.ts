/**
 * A debate with a judge: two sides argue at the same time over a motion and the facts that are known, and a judge says
 * who has the better case, as a typed verdict.
 *
 *     node examples/presets/debate.ts "Should the team adopt a four-day week? ..."
 */
import { Effect, Schema } from "effect"
import { Agent, Chain, Parallel, Runner } from "troupe"
import { main } from "./model.ts"

const side = (name: string, question: string) =>
  Agent.make(name, {
    instructions:
      "You take part in a debate. Answer with the facts that speak for your side, and only with facts that are given."
  }).pipe(Runner.mapInput((motion: string) => `${question}\n\n${motion}`))

const debate = Parallel.make("debate", {
  advocate: side("advocate", "What are the benefits and gains?"),
  critic: side("critic", "What are the problems and costs?")
})

const Verdict = Schema.Struct({
  winner: Schema.Literals(["advocate", "critic"]).annotate({ description: "Whose case is stronger" }),
  summary: Schema.String.annotate({ description: "What the debate has shown, in one or two sentences" })
})

const judge = Agent.make("judge", {
  description: "Judges a debate",
  instructions: "You judge a debate: say whose case is stronger, and what it has shown. Weigh facts, not words.",
  output: Verdict
})

const withJudge = Chain.make(
  "debate with a judge",
  [
    debate,
    ({ advocate, critic }) =>
      Effect.map(judge.run(`The advocate says: ${advocate}\n\nThe critic says: ${critic}`), (verdict) => ({
        advocate,
        critic,
        verdict
      }))
  ],
  { description: "Debates a motion and judges the debate" }
)
export default withJudge

const sample = `Should the team adopt the four-day week for good? It was tried for six months.
A benefit was that sick days fell by a third. A further gain: two people who wanted to leave have stayed.
A problem was that customers waited longer for answers on Fridays. The cost of the on-call duty rose by 2,000 euros.
The number of releases stayed the same, which is a benefit too.`
await main(import.meta.main, withJudge.run, sample)
