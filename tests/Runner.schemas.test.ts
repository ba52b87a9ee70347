/** The schemas of runners: what each knows of its input and output, and what workflows make of those of their members. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { AiError, type Prompt } from "effect/ai"
import {
  Agent,
  Chain,
  EvaluatorOptimizer,
  Gather,
  Handoffs,
  Parallel,
  Router,
  RunError,
  Runner,
  TestModel
} from "troupe"
import { collect } from "./support/grammar.ts"

const Score = Schema.Struct({ score: Schema.Int, at: Schema.DateFromString })
const Order = Schema.Struct({ id: Schema.String, due: Schema.DateFromString })
type Order = typeof Order.Type
const due = new Date("2026-01-02")
const judge = Agent.make("judge", { output: Score })
const writer = Agent.make("writer", {})
const ship = Runner.make("ship", {
  description: "Ships",
  input: Order,
  output: Schema.Date,
  run: (order: Order) => Effect.succeed(order.due)
})
const unknown = Runner.make("unknown", { run: (text: string) => Effect.succeed(text) })

const outputOf = (runner: Runner.Any) => runner.definition.output()
const inputOf = (runner: Runner.Any) => runner.definition.input()
/** What a schema makes of a value as JSON, and of that again. */
const roundTrip = (schema: Schema.Top | undefined, value: unknown) => {
  const codec = Schema.fromJsonString(Schema.toCodecJson(schema as Schema.Codec<unknown, unknown>))
  return Schema.decodeSync(codec)(Schema.encodeSync(codec)(value))
}
const score = { score: 1, at: due }

describe("schemas of runners", () => {
  it("are those that they were given", () => {
    assert.strictEqual(judge.output, Score)
    assert.strictEqual(writer.output, Schema.String)
    assert.strictEqual(outputOf(judge), Score)
    assert.strictEqual(inputOf(ship), Order)
    assert.strictEqual(outputOf(ship), Schema.Date)
    assert.strictEqual(inputOf(unknown), undefined)
    assert.strictEqual(outputOf(Runner.named(judge, "other")), Score)
    assert.throws(
      () => Runner.make("bad", { input: Schema.instanceOf(URLSearchParams), run: () => Effect.void }),
      /no JSON form/
    )
  })

  it("take any conversation as the input of agents", () => {
    const schema = inputOf(writer)
    assert.strictEqual(roundTrip(schema, "Hello"), "Hello")
    const messages: Prompt.RawInput = [{ role: "user", content: "Hello" }]
    const read = roundTrip(schema, messages) as Prompt.Prompt
    assert.strictEqual(read.content[0]!.role, "user")
  })

  it("are changed by map and mapInput where these say it, and not known otherwise", () => {
    const mapped = judge.pipe(
      Runner.map(({ at }) => at, { output: Schema.Date }),
      Runner.mapInput((order: Order) => order.id, { input: Order })
    )
    assert.strictEqual(outputOf(mapped), Schema.Date)
    assert.strictEqual(inputOf(mapped), Order)
    assert.strictEqual(inputOf(Runner.map(ship, String)), Order)
    assert.strictEqual(outputOf(Runner.map(ship, String)), undefined)
    const effect = Runner.mapEffect(ship, (date) => Effect.succeed(date.getTime()), { output: Schema.Int })
    assert.strictEqual(outputOf(effect), Schema.Int)
    assert.strictEqual(outputOf(Runner.mapInput(ship, (id: string) => ({ id, due }))), Schema.Date)
  })

  it("are those of the first and the last step of a chain", () => {
    const chain = Chain.make("chain", [
      ship,
      Runner.make("after", { output: Score, run: (at: Date) => Effect.succeed({ score: 1, at }) })
    ])
    assert.strictEqual(inputOf(chain), Order)
    assert.strictEqual(outputOf(chain), Score)
    assert.strictEqual(outputOf(Chain.make("gated", [Chain.gate("any", (text: string) => text), writer])), undefined)
    assert.strictEqual(outputOf(Chain.make("plain", [writer, (text: string) => Effect.succeed(text)])), undefined)
  })

  it("are records, arrays or unions of those of a parallel's branches", () => {
    const branches = { judge, writer }
    assert.deepStrictEqual(roundTrip(outputOf(Parallel.make("all", branches)), { judge: score, writer: "x" }), {
      judge: score,
      writer: "x"
    })
    assert.deepStrictEqual(roundTrip(outputOf(Parallel.make("list", [judge, writer])), [score, "x"]), [score, "x"])
    const quorum = Parallel.make("quorum", branches, { mode: Parallel.quorum(1) })
    assert.deepStrictEqual(roundTrip(outputOf(quorum), { judge: score }), { judge: score })
    const race = Parallel.make("race", branches, { mode: Parallel.race })
    assert.deepStrictEqual([roundTrip(outputOf(race), score), roundTrip(outputOf(race), "x")], [score, "x"])
    assert.strictEqual(outputOf(Parallel.make("settled", branches, { mode: Parallel.settle })), undefined)
    assert.strictEqual(outputOf(Parallel.make("mixed", { writer, unknown })), undefined)
    assert.strictEqual(outputOf(Parallel.make("combined", { writer }, { combine: judge })), Score)
    assert.strictEqual(inputOf(Parallel.make("all", branches)), inputOf(writer))
    assert.strictEqual(inputOf(Parallel.make("mixed", { writer, unknown })), undefined)
  })

  it("are unions of those of the routes, and records of those of several", () => {
    const router = Router.make("router", { judge, writer })
    assert.deepStrictEqual([roundTrip(outputOf(router), score), roundTrip(outputOf(router), "x")], [score, "x"])
    assert.strictEqual(inputOf(router), inputOf(writer))
    const many = Router.many("many", { judge, writer })
    assert.deepStrictEqual(roundTrip(outputOf(many), { writer: "x" }), { writer: "x" })
    const handoffs = Handoffs.make("handoffs", { judge, writer }, { start: "writer" })
    assert.deepStrictEqual(roundTrip(outputOf(handoffs), score), score)
  })

  it("are those of the members that the other workflows give the output of", () => {
    const refined = EvaluatorOptimizer.make(
      "refined",
      { generator: judge, evaluator: () => Effect.succeed(true) },
      { accept: (ok) => ok }
    )
    assert.strictEqual(outputOf(refined), Score)
    assert.strictEqual(outputOf(Parallel.hedge("hedge", judge, { delay: "1 second" })), Score)
    assert.deepStrictEqual(roundTrip(outputOf(Gather.map("map", judge)), [score]), [score])
    assert.deepStrictEqual(roundTrip(inputOf(Gather.map("map", ship)), [{ id: "1", due }]), [{ id: "1", due }])
    assert.deepStrictEqual(roundTrip(outputOf(Runner.orElse(judge, writer)), "x"), "x")
  })

  it.effect("encode what a workflow completes with", () =>
    Effect.gen(function* () {
      const both = Parallel.make("both", { ship, again: ship })
      const { events } = yield* collect(both, { id: "1", due })
      const last = events.at(-1)!
      assert.deepStrictEqual(last._tag === "RunCompleted" ? last.output : last, {
        ship: due.toISOString(),
        again: due.toISOString()
      })
    })
  )
})

describe("an error of several branches", () => {
  it.effect("is read back with the errors of its branches as they were", () =>
    Effect.gen(function* () {
      const nested = Parallel.make("nested", { writer, own: Runner.make("own", { run: () => Effect.fail({ my: 1 }) }) })
      const bug = Runner.make("bug", { run: () => Effect.die(new Error("a bug")) })
      const timed = Runner.withTimeout(Runner.make("slow", { run: () => Effect.never }), 0)
      const lost = Router.make("lost", { writer }, { classify: () => Effect.succeed("other" as "writer") })
      const all = Parallel.make("all", { nested, bug, timed, lost }, { concurrency: 1, mode: Parallel.race })
      const error = yield* Effect.flip(all.run("go"))
      const codec = Schema.fromJsonString(Parallel.ParallelError)
      const read = Schema.decodeSync(codec)(Schema.encodeSync(codec)(error as Parallel.ParallelError<unknown>))
      const [first, second, third, fourth] = read.failures.map(({ error }) => error)
      assert.instanceOf(first, Parallel.ParallelError)
      const inner = (first as Parallel.ParallelError<unknown>).failures.map(({ error }) => error)
      assert.instanceOf(inner[0], RunError.ModelError)
      assert.strictEqual(AiError.isAiError((inner[0] as RunError.ModelError).reason), true)
      assert.instanceOf(second, Parallel.BranchDefect)
      assert.instanceOf(third, RunError.RunTimedOut)
      assert.instanceOf(fourth, Router.RouteNotFound)
      assert.strictEqual(read.message, error.message)
    }).pipe(Effect.provide(TestModel.layer([{ fail: new AiError.QuotaExhaustedError({}) }])))
  )

  it("keeps errors of the program, and what only looks like one of Troupe, as JSON", () => {
    const codec = Schema.toCodecJson(Parallel.ParallelError)
    const json = {
      _tag: "ParallelError" as const,
      name: "all",
      failures: [
        { branch: "a", error: { _tag: "Mine", why: "x" } },
        { branch: "b", error: { _tag: "RunTimedOut", durationMs: "soon" } }
      ],
      interrupted: []
    }
    const read = Schema.decodeUnknownSync(codec)(json)
    assert.deepStrictEqual(
      read.failures.map(({ error }) => error),
      json.failures.map(({ error }) => error)
    )
  })
})
