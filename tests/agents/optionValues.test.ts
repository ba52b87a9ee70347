/** Options that the compiler has not checked: values and names that do not exist. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import {
  Agent,
  AgentServer,
  AgentTool,
  Approvals,
  Cassette,
  Chain,
  CodeMode,
  EvaluatorOptimizer,
  Feature,
  FileTools,
  Gather,
  Goal,
  Handoffs,
  HttpTools,
  Mcp,
  McpServer,
  Memory,
  OpenAi,
  Orchestrator,
  Parallel,
  PlanExecuteEvaluate,
  Prices,
  RateLimit,
  Router,
  RunError,
  Runner,
  Sandbox,
  Session,
  ShellTools,
  Skills,
  Sqlite,
  Team,
  TestModel
} from "troupe"

const agent = Agent.make("agent", { description: "Answers" })
const judge = Agent.make("judge", { output: Schema.Struct({ score: Schema.Int }) })
const tool = AgentTool.fromFunction("tool", { description: "Does it", execute: () => 1 })
/** As a program without types gives them. */
const loosely = (options: object) => options as never

const refusalOf = (make: () => unknown): string => {
  try {
    make()
  } catch (error) {
    if (error instanceof RunError.InvalidDefinition) return error.message
    throw error
  }
  return assert.fail("it was accepted")
}

const refined = (options: object) => () =>
  EvaluatorOptimizer.make(
    "refined",
    { generator: agent, evaluator: judge },
    loosely({ accept: () => true, ...options })
  )
const planned = (options: object) => () => PlanExecuteEvaluate.make("planned", { workers: { agent } }, loosely(options))

/** Each option with a value that it does not have, and one that it has. */
const values: ReadonlyArray<readonly [option: string, make: () => unknown, remedy: string]> = [
  ["onMaxSteps", () => Agent.make("a", loosely({ onMaxSteps: "other" })), "answer"],
  ["onMaxToolCalls", () => Agent.make("a", loosely({ onMaxToolCalls: "other" })), "fail"],
  ["onLength", () => Agent.make("a", loosely({ onLength: "other" })), "accept"],
  ["toolConcurrency", () => Agent.make("a", loosely({ toolConcurrency: "other" })), "whole number"],
  ["toolChoice", () => Agent.make("a", loosely({ tools: [tool], toolChoice: "other" })), "required"],
  [
    "failureMode",
    () => AgentTool.fromFunction("t", loosely({ description: "d", failureMode: "other", execute: () => 1 })),
    "return"
  ],
  ["failureMode", () => AgentTool.fromRunner(agent, loosely({ failureMode: "other" })), "return"],
  ["onExceeded", () => Runner.withBudget(agent, loosely({ steps: 1, onExceeded: "other" })), "answer"],
  ["onExceeded", () => Orchestrator.make("o", { agent }, loosely({ budget: { onExceeded: "other" } })), "answer"],
  ["onExceeded", () => RateLimit.make(loosely({ requests: 1, per: 1, onExceeded: "other" })), "delay"],
  ["onMaxRounds", () => Goal.make(loosely({ until: () => Effect.succeed(true), onMaxRounds: "other" })), "answer"],
  ["onMaxRounds", refined({ onMaxRounds: "other" }), "best"],
  ["onMaxRounds", planned({ onMaxRounds: "other" }), "best"],
  ["onStepFailure", planned({ onStepFailure: "other" }), "replan"],
  ["concurrency", planned({ concurrency: "other" }), "whole number"],
  ["mode", () => Parallel.make("p", { agent }, loosely({ mode: "settle" })), "Parallel.settle"],
  ["mode", () => Gather.broadcast("b", [agent], loosely({ mode: "race" })), "Parallel.race"],
  ["mode", () => Gather.map("m", agent, loosely({ mode: "quorum" })), "Parallel.quorum(n)"],
  ["mode", () => Router.many("r", { agent }, loosely({ mode: "settle" })), "Parallel.settle"],
  ["concurrency", () => Parallel.make("p", { agent }, loosely({ concurrency: "other" })), "whole number"],
  ["history", () => Handoffs.to("agent", loosely({ history: "other" })), "messages"],
  ["whenBusy", () => Session.of(agent, "id", loosely({ whenBusy: "other" })), "queue"],
  ["destructive", () => CodeMode.feature([tool], loosely({ destructive: "Ask" })), "allow"],
  ["synchronous", () => Sqlite.layer(loosely({ filename: "x.db", synchronous: "other" })), "normal"],
  ["unused", () => TestModel.layer([], loosely({ unused: "other" })), "ignore"],
  ["unused", () => Cassette.layer(loosely({ path: "x.json", unused: "other" })), "ignore"],
  ["mode", () => Cassette.layer(loosely({ path: "x.json", mode: "other" })), "replay"],
  ["api", () => OpenAi.layer(loosely({ model: "m", api: "other" })), "responses"],
  ["structuredOutput", () => OpenAi.layer(loosely({ model: "m", structuredOutput: "other" })), "json_object"],
  ["prefix", () => Mcp.tools(loosely({ prefix: "other" })), "always"],
  ["clientInstructions", () => serving({ clientInstructions: "other" }), "append"],
  ["expose", () => serving({ expose: ["argument"] }), "arguments"],
  ["playground", () => serving({ playground: "yes" }), "true"],
  ["destructive", () => Approvals.layerPolicy(loosely({ destructive: "Deny" })), "deny"],
  ["openWorld", () => Approvals.floor(loosely({ openWorld: "never" })), "deny"],
  ["declared", () => Approvals.layerRules([], loosely({ declared: true })), "ask"],
  ["remember", () => Approvals.layerRules([], loosely({ remember: "tools" })), "tool"],
  ["namespace", () => Memory.tools(loosely({})), "user-42"],
  ["namespace", () => Memory.recall(loosely({ namespace: "" })), "user-42"],
  ["allow", () => ShellTools.feature(loosely({ allow: "ls" })), "git"],
  ["onChange", () => mcp({ onChange: "Refuse" }), "refuse"],
  ["accept", refined({ accept: undefined }), "function"],
  [
    "evaluator",
    () => EvaluatorOptimizer.make("e", loosely({ generator: agent, evaluator: 5 }), loosely({ accept: () => true })),
    "function"
  ],
  ["combine", () => Parallel.make("p", { agent }, loosely({ combine: "join" })), "function"],
  ["classify", () => Router.make("r", { agent }, loosely({ classify: "agent" })), "function"],
  ["input", () => Prices.layer(loosely({ m: { output: 1 } })), "US dollars"],
  ["output", () => Prices.layer(loosely({ m: { input: 1, output: "1" } })), "US dollars"],
  ["cacheRead", () => Prices.layer(loosely({ m: { input: 1, output: 1, cacheRead: -1 } })), "US dollars"],
  ["transport", () => mcp({ transport: "ws" }), "sse"]
]

/** Numbers that were given as texts, as environment variables are. */
const texts: ReadonlyArray<readonly [option: string, make: () => unknown]> = [
  ["maxSteps", () => Agent.make("a", loosely({ maxSteps: "3" }))],
  ["outputRepairs", () => Agent.make("a", loosely({ outputRepairs: "3" }))],
  ["toolConcurrency", () => Agent.make("a", loosely({ toolConcurrency: "3" }))],
  ["its budget of steps", () => Runner.withBudget(agent, loosely({ steps: "3" }))],
  ["maxHandoffs", () => Handoffs.make("h", { agent }, loosely({ start: "agent", maxHandoffs: "3" }))],
  ["runs", () => Orchestrator.make("o", { agent }, loosely({ budget: { runs: "3" } }))],
  ["mailbox", () => Team.make("t", { leader: agent, members: { agent } }, loosely({ mailbox: "3" }))],
  ["maxRoutes", () => Router.many("r", { agent }, loosely({ maxRoutes: "3" }))],
  ["maxRounds", planned({ maxRounds: "3" })],
  ["maxRounds", () => Goal.make(loosely({ until: () => Effect.succeed(true), maxRounds: "3" }))],
  ["concurrency", () => Parallel.make("p", { agent }, loosely({ concurrency: "3" }))],
  ["input", () => Prices.layer(loosely({ m: { input: "3", output: 1 } }))]
]

const mcp = (options: object) => Mcp.layer(loosely({ servers: { a: { url: "http://localhost", ...options } } }))
const serving = (options: object) => AgentServer.serve(loosely({ runners: { agent }, port: 0, ...options }))

/** Options that do not exist, alongside one that does. */
const names: ReadonlyArray<readonly [option: string, make: () => unknown, remedy: string]> = [
  ["needsAproval", () => AgentTool.fromRunner(agent, loosely({ needsAproval: true })), "needsApproval"],
  ["needsAproval", () => AgentTool.background(agent, loosely({ needsAproval: true })), "needsApproval"],
  [
    "needsAproval",
    () => Orchestrator.make("o", { agent }, loosely({ workerOptions: { agent: { needsAproval: true } } })),
    "needsApproval"
  ],
  ["run", () => Orchestrator.make("o", { agent }, loosely({ budget: { run: 3 } })), "runs"],
  ["describtion", () => Chain.make("c", [agent], loosely({ describtion: "x" })), "description"],
  ["combined", () => Parallel.make("p", { agent }, loosely({ combined: agent })), "combine"],
  ["combine", () => Gather.broadcast("b", [agent], loosely({ combine: agent })), "mode"],
  ["concurency", () => Gather.map("m", agent, loosely({ concurency: 2 })), "concurrency"],
  ["fallBack", () => Router.make("r", { agent }, loosely({ fallBack: "agent" })), "fallback"],
  ["fallBack", () => Router.many("r", { agent }, loosely({ fallBack: "agent" })), "fallback"],
  ["maxRound", refined({ maxRound: 2 }), "maxRounds"],
  ["maxRound", planned({ maxRound: 2 }), "maxRounds"],
  ["maxHandoff", () => Handoffs.make("h", { agent }, loosely({ start: "agent", maxHandoff: 1 })), "maxHandoffs"],
  ["bearerToken", () => serving({ bearerToken: "x" }), "bearer"],
  ["run", () => serving({ limits: { run: 2 } }), "runs"],
  ["folder", () => Skills.layer(loosely({ folder: "x" })), "folders"],
  ["destructve", () => Approvals.layerPolicy(loosely({ destructve: "deny" })), "destructive"],
  ["remember", () => Approvals.layerPolicy(loosely({ remember: "call" })), "afterUntrusted"],
  ["server", () => Approvals.floor(loosely({ trusted: { server: ["a"] } })), "servers"],
  ["domain", () => HttpTools.layer(loosely({ domain: ["example.com"] })), "domains"],
  ["denied", () => FileTools.layer(loosely({ root: ".", denied: ["*.key"] })), "deny"],
  ["writes", () => FileTools.feature(loosely({ writes: false })), "write"],
  ["allowed", () => ShellTools.layer(loosely({ cwd: ".", allowed: [] })), "allow"],
  ["nameSpace", () => Memory.feature(loosely({ nameSpace: "a" })), "namespace"],
  ["middlewares", () => Feature.make("f", loosely({ middlewares: [] })), "middleware"],
  ["time", () => Runner.withRetry(agent, loosely({ time: 2 })), "times"],
  ["allowedHost", () => McpServer.serve(loosely({ tools: [], http: { allowedHost: ["a"] } })), "allowedHosts"],
  ["allowed", () => mcp({ allowed: [] }), "allow"],
  ["in", () => Prices.layer(loosely({ m: { in: 1, output: 1 } })), "input"],
  ["requirePKCE", () => mcp({ oauth: { requirePKCE: true } }), "requirePkce"],
  ["baseURL", () => OpenAi.layer(loosely({ model: "m", baseURL: "http://localhost" })), "baseUrl"]
]

describe("a definition", () => {
  for (const [index, [option, make, remedy]] of values.entries()) {
    it(`refuses a value that ${option} does not have (${index + 1})`, () => {
      const message = refusalOf(make)
      assert.include(message, option)
      assert.include(message, remedy)
    })
  }
  for (const [index, [option, make]] of texts.entries()) {
    it(`refuses a number for ${option} that is a text, and shows it as one (${index + 1})`, () =>
      assert.include(refusalOf(make), `${option} is the text "3"`))
  }
  for (const [index, [option, make, remedy]] of names.entries()) {
    it(`refuses the unknown option ${option} (${index + 1})`, () => {
      const message = refusalOf(make)
      assert.include(message, `"${option}"`)
      assert.include(message, remedy)
    })
  }
  it.effect("of a sandbox refuses a network that is neither none nor host", () =>
    Effect.gen(function* () {
      const layer = Sandbox.layerBubblewrap(loosely({ root: "/tmp", network: "other" }))
      const error: unknown = yield* Effect.flip(Effect.scoped(Layer.build(layer)))
      assert.include(String(error), "network")
      assert.include(String(error), "host")
    })
  )
})
