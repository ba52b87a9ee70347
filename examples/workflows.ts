/**
 * One of each workflow, made of the same few agents. They nest in one another, as all of them are runners; here each is
 * asked for its picture, and one of them is run, so that its picture shows the course of that run.
 */
import { Effect, Schema, Stream } from "effect"
import {
  Agent,
  Chain,
  EvaluatorOptimizer,
  Gather,
  Handoffs,
  DemoModel,
  Orchestrator,
  Parallel,
  PlanExecuteEvaluate,
  Router,
  Runner
} from "troupe"

const researcher = Agent.make("researcher", { description: "Finds facts", instructions: "List the key points." })
const writer = Agent.make("writer", { description: "Writes a text", instructions: "Summarise it in two sentences." })
const legal = Agent.make("legal", { description: "Contracts and law", instructions: "Look at it as a lawyer." })
const finance = Agent.make("finance", { description: "Money and taxes", instructions: "Look at it as an accountant." })
const judge = Agent.make("judge", {
  instructions: "Judge the text.",
  output: Schema.Struct({ score: Schema.Int, reason: Schema.String })
})

export const chain = Chain.make("chain", [
  Chain.gate("any text", (text: string) => (text.trim() === "" ? Chain.stop("There is nothing to read.") : text)),
  researcher,
  writer
])
export const router = Router.make("router", { legal, finance }, { fallback: "legal" })
export const parallel = Parallel.make("parallel", { legal, finance }, { combine: writer })
export const hedge = Parallel.hedge("hedge", writer, { delay: "2 seconds" })
export const refined = EvaluatorOptimizer.make(
  "refined",
  { generator: writer, evaluator: judge },
  { accept: ({ score }) => score >= 8, maxRounds: 4 }
)
export const planned = PlanExecuteEvaluate.make(
  "planned",
  { workers: { researcher, writer }, evaluator: judge },
  { accept: ({ score }) => score >= 8 }
)
export const orchestrator = Orchestrator.make("orchestrator", { researcher, writer }, { spawn: {} })
const triage = Agent.make("triage", { tools: [Handoffs.to("legal"), Handoffs.to("finance")] })
export const handoffs = Handoffs.make("handoffs", { triage, legal, finance }, { start: "triage" })
export const gather = Gather.map("gather", writer, { concurrency: 4 })

if (import.meta.main) {
  const text =
    "Ice melts at zero degrees. Salt lowers the melting point, which keeps roads free of ice in winter. Too much of it harms the trees beside the road."
  const events = await Effect.runPromise(Stream.runCollect(chain.stream(text)).pipe(Effect.provide(DemoModel.layer)))
  console.log(Runner.toMermaid(chain, events))
  for (const runner of [router, parallel, hedge, refined, planned, orchestrator, handoffs, gather]) {
    console.log(`\n${Runner.toMermaid(runner)}`)
  }
}
