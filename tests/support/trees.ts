/**
 * Random trees of workflows as data, and the programs that they stand for. A tree is made of leaves, which do what may go
 * wrong, and of every kind of workflow; `World` keeps the books of one run of it.
 */
import { Clock, Effect, Option, Result, Schema, Stream } from "effect"
import {
  Agent,
  Chain,
  EvaluatorOptimizer,
  Gather,
  Parallel,
  PlanExecuteEvaluate,
  Router,
  RunError,
  Runner,
  TestModel
} from "troupe"

/** What a leaf does, and how it gives back what it holds. */
export interface Leaf {
  readonly does: (typeof does)[number]
  readonly release: (typeof releases)[number]
  /** Takes no time. */
  readonly instant: boolean
}

/** A workflow of other trees. What `n`, `m` and `flag` mean depends on the kind; see `build`. */
export interface Node {
  readonly kind: (typeof kinds)[number]
  readonly of: readonly [Tree, ...Array<Tree>]
  readonly n: number
  readonly m: number
  readonly flag: boolean
}

export type Tree = Leaf | Node

// What stands twice comes twice as often.
export const does = [
  "succeeds",
  "succeeds",
  "succeeds",
  "succeeds",
  "succeeds in children",
  "succeeds after yielding",
  "succeeds the second time",
  "succeeds uninterruptibly",
  "fails",
  "fails",
  "dies",
  "throws",
  "interrupts itself",
  "never ends"
] as const
export const releases = [
  "at once",
  "at once",
  "at once",
  "at once",
  "at once, yielding",
  "slowly",
  "slowly",
  "failing",
  "dying slowly"
] as const
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
  "consumer"
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

/** One run of a leaf. */
export interface Stay {
  readonly leaf: Leaf
  readonly name: string
  readonly runId: string
  /** It may end later than those around it. */
  readonly isSpawned: boolean
  readonly from: number
  /** When the leaf stopped doing what it does; what follows is its release. */
  until: number | undefined
  released: boolean
}

/** What a group of branches should do. */
export interface GroupSpec {
  readonly mode: Parallel.Mode
  readonly keys: ReadonlyArray<string>
}

/** The books of one run of a tree. */
export class World {
  readonly stays: Array<Stay> = []
  /** The groups whose branches are runs named by their keys, by the name of the group. */
  readonly groups = new Map<string, GroupSpec>()
  /** The names of runners in a retry or a timeout, which lets no failure through while it is interrupted. */
  readonly wrapped = new Set<string>()
  readonly problems: Array<string> = []
  readonly #salt: number
  readonly #range: number
  readonly #instants: boolean
  readonly #counts = new Map<string, number>()
  #isOver = false

  /** Times are picked from `range` ms; `instants`: whether leaves may take none. */
  constructor(salt: number, range: number, instants: boolean) {
    this.#salt = salt
    this.#range = range
    this.#instants = instants
  }

  /** Always the same for the same key, and in a large range another one for each. */
  time(key: string): number {
    let hash = this.#salt | 0
    for (const character of key) hash = Math.imul(hash ^ character.charCodeAt(0), 0x5bd1e995) ^ (hash >>> 13)
    hash ^= hash >>> 15
    return 1 + ((Math.imul(hash, 0x2c1b3c6d) >>> 0) % this.#range)
  }

  count(key: string): number {
    const count = (this.#counts.get(key) ?? 0) + 1
    this.#counts.set(key, count)
    return count
  }

  sleep(key: string, instant = false): Effect.Effect<void> {
    return Effect.suspend(() =>
      instant && this.#instants ? Effect.void : Effect.sleep(this.time(`${key}#${this.count(key)}`))
    )
  }

  /** Called whenever something of the tree runs. */
  touch(what: string): void {
    if (this.#isOver) this.problems.push(`${what} after the outcome`)
  }

  /** The outcome is seen. */
  end(): void {
    this.#isOver = true
    for (const stay of this.stays) if (!stay.released) this.problems.push(`${stay.name} is held after the outcome`)
  }

  expect(isSo: boolean, what: () => string): void {
    if (!isSo) this.problems.push(what())
  }
}

/** Every runner of a tree. */
export type Any = Runner.Runner<string, string, unknown, never>

/** Builds the runner that a tree stands for. Every runner in it has a name of its own. */
export const build = (tree: Tree, world: World, id = "0"): Any => {
  if (!("kind" in tree)) return leaf(tree, `leaf ${id}`, world)
  const members = tree.of.map((one, index) => build(one, world, `${id}.${index}`))
  const made = workflow(tree, `${tree.kind} ${id}`, members as [Any, ...Array<Any>], world)
  return Runner.map(made, (output) => text(output))
}

const leaf = (spec: Leaf, name: string, world: World): Any => {
  const acts = acting(spec, name, world)
  return Runner.make(name, {
    run: () =>
      Effect.acquireUseRelease(
        Effect.gen(function* () {
          world.touch(name)
          const { path, runId } = Option.getOrThrow(yield* Runner.current)
          const stay: Stay = {
            leaf: spec,
            name,
            runId,
            isSpawned: path.some((one) => one.startsWith("spawn")),
            from: yield* Clock.currentTimeMillis,
            until: undefined,
            released: false
          }
          world.stays.push(stay)
          return stay
        }),
        (stay) =>
          Effect.onExit(acts, () =>
            Effect.map(Clock.currentTimeMillis, (now) => {
              stay.until = now
            })
          ),
        (stay) => releasing(spec, stay, world)
      )
  })
}

const acting = (spec: Leaf, name: string, world: World): Effect.Effect<string, string> => {
  const pause = Effect.andThen(
    world.sleep(name, spec.instant),
    Effect.sync(() => world.touch(name))
  )
  const done = Effect.as(pause, name)
  switch (spec.does) {
    case "succeeds":
      return done
    case "succeeds in children":
      return Effect.andThen(
        Effect.forkChild(
          Effect.forever(
            Effect.andThen(
              world.sleep(name),
              Effect.sync(() => world.touch(name))
            )
          )
        ),
        Effect.as(Effect.all([pause, pause], { concurrency: 2 }), name)
      )
    case "succeeds after yielding":
      return Effect.andThen(Effect.yieldNow, Effect.andThen(Effect.yieldNow, done))
    case "succeeds the second time":
      return Effect.suspend(() =>
        world.count(`tries of ${name}`) % 2 === 0 ? done : Effect.andThen(pause, Effect.fail(`first ${name}`))
      )
    case "succeeds uninterruptibly":
      return Effect.uninterruptible(done)
    case "fails":
      return Effect.andThen(pause, Effect.fail(`failed ${name}`))
    case "dies":
      return Effect.andThen(pause, Effect.die(new Error(`died ${name}`)))
    case "throws":
      return Effect.map(pause, () => {
        throw new Error(`threw ${name}`)
      })
    case "interrupts itself":
      return Effect.andThen(pause, Effect.interrupt)
    case "never ends":
      return Effect.never
  }
}

const releasing = ({ release }: Leaf, stay: Stay, world: World): Effect.Effect<void, string> => {
  const { name } = stay
  const give = Effect.sync(() => {
    world.touch(name)
    stay.released = true
  })
  switch (release) {
    case "at once":
      return give
    case "at once, yielding":
      return Effect.andThen(Effect.yieldNow, give)
    case "slowly":
      return Effect.andThen(world.sleep(`release of ${name}`), give)
    case "failing":
      return Effect.andThen(give, Effect.fail(`release failed ${name}`))
    case "dying slowly":
      return Effect.andThen(
        Effect.andThen(world.sleep(`release of ${name}`), give),
        Effect.die(new Error(`release died ${name}`))
      )
  }
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
      return Router.make(name, {
        routes: Object.fromEntries(members.map((one) => [one.name, one])),
        classify: () => Effect.succeed(keys[n] ?? "nowhere"),
        ...(flag ? { fallback: first.name } : {})
      })
    case "routers":
      return Router.many(name, {
        routes: Object.fromEntries(members.map((one) => [one.name, one])),
        classify: () => Effect.succeed(keys.slice(0, n)),
        mode: modes[m % 3]!,
        ...(flag ? { fallback: first.name } : {})
      })
    case "refine":
      return EvaluatorOptimizer.make(name, {
        generator: first,
        evaluator: members[1] ?? ((draft: string) => Effect.succeed(draft)),
        accept: () => world.count(`rounds of ${name}`) % 4 === n,
        maxRounds: m + 1,
        onExhausted: flag ? "fail" : "best"
      })
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
    case "consumer":
      return Runner.make(name, {
        run: (input: string) => Effect.as(Stream.runDrain(Stream.take(first.stream(input), 2 + n * 3 + m)), "consumed")
      })
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
  PlanExecuteEvaluate.make(name, {
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
    evaluator: () => Effect.succeed(0),
    accept: () => world.count(`plans of ${name}`) % 3 === n,
    maxRounds: 2,
    ...(m === 0 ? {} : { concurrency: m }),
    onExhausted: flag ? "fail" : "best"
  })

/** An agent that calls every member as a tool in its first step, and answers in its second. */
const tools = ({ flag, m }: Node, name: string, members: ReadonlyArray<Any>): Made => {
  const named = members.map((member) => member.name.replace(/[^\w-]/g, "_"))
  const agent = Agent.make(name, {
    ...(m === 0 ? {} : { toolConcurrency: m }),
    tools: members.map((member, index) =>
      Runner.asTool(member, {
        name: named[index]!,
        description: "Does it",
        failureMode: (flag ? index % 2 === 0 : m === 1) ? "error" : "return"
      })
    )
  })
  const model = TestModel.layer((call) =>
    call.prompt.content.some((message) => message.role === "tool")
      ? "done"
      : TestModel.toolCalls(...named.map((tool) => ({ name: tool, params: { input: "go" } })))
  )
  return Runner.provide(agent, model)
}

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
