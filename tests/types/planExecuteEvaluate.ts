/** The types of PlanExecuteEvaluate. Checked by the compiler; it runs nothing. */
import { Context, Effect, Schema } from "effect"
import type { LanguageModel, Prompt } from "effect/ai"
import { Agent, PlanExecuteEvaluate, Runner } from "troupe"
import { type Equal, proven } from "../support/typeEquality.ts"

class Verdict extends Schema.Class<Verdict>("Verdict")({ score: Schema.Int, reason: Schema.String }) {}
class Lost extends Schema.TaggedError<Lost>()("Lost", {}) {}
class Refused extends Schema.TaggedError<Refused>()("Refused", {}) {}
class Broken extends Schema.TaggedError<Broken>()("Broken", {}) {}
class Desk extends Context.Service<Desk, { readonly open: boolean }>()("test/Desk") {}
class Order {
  readonly items: ReadonlyArray<string> = []
}

const research = Agent.make("research", { description: "Finds facts" })
const write = Agent.make("write", { description: "Writes" })
const judge = Agent.make("judge", { output: Verdict })
const count = Runner.make("count", { run: (text: string) => Effect.succeed(text.length) })
const failing = Runner.make("failing", { run: (_text: string) => Effect.fail(new Broken()) })
const served = Runner.make("served", { run: (_text: string) => Effect.map(Desk, ({ open }) => open) })
const planner = Agent.make("planner", { output: PlanExecuteEvaluate.Plan })
const narrow = Agent.make("planner", { output: PlanExecuteEvaluate.planOf(["research", "write"]) })
const steps = [{ id: "a", task: "do it" }]

// Agents throughout.
const work = PlanExecuteEvaluate.make(
  "work",
  { workers: { research, write }, evaluator: judge },
  { accept: (verdict) => verdict.score >= 8 }
)
proven<Equal<Runner.Input<typeof work>, Prompt.RawInput>>()
proven<Equal<Runner.Output<typeof work>, Readonly<Record<string, string>>>>()
proven<Equal<Runner.Services<typeof work>, LanguageModel.LanguageModel>>()
proven<
  Equal<
    Runner.Error<typeof work>,
    | Agent.Error
    | PlanExecuteEvaluate.InvalidPlan
    | PlanExecuteEvaluate.StepsFailed<Agent.Error>
    | PlanExecuteEvaluate.PlanNotAccepted
  >
>()
for (const given of [planner, narrow]) {
  const planned = PlanExecuteEvaluate.make("planned", { planner: given, workers: { research, write } })
  proven<Equal<Runner.Input<typeof planned>, Prompt.RawInput>>()
}
class Planner extends Agent.Service<Planner>()("test/Planner", { output: PlanExecuteEvaluate.Plan }) {}
const byService = PlanExecuteEvaluate.make("byService", { planner: Planner, workers: { count } })
proven<Equal<Runner.Services<typeof byService>, Planner>>()
proven<
  Equal<
    Runner.Error<typeof byService>,
    Agent.Error | PlanExecuteEvaluate.InvalidPlan | PlanExecuteEvaluate.StepsFailed<never>
  >
>()

// Without a model: nothing of the agents is left in the types.
const graph = PlanExecuteEvaluate.make("graph", {
  planner: Effect.succeed({ steps }),
  executor: ({ step }) => Effect.succeed(step.task.length)
})
proven<Equal<Runner.Input<typeof graph>, Prompt.RawInput>>()
proven<Equal<Runner.Output<typeof graph>, Readonly<Record<string, number>>>>()
proven<Equal<Runner.Error<typeof graph>, PlanExecuteEvaluate.InvalidPlan | PlanExecuteEvaluate.StepsFailed<never>>>()
proven<Equal<Runner.Services<typeof graph>, never>>()

// Functions throughout, on a goal of their own, with every error and service.
const all = PlanExecuteEvaluate.make(
  "all",
  {
    planner: (request: PlanExecuteEvaluate.Request<Order>) =>
      request.goal.items.length === 0 ? Effect.fail(new Lost()) : Effect.succeed({ steps }),
    executor: ({ goal, results, step }) => {
      proven<Equal<typeof goal, Order>>()
      proven<Equal<typeof results, Readonly<Record<string, unknown>>>>()
      return step.id === "a" ? Effect.fail(new Broken()) : Effect.map(Desk, ({ open }) => ({ open, step: step.id }))
    },
    evaluator: ({ goal, plan, results }) => {
      proven<Equal<typeof goal, Order>>()
      proven<Equal<typeof plan, PlanExecuteEvaluate.Plan>>()
      proven<Equal<typeof results, Readonly<Record<string, { open: boolean; step: string }>>>>()
      return goal.items.length > plan.steps.length ? Effect.fail(new Refused()) : Effect.succeed(3)
    }
  },
  {
    accept: (verdict) => {
      proven<Equal<typeof verdict, number>>()
      return verdict > 2
    },
    score: (verdict) => verdict,
    onMaxRounds: "fail",
    combine: ({ results }) => Object.values(results).every(({ open }) => open)
  }
)
proven<Equal<Runner.Input<typeof all>, Order>>()
proven<Equal<Runner.Output<typeof all>, boolean>>()
proven<
  Equal<
    Runner.Error<typeof all>,
    | Lost
    | Refused
    | PlanExecuteEvaluate.InvalidPlan
    | PlanExecuteEvaluate.StepsFailed<Broken>
    | PlanExecuteEvaluate.PlanNotAccepted
  >
>()
proven<Equal<Runner.Services<typeof all>, Desk>>()

// Workers of several kinds; what they need and fail with comes through.
const mixed = PlanExecuteEvaluate.make(
  "mixed",
  {
    planner: ({ failures, goal, results, round }) => {
      proven<Equal<typeof goal, Prompt.RawInput>>()
      proven<Equal<typeof results, Readonly<Record<string, string | number | boolean>>>>()
      return Effect.succeed({ steps: [{ id: `a${round}${failures.length}`, task: "go", worker: "count" }] })
    },
    workers: { count, served, failing, research }
  },
  {
    combine: ({ results }) => (Object.keys(results).length > 3 ? Effect.fail(new Refused()) : Effect.succeed(results))
  }
)
proven<Equal<Runner.Input<typeof mixed>, string>>()
proven<Equal<Runner.Output<typeof mixed>, Readonly<Record<string, string | number | boolean>>>>()
proven<
  Equal<
    Runner.Error<typeof mixed>,
    | Refused
    | PlanExecuteEvaluate.InvalidPlan
    | PlanExecuteEvaluate.StepsFailed<Agent.Error | Broken>
    | Runner.Waiting<Agent.Error>
  >
>()
proven<Equal<Runner.Services<typeof mixed>, Desk | LanguageModel.LanguageModel>>()

// Runners as executor, evaluator and combine.
const answering = PlanExecuteEvaluate.make(
  "answering",
  { planner: Effect.succeed({ steps }), executor: count, evaluator: judge },
  { accept: ({ score }) => score > 1, combine: write, onMaxRounds: "best" }
)
proven<Equal<Runner.Input<typeof answering>, string>>()
proven<Equal<Runner.Output<typeof answering>, string>>()
proven<
  Equal<
    Runner.Error<typeof answering>,
    Agent.Error | PlanExecuteEvaluate.InvalidPlan | PlanExecuteEvaluate.StepsFailed<never>
  >
>()

// A step's results have the type of the annotation, which the outputs must fit.
const sum = PlanExecuteEvaluate.make("sum", {
  planner: Effect.succeed({ steps }),
  executor: ({ results, step }: PlanExecuteEvaluate.Task<string, number>) =>
    Effect.succeed(Object.values(results).reduce((a, b) => a + b, step.id.length))
})
proven<Equal<Runner.Input<typeof sum>, string>>()
proven<Equal<Runner.Output<typeof sum>, Readonly<Record<string, number>>>>()

PlanExecuteEvaluate.make("wrong", {
  planner: Effect.succeed({ steps }),
  // @ts-expect-error the results of the steps are texts, and it takes numbers
  executor: ({ results, step }: PlanExecuteEvaluate.Task<string, number>) =>
    Effect.succeed(`${step.id}${Object.keys(results).length}`)
})
// @ts-expect-error a worker's input is text
PlanExecuteEvaluate.make("wrong", { workers: { n: Runner.make("n", { run: (n: number) => Effect.succeed(n) }) } })
// @ts-expect-error an executor's input is text
PlanExecuteEvaluate.make("wrong", { executor: Runner.make("n", { run: (n: number) => Effect.succeed(n) }) })
// @ts-expect-error a planner makes plans
PlanExecuteEvaluate.make("wrong", { planner: judge, workers: { research } })
// @ts-expect-error either workers or an executor
PlanExecuteEvaluate.make("wrong", { workers: { research }, executor: count })
// @ts-expect-error somebody has to do it
PlanExecuteEvaluate.make("wrong", { planner })
// @ts-expect-error an evaluator's verdict has to be accepted by something
PlanExecuteEvaluate.make("wrong", { workers: { research }, evaluator: judge })
// @ts-expect-error nothing to accept without an evaluator
PlanExecuteEvaluate.make("wrong", { workers: { research } }, { accept: () => true })

// It nests.
PlanExecuteEvaluate.make("outer", { workers: { work, write } }, { combine: ({ results }) => results })

// Who decides later whether it fails has to reckon with it.
declare const onMaxRounds: "best" | "fail"
const undecided = PlanExecuteEvaluate.make(
  "undecided",
  { workers: { research }, evaluator: judge },
  { accept: () => false, onMaxRounds }
)
proven<
  Equal<
    Runner.Error<typeof undecided>,
    | Agent.Error
    | PlanExecuteEvaluate.InvalidPlan
    | PlanExecuteEvaluate.StepsFailed<Agent.Error>
    | PlanExecuteEvaluate.PlanNotAccepted
  >
>()
