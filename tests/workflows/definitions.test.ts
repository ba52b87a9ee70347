/** What is not a runner is refused where a workflow is defined, with the words of the compile error. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import {
  Agent,
  AgentTool,
  Chain,
  EvaluatorOptimizer,
  Gather,
  Handoffs,
  Orchestrator,
  Parallel,
  PlanExecuteEvaluate,
  RunError,
  Router,
  Runner,
  Team
} from "troupe"

const agent = Agent.make("agent", { description: "Does it" })
const tool = AgentTool.fromFunction("tool", { description: "Does it", execute: () => "done" })

/** As a program without types calls it. */
const untyped = (make: unknown) => make as (...args: ReadonlyArray<unknown>) => unknown

const refused = (define: () => unknown): string => {
  try {
    define()
  } catch (error) {
    assert.instanceOf(error, RunError.InvalidDefinition)
    return error.message
  }
  return assert.fail("it was accepted")
}

const definitions: ReadonlyArray<readonly [name: string, define: (member: unknown) => unknown]> = [
  ["a branch of a parallel", (member) => untyped(Parallel.make)("p", { agent, member })],
  ["a branch in a list", (member) => untyped(Parallel.make)("p", [agent, member])],
  ["a runner of a broadcast", (member) => untyped(Gather.broadcast)("g", [agent, member])],
  ["a runner of a scatter", (member) => untyped(Gather.scatter)("g", [agent, member])],
  ["the runner of a map", (member) => untyped(Gather.map)("g", member)],
  ["the runner of a hedge", (member) => untyped(Parallel.hedge)("h", member, { delay: "1 second" })],
  ["a route", (member) => untyped(Router.make)("r", { agent, member })],
  ["a route of many", (member) => untyped(Router.many)("r", { agent, member })],
  ["an agent that hands over", (member) => untyped(Handoffs.make)("h", { agent, member }, { start: "agent" })],
  ["a worker", (member) => untyped(Orchestrator.make)("o", { agent, member })],
  ["a worker of a plan", (member) => untyped(PlanExecuteEvaluate.make)("p", { workers: { agent, member } })],
  [
    "a generator",
    (member) => untyped(EvaluatorOptimizer.make)("e", { generator: member, evaluator: agent }, { accept: () => true })
  ]
]

const named: ReadonlyArray<readonly [name: string, define: (...args: ReadonlyArray<unknown>) => unknown]> = [
  ["a router", untyped(Router.make)],
  ["a router to several", untyped(Router.many)],
  ["handoffs", untyped(Handoffs.make)],
  ["an orchestrator", untyped(Orchestrator.make)]
]

describe("a workflow whose members have names", () => {
  for (const [name, define] of named) {
    it(`refuses a list of them: ${name}`, () => {
      assert.include(
        refused(() => define("x", [agent], name === "handoffs" ? { start: "agent" } : {})),
        "its members are a list. Give them by name: { name: runner }"
      )
    })
  }

  it("refuses a list of them: the workers of a plan, the members of a team", () => {
    for (const define of [
      () => untyped(PlanExecuteEvaluate.make)("p", { workers: [agent] }),
      () => untyped(Team.make)("t", { leader: agent, members: [agent] })
    ]) {
      assert.include(refused(define), "its members are a list. Give them by name: { name: runner }")
    }
  })
})

describe("a workflow that is given its members in place of its name", () => {
  for (const [name, define] of [
    ...named,
    ["a parallel", untyped(Parallel.make)],
    ["an evaluator-optimizer", untyped(EvaluatorOptimizer.make)],
    ["a team", untyped(Team.make)]
  ] as const) {
    it(`says what comes first: ${name}`, () => {
      assert.include(
        refused(() => define({ agent })),
        "its members are undefined. Give its name first, then its members"
      )
    })
  }

  it("says how a chain is written", () => {
    for (const args of [[[agent]], ["c", agent], ["c", { agent }]]) {
      assert.include(
        refused(() => untyped(Chain.make)(...args)),
        'not a list. Write Chain.make("name", [first, second])'
      )
    }
  })

  it("says how a broadcast is written", () => {
    assert.include(
      refused(() => untyped(Gather.broadcast)([agent])),
      "Write [a, b]"
    )
  })
})

describe("a workflow", () => {
  for (const [name, define] of definitions) {
    it(`refuses what is not a runner as ${name}`, () => {
      assert.include(
        refused(() => define(tool)),
        "a tool, not a runner. Give it to an agent, which is one"
      )
      assert.include(
        refused(() => define(Layer.empty)),
        "a Layer, not a runner. Provide it around the run"
      )
      assert.include(
        refused(() => define(Effect.succeed(1))),
        'an Effect, not a runner. Write Runner.make("name", { run: () => effect })'
      )
      assert.include(
        refused(() => define(() => 1)),
        'a function, not a runner. Write Runner.make("name", { run: (input) => effect })'
      )
      assert.include(
        refused(() => define({})),
        "an object, not a runner. Make one with Agent.make"
      )
      assert.include(
        refused(() => define(undefined)),
        "undefined, not a runner. Make one with Agent.make"
      )
    })
  }

  it("refuses an option that there is not, also of a hedge and of what spawns", () => {
    for (const define of [
      () => untyped(Parallel.hedge)("h", agent, { delay: "1 second", attempt: 3 }),
      () => untyped(Orchestrator.make)("o", { agent }, { spawn: { maxDeep: 1 } })
    ]) {
      assert.match(refused(define), /it has no option "(attempt|maxDeep)"/)
    }
  })

  it("refuses names for runners that are in order", () => {
    for (const make of [Gather.broadcast, Gather.scatter]) {
      const message = refused(() => untyped(make)("g", { agent }))
      assert.include(message, '"g": its runners are an object, not a list. Write [a, b]')
    }
  })

  it("refuses an executor that is neither a runner nor a function", () => {
    assert.include(
      refused(() => untyped(PlanExecuteEvaluate.make)("p", { executor: tool })),
      '"executor" is a tool, not a runner. Give it to an agent, which is one'
    )
  })

  it("refuses a step that is neither a runner nor a gate nor a function", () => {
    assert.include(
      refused(() => untyped(Chain.make)("c", [agent, tool])),
      '"step 2" is a tool, not a runner. Give it to an agent, which is one'
    )
    assert.include(
      refused(() => untyped(Chain.make)("c", [agent, undefined])),
      "undefined, not a runner. Make one with Agent.make"
    )
  })

  it("takes runners that are classes", () => {
    class Service extends Agent.Service<Service>()("app/Service", { description: "Does it" }) {}
    Parallel.make("p", { Service })
    Router.make("r", { Service })
    Orchestrator.make("o", { Service })
    Chain.make("c", [Service, Runner.make("r", { run: (text: string) => Effect.succeed(text) })])
  })
})
