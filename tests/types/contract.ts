/**
 * The public face as the design promises it, for the compiler only: nothing here runs. A line that stops compiling is a
 * promise broken; the `satisfies` and `Equal` lines pin types that inference could silently widen.
 */
import { type Config, Context, Effect, Layer, type Schedule, Schema, Stream } from "effect"
import { LanguageModel, type Prompt, Tool, Toolkit } from "effect/ai"
import { Agent, AgentTool, Mcp, OpenAi, Orchestrator, type RunError, RunEvent, Runner, Skills, SyncEdge } from "troupe"
import { type Equal, proven } from "../support/typeEquality.ts"

declare const write: (text: string) => Effect.Effect<void>

// -- an agent
const Add = Tool.make("add", {
  description: "Add two numbers",
  parameters: Schema.Struct({ a: Schema.Finite, b: Schema.Finite }),
  success: Schema.Finite
})
const Math_ = Toolkit.make(Add)
const MathTools = Math_.toLayer({ add: ({ a, b }) => Effect.succeed(a + b) })

const calculator = Agent.make("calculator", {
  description: "Does arithmetic",
  instructions: "You do arithmetic with the tools you have.",
  toolkit: Math_,
  maxSteps: 8
})
calculator satisfies Runner.Runner<
  Prompt.RawInput,
  string,
  Agent.Error,
  LanguageModel.LanguageModel | Tool.HandlersFor<{ readonly add: typeof Add }>
>
proven<Equal<Runner.Output<typeof calculator>, string>>()
proven<Equal<Runner.Error<typeof calculator>, Agent.Error>>()
proven<Equal<Runner.Input<typeof calculator>, Prompt.RawInput>>()

const Model = OpenAi.layer({ model: "gpt-4.1-mini" })
const Live = Layer.mergeAll(Model, MathTools)

export const text: string = await Effect.runPromise(calculator.run("What is 2 + 40?").pipe(Effect.provide(Live)))
export const same: string = Effect.runSync(
  calculator.run("What is 2 + 40?").pipe(Effect.provide(Live), Effect.provide(SyncEdge.layer))
)

export const billed = Effect.gen(function* () {
  const { output, usage, steps, transcript, duration } = yield* calculator.result("What is 2 + 40?")
  return [output satisfies string, usage.outputTokens.total, steps satisfies number, transcript, duration] as const
})
// A transcript is an input.
export const again = Effect.flatMap(calculator.result("?"), ({ transcript }) => calculator.run(transcript))
// So are images and files.
export const seen = calculator.run([
  {
    role: "user",
    content: [
      { type: "text", text: "What is this?" },
      { type: "file", mediaType: "image/png", data: new Uint8Array() }
    ]
  }
])

export const watched: Effect.Effect<void, Agent.Error, Runner.Services<typeof calculator>> = calculator
  .stream("What is 2 + 40?")
  .pipe(Stream.runForEach((event) => (event._tag === "TextDelta" ? write(event.delta) : Effect.void)))
calculator.stream("?") satisfies Stream.Stream<RunEvent.RunEvent, Agent.Error, Runner.Services<typeof calculator>>

// @ts-expect-error -- without the tools' handlers it does not run
Effect.runPromise(calculator.run("?").pipe(Effect.provide(Model)))
// @ts-expect-error -- nor without a model
Effect.runPromise(calculator.run("?").pipe(Effect.provide(MathTools)))
// @ts-expect-error -- a misspelt option is not an option
Agent.make("calculator", { instruction: "You do arithmetic." })

// -- typed output
class Verdict extends Schema.Class<Verdict>("Verdict")({ score: Schema.Int, reason: Schema.String }) {}
const judge = Agent.make("judge", { instructions: "Judge the text.", output: Verdict })
judge satisfies Runner.Runner<Prompt.RawInput, Verdict, Agent.Error, LanguageModel.LanguageModel>
proven<Equal<Runner.Output<typeof judge>, Verdict>>()
proven<Equal<Runner.Services<typeof judge>, LanguageModel.LanguageModel>>()

// -- an agent as a service
class Researcher extends Agent.Service<Researcher>()("app/Researcher", {
  instructions: "You research.",
  toolkit: Math_
}) {}
Researcher.layer satisfies Layer.Layer<
  Researcher,
  never,
  LanguageModel.LanguageModel | Tool.HandlersFor<{ readonly add: typeof Add }>
>
Researcher.run("...") satisfies Effect.Effect<string, Agent.Error, Researcher>
Researcher satisfies Runner.Runner<Prompt.RawInput, string, Agent.Error, Researcher>
proven<Equal<Effect.Services<ReturnType<typeof Researcher.run>>, Researcher>>()
// @ts-expect-error -- a service needs its layer
Effect.runPromise(Researcher.run("..."))

// -- tools made of functions: sync, promise, Effect; what an Effect needs, the agent needs
class Clock_ extends Context.Service<Clock_, { readonly now: Effect.Effect<string> }>()("app/Clock") {}
const upper = AgentTool.fromFunction("upper", {
  description: "Upper-cases a text",
  parameters: Schema.Struct({ text: Schema.String }),
  execute: ({ text }) => text.toUpperCase()
})
const fetched = AgentTool.fromFunction("fetched", {
  description: "Fetches a page",
  parameters: Schema.Struct({ url: Schema.String }),
  success: Schema.String,
  execute: async ({ url }, { signal }) => (await fetch(url, { signal })).text()
})
const now = AgentTool.fromFunction("now", {
  description: "Tells the time",
  execute: () => Effect.flatMap(Clock_, (clock) => clock.now)
})
const direct = Agent.make("direct", { tools: [upper, fetched, now] })
proven<Equal<Runner.Services<typeof direct>, LanguageModel.LanguageModel | Clock_>>()
AgentTool.fromFunction("wrong", {
  description: "Takes what it did not declare",
  parameters: Schema.Struct({ text: Schema.String }),
  // @ts-expect-error -- its parameters have no such field
  execute: ({ texts }) => texts
})

// -- combinators: the result is again a runner
declare const daily: Schedule.Schedule<number>
const measured = calculator.pipe(
  Runner.map((output) => output.length),
  Runner.mapInput((n: number) => `What is ${n}?`),
  Runner.withTimeout("10 seconds"),
  Runner.withRetry({ times: 2, schedule: daily, while: (error) => error._tag === "RunTimedOut" }),
  Runner.named("measured"),
  Runner.provide(Live)
)
measured satisfies Runner.Runner<number, number, Agent.Error | RunError.RunTimedOut | Config.ConfigError, never>
proven<Equal<Runner.Output<typeof measured>, number>>()
proven<Equal<Runner.Services<typeof measured>, never>>()
proven<Equal<Runner.Input<typeof measured>, number>>()

// -- instructions and stopWhen each fail with and need what they want
class NoRules extends Schema.TaggedError<NoRules>()("NoRules", {}) {}
class NoClock extends Schema.TaggedError<NoClock>()("NoClock", {}) {}
class Rules extends Context.Service<Rules, { readonly text: Effect.Effect<string, NoRules> }>()("app/Rules") {}
class Late extends Context.Service<Late, { readonly is: Effect.Effect<boolean, NoClock> }>()("app/Late") {}
const governed = {
  instructions: () => Effect.flatMap(Rules, ({ text }) => text),
  stopWhen: () => Effect.flatMap(Late, ({ is }) => is)
}
type Governed = Runner.Runner<Prompt.RawInput, string, Agent.Error | NoRules | NoClock, Governing>
type Governing = LanguageModel.LanguageModel | Rules | Late
const citizen = Agent.make("citizen", governed)
proven<Equal<Runner.Error<typeof citizen>, Runner.Error<Governed>>>()
proven<Equal<Runner.Services<typeof citizen>, Governing>>()
class Citizen extends Agent.Service<Citizen>()("app/Citizen", governed) {}
proven<Equal<Runner.Error<typeof Citizen>, Runner.Error<Governed>>>()
proven<Equal<Layer.Services<typeof Citizen.layer>, Governing>>()
const clerk = Agent.make("clerk", { ...governed, use: [Skills.feature()] })
proven<Equal<Runner.Error<typeof clerk>, Runner.Error<Governed> | Skills.InvalidSkills>>()
proven<Equal<Runner.Services<typeof clerk>, Governing | Skills.Skills>>()
const lead = Orchestrator.make("lead", {}, { ...governed, spawn: {} })
proven<Equal<Runner.Error<typeof lead>, Runner.Error<Governed>>>()
proven<Equal<Runner.Services<typeof lead>, Governing>>()

// -- any runner is a tool for another agent, which then needs what the runner needs
const chief = Agent.make("chief", { tools: [AgentTool.fromRunner(Researcher), AgentTool.fromRunner(judge)] })
proven<Equal<Runner.Services<typeof chief>, LanguageModel.LanguageModel | Researcher>>()

// -- tools of servers are known at run time only, and what they need is known before: nothing
const served = Effect.gen(function* () {
  const toolkit = yield* Mcp.toolkit()
  return yield* LanguageModel.generateText({ prompt: "What is in README.md?", toolkit })
})
proven<Equal<Effect.Services<typeof served>, LanguageModel.LanguageModel | Mcp.Mcp>>()

// -- an agent with other options: what they need joins its type
class Desk extends Context.Service<Desk, { readonly open: boolean }>()("app/Desk") {}
class Closed extends Schema.TaggedError<Closed>()("Closed", {}) {}
const varied = Agent.with(calculator, {
  instructions: () => Effect.flatMap(Desk, ({ open }) => (open ? Effect.succeed("You are open.") : new Closed())),
  maxSteps: 2
})
proven<Equal<Runner.Output<typeof varied>, string>>()
proven<Equal<Runner.Error<typeof varied>, Agent.Error | Closed>>()
proven<Equal<Runner.Services<typeof varied>, Runner.Services<typeof calculator> | Desk>>()
const piped = calculator.pipe(Agent.with({ maxSteps: 2, instructions: "Be brief." }))
proven<Equal<typeof piped, Agent.Agent<string, Agent.Error, Runner.Services<typeof calculator>>>>()
// @ts-expect-error -- there is no such option
Agent.with(calculator, { maxStep: 2 })
// @ts-expect-error -- the output is the type of an agent
Agent.with(calculator, { output: Schema.Finite })
// @ts-expect-error -- a runner is not an agent
Agent.with(Runner.named(calculator, "other"), { maxSteps: 2 })

// -- schemas of runners
calculator.output satisfies Schema.Schema<string>
class Vote extends Schema.Class<Vote>("Vote")({ yes: Schema.Boolean }) {}
class Voter extends Agent.Service<Voter>()("app/Voter", { output: Vote }) {}
proven<Equal<(typeof Voter)["output"], Schema.Schema<Vote>>>()
const counted = Runner.make("counted", {
  input: Schema.NumberFromString,
  output: Schema.Date,
  run: (at) => Effect.succeed(new Date(at))
})
proven<Equal<typeof counted, Runner.Runner<number, Date, never, never>>>()
const lines = Runner.map(calculator, (text) => text.split("\n"), { output: Schema.Array(Schema.String) })
proven<Equal<Runner.Output<typeof lines>, ReadonlyArray<string>>>()
const asked = calculator.pipe(Runner.mapInput((n: number) => `What is ${n} + 1?`, { input: Schema.Finite }))
proven<Equal<Runner.Input<typeof asked>, number>>()
// @ts-expect-error -- the schema is that of another output
Runner.map(calculator, (text) => text.length, { output: Schema.String })

// -- typed output as it streams
const Plan = Schema.Struct({
  title: Schema.String,
  steps: Schema.Array(Schema.Struct({ done: Schema.DateFromString }))
})
export const partials = RunEvent.partial(calculator.stream("?"), Plan)
proven<
  Equal<
    Stream.Success<typeof partials>,
    { readonly title?: string; readonly steps?: ReadonlyArray<{ readonly done?: string }> }
  >
>()
proven<Equal<Stream.Error<typeof partials>, Agent.Error>>()
export const items = RunEvent.elements(calculator.stream("?"), Plan)
proven<Equal<Stream.Success<typeof items>, typeof Plan.Type>>()
