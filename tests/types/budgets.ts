/** Budgets, inboxes, work in the background and teams, as types. Checked by the compiler; it runs nothing. */
import { Context, type Duration, Effect, type Stream } from "effect"
import type { LanguageModel, Prompt } from "effect/ai"
import { Agent, AgentTool, Inbox, type RunError, type RunEvent, Runner, Team } from "troupe"
import { type Equal, proven } from "../support/typeEquality.ts"

class Store extends Context.Service<Store, { readonly get: Effect.Effect<string> }>()("Store") {}
const desk = Agent.make("desk", {})
const stored = Runner.make("stored", {
  description: "Reads",
  run: (_task: string) =>
    Effect.andThen(
      Effect.flatMap(Store, (store) => store.get),
      Effect.fail("empty" as const)
    )
})

const limited = Runner.withBudget(desk, {
  tokens: 50_000,
  cost: 0.25,
  steps: 40,
  toolCalls: 100,
  time: "2 minutes",
  onExceeded: "answer"
})
const piped = desk.pipe(Runner.withBudget({ steps: 40 }))
proven<Equal<typeof limited, typeof piped>>()
proven<
  Equal<
    typeof limited,
    Runner.Runner<Prompt.RawInput, string, Agent.Error | RunError.BudgetExceeded, LanguageModel.LanguageModel>
  >
>()
// @ts-expect-error there is no such limit
Runner.withBudget(desk, { money: 1 })

export const left = Effect.gen(function* () {
  const left = yield* Runner.remaining
  proven<Equal<typeof left.tokens, number | undefined>>()
  proven<Equal<typeof left.time, Duration.Duration | undefined>>()
  const inbox = yield* Inbox.make
  const run = desk.run("go").pipe(Inbox.listen(inbox))
  proven<Equal<typeof run, Effect.Effect<string, Agent.Error, LanguageModel.LanguageModel>>>()
  const events = Inbox.listen(desk.stream("go"), inbox)
  proven<Equal<typeof events, Stream.Stream<RunEvent.RunEvent, Agent.Error, LanguageModel.LanguageModel>>>()
  const delivery = yield* inbox.steer("Stop.")
  proven<Equal<typeof delivery, "delivered" | "undelivered">>()
})

const writer = Agent.make("writer", { tools: [...AgentTool.background(stored)] })
proven<Equal<Runner.Services<typeof writer>, LanguageModel.LanguageModel | Store>>()

const team = Team.make("release", { leader: desk, members: { writer, stored } }, { budget: { steps: 9 }, maxRounds: 3 })
proven<
  Equal<
    typeof team,
    Runner.Runner<string, string, Agent.Error | "empty" | RunError.BudgetExceeded, LanguageModel.LanguageModel | Store>
  >
>()
// @ts-expect-error a member is given a text
Team.make("wrong", { leader: desk, members: { n: Runner.make("n", { run: (n: number) => Effect.succeed(n) }) } })
