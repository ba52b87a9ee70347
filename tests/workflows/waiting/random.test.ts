/**
 * Random trees of workflows with leaves that wait: answering them, all at once or one by one, gives the output that there is
 * when nothing waits, and leaves that were done are not run again.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result, Schema, Stream } from "effect"
import { Prompt } from "effect/ai"
import {
  Agent,
  AgentTool,
  Approvals,
  Chain,
  EvaluatorOptimizer,
  Gather,
  Handoffs,
  Orchestrator,
  Parallel,
  PlanExecuteEvaluate,
  Router,
  RunError,
  Runner,
  TestModel
} from "troupe"
import { it as both } from "../../support/edges.ts"
import { cases } from "../../support/cases.ts"

type Any = Runner.Runner<Prompt.RawInput, unknown, unknown, never>

const kinds = [
  "chain",
  "chainOfOneName",
  "failFast",
  "settle",
  "quorum",
  "race",
  "combine",
  "broadcast",
  "map",
  "mapStream",
  "unordered",
  "hedge",
  "router",
  "classified",
  "routers",
  "refine",
  "judged",
  "plan",
  "planned",
  "assessed",
  "handoffs",
  "tool",
  "orchestrator",
  "fallback",
  "function"
] as const
type Tree =
  | { readonly leaf: "text" | "client" | "approval" | "event" }
  | { readonly kind: (typeof kinds)[number]; readonly of: readonly [Tree, ...ReadonlyArray<Tree>] }

const Leaf = Schema.Struct({ leaf: Schema.Literals(["text", "client", "approval", "event"]) })
const level = <S extends Schema.Codec<Tree, Tree>>(below: S) =>
  Schema.Union([
    Leaf,
    Schema.Struct({ kind: Schema.Literals(kinds), of: Schema.Tuple([below, below]) })
  ]) as unknown as Schema.Codec<Tree, Tree>
const Tree = level(level(level(Leaf as unknown as Schema.Codec<Tree, Tree>)))

/** What the leaves did, by their number. */
interface World {
  readonly done: Map<number, number>
  readonly waits: boolean
  count: number
}

/** A leaf that asks: its text is known by what it was answered. */
const asker = (world: World, n: number, kind: "client" | "approval" | "event"): Any => {
  const value = `value ${n}`
  const did = () => world.done.set(n, (world.done.get(n) ?? 0) + 1)
  if (kind === "event") {
    const event = world.waits
      ? Runner.event(`event ${n}`, { schema: Schema.String })
      : Runner.make(`event ${n}`, { run: () => Effect.succeed(value) })
    return Runner.map(event, (text) => (did(), text)) as unknown as Any
  }
  const name = `${kind}_${n}`
  const description = `Gives ${n}`
  const tool =
    kind === "client" && world.waits
      ? AgentTool.client(name, { description, success: Schema.String })
      : AgentTool.fromFunction(name, {
          description,
          needsApproval: kind === "approval" && world.waits,
          execute: () => (kind === "approval" && did(), value)
        })
  const agent = Agent.make(`agent ${n}`, { description: `Asks for ${n}`, tools: [tool] })
  return (kind === "client" ? Runner.map(agent, (text) => (did(), text)) : agent) as unknown as Any
}

const build = (tree: Tree, world: World): Any => {
  const n = world.count++
  if ("leaf" in tree) {
    if (tree.leaf !== "text") return asker(world, n, tree.leaf)
    return Runner.make(`leaf ${n}`, {
      description: `Leaf ${n}`,
      run: () => Effect.sync(() => (world.done.set(n, (world.done.get(n) ?? 0) + 1), `text ${n}`))
    })
  }
  const [a, b] = tree.of.map((one) => Runner.map(build(one, world), text)) as unknown as readonly [Any, Any]
  const name = `${tree.kind} ${n}`
  const at = (index: number) => [a, b][index]!
  switch (tree.kind) {
    case "chain":
      return Chain.make(name, [a, (said: unknown) => Effect.succeed(`${String(said)}!`), b as never]) as Any
    case "chainOfOneName":
      return Chain.make(name, [Runner.named(a, "same"), Runner.named(b, "same") as never]) as Any
    case "failFast":
      return Parallel.make(name, { a, b }) as Any
    case "settle":
      return Parallel.make(name, { a, b, no: failing }, { mode: Parallel.settle }) as Any
    case "quorum":
      return Parallel.make(name, { a, b, no: failing }, { mode: Parallel.quorum(2) }) as Any
    case "race":
      return Parallel.make(name, { a, no: failing }, { mode: Parallel.race }) as Any
    case "combine":
      return Parallel.make(name, { a }, { combine: Runner.mapInput(b, (given: string) => given) }) as Any
    case "broadcast":
      return Gather.broadcast(name, [a, b, a]) as Any
    case "map":
      return Runner.mapInput(Gather.map(name, a), () => ["x", "y"]) as unknown as Any
    case "mapStream":
      return Runner.mapInput(
        Gather.mapStream(name, a, {
          inputs: (ns: ReadonlyArray<string>) => Stream.fromIterable(ns),
          into: Stream.runCollect,
          concurrency: 2,
          keep: 3
        }),
        () => ["x", "y", "z"]
      ) as unknown as Any
    case "unordered":
      return Runner.mapInput(
        Gather.mapStream(name, a, {
          inputs: (ns: ReadonlyArray<string>) => Stream.fromIterable(ns),
          into: Stream.runCount,
          mode: Parallel.settle,
          ordered: false,
          keep: 2
        }),
        () => ["x", "y"]
      ) as unknown as Any
    case "hedge":
      return Parallel.hedge(name, a, { delay: "1 hours" }) as Any
    case "router":
      return Router.make(name, { a, b }, { classify: () => Effect.succeed("b" as const) }) as Any
    case "classified":
      return Router.make(name, { b }, {
        classify: (input: Prompt.RawInput) => Effect.as(a.run(input), "b")
      } as never) as Any
    case "routers":
      return Router.many(name, { a, b }, { classify: () => Effect.succeed(["a", "b"] as const) }) as Any
    case "refine": {
      let round = 0
      const evaluator = () => Effect.sync(() => ++round)
      return EvaluatorOptimizer.make(name, { generator: a, evaluator }, { accept: () => true }) as unknown as Any
    }
    case "judged":
      return EvaluatorOptimizer.make(
        name,
        { generator: a, evaluator: () => b.run("judge") },
        { accept: () => false, maxRounds: 2, onMaxRounds: "best" }
      ) as unknown as Any
    case "plan": {
      const steps = [
        { id: "one", task: "t" },
        { id: "two", task: "t" },
        { id: "three", task: "t", dependsOn: ["one"] }
      ]
      const executor = ({ step }: { readonly step: { readonly id: string } }) =>
        step.id === "one" ? a.run("one") : step.id === "two" ? b.run("two") : Effect.succeed("three")
      return PlanExecuteEvaluate.make(name, {
        planner: Effect.succeed({ steps }),
        executor
        // What an executor's steps gave is all the same here.
      } as never) as unknown as Any
    }
    case "planned":
      return PlanExecuteEvaluate.make(name, {
        planner: () => Effect.as(a.run("plan"), { steps: [{ id: "one", task: "t" }] }),
        executor: () => b.run("one")
      } as never) as unknown as Any
    case "assessed":
      return PlanExecuteEvaluate.make(
        name,
        {
          planner: ({ round }: { readonly round: number }) =>
            Effect.succeed({ steps: [{ id: "one", task: `t${round}` }] }),
          executor: () => a.run("one"),
          evaluator: () => b.run("assess")
        } as never,
        { accept: () => false, maxRounds: 2, onMaxRounds: "best" } as never
      ) as unknown as Any
    case "handoffs":
      return Handoffs.make(
        name,
        { first: Agent.make("first", { tools: [Handoffs.to("second")] }), second: a as never },
        { start: "first" }
      ) as unknown as Any
    case "tool":
      return Agent.make(name, {
        tools: [0, 1].map((index) =>
          AgentTool.fromRunner(at(index), {
            name: `sub${index}`,
            description: "Sub",
            input: ({ input }: { readonly input: string }) => input
          } as never)
        )
      } as never) as unknown as Any
    case "orchestrator":
      return Orchestrator.make(name, {
        sub0: Runner.described(a, "Sub"),
        sub1: Runner.described(b, "Sub")
      } as never) as unknown as Any
    case "fallback":
      return Runner.orElse(Runner.named(a, `${name} first`), b) as unknown as Any
    case "function":
      return Runner.make(name, { run: (input: Prompt.RawInput) => a.run(input) }) as Any
  }
}

const failing = Runner.make("no", { run: () => Effect.fail("no" as const) })
const text = (output: unknown): string => (typeof output === "string" ? output : JSON.stringify(output, shown))
const shown = (_: string, value: unknown): unknown =>
  Result.isResult(value) ? (Result.isSuccess(value) ? { ok: value.success } : { no: value.failure }) : value

/** Calls each of its tools once, in one step, and says then what they gave. */
const model = TestModel.layer((request) => {
  const { prompt, tools } = request
  const last = prompt.content.at(-1)!
  if (last.role !== "tool") {
    const params = (name: string) =>
      name.startsWith("sub") ? { input: "go" } : name.startsWith("transfer") ? { reason: "r", message: "m" } : {}
    if (tools.length === 0) return "said"
    return { toolCalls: tools.map((name) => ({ name, params: params(name) })) }
  }
  return last.content.flatMap((part) => (part.type === "tool-result" ? [text(part.result)] : [])).join(" and ")
})

/** As another process would have it. */
const sent = (transcript: Prompt.Prompt): Prompt.Prompt =>
  Schema.decodeSync(Prompt.Prompt)(JSON.parse(JSON.stringify(Schema.encodeSync(Prompt.Prompt)(transcript))))

/** Runs until nothing waits. Each time `few` things are answered, or all; `salt` says which. Gives the output, and how often. */
const answering = (runner: Any, few: number, salt: number) =>
  Effect.gen(function* () {
    let input: Prompt.RawInput = "go"
    for (let rounds = 0; rounds < 60; rounds++) {
      const result = yield* Effect.result(runner.run(input))
      if (Result.isSuccess(result)) return { output: result.success, rounds }
      const error = result.failure
      if (!(error instanceof RunError.RunSuspended)) return yield* Effect.fail(error)
      assert.isUndefined(error.blockedBy, error.message)
      const transcript = sent(error.transcript)
      assert.deepStrictEqual(Runner.pending(transcript), error.waitingFor)
      const from = (salt + rounds) % error.waitingFor.length
      const turned = [...error.waitingFor.slice(from), ...error.waitingFor.slice(0, from)]
      const answers = turned.slice(0, few).map((waiting) => {
        if (waiting.kind === "approval") return [waiting.id, Approvals.approve] as const
        const of = waiting.kind === "event" ? waiting.name : waiting.tool
        return [waiting.id, `value ${of.match(/\d+$/)![0]}`] as const
      })
      input = sent(Runner.answer(transcript, Object.fromEntries(answers)))
    }
    return assert.fail("it goes on waiting")
  })

const drive = (tree: Tree, waits: boolean, few = 100, salt = 0) => {
  const world: World = { done: new Map(), waits, count: 0 }
  return Effect.map(answering(build(tree, world), few, salt), ({ output, rounds }) => ({
    rounds,
    end: { output: text(output), done: [...world.done].toSorted(([a], [b]) => a - b) }
  })).pipe(Effect.provide(model))
}

const leaf = (kind: "text" | "client" | "approval" | "event"): Tree => ({ leaf: kind })

/** Each of the two members waits for each of the three kinds of things, in one of these. */
const pairs = [
  ["client", "event"],
  ["approval", "client"],
  ["event", "approval"]
] as const

describe("answering what a tree of workflows waits for", () => {
  for (const kind of kinds) {
    for (const pair of pairs) {
      both.effect(`gives what it gives when nothing waits: ${kind} of ${pair.join(" and ")}`, () =>
        Effect.gen(function* () {
          const tree: Tree = { kind, of: [leaf(pair[0]), leaf(pair[1])] }
          const expected = yield* drive(tree, false)
          for (const few of [1, 100]) {
            const given = yield* drive(tree, true, few)
            assert.deepStrictEqual(given.end, expected.end)
            assert.isAbove(given.rounds, 0)
          }
        })
      )
    }
  }

  for (const kind of ["tool", "orchestrator"] as const) {
    both.effect(`gives what it gives when nothing waits: ${kind} of a function`, () =>
      Effect.gen(function* () {
        const tree: Tree = { kind, of: [{ kind: "function", of: [leaf("approval"), leaf("text")] }, leaf("client")] }
        const expected = yield* drive(tree, false)
        for (const few of [1, 100]) assert.deepStrictEqual((yield* drive(tree, true, few)).end, expected.end)
      })
    )
  }

  it.effect.prop(
    "gives what it gives when nothing waits, for any tree and any order of answers",
    [Tree, Schema.Literals([1, 2, 100]), Schema.Literals([0, 1, 2, 3])],
    ([tree, few, salt]) =>
      Effect.gen(function* () {
        const expected = yield* drive(tree, false)
        const given = yield* drive(tree, true, few, salt)
        assert.deepStrictEqual(given.end, expected.end)
      }),
    { timeout: 120_000, arbitrary: { runs: cases(60), size: 20 } }
  )
})
