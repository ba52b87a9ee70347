import { assert, describe } from "@effect/vitest"
import { cases } from "../support/cases.ts"
import { it } from "../support/edges.ts"
import { Effect, Exit, Schema } from "effect"
import { Agent, AgentTool, Chain, Parallel, Prices, RunError, Runner, TestModel } from "troupe"

/** A tree of runners, each with a budget or without. */
interface Tree {
  readonly kind: "agent" | "chain" | "parallel" | "tool"
  readonly limit: number
  readonly children: ReadonlyArray<Tree>
}
const Leaf = Schema.Struct({
  kind: Schema.Literals(["agent"]),
  limit: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 12 })),
  children: Schema.Tuple([])
})
const Level = (inner: Schema.Top) =>
  Schema.Struct({
    kind: Schema.Literals(["chain", "parallel", "tool"]),
    limit: Leaf.fields.limit,
    children: Schema.Array(inner).check(Schema.isMinLength(1), Schema.isMaxLength(3))
  })
const Tree = Schema.Union([Leaf, Level(Schema.Union([Leaf, Level(Leaf)]))]) as unknown as Schema.Codec<Tree>

/** Tokens of one call, and dollars. */
const each = 100
const price = 0.01

type Any = Runner.Runner<string, string, unknown, never>

const build = (tree: Tree, name: string, costs: boolean): Any => {
  const children = tree.children.map((child, at) => build(child, `${name}${at}`, costs))
  const made =
    tree.kind === "agent"
      ? Agent.make(name, {})
      : tree.kind === "tool"
        ? Agent.make(name, {
            tools: children.map((child) => AgentTool.fromRunner(child, { name: child.name, description: "Helps" }))
          })
        : tree.kind === "chain"
          ? Chain.make(name, children as never)
          : Runner.map(
              Parallel.make(name, Object.fromEntries(children.map((one) => [one.name, one])) as never),
              () => "all"
            )
  const runner = made as unknown as Any
  // Without a budget for some.
  if (tree.limit === 0 || tree.limit > 8) return runner
  return Runner.withBudget(runner, costs ? { cost: tree.limit * price } : { tokens: tree.limit * each })
}

/** An agent calls all its tools at once, and then answers. */
const model = TestModel.layer(({ prompt, tools }) => ({
  ...(tools.length > 0 && !prompt.content.some(({ role }) => role === "tool")
    ? { toolCalls: tools.map((name) => ({ name, params: { input: "go" } })) }
    : { text: "ok" }),
  usage: { inputTokens: { total: 0 }, outputTokens: { total: each } }
}))
const prices = Prices.layer({ "troupe-test:*": { input: 0, output: (price * 1_000_000) / each } })

const errorsIn = (error: unknown): ReadonlyArray<RunError.BudgetExceeded> =>
  error instanceof RunError.BudgetExceeded
    ? [error]
    : typeof error === "object" && error !== null && "failures" in error
      ? (error.failures as ReadonlyArray<{ readonly error: unknown }>).flatMap((one) => errorsIn(one.error))
      : []

describe("budgets of random trees", () => {
  for (const costs of [false, true]) {
    it.effect.prop(
      `are exceeded by at most one call, or four calls in all while none has ended (${costs ? "cost" : "tokens"})`,
      { tree: Tree },
      ({ tree }) =>
        Effect.gen(function* () {
          const spent = new Map<string, number>()
          const runner = Runner.onEvent(build(tree, "r", costs), (event) =>
            Effect.sync(() => {
              if ("spent" in event) spent.set(event.path.join(">"), event.spent.usage.outputTokens.total ?? 0)
            })
          )
          const exit = yield* Effect.exit(runner.run("go")).pipe(Effect.provide(model), Effect.provide(prices))
          const unit = costs ? price : each
          const check = (one: Tree, path: string, name: string): void => {
            const limited = one.limit > 0 && one.limit <= 8
            const used = spent.get(path)
            if (limited && used !== undefined) {
              assert.isAtMost(used, Math.max(one.limit + 1, 4) * each, path)
            }
            one.children.forEach((child, at) => check(child, `${path}>${name}${at}`, `${name}${at}`))
          }
          check(tree, "r", "r")
          if (Exit.isSuccess(exit)) return
          for (const error of exit.cause.reasons.flatMap((reason) =>
            reason._tag === "Fail" ? errorsIn(reason.error) : []
          )) {
            assert.strictEqual(error.limit, costs ? "cost" : "tokens")
            // It is at its limit, or one call beyond it.
            assert.isAtLeast(error.used, error.allowed - 1e-9)
            assert.isAtMost(error.used, Math.max(error.allowed + unit, 4 * unit) + 1e-9)
          }
        }),
      { arbitrary: { runs: cases(80) } } as never
    )
  }
})
