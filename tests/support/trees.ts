/**
 * Random trees of workflows as data, and the programs that they stand for: every kind of workflow, over the leaves of
 * `treeWorld.ts`.
 */
import { Effect, Option, Result, Schema, Stream } from "effect"
import * as Agent from "troupe/Agent"
import * as AgentTool from "troupe/AgentTool"
import * as Chain from "troupe/Chain"
import * as EvaluatorOptimizer from "troupe/EvaluatorOptimizer"
import * as Gather from "troupe/Gather"
import * as Handoffs from "troupe/Handoffs"
import * as Orchestrator from "troupe/Orchestrator"
import * as Parallel from "troupe/Parallel"
import * as PlanExecuteEvaluate from "troupe/PlanExecuteEvaluate"
import * as Router from "troupe/Router"
import * as RunError from "troupe/RunError"
import * as Runner from "troupe/Runner"
import * as TestModel from "troupe/TestModel"
import { type Any, does, leaf, type Leaf, releases, type World } from "./treeWorld.ts"

/** A workflow of other trees. What `n`, `m` and `flag` mean depends on the kind; see `build`. */
export interface Node {
  readonly kind: (typeof kinds)[number]
  readonly of: readonly [Tree, ...Array<Tree>]
  readonly n: number
  readonly m: number
  readonly flag: boolean
}

export type Tree = Leaf | Node

export const kinds = [
  "chain",
  "failFast",
  "settle",
  "race",
  "quorum",
  "hedge",
  "broadcast",
  "scatter",
  "map",
  "mapStream",
  "spawn",
  "router",
  "routers",
  "refine",
  "plan",
  "timeout",
  "retry",
  "tools",
  "orchestrator",
  "consumer",
  "gatherStream",
  "combine",
  "modelRouter",
  "handoffs",
  "spawner"
] as const

const small = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 3 }))
const LeafSchema = Schema.Struct({
  does: Schema.Literals(does),
  release: Schema.Literals(releases),
  instant: Schema.Boolean
})
export const Tree: Schema.Schema<Tree> = Schema.Union([
  LeafSchema,
  Schema.Struct({
    kind: Schema.Literals(kinds),
    of: Schema.NonEmptyArray(Schema.suspend((): Schema.Schema<Tree> => Tree)).check(Schema.isMaxLength(4)),
    n: small,
    m: small,
    flag: Schema.Boolean
  })
])

/** Builds the runner that a tree stands for. Every runner in it has a name of its own. */
export const build = (tree: Tree, world: World, id = "0"): Any => {
  if (!("kind" in tree)) return leaf(tree, `leaf ${id}`, world)
  const members = tree.of.map((one, index) => build(one, world, `${id}.${index}`))
  const made = workflow(tree, `${tree.kind} ${id}`, members as [Any, ...Array<Any>], world)
  return Runner.map(made, (output) => text(output))
}

type Made = Runner.Runner<string, unknown, unknown, never>

const pass: Chain.Step<string, string, never, never> = (input: string) => Effect.succeed(input)
const modes = [Parallel.failFast, Parallel.settle, Parallel.race] as const

const workflow = (node: Node, name: string, members: [Any, ...Array<Any>], world: World): Made => {
  const [first] = members
  const { flag, kind, m, n } = node
  const concurrency = m === 0 ? ("unbounded" as const) : m
  const keys = members.map((member) => member.name)
  const group = (mode: Parallel.Mode): Made => {
    world.groups.set(name, { mode, keys })
    const made: Made = flag
      ? Parallel.make(name, members, { mode, concurrency })
      : Parallel.make(name, Object.fromEntries(members.map((one) => [one.name, one])), { mode, concurrency })
    return Runner.map(made, (output) => {
      if (mode._tag !== "race") {
        const count = Object.keys(output as object).length
        const needed = mode._tag === "quorum" ? mode.n : keys.length
        world.expect(count === needed, () => `${name} gave ${count} of ${needed} outputs`)
      }
      return output
    })
  }
  switch (kind) {
    case "chain": {
      const steps: ReadonlyArray<Chain.Step<string, string, unknown, never>> = flag
        ? [(input: string) => first.run(input), ...members.slice(1)]
        : members
      const [one, two, three, four] = [...steps, pass, pass, pass] as const
      const gate = Chain.gate("gate", (said: string) => (n === 3 ? Chain.stop("stopped") : said))
      return Chain.make(name, [one!, gate, two!, three!, four!])
    }
    case "failFast":
      return group(Parallel.failFast)
    case "settle":
      return group(Parallel.settle)
    case "race":
      return group(Parallel.race)
    case "quorum":
      return group(Parallel.quorum(1 + (n % members.length)))
    case "hedge":
      return Parallel.hedge(name, first, { delay: world.time(name), attempts: n + 1 })
    case "broadcast":
      return Gather.broadcast(name, members, { mode: modes[n % 3]!, concurrency })
    case "scatter":
      return Runner.mapInput(
        Gather.scatter(name, members, { mode: modes[n % 3]!, concurrency }),
        // One too few, sometimes.
        (input: string): never => members.slice(flag && n === 3 ? 1 : 0).map(() => input) as never
      )
    case "map":
      return Runner.mapInput(
        Gather.map(name, first, { mode: modes[n % 3]!, concurrency }),
        (input: string): Iterable<string> => Array.from({ length: m + 1 }, () => input)
      )
    case "mapStream":
      return mapStream(node, name, first)
    case "spawn":
      return Runner.make(name, {
        run: (input: string) =>
          Effect.scoped(
            Effect.gen(function* () {
              const beside = yield* Gather.spawn(members.at(-1)!, input)
              const own = members.length > 1 ? yield* first.run(input) : ""
              if (n === 1) yield* beside.interrupt
              return `${own} ${flag ? yield* beside.await : Option.isSome(yield* beside.poll)}`
            })
          )
      })
    case "router":
      return Router.make(name, Object.fromEntries(members.map((one) => [one.name, one])), {
        classify: () => Effect.succeed(keys[n] ?? "nowhere"),
        ...(flag ? { fallback: first.name } : {})
      })
    case "routers":
      return Router.many(name, Object.fromEntries(members.map((one) => [one.name, one])), {
        classify: () => Effect.succeed(keys.slice(0, n)),
        mode: modes[m % 3]!,
        ...(flag ? { fallback: first.name } : {})
      })
    case "refine":
      return EvaluatorOptimizer.make(
        name,
        { generator: first, evaluator: members[1] ?? ((draft: string) => Effect.succeed(draft)) },
        {
          accept: () => world.count(`rounds of ${name}`) % 4 === n,
          maxRounds: m + 1,
          onMaxRounds: flag ? "fail" : "best"
        }
      )
    case "plan":
      return plan(node, name, members, world)
    case "timeout":
      world.wrapped.add(first.name)
      return Runner.withTimeout(first, world.time(name) * (n + 1))
    case "retry":
      world.wrapped.add(first.name)
      return Runner.withRetry(first, { times: n, while: (error) => flag || typeof error === "string" })
    case "tools":
      return tools(node, name, members)
    case "orchestrator":
      return orchestrator(node, name, members)
    case "consumer":
      return Runner.make(name, {
        run: (input: string) => Effect.as(Stream.runDrain(Stream.take(first.stream(input), 2 + n * 3 + m)), "consumed")
      })
    case "gatherStream":
      return Runner.make(name, {
        run: (input: string) => {
          const inputs = Stream.fromIterable(Array.from({ length: m + 1 }, () => input))
          const outputs: Stream.Stream<unknown, unknown> = Gather.stream(first, inputs, {
            concurrency: 1 + (n % 3),
            ordered: m % 2 === 0,
            mode: modes[flag ? 1 : 0]!
          })
          return Stream.runCollect(n === 3 ? Stream.take(outputs, 1) : outputs)
        }
      })
    case "combine":
      return Parallel.make(name, members.slice(0, -1).length === 0 ? members : members.slice(0, -1), {
        mode: modes[n % 3]!,
        concurrency,
        combine: members.at(-1)!
      })
    case "modelRouter": {
      const desk = Router.make(name, Object.fromEntries(members.map((one) => [one.name, one])), {
        threshold: 0.5,
        ...(flag ? { fallback: first.name } : {})
      })
      const chosen = TestModel.json({ route: keys[n] ?? "nowhere", confidence: m / 3 })
      return Runner.provide(
        desk,
        TestModel.layer(() => chosen)
      )
    }
    case "handoffs":
      return handoffs(node, name, members)
    case "spawner":
      return spawner(node, name, members)
  }
}

const mapStream = ({ flag, m, n }: Node, name: string, runner: Any): Made => {
  const common = {
    inputs: (input: string) => Stream.fromIterable(Array.from({ length: m + 1 }, () => input)),
    concurrency: 1 + (n % 3),
    ordered: m % 2 === 0
  }
  return flag
    ? Gather.mapStream(name, runner, { ...common, mode: Parallel.settle, into: Stream.runCollect })
    : Gather.mapStream(name, runner, { ...common, into: (outputs) => Stream.runCollect(Stream.take(outputs, n + 1)) })
}

const plan = ({ flag, m, n }: Node, name: string, members: ReadonlyArray<Any>, world: World): Made =>
  PlanExecuteEvaluate.make(
    name,
    {
      planner: () =>
        Effect.succeed({
          steps: members.map((member, index) => ({
            id: `step ${index} of ${name}`,
            task: "do it",
            worker: member.name,
            dependsOn: index > 0 && (n + index) % 2 === 0 ? [`step ${index - 1} of ${name}`] : []
          }))
        }),
      workers: Object.fromEntries(members.map((one) => [one.name, one])),
      evaluator: () => Effect.succeed(0)
    },
    {
      accept: () => world.count(`plans of ${name}`) % 3 === n,
      maxRounds: 2,
      ...(m === 0 ? {} : { concurrency: m }),
      onMaxRounds: flag ? "fail" : "best"
    }
  )

/** An agent that calls every member as a tool. */
const tools = ({ flag, m }: Node, name: string, members: ReadonlyArray<Any>): Made => {
  const named = members.map((member) => member.name.replace(/[^\w-]/g, "_"))
  const agent = Agent.make(name, {
    ...(m === 0 ? {} : { toolConcurrency: m }),
    tools: members.map((member, index) =>
      AgentTool.fromRunner(member, {
        name: named[index]!,
        description: "Does it",
        failureMode: (flag ? index % 2 === 0 : m === 1) ? "error" : "return"
      })
    )
  })
  return Runner.provide(agent, calling(named))
}

/** The same, whose failures always go to the model, and which may have work for one of its workers only. */
const orchestrator = ({ flag, m, n }: Node, name: string, members: ReadonlyArray<Any>): Made => {
  const workers = Object.fromEntries(
    members.map((member) => [member.name.replace(/[^\w-]/g, "_"), Runner.described(member, "Does it")])
  )
  const agent = Orchestrator.make(name, workers, {
    ...(m === 0 ? {} : { toolConcurrency: m }),
    ...(flag ? { budget: n === 0 ? { runs: 1 } : { tokens: 100 } } : {})
  })
  return Runner.provide(agent, calling(Object.keys(workers)))
}

/**
 * An agent for every member, which calls it as a tool and hands over to the next in the same step, the last to the first.
 * `checkHandoffs` in `treeLaws.ts` reads the names.
 */
const handoffs = ({ flag, m, n }: Node, name: string, members: ReadonlyArray<Any>): Made => {
  const names = members.map((_, index) => `agent_${index}`)
  const agents = members.map((member, index) => {
    const work = member.name.replace(/[^\w-]/g, "_")
    const next = names[(index + 1) % names.length]!
    const agent = Agent.make(names[index]!, {
      tools: [
        AgentTool.fromRunner(member, { name: work, description: "Does it", failureMode: flag ? "error" : "return" }),
        Handoffs.to(next, { history: (["all", "messages", "none"] as const)[n % 3]! })
      ]
    })
    const handOver = { name: `transfer_to_${next}`, params: { reason: "r", message: "m" } }
    let calls = 0
    const model = TestModel.layer(({ prompt }) => {
      if (prompt.content.at(-1)?.role === "tool") return `done by ${names[index]}`
      const work_ = { name: work, params: { input: "go" } }
      // An attempt after one that failed does not hand over.
      return TestModel.toolCalls(...(n === 3 && calls++ > 0 ? [work_] : [handOver, work_]))
    })
    return Runner.withRetry(Runner.provide(agent, model), { times: n === 3 ? 1 : 0 })
  })
  return Handoffs.make(name, Object.fromEntries(agents.map((agent, index) => [names[index]!, agent])), {
    start: names[0]!,
    maxHandoffs: m
  })
}

/** An orchestrator that spawns an agent for every member, which calls it as a tool. */
const spawner = ({ flag, m, n }: Node, name: string, members: ReadonlyArray<Any>): Made => {
  const named = members.map((member) => member.name.replace(/[^\w-]/g, "_"))
  const agent = Orchestrator.make(
    name,
    {},
    {
      spawn: {
        tools: members.map((member, index) =>
          AgentTool.fromRunner(member, { name: named[index]!, description: "Does it" })
        ),
        maxBreadth: 1 + m
      },
      ...(flag ? { budget: n === 0 ? { runs: 2 } : { tokens: 100 } } : {})
    }
  )
  const model = TestModel.layer(({ prompt, tools }) => {
    if (prompt.content.some((message) => message.role === "tool")) return "done"
    if (!tools.includes("spawn"))
      return TestModel.toolCalls(...tools.map((one) => ({ name: one, params: { input: "go" } })))
    return TestModel.toolCalls(
      ...named.map((one) => ({
        name: "spawn",
        params: { name: `spawned for ${one}`, instructions: "You do it.", task: "go", tools: [one] }
      }))
    )
  })
  return Runner.provide(agent, model)
}

/** A model that calls every tool in its first step, and answers in its second. */
const calling = (tools: ReadonlyArray<string>) =>
  TestModel.layer((call) =>
    call.prompt.content.some((message) => message.role === "tool")
      ? "done"
      : TestModel.toolCalls(...tools.map((tool) => ({ name: tool, params: { input: "go" } })))
  )

/** A value or an error as one text, the same for the same outcome. */
export const text = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(plain(value)))

const plain = (value: unknown): unknown => {
  if (Result.isResult(value)) {
    return Result.isSuccess(value) ? { ok: plain(value.success) } : { no: plain(value.failure) }
  }
  if (value instanceof Parallel.ParallelError) {
    return [value.name, value.failures.map(({ branch, error }) => [branch, plain(error)]), value.interrupted]
  }
  if (value instanceof Parallel.BranchDefect) return ["defect", plain(value.defect)]
  if (value instanceof PlanExecuteEvaluate.StepsFailed) {
    return [value.name, value.failures.map(({ error, step }) => [step, plain(error)]), value.interrupted]
  }
  if (value instanceof RunError.ToolError) {
    return [value.path, value.failures.map(({ cause, tool }) => [tool, plain(cause)]), value.interrupted]
  }
  if (value instanceof RunError.RunTimedOut) return ["timed out", value.path]
  if (value instanceof Error) return [value.constructor.name, value.message]
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, plain(one)]))
  }
  return value
}
