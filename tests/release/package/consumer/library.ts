/** What a library built on the package could export. Declarations are made of it: every type can be named from outside. */
import { Effect, Schema, Stream } from "effect"
import { LanguageModel, Tool, Toolkit } from "effect/ai"
import {
  Agent,
  AgentTool,
  Approvals,
  BasicTools,
  Cassette,
  Chain,
  EvaluatorOptimizer,
  FileTools,
  Gather,
  Handoffs,
  HttpTools,
  Mcp,
  McpServer,
  DemoModel,
  OpenAi,
  Orchestrator,
  Parallel,
  PlanExecuteEvaluate,
  Router,
  RunEvent,
  Runner,
  ShellTools,
  Skills,
  SyncEdge,
  TestModel,
  ToolSource,
  WorkerPool,
  WorkerTool
} from "troupe"

export class Verdict extends Schema.Class<Verdict>("Verdict")({ score: Schema.Int }) {}
export class Writer extends Agent.Service<Writer>()("library/Writer", { description: "Writes" }) {}
const Add = Tool.make("add", { parameters: Schema.Struct({ a: Schema.Finite }), success: Schema.Finite })

export const tool = AgentTool.fromFunction("now", { description: "Tells the time", execute: () => "noon" })
export const inModule = WorkerTool.fromModule(new URL("./tool.js", "file:///library/"), {
  name: "resize",
  description: "Resizes",
  parameters: Schema.Struct({ width: Schema.Int })
})
export const source = ToolSource.make("source", () => Effect.succeed([tool]))
export const judge = Agent.make("judge", { toolkit: Toolkit.make(Add), tools: [tool, source], output: Verdict })
export const asTool = AgentTool.fromRunner(Writer)
export const chain = Chain.make("chain", [
  Writer,
  Chain.gate("short", (text: string) => (text === "" ? Chain.stop(0) : text)),
  judge
])
export const both = Parallel.make("both", { Writer, judge })
export const settled = Parallel.make("settled", [Writer, judge], { mode: Parallel.settle })
export const combined = Parallel.make("combined", { Writer, judge }, { combine: ({ judge }) => judge.score })
export const hedged = Parallel.hedge("hedged", Writer, { delay: "1 second" })
export const router = Router.make("router", { Writer, judge }, { fallback: "Writer" })
export const routers = Router.many("routers", { Writer, judge })
export const refined = EvaluatorOptimizer.make(
  "refined",
  { generator: Writer, evaluator: judge },
  { accept: ({ score }) => score > 8 }
)
export const all = Gather.broadcast("all", [Writer, judge])
export const each = Gather.map("each", judge)
export const scattered = Gather.scatter("scattered", [Writer, judge])
export const streamed = Gather.mapStream("streamed", judge, {
  inputs: Stream.fromIterable<string>,
  into: Stream.runCount
})
export const spawned = Gather.spawn(judge, "a text")
export const desk = Handoffs.make("desk", { Writer, judge }, { start: "judge" })
export const lead = Orchestrator.make("lead", { Writer }, { spawn: {} })
export const work = PlanExecuteEvaluate.make("work", { workers: { Writer }, evaluator: judge }, { accept: () => true })
export const clerk = Agent.make("clerk", { tools: [Skills.writeSkill, Mcp.tools()], use: [Skills.feature()] })
export const combinators = clerk.pipe(
  Runner.withTimeout("1 minute"),
  Runner.withRetry({ times: 2 }),
  Runner.map((text) => text.length),
  Runner.provide(DemoModel.layer)
)
export const wrapper = <I, A, E, R>(runner: Runner.Runner<I, A, E, R>) => Parallel.make("twice", [runner, runner])
export const withServers = Effect.gen(function* () {
  const toolkit = yield* Mcp.toolkit()
  return yield* LanguageModel.generateText({ prompt: "Hello", toolkit })
})
export const text = RunEvent.text(judge.stream("a text"))
export const layers = [
  Approvals.layerPolicy({ destructive: "ask" }),
  BasicTools.layer(),
  Cassette.layer({ path: "cassette.json" }),
  FileTools.layer({ root: "." }),
  HttpTools.layer(),
  Mcp.layer({ servers: {} }),
  OpenAi.layer({ model: "model" }),
  ShellTools.layer({ allow: ["ls"], cwd: "." }),
  Skills.layer({ folders: ["."] }),
  SyncEdge.layer,
  TestModel.layer(["Hello"]),
  WorkerPool.layer()
] as const
export const server = McpServer.serve({ tools: [judge, McpServer.tool(Writer, { name: "other" })] })
