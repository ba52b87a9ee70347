/**
 * Wrong wiring, which is a compile error that says what to do. `displayed.test.ts` compares what the directives say with what
 * the compiler prints. Nothing here runs.
 */
import { Effect, Layer, Schema } from "effect"
import { Tool, Toolkit } from "effect/ai"
import {
  Agent,
  AgentServer,
  AgentTool,
  Chain,
  Feature,
  Gather,
  Handoffs,
  Middleware,
  Orchestrator,
  Parallel,
  PlanExecuteEvaluate,
  Router,
  Runner,
  Skills
} from "troupe"
import { z } from "zod"

const Add = Tool.make("add", { description: "Add", parameters: Schema.Struct({ a: Schema.Finite }) })
const kit = Toolkit.make(Add)
const agent = Agent.make("agent", {})
const judge = Agent.make("judge", { output: Schema.Struct({ score: Schema.Int }) })
const tool = AgentTool.fromFunction("tool", { description: "Does it", execute: () => "done" })
const counting = Runner.make("counting", { run: (n: number) => Effect.succeed(n) })

// -- tools
Agent.make("a", {
  // @ts-expect-error A runner is not a tool. Write AgentTool.fromRunner(runner)
  tools: [agent]
})
Agent.make("a", {
  // @ts-expect-error This tool does not carry its handler. Give it as `toolkit: Toolkit.make(tool)`
  tools: [Add]
})
Agent.make("a", {
  // @ts-expect-error A function is not a tool. Write AgentTool.fromFunction("name", { description, execute })
  tools: [() => "done"]
})
Agent.make("a", {
  // @ts-expect-error A Layer is not a tool. Provide it around the run with Effect.provide
  tools: [Layer.empty]
})
Agent.make("a", {
  // @ts-expect-error An Effect is not a tool. Run it with yield* and give what it returns
  tools: [Effect.succeed(tool)]
})
Agent.make("a", {
  // @ts-expect-error A feature is not a tool. Give it as `use: [feature]`
  tools: [Skills.feature()]
})
Agent.make("a", {
  // @ts-expect-error A toolkit is not a tool. Give it as `toolkit`
  tools: [kit]
})
Agent.make("a", {
  // @ts-expect-error A list is not a tool. Spread it: `tools: [...list, tool]`
  tools: [AgentTool.background(agent)]
})
Agent.make("a", {
  // @ts-expect-error A toolkit is not a list of tools. Give it as `toolkit`
  tools: kit
})
Agent.make("a", {
  // @ts-expect-error `tools` is a list. Write `tools: [tool]`
  tools: tool
})
Agent.make("a", {
  // @ts-expect-error This is not a tool. Make one with AgentTool.fromFunction, or of a runner with AgentTool.fromRunner
  tools: [{ name: "tool", execute: () => "done" }]
})
Agent.make("a", {
  // The error stands at the element that does not fit.
  tools: [
    tool,
    // @ts-expect-error A runner is not a tool
    agent,
    tool
  ],
  // What else is written in place is understood all the same.
  stopWhen: (info) => info.step > 3
})
Feature.make("f", {
  // @ts-expect-error A runner is not a tool. Write AgentTool.fromRunner(runner)
  tools: [agent]
})
export class Wired extends Agent.Service<Wired>()("app/Wired", {
  // @ts-expect-error A runner is not a tool. Write AgentTool.fromRunner(runner)
  tools: [agent]
}) {}
Orchestrator.make(
  "o",
  { agent },
  {
    // @ts-expect-error A runner is not a tool. Write AgentTool.fromRunner(runner)
    tools: [agent]
  }
)

// -- toolkit and use
Agent.make("a", {
  // @ts-expect-error This is not a toolkit. Make one of tools of effect/ai with Toolkit.make(tool, ...)
  toolkit: [Add]
})
Agent.make("a", {
  // @ts-expect-error Tools that carry their handlers are not a toolkit. Give them as `tools: [tool]`
  toolkit: [tool]
})
Agent.make("a", {
  // @ts-expect-error A tool is not a feature. Give it as `tools: [tool]`
  use: [tool]
})
Agent.make("a", {
  // @ts-expect-error A runner is not a feature. Give it as `tools: [AgentTool.fromRunner(runner)]`
  use: [agent]
})
Agent.make("a", {
  // @ts-expect-error A function is not a feature. Give what it returns, or make one with Feature.make
  use: [Skills.feature]
})
Agent.make("a", {
  // @ts-expect-error `use` is a list. Write `use: [feature]`
  use: Skills.feature()
})

// -- output
Agent.make("a", {
  // @ts-expect-error An object of schemas is not a schema. Write Schema.Struct({ ... }) around it
  output: { score: Schema.Int },
  instructions: "You judge."
})
Agent.make("a", {
  // @ts-expect-error This is not a Schema of effect. Write one, such as Schema.Struct({ name: Schema.String })
  output: z.object({ score: z.number() })
})
export class Judging extends Agent.Service<Judging>()("app/Judging", {
  // @ts-expect-error This is not a Schema of effect. Write one
  output: "a number"
}) {}
// A schema that a function is given fits.
export const asking = <S extends Schema.Top>(output: S) => Agent.make("a", { output, instructions: "You judge." })

// -- middleware
Agent.make("a", {
  // @ts-expect-error A function is not a middleware. Write Middleware.make("name", { tool: (call, next) => next(call) })
  middleware: [() => {}]
})
Agent.make("a", {
  // @ts-expect-error A Layer is not a middleware. Provide it around the run with Effect.provide
  middleware: [Middleware.layer()]
})
Agent.make("a", {
  // @ts-expect-error This is not a middleware. Make one with Middleware.make or Middleware.hooks
  middleware: [{ tool: () => {} }]
})
Agent.make("a", {
  // @ts-expect-error `middleware` is a list. Write `middleware: [middleware]`
  middleware: Middleware.make("m", {})
})

// -- options that there are not
Agent.make("a", {
  // @ts-expect-error Provide a Layer of the model around the run, such as OpenAi.layer({ model })
  model: "gpt-4.1-mini",
  instructions: "You do arithmetic."
})
Agent.make("a", {
  // @ts-expect-error There is no such option
  instruction: "You do arithmetic.",
  maxSteps: 3
})
Agent.make("a", {
  // @ts-expect-error 'instruction' does not exist
  instruction: "You do arithmetic."
})

// -- steps of a chain
Chain.make("c", [
  agent,
  // @ts-expect-error A function in a chain returns an Effect. Write (input) => Effect.succeed(output)
  (text: string) => text.length
])
Chain.make("c", [
  agent,
  // @ts-expect-error A tool is not a runner. Give it to an agent, which is one
  tool,
  agent
])
Chain.make("c", [
  // @ts-expect-error A Layer is not a runner. Provide it around the run with Effect.provide
  Layer.empty
])
Chain.make("c", [
  // @ts-expect-error This is not a runner. Make one with Agent.make, Runner.make or a workflow
  "agent"
])
Chain.make("c", [
  judge,
  // @ts-expect-error This step does not take what the step before it returns. Write Runner.mapInput(step, (output) => input)
  agent
])
Chain.make("c", [
  agent,
  // @ts-expect-error This step does not take what the step before it returns. Write Runner.mapInput(step, (output) => input)
  (count: number) => Effect.succeed(count)
])
Chain.make("c", [
  agent,
  agent,
  agent,
  agent,
  agent,
  // @ts-expect-error A chain has at most five steps. Make a step of several with Chain.make
  agent
])
Chain.make(
  "c",
  // @ts-expect-error A chain has at least one step
  []
)

// -- branches of a parallel, runners of a gather
Parallel.make("p", {
  agent,
  // @ts-expect-error A function is not a runner. Write Runner.make("name", { run: (input) => effect })
  count: (text: string) => text.length
})
Parallel.make("p", [
  agent,
  // @ts-expect-error An Effect is not a runner. Write Runner.make("name", { run: () => effect })
  Effect.succeed(3)
])
Parallel.make(
  "p",
  { agent },
  {
    // @ts-expect-error combine is a function of the outputs, or a runner that takes a text
    combine: 3
  }
)
Gather.broadcast("g", [
  agent,
  // @ts-expect-error A tool is not a runner. Give it to an agent, which is one
  Add
])
Gather.scatter("g", [
  agent,
  // @ts-expect-error A tool is not a runner. Give it to an agent, which is one
  tool
])

// -- routes, handoffs, workers
Router.make("r", {
  agent,
  // @ts-expect-error A tool is not a runner. Give it to an agent, which is one
  tool
})
// @ts-expect-error This is not a runner by name. Write { name: runner }
Router.make("r", [agent])
// @ts-expect-error This is not a runner by name. Write { name: runner }
Handoffs.make("h", [agent], { start: "agent" })
// @ts-expect-error This is not a runner by name. Write { name: runner }
Orchestrator.make("o", [agent])
Router.many("r", {
  agent,
  // @ts-expect-error A Layer is not a runner. Provide it around the run with Effect.provide
  layer: Layer.empty
})
Router.make(
  "r",
  { agent },
  {
    // @ts-expect-error classify takes what every route takes, and returns an Effect of a route's name
    classify: (text: string) => text
  }
)
Handoffs.make(
  "h",
  {
    agent,
    // @ts-expect-error A tool is not a runner. Give it to an agent, which is one
    tool
  },
  { start: "agent" }
)
Handoffs.make(
  "h",
  {
    agent,
    // @ts-expect-error A handoff gives an agent a conversation. Make it a runner of Prompt.RawInput with Runner.mapInput
    counting
  },
  { start: "agent" }
)
Orchestrator.make("o", {
  // @ts-expect-error A tool is not a runner. Give it to an agent, which is one
  tool
})
Orchestrator.make("o", {
  // @ts-expect-error The model gives a worker a text. Make it a runner of texts with Runner.mapInput
  counting
})
PlanExecuteEvaluate.make("p", {
  workers: {
    agent,
    // @ts-expect-error A tool is not a runner. Give it to an agent, which is one
    tool
  }
})
PlanExecuteEvaluate.make("p", {
  workers: {
    // @ts-expect-error The model gives a worker a text. Make it a runner of texts with Runner.mapInput
    counting
  }
})
PlanExecuteEvaluate.make("p", {
  workers: { agent },
  // @ts-expect-error An evaluator needs accept, in the options after the members. Write { accept: (verdict) => boolean }
  evaluator: judge
})
PlanExecuteEvaluate.make("p", {
  // @ts-expect-error An executor is a runner of texts or a function of a task, without workers alongside it
  executor: tool
})
Orchestrator.make(
  "o",
  { agent },
  {
    stopWhen: (info) => info.step > 3,
    spawn: {
      // @ts-expect-error A runner is not a tool. Write AgentTool.fromRunner(runner)
      tools: [tool, agent]
    }
  }
)
Orchestrator.make("o", { agent }, { stopWhen: (info) => info.step > 3, spawn: { tools: [tool] } })

// -- runners of a server
AgentServer.serve({
  // @ts-expect-error This is not a runner of texts, by name. Write { name: runner }, or
  runners: [agent],
  port: 3000
})
AgentServer.serve({
  // @ts-expect-error { name: { runner, input: Schema } } for another input
  runners: { counting },
  port: 3000
})
