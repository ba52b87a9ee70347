/** Trees of all workflows over steps and agents, made of numbers, for runs that are killed and made again. */
import { Effect, Option, Schema, Stream } from "effect"
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
  Router,
  Runner,
  Step,
  TestModel
} from "troupe"
import type { LanguageModel } from "effect/ai"

type Any = Runner.Runner<string, string, unknown, LanguageModel.LanguageModel>

const kinds = [
  "step",
  "step",
  "tools",
  "chain",
  "failFast",
  "settle",
  "race",
  "quorum",
  "hedge",
  "map",
  "stream",
  "spawn",
  "router",
  "routers",
  "refine",
  "plan",
  "retry",
  "timeout",
  "orElse",
  "agent",
  "orchestrator",
  "handoffs",
  "twice"
] as const

/** A model that calls every tool once, and then answers. Its ids and its usage are the same in every run. */
export const model = TestModel.layer(({ prompt, tools }) => {
  const isDone = tools.length === 0 || prompt.content.at(-1)?.role === "tool"
  const usage = { inputTokens: { total: prompt.content.length }, outputTokens: { total: 1 } }
  if (isDone) return { text: "done", usage }
  return {
    text: "I call.",
    usage,
    toolCalls: tools.map((name, index) => ({
      id: `c${index}`,
      name,
      params: name.startsWith("transfer") ? { reason: "r", message: "m" } : { input: "go" }
    }))
  }
})

/** Builds the tree that the numbers stand for. `log` has what its steps and tools did. The same numbers are the same tree. */
export const build = (numbers: ReadonlyArray<number>, log: Array<string>): Any => {
  let at = 0
  let names = 0
  const next = (below: number): number => (numbers[at++ % Math.max(1, numbers.length)] ?? 0) % below
  const node = (depth: number): Any => {
    const name = `n${names++}`
    const kind = depth === 0 ? kinds[next(3)]! : kinds[next(kinds.length)]!
    return Runner.named(
      make(kind, name, () => node(depth - 1)),
      name
    )
  }
  const make = (kind: (typeof kinds)[number], name: string, child: () => Any): Any => {
    switch (kind) {
      case "step":
        return step(name, log)
      case "tools":
        return Agent.make(name, { tools: [noting("first", log), noting("second", log)] })
      default:
        return workflow(kind, name, child, next(2) === 0)
    }
  }
  return node(2)
}

const step = (name: string, log: Array<string>): Any =>
  Runner.make(name, {
    run: (_input: string) =>
      Effect.flatMap(Runner.current, (info) =>
        Step.run(
          "work",
          Schema.String,
          Effect.sync(() => {
            log.push(Option.getOrThrow(info).runId)
            return name
          })
        )
      )
  })

const noting = (name: string, log: Array<string>) =>
  AgentTool.fromFunction(name, {
    description: "Notes it",
    execute: (_input, { idempotencyKey }) => {
      log.push(String(idempotencyKey))
      return name
    }
  })

const never: Any = Runner.make("never", { run: (_input: string) => Effect.never })
const texts = (runner: Runner.Runner<never, unknown, unknown, LanguageModel.LanguageModel>): Any =>
  Runner.map(runner as Runner.Runner<string, unknown, unknown, LanguageModel.LanguageModel>, (output) =>
    JSON.stringify(output)
  )
const tool = (runner: Any) => AgentTool.fromRunner(Runner.described(runner, "Does it"), { name: runner.name })

const workflow = (kind: (typeof kinds)[number], name: string, child: () => Any, flag: boolean): Any => {
  const a = child()
  const b = child()
  switch (kind) {
    case "chain":
      return Chain.make(name, [a, b])
    case "failFast":
      return texts(Parallel.make(name, { a, b }))
    case "settle":
      return texts(Parallel.make(name, { a, b }, { mode: Parallel.settle }))
    case "race":
      return texts(Parallel.make(name, { a, never }, { mode: Parallel.race }))
    case "quorum":
      return texts(Parallel.make(name, { a, never, b }, { mode: Parallel.quorum(2) }))
    case "hedge":
      return Parallel.hedge(name, a, { delay: "1 hour", attempts: 2 })
    case "map":
      return texts(
        Runner.mapInput(Gather.map(name, a, { concurrency: flag ? 1 : 3 }), (input: string) => [input, input])
      )
    case "stream":
      return texts(
        Gather.mapStream(name, a, {
          inputs: (input: string) => Stream.make(input, input, input),
          concurrency: flag ? 1 : 2,
          into: Stream.runCollect
        })
      )
    case "spawn":
      return Runner.make(name, {
        run: (input: string) =>
          Effect.scoped(
            Effect.gen(function* () {
              const beside = yield* Gather.spawn(a, input)
              return `${yield* b.run(input)} ${yield* beside.await}`
            })
          )
      })
    case "router":
      return Router.make(name, { a, b }, { classify: (_input: string) => Effect.succeed(flag ? "a" : "b") })
    case "routers":
      return texts(Router.many(name, { a, b }, { classify: (_input: string) => Effect.succeed(["a", "b"]) }))
    case "refine":
      return texts(
        EvaluatorOptimizer.make(
          name,
          { generator: a, evaluator: () => Effect.succeed(1) },
          { accept: () => false, maxRounds: 2, onMaxRounds: "best" }
        )
      )
    case "plan":
      return texts(
        PlanExecuteEvaluate.make(name, {
          planner: () =>
            Effect.succeed({
              steps: [
                { id: "one", task: "do it", worker: "a", dependsOn: [] },
                { id: "two", task: "do it", worker: "b", dependsOn: flag ? ["one"] : [] }
              ]
            }),
          workers: { a, b }
        })
      )
    case "retry":
      return Runner.orElse(
        Runner.withRetry(
          Runner.mapEffect(a, () => Effect.fail("no" as const)),
          { times: 1 }
        ),
        b
      )
    case "timeout":
      return Runner.withTimeout(a, "1 hour")
    case "orElse":
      return Runner.orElse(
        Runner.mapEffect(a, () => Effect.fail("no" as const)),
        b
      )
    case "agent":
      return Agent.make(name, { tools: [tool(a), tool(b)], instructions: () => Effect.succeed("Work.") })
    case "orchestrator":
      return Orchestrator.make(name, { a: Runner.described(a, "Does a"), b: Runner.described(b, "Does b") })
    case "handoffs":
      return Handoffs.make(
        name,
        { x: Agent.make("x", { tools: [tool(a), Handoffs.to("y")] }), y: Agent.make("y", { tools: [tool(b)] }) },
        { start: "x" }
      )
    default:
      return Runner.make(name, { run: (input: string) => Effect.andThen(a.run(input), a.run(input)) })
  }
}
