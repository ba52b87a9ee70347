/** The design's workflows, as types. Checked by the compiler; it runs nothing. */
import { Effect, Result, Schema } from "effect"
import type { LanguageModel, Prompt } from "effect/ai"
import {
  Agent,
  AgentTool,
  Chain,
  EvaluatorOptimizer,
  Gather,
  Handoffs,
  Orchestrator,
  Parallel,
  Router,
  type RunError,
  Runner
} from "troupe"
import { type Equal, proven } from "../support/typeEquality.ts"

class Verdict extends Schema.Class<Verdict>("Verdict")({ score: Schema.Int, reason: Schema.String }) {}
const researcher = Agent.make("researcher", { instructions: "You research.", description: "Researches" })
const writer = Agent.make("writer", { instructions: "You write." })
const judge = Agent.make("judge", { instructions: "Judge the text.", output: Verdict })
const count = Runner.make("count", { run: (text: string) => Effect.succeed(text.length) })
const double = Runner.make("double", { run: (n: number) => Effect.succeed(n * 2) })
const failing = Runner.make("failing", { run: (_text: string) => Effect.fail("no" as const) })

const pipeline = Chain.make("pipeline", [researcher, writer, judge])
proven<Equal<Runner.Output<typeof pipeline>, Verdict>>()
proven<Equal<Runner.Error<typeof pipeline>, Agent.Error>>()
proven<Equal<Runner.Services<typeof pipeline>, LanguageModel.LanguageModel>>()
Chain.make("mixed", [
  researcher,
  (text: string) => Effect.succeed(text.length),
  (n: number) => Effect.succeed(n > 3)
]) satisfies Runner.Runner<string, boolean, Agent.Error, LanguageModel.LanguageModel>
// @ts-expect-error a number is not a string
Chain.make("mismatch", [count, writer])
// The error is at the step that does not fit, and does not include the steps after it.
Chain.make("mismatch", [
  writer,
  count,
  // @ts-expect-error a number is not a string
  writer,
  count
])
// @ts-expect-error a step gives an Effect
Chain.make("mismatch", [writer, (text: string) => text.length])

const gated = Chain.make("gated", [
  Chain.gate("short", (text: string) => (text.length < 3 ? Chain.stop(0) : text)),
  writer,
  Chain.gate("fits", (text: string) => (text === "" ? Effect.fail("empty" as const) : Effect.succeed(text)))
])
proven<Equal<Runner.Input<typeof gated>, string>>()
proven<Equal<Runner.Output<typeof gated>, string | number>>()
proven<Equal<Runner.Error<typeof gated>, Agent.Error | "empty">>()
// @ts-expect-error what the gate lets through is not a number
Chain.make("mismatch", [Chain.gate("any", (text: string) => text), (n: number) => Effect.succeed(n)])
Chain.make("five", [count, double, double, double, double]) satisfies Runner.Runner<string, number, never, never>
Chain.make("seven", [
  count,
  double,
  Chain.make("rest", [double, double, double, double, double])
]) satisfies Runner.Runner<string, number, never, never>
// A function in a chain knows what it is given, and members may be written in place.
Chain.make("inPlace", [writer, (text) => Effect.succeed(text.length), double]) satisfies Runner.Runner<
  string,
  number,
  Agent.Error,
  LanguageModel.LanguageModel
>

const desk = Router.make("desk", { billing: researcher, technical: writer }, { fallback: "technical" })
proven<Equal<Runner.Output<typeof desk>, string>>()
// A router with a fallback always finds a route.
proven<Equal<Runner.Error<typeof desk>, Agent.Error>>()
const unsure = Router.make("unsure", { billing: researcher, technical: writer })
proven<Equal<Runner.Error<typeof unsure>, Agent.Error | Router.RouteNotFound>>()
const severalOr = Router.many("severalOr", { billing: researcher, count }, { fallback: "count" })
proven<Equal<Runner.Error<typeof severalOr>, Parallel.ParallelError<Agent.Error> | Agent.Error>>()
const byRuleOr = Router.make(
  "byRuleOr",
  { count, failing },
  { classify: (input: string) => Effect.succeed(input === "" ? "count" : "failing"), fallback: "count" }
)
proven<Equal<Runner.Error<typeof byRuleOr>, "no">>()
const byPrompts = Router.fromPrompts({ billing: "Bill.", technical: "Fix." }, { fallback: "technical" })
proven<Equal<Runner.Error<typeof byPrompts>, Agent.Error>>()
// @ts-expect-error -- no route has this name
Router.make("astray", { billing: researcher }, { fallback: "technical" })
const byRule = Router.make(
  "byRule",
  { count, failing },
  { classify: (input: string) => Effect.succeed(input === "" ? "count" : "failing") }
)
proven<Equal<Runner.Output<typeof byRule>, number>>()
proven<Equal<Runner.Error<typeof byRule>, "no" | Router.RouteNotFound>>()
proven<Equal<Runner.Services<typeof byRule>, never>>()
const several = Router.many("several", { billing: researcher, count }, { threshold: 0.5 })
proven<Equal<Runner.Output<typeof several>, Partial<{ readonly billing: string; readonly count: number }>>>()
proven<Equal<Runner.Error<typeof several>, Parallel.ParallelError<Agent.Error> | Router.RouteNotFound | Agent.Error>>()
const someOf = Router.many(
  "someOf",
  { count, failing },
  {
    classify: (_input: string) => Effect.succeed(["count", "failing"] as const),
    mode: Parallel.race
  }
)
proven<Equal<Runner.Output<typeof someOf>, number>>()
proven<Equal<Runner.Error<typeof someOf>, Parallel.ParallelError<"no"> | Router.RouteNotFound>>()
const byText = Router.make(
  "byText",
  { billing: researcher, technical: writer },
  {
    classify: (text: string) => Effect.succeed(text.includes("bill") ? "billing" : "technical")
  }
)
proven<Equal<Runner.Input<typeof byText>, string>>()
const byAny = Router.make(
  "byAny",
  { billing: researcher, technical: writer },
  { classify: (input) => Effect.succeed(input === "bill" ? "billing" : "technical") }
)
proven<Equal<Runner.Input<typeof byAny>, Runner.Input<typeof writer>>>()
// @ts-expect-error the routes take no numbers
Router.make("wrong", { count }, { classify: (_n: number) => Effect.succeed("count" as const) })
// @ts-expect-error no such route
Router.make("wrong", { count }, { fallback: "other" })

const panel = Parallel.make("panel", { researcher, count, failing })
proven<
  Equal<Runner.Output<typeof panel>, { readonly researcher: string; readonly count: number; readonly failing: never }>
>()
proven<Equal<Runner.Error<typeof panel>, Parallel.ParallelError<Agent.Error | "no"> | Runner.Waiting<Agent.Error>>>()
const input: Runner.Input<typeof panel> = "a text"
panel.run(input)
// @ts-expect-error the branches take texts
panel.run(3)
const majority = Parallel.make("majority", { a: count, b: count, c: count }, { mode: Parallel.quorum(2) })
proven<Equal<Runner.Output<typeof majority>, Partial<{ readonly a: number; readonly b: number; readonly c: number }>>>()
const first = Parallel.make("first", { count, researcher }, { mode: Parallel.race })
proven<Equal<Runner.Output<typeof first>, string | number>>()
const settled = Parallel.make("settled", { count, failing }, { mode: Parallel.settle })
proven<
  Equal<
    Runner.Output<typeof settled>,
    {
      readonly count: Result.Result<number, Parallel.BranchDefect>
      readonly failing: Result.Result<never, "no" | Parallel.BranchDefect>
    }
  >
>()
proven<Equal<Runner.Error<typeof settled>, never>>()
const listed = Parallel.make("listed", [count, researcher])
proven<Equal<Runner.Output<typeof listed>, readonly [number, string]>>()
const some = Parallel.make("some", [count, failing], { mode: Parallel.quorum(1) })
proven<Equal<Runner.Output<typeof some>, ReadonlyArray<number>>>()
const summed = Parallel.make(
  "summed",
  { researcher, count },
  { combine: ({ count: n, researcher: text }) => n + text.length }
)
proven<Equal<Runner.Output<typeof summed>, number>>()
proven<Equal<Runner.Error<typeof summed>, Parallel.ParallelError<Agent.Error> | Runner.Waiting<Agent.Error>>>()
const checked = Parallel.make("checked", [count, count], {
  mode: Parallel.settle,
  combine: ([a]) => Effect.fromResult(Result.mapError(a, () => "lost" as const))
})
proven<Equal<Runner.Output<typeof checked>, number>>()
proven<Equal<Runner.Error<typeof checked>, "lost">>()
const judged = Parallel.make("judged", { count, failing }, { combine: judge })
proven<Equal<Runner.Output<typeof judged>, Verdict>>()
proven<Equal<Runner.Error<typeof judged>, Parallel.ParallelError<"no"> | Agent.Error>>()
const quick = Parallel.hedge("quick", failing, { delay: "1 second" })
proven<Equal<Runner.Error<typeof quick>, Parallel.ParallelError<"no">>>()
// @ts-expect-error the branches do not take the same input
Parallel.make("mixed", [count, Runner.make("n", { run: (n: number) => Effect.succeed(n) })]).run("text")

const refined = EvaluatorOptimizer.make(
  "refined",
  { generator: writer, evaluator: judge },
  { accept: (verdict) => verdict.score >= 8, maxRounds: 4, onMaxRounds: "best" }
)
proven<Equal<Runner.Output<typeof refined>, string>>()
proven<Equal<Runner.Error<typeof refined>, Agent.Error>>()
const sure = EvaluatorOptimizer.make(
  "sure",
  { generator: writer, evaluator: judge },
  { accept: (verdict) => verdict.score >= 8 }
)
proven<Equal<Runner.Error<typeof sure>, Agent.Error | EvaluatorOptimizer.NotAccepted>>()
EvaluatorOptimizer.make(
  "numbers",
  {
    generator: Runner.make("n", { run: (n: number) => Effect.succeed(n) }),
    evaluator: (n: number) => Effect.succeed(n)
  },
  // @ts-expect-error a generator that does not take a conversation has to say how its input is revised
  { accept: (n) => n > 3 }
)

Agent.make("caller", { tools: [AgentTool.fromRunner(Runner.described(desk, "The desk"))] })
Chain.make("nested", [Runner.map(panel, ({ researcher: text }) => text), desk, refined])

// -- a member that is written in place and does not look at its input takes any, and leaves the others' input as it is
const inPlace = Parallel.make("inPlace", {
  slow: Runner.mapInput(Agent.make("slow", {}), () => "something else"),
  broken: Runner.make("broken", { run: () => Effect.fail("no" as const) }),
  long: Runner.make("long", { run: (text: string) => Effect.succeed(text.length) })
})
inPlace.run("x") satisfies Effect.Effect<
  { readonly long: number },
  Parallel.ParallelError<Agent.Error | "no"> | Runner.Waiting<Agent.Error>,
  unknown
>
Gather.broadcast("inPlace", [Runner.make("one", { run: () => Effect.succeed(1) })]).run("x")
Router.make(
  "inPlace",
  { one: Runner.make("one", { run: () => Effect.succeed(1) }) },
  { classify: (_text: string) => Effect.succeed("one" as const) }
).run("x")
// @ts-expect-error -- a branch has to be a runner
Parallel.make("wrong", { text: "text" })

// -- members that are written in place bring their own types
const led = Orchestrator.make("led", { worker: Agent.make("worker", { description: "Works" }) })
proven<Equal<Runner.Services<typeof led>, LanguageModel.LanguageModel>>()
const handed = Handoffs.make("handed", { first: Agent.make("first", {}) }, { start: "first" })
proven<Equal<Runner.Services<typeof handed>, LanguageModel.LanguageModel>>()
// @ts-expect-error a worker is given a text
Orchestrator.make("wrong", { n: Runner.make("n", { run: (n: number) => Effect.succeed(n) }) })
const eachOf = Router.many("eachOf", { billing: researcher, count }, { mode: Parallel.settle })
proven<
  Equal<
    Runner.Output<typeof eachOf>,
    {
      readonly billing?: Result.Result<string, Agent.Error | Parallel.BranchDefect>
      readonly count?: Result.Result<number, Parallel.BranchDefect>
    }
  >
>()

// -- another runner on failure: its errors replace those of the first, except for what says that the first waits
const spare = Runner.make("spare", { run: (_input: unknown) => Effect.succeed(0) })
const either = failing.pipe(Runner.orElse(spare))
proven<Equal<typeof either, Runner.Runner<string, number, never, never>>>()
const answering = Runner.orElse(researcher, spare)
proven<
  Equal<Runner.Error<typeof answering>, RunError.RunSuspended | RunError.InvalidApproval | RunError.CannotResume>
>()

// -- workflows made of texts
proven<
  Equal<
    ReturnType<typeof Chain.fromPrompts>,
    Runner.Runner<Prompt.RawInput, string, Agent.Error, LanguageModel.LanguageModel>
  >
>()
const sides = Parallel.fromPrompts({ pro: "Argue for it.", contra: "Argue against it." })
proven<Equal<Runner.Output<typeof sides>, { readonly pro: string; readonly contra: string }>>()
const weighed = Parallel.fromPrompts({ pro: "Argue for it.", contra: "Argue against it." }, { combine: "Weigh." })
proven<Equal<Runner.Output<typeof weighed>, string>>()
proven<Equal<Runner.Services<typeof weighed>, LanguageModel.LanguageModel>>()
// @ts-expect-error -- the fallback is one of the routes
Router.fromPrompts({ billing: "Invoices" }, { fallback: "technical" })

// -- what waits suspends the workflow around it
const paid = Runner.event("paid", { schema: Schema.Struct({ amount: Schema.Finite }) })
proven<Equal<Runner.Output<typeof paid>, { readonly amount: number }>>()
proven<Equal<Runner.Error<typeof paid>, RunError.RunSuspended | RunError.InvalidApproval | RunError.CannotResume>>()
proven<Equal<Runner.Services<typeof paid>, never>>()
proven<Equal<Runner.Waiting<Agent.Error>, Runner.Error<typeof paid>>>()
const both = Parallel.make("both", { paid, count }, { mode: Parallel.settle })
proven<Equal<Runner.Error<typeof both>, Runner.Error<typeof paid>>>()
const locate = AgentTool.client("locate", { description: "Where", success: Schema.Struct({ city: Schema.String }) })
proven<Equal<typeof locate, AgentTool.AgentTool<"locate", never>>>()
Agent.make("guide", { tools: [locate] }).run("hi") satisfies Effect.Effect<
  string,
  Agent.Error,
  LanguageModel.LanguageModel
>
// @ts-expect-error it runs nothing here
AgentTool.client("locate", { description: "Where", execute: () => 1 })
