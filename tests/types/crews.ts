/** Orchestrators and handoffs, as types. Checked by the compiler; it runs nothing. */
import { Context, Effect, Schema } from "effect"
import type { LanguageModel } from "effect/ai"
import { Agent, AgentTool, Handoffs, Orchestrator, type RunError, Runner } from "troupe"
import { type Equal, proven } from "../support/typeEquality.ts"

class Store extends Context.Service<Store, { readonly get: Effect.Effect<string> }>()("Store") {}
class Verdict extends Schema.Class<Verdict>("Verdict")({ score: Schema.Int }) {}
const research = Agent.make("research", { description: "Researches" })
const stored = Runner.make("stored", {
  description: "Reads",
  run: (_task: string) => Effect.flatMap(Store, (store) => store.get)
})
const look = AgentTool.fromFunction("look", {
  description: "Looks",
  execute: () => Effect.flatMap(Store, (store) => store.get)
})

const lead = Orchestrator.make("lead", { research, stored }, { output: Verdict, budget: { runs: 3 } })
proven<Equal<Runner.Output<typeof lead>, Verdict>>()
proven<Equal<Runner.Error<typeof lead>, Agent.Error>>()
proven<Equal<Runner.Services<typeof lead>, LanguageModel.LanguageModel | Store>>()
const limited = Orchestrator.make("limited", { research }, { budget: { runs: 3, tokens: 1000 } })
proven<Equal<Runner.Error<typeof limited>, Agent.Error | RunError.BudgetExceeded>>()
const spawning = Orchestrator.make("spawning", {}, { spawn: { tools: [look] } })
proven<Equal<Runner.Services<typeof spawning>, LanguageModel.LanguageModel | Store>>()
const plain = Orchestrator.make("plain", { research })
proven<Equal<Runner.Services<typeof plain>, LanguageModel.LanguageModel>>()
// @ts-expect-error a worker is given a text
Orchestrator.make("wrong", { n: Runner.make("n", { run: (n: number) => Effect.succeed(n) }) })

const judge = Agent.make("judge", { output: Verdict })
const triage = Agent.make("triage", { tools: [Handoffs.to("judge"), look] })
const desk = Handoffs.make("desk", { triage, judge }, { start: "triage" })
proven<Equal<Runner.Output<typeof desk>, string | Verdict>>()
proven<Equal<Runner.Error<typeof desk>, Agent.Error>>()
proven<Equal<Runner.Services<typeof desk>, LanguageModel.LanguageModel | Store>>()
proven<
  Equal<
    (typeof triage)["run"],
    (input: Runner.Input<typeof triage>) => Effect.Effect<string, Agent.Error, LanguageModel.LanguageModel | Store>
  >
>()
// @ts-expect-error there is no agent of that name
Handoffs.make("desk", { triage, judge }, { start: "other" })
// @ts-expect-error it takes no conversation
Handoffs.make("desk", { triage, stored }, { start: "triage" })
