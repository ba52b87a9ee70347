/** Values that are not numbers, sizes or durations, which programs without types give. */
import { tmpdir } from "node:os"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as troupe from "troupe"
import { answerTo } from "../support/refusals.ts"

const agent = troupe.Agent.make("agent", { description: "Answers" })
const judge = { generator: agent, evaluator: agent }
const model = { specificationVersion: "v4", provider: "p", modelId: "m", doGenerate: () => {}, doEmbed: () => {} }
const scoring = { fraction: 0.5, scorers: [troupe.Eval.exact], onScored: () => Effect.void }

/** For each function: counts and other numbers, durations, and a call with one of them set. */
const rows: Readonly<Record<string, readonly [numbers: string, durations: string, make: (options: never) => unknown]>> =
  {
    "AcpAgent.make": ["limit", "startTimeout grace", (o: {}) => troupe.AcpAgent.make("a", { command: "x", ...o })],
    "AcpServer.serve": ["maxSessions maxLineSize", "", (o: {}) => troupe.AcpServer.serve({ runner: agent, ...o })],
    "Agent.make": [
      "maxSteps maxToolCalls maxToolCallsPerStep maxAnswerSize outputRepairs toolConcurrency",
      "toolTimeout",
      (o: {}) => troupe.Agent.make("a", o)
    ],
    "AgentServer.client": [
      "limit",
      "",
      (o: {}) => troupe.AgentServer.client({ agent }, { url: "http://localhost", ...o })
    ],
    "AgentTool.fromFunction": [
      "concurrency",
      "timeout",
      (o: {}) => troupe.AgentTool.fromFunction("t", { description: "d", execute: () => 1, ...o })
    ],
    "AiSdk.layer": ["", "timeout", (o: {}) => troupe.AiSdk.layer(model as never, o)],
    "AiSdk.layerImages": ["maxAnswerBytes", "timeout", (o: {}) => troupe.AiSdk.layerImages(model as never, o)],
    "AiSdk.layerTranscription": [
      "maxAudioBytes",
      "timeout",
      (o: {}) => troupe.AiSdk.layerTranscription(model as never, o)
    ],
    "Approvals.clientInput": ["maxMessages maxSize", "", (o: {}) => troupe.Approvals.clientInput("hi", o)],
    "CodeMode.run": ["maxCalls concurrency memory", "timeout turnTimeout", (o: {}) => troupe.CodeMode.run("1", [], o)],
    "CodeMode.feature": ["maxResultChars", "", (o: {}) => troupe.CodeMode.feature([], o)],
    "Compaction.offload": ["above head tail", "", (o: {}) => troupe.Compaction.offload({ above: 9, ...o })],
    "Compaction.make": ["window at to", "", (o: {}) => troupe.Compaction.make({ window: 9, policies: [], ...o })],
    "Durable.layerSqlite": [
      "",
      "lease poll drain keep",
      (o: {}) => troupe.Durable.layerSqlite({ filename: "/nowhere/x", ...o })
    ],
    "Durable.layerPostgres": ["maxConnections", "", (o: {}) => troupe.Durable.layerPostgres({ url: "x", ...o })],
    "Durable.prune": ["", "age", ({ age }: { age: number }) => troupe.Durable.prune(age)],
    "Eval.atMost": ["cost tokens steps toolCalls", "time", (o: {}) => troupe.Eval.atMost(o)],
    "Eval.sampling": [
      "fraction concurrency maxWaiting",
      "drain",
      (o: {}) => troupe.Eval.sampling({ ...scoring, ...o })
    ],
    "EvaluatorOptimizer.make": [
      "maxRounds",
      "",
      (o: {}) => troupe.EvaluatorOptimizer.make("e", judge, { accept: () => true, ...o })
    ],
    "Fallback.layer": ["", "hedgeAfter", (o: {}) => troupe.Fallback.layer([troupe.TestModel.layer([])], o)],
    "FileTools.feature": ["maxFileBytes maxReadChars", "", (o: {}) => troupe.FileTools.feature(o)],
    "FileTools.layer": ["maxFileBytes maxReadChars", "", (o: {}) => troupe.FileTools.layer({ root: ".", ...o })],
    "Gather.map": ["concurrency", "", (o: {}) => troupe.Gather.map("m", agent, o)],
    "Handoffs.make": ["maxHandoffs", "", (o: {}) => troupe.Handoffs.make("h", { agent }, { start: "agent", ...o })],
    "HttpTools.layer": ["maxBytes maxChars maxRedirects", "timeout", (o: {}) => troupe.HttpTools.layer(o)],
    "LlamaCpp.layer": [
      "threads contextTokens sequences maxOutputTokens",
      "timeout",
      (o: {}) => troupe.LlamaCpp.layer({ modelPath: "/nowhere", ...o })
    ],
    "Mcp.layer": [
      "maxChars maxTools maxDefinitionChars",
      "timeout maxDuration connectTimeout",
      (o: {}) => troupe.Mcp.layer({ servers: { a: { command: "x", ...o } } })
    ],
    "Mcp.layer, sampling": [
      "maxRequests maxConcurrent maxTokens",
      "",
      (samplingLimits: {}) => troupe.Mcp.layer({ servers: {}, samplingLimits })
    ],
    "McpServer.serve": [
      "maxRuns maxWaiting maxBatch maxLineSize",
      "",
      (o: {}) => troupe.McpServer.serve({ tools: [], ...o })
    ],
    "McpServer.serve, http": [
      "maxBodySize maxSessions",
      "sessionIdle",
      (http: {}) => troupe.McpServer.serve({ tools: [], http })
    ],
    "Notice.make": ["at", "", (o: {}) => troupe.Notice.make(o)],
    "OpenAi.layerEmbedding": [
      "dimensions",
      "timeout",
      (o: {}) => troupe.OpenAi.layerEmbedding({ model: "m", baseUrl: "http://localhost/v1", ...o })
    ],
    "OpenAi.layer": [
      "maxAnswerBytes",
      "timeout",
      (o: {}) => troupe.OpenAi.layer({ model: "m", baseUrl: "http://localhost/v1", ...o })
    ],
    "Orchestrator.make": [
      "maxDepth maxBreadth maxTotal maxSteps",
      "",
      (spawn: {}) => troupe.Orchestrator.make("o", { agent }, { spawn })
    ],
    "Orchestrator.make, budget": [
      "runs reserve tokens",
      "time",
      (budget: {}) => troupe.Orchestrator.make("o", { agent }, { budget })
    ],
    "Parallel.make": ["concurrency", "", (o: {}) => troupe.Parallel.make("p", { agent }, o)],
    "Parallel.hedge": ["attempts", "delay", (o: {}) => troupe.Parallel.hedge("p", agent, { delay: 1, ...o })],
    "PlanExecuteEvaluate.make": [
      "maxRounds maxSteps planRepairs concurrency",
      "",
      (o: {}) => troupe.PlanExecuteEvaluate.make("p", { workers: { agent } }, o)
    ],
    "Rag.split": ["size overlap", "", (o: {}) => troupe.Rag.split("text", o)],
    "RateLimit.make": ["requests tokens", "per", (o: {}) => troupe.RateLimit.make({ requests: 1, per: 1, ...o })],
    "RemoteAgent.connect": ["limit", "", (o: {}) => troupe.RemoteAgent.connect("http://localhost:1", o)],
    "Router.make": ["threshold", "", (o: {}) => troupe.Router.make("r", { agent }, o)],
    "Router.many": ["maxRoutes threshold concurrency", "", (o: {}) => troupe.Router.many("r", { agent }, o)],
    "Runner.withBudget": [
      "tokens cost steps toolCalls",
      "time",
      (o: {}) => troupe.Runner.withBudget(agent, { steps: 1, ...o })
    ],
    "Runner.withRetry": ["times", "", (o: {}) => troupe.Runner.withRetry(agent, o)],
    "Runner.withTimeout": ["", "timeout", (o: { timeout: number }) => troupe.Runner.withTimeout(agent, o.timeout)],
    "Runs.layerMemory": ["runs events bytes ahead", "expiry", (o: {}) => troupe.Runs.layerMemory(o)],
    "Sandbox.layerBubblewrap": [
      "memory file processes",
      "cpu",
      (limits: {}) => troupe.Sandbox.layerBubblewrap({ root: tmpdir(), limits })
    ],
    "Sandbox.layerDocker": [
      "memory processes",
      "",
      (o: {}) => troupe.Sandbox.layerDocker({ image: "i", root: tmpdir(), docker: "/nowhere", ...o })
    ],
    "Session.rewind": ["before", "", (o: {}) => troupe.Session.rewind("a", "b", { before: 1, ...o })],
    "SessionStore.prune": ["", "idle", (o: { idle: number }) => troupe.SessionStore.prune(o)],
    "ShellTools.feature": [
      "maxOutputBytes",
      "timeout grace",
      (o: {}) => troupe.ShellTools.feature({ allow: [], ...o })
    ],
    "ShellTools.layer": [
      "maxOutputBytes",
      "timeout grace",
      (o: {}) => troupe.ShellTools.layer({ cwd: ".", allow: [], ...o })
    ],
    "Skills.layer": [
      "maxFileBytes maxReadChars",
      "",
      (o: {}) => troupe.Skills.layer({ folders: [tmpdir()], include: [], ...o })
    ],
    "Skills.layer, scripts": [
      "maxOutputBytes",
      "timeout",
      (scripts: {}) => troupe.Skills.layer({ folders: [tmpdir()], include: [], scripts })
    ],
    "Team.make": [
      "maxRounds mailbox",
      "stuckAfter",
      (o: {}) => troupe.Team.make("t", { leader: agent, members: { agent } }, o)
    ],
    "ToolSearch.make": ["max", "", (o: {}) => troupe.ToolSearch.make([], o)],
    "TraceStore.prune": ["maxBytes", "olderThan", (o: {}) => troupe.TraceStore.prune(o)],
    "WebSearch.tool": ["maxUses", "", (o: {}) => troupe.WebSearch.tool(o)],
    "WorkerPool.layer": ["size", "idle grace", (o: {}) => troupe.WorkerPool.layer(o)]
  }

const notNumbers = [Number.NaN, -1, "5", {}]
const notDurations = [Number.NaN, -1, "-5 seconds", "soon", { second: 1 }, true]
const words = (text: string): ReadonlyArray<string> => text.split(" ").filter((word) => word !== "")

describe("a number or duration that makes no sense is refused by", () => {
  for (const [name, [numbers, durations, make]] of Object.entries(rows)) {
    it.live(name, () =>
      Effect.gen(function* () {
        for (const [options, values] of [
          [numbers, notNumbers],
          [durations, notDurations]
        ] as const) {
          for (const option of words(options)) {
            for (const value of values) {
              const answer = yield* answerTo(() => make({ [option]: value } as never))
              const given = `${option}: ${String(value)}`
              assert.match(answer, /InvalidDefinition|ConfigError/, given)
              assert.include(answer, option, given)
            }
          }
        }
      })
    )
  }
})
