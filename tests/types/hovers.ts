/**
 * What an editor shows of agents and workflows. `displayed.test.ts` compares the comments that begin with "shows" with what
 * the language server says of the name below. Nothing here runs.
 */
import { Effect, Schema, Stream } from "effect"
import { Tool, Toolkit } from "effect/ai"
import {
  Agent,
  AgentServer,
  AgentTool,
  BasicTools,
  Chain,
  Durable,
  Gather,
  Handoffs,
  Middleware,
  Orchestrator,
  Parallel,
  PlanExecuteEvaluate,
  Router,
  type RunEvent,
  Runner,
  Session,
  Skills
} from "troupe"

class NoRules extends Schema.TaggedError<NoRules>()("NoRules", {}) {}
const Add = Tool.make("add", {
  description: "Add two numbers",
  parameters: Schema.Struct({ a: Schema.Finite, b: Schema.Finite }),
  success: Schema.Finite
})
const kit = Toolkit.make(Add)

// shows const writer: Agent.Agent<string, Agent.AgentError, LanguageModel>
export const writer = Agent.make("writer", { instructions: "You write.", description: "Writes" })

// shows const calculator: Agent.Agent<string, Agent.AgentError, Tool.Handler<"add"> | LanguageModel>
export const calculator = Agent.make("calculator", { toolkit: kit })

// shows const chat: Runner.Runner<RawInput, string, SessionConflict | SessionWaiting | StoreError | Agent.AgentError,
// LanguageModel | SessionStore>
export const chat = Session.of(writer, "user-42")

// shows const judge: Agent.Agent<{ readonly score: number; }, Agent.AgentError, LanguageModel>
export const judge = Agent.make("judge", { output: Schema.Struct({ score: Schema.Int }) })

// shows const clerk: Agent.Agent<string, Skills.InvalidSkills | NoRules | Agent.AgentError, LanguageModel | Skills.Skills>
export const clerk = Agent.make("clerk", { instructions: () => Effect.fail(new NoRules()), use: [Skills.feature()] })

// shows const brief: Agent.Agent<string, NoRules | Agent.AgentError, Tool.Handler<"add"> | LanguageModel>
export const brief = Agent.with(calculator, { instructions: () => Effect.fail(new NoRules()), maxSteps: 2 })

// shows const failed: (error: Agent.Error) => Agent.AgentError
export const failed = (error: Agent.Error) => error

// shows const ran: Effect.Effect<string, Agent.AgentError, Tool.Handler<"add"> | LanguageModel>
export const ran = calculator.run("What is 2 + 40?")

// shows const resulted: Effect.Effect<Runner.Result<string>, Agent.AgentError, LanguageModel>
export const resulted = writer.result("Hello")

// shows const streamed: Stream.Stream<RunEvent.RunEvent, Agent.AgentError, LanguageModel>
export const streamed = writer.stream("Hello")

// shows const ends: (event: RunEvent.RunEvent) => RunEvent.RunCompleted | RunEvent.RunFailed | undefined
export const ends = (event: RunEvent.RunEvent) =>
  event._tag === "RunCompleted" || event._tag === "RunFailed" ? event : undefined

// shows const deltas: Stream.Stream<RunEvent.TextDelta, Agent.AgentError, LanguageModel>
export const deltas = Stream.filter(streamed, (event) => event._tag === "TextDelta")

export class Researcher extends Agent.Service<Researcher>()("app/Researcher", { toolkit: kit }) {}
// shows const layer: Layer<Researcher, never, Tool.Handler<"add"> | LanguageModel>
export const layer = Researcher.layer
// shows const research: Effect.Effect<string, Agent.AgentError, Researcher>
export const research = Researcher.run("What is an effect?")

// shows const tool: AgentTool.AgentTool<string, LanguageModel>
export const tool = AgentTool.fromRunner(writer)

// shows const chain: Runner.Runner<RawInput, { readonly score: number; }, Agent.AgentError, LanguageModel>
export const chain = Chain.make("chain", [writer, judge])

// shows const panel: Runner.Runner<RawInput, { readonly writer: string; readonly judge: { readonly score: number; }; },
// CannotResume | InvalidApproval | Parallel.ParallelError<Agent.AgentError> | RunSuspended, LanguageModel>
export const panel = Parallel.make("panel", { writer, judge })

// shows const settled: Runner.Runner<RawInput, readonly [Result<string, Parallel.BranchDefect | Agent.AgentError>,
// Result<{ readonly score: number; }, Parallel.BranchDefect | Agent.AgentError>], CannotResume | InvalidApproval |
// RunSuspended, LanguageModel>
export const settled = Gather.broadcast("settled", [writer, judge], { mode: Parallel.settle })

// shows const desk: Runner.Runner<RawInput, string | { readonly score: number; }, Router.RouteNotFound | Agent.AgentError,
// LanguageModel>
export const desk = Router.make("desk", { writer, judge })

// shows const handed: Runner.Runner<RawInput, string | { readonly score: number; }, Agent.AgentError, LanguageModel>
export const handed = Handoffs.make("handed", { writer, judge }, { start: "writer" })

// shows const lead: Agent.Agent<string, Agent.AgentError, LanguageModel | Researcher>
export const lead = Orchestrator.make("lead", { writer, Researcher }, { instructions: "Divide the work." })

// shows const measured: Runner.Runner<RawInput, number, Agent.AgentError, LanguageModel>
export const measured = Runner.map(writer, (text) => text.length)

// shows const strict: Middleware.Middleware<NoRules, never>
export const strict = Middleware.make("strict", { tool: () => Effect.fail(new NoRules()) })

// shows const guarded: Agent.Agent<string, NoRules | Agent.AgentError, LanguageModel>
export const guarded = Agent.make("guarded", { middleware: [strict] })

// shows const summed: Runner.Runner<RawInput, string, Parallel.ParallelError<Agent.AgentError> | Agent.AgentError,
// LanguageModel>
export const summed = Parallel.make("summed", { writer, judge }, { combine: writer })

// shows const joined: Runner.Runner<RawInput, number, CannotResume | InvalidApproval |
// Parallel.ParallelError<Agent.AgentError> | RunSuspended, LanguageModel>
export const joined = Parallel.make("joined", { writer, judge }, { combine: ({ judge }) => judge.score })

// shows const prompted: Runner.Runner<RawInput, string, Parallel.ParallelError<Agent.AgentError> | Agent.AgentError,
// LanguageModel>
export const prompted = Parallel.fromPrompts(
  { pro: "Argue for it.", contra: "Argue against it." },
  { combine: "Weigh both." }
)

// shows const scattered: Runner.Runner<readonly [RawInput, RawInput], readonly [string, { readonly score: number; }],
// CannotResume | InvalidApproval | Parallel.ParallelError<Agent.AgentError> | RunSuspended | Gather.WrongNumberOfInputs,
// LanguageModel>
export const scattered = Gather.scatter("scattered", [writer, judge])

// shows const mapped: Runner.Runner<Iterable<RawInput>, readonly string[], CannotResume | InvalidApproval |
// Parallel.ParallelError<Agent.AgentError> | RunSuspended, LanguageModel>
export const mapped = Gather.map("mapped", writer)

// shows const desks: Runner.Runner<RawInput, { readonly writer?: string; readonly judge?: { readonly score: number; }; },
// Parallel.ParallelError<Agent.AgentError> | Router.RouteNotFound | Agent.AgentError, LanguageModel>
export const desks = Router.many("desks", { writer, judge })

// shows const planned: Runner.Runner<RawInput, Readonly<Record<string, string>>, PlanExecuteEvaluate.InvalidPlan |
// PlanExecuteEvaluate.PlanNotAccepted | PlanExecuteEvaluate.StepsFailed<Agent.AgentError> | Agent.AgentError, LanguageModel>
export const planned = PlanExecuteEvaluate.make(
  "planned",
  { workers: { writer }, evaluator: judge },
  { accept: ({ score }) => score > 7 }
)

// shows const nested: Runner.Runner<RawInput, string | Readonly<Record<string, string>> | { readonly writer: string; readonly
// judge: { readonly score: number; }; }, PlanExecuteEvaluate.InvalidPlan | Parallel.ParallelError<Agent.AgentError> |
// PlanExecuteEvaluate.PlanNotAccepted | Router.RouteNotFound | PlanExecuteEvaluate.StepsFailed<Agent.AgentError> |
// Agent.AgentError, LanguageModel>
export const nested = Router.make("nested", { panel, summed, planned, prompted })

// shows const remote: Runner.Runner<RawInput, string, AgentServer.RemoteError | Agent.AgentError, never>
export const remote = AgentServer.client({ writer }, { url: "https://agents.example" }).writer

const kept = Durable.make(writer, { name: "kept", version: "1", key: String })
// shows const submitted: Effect.Effect<string, DurableError, Durable.Engine>
export const submitted = Durable.submit(kept, "Hello")
// shows const awaited: Effect.Effect<string, DurableError | Agent.AgentError, Durable.Engine>
export const awaited = Durable.result(kept, "Hello")

// shows const handlers: Layer<Tool.Handler<"calculate"> | Tool.Handler<"convert_time"> | Tool.Handler<"current_time">,
// never, never>
export const handlers = BasicTools.layer()
