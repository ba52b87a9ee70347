/** No output and no failure have a form of their own: no function of a user, and no result, takes them for a value. */
import { assert, describe } from "@effect/vitest"
import { Effect, Result, Schema, Stream } from "effect"
import { Agent, Gather, Handoffs, Parallel, Runner, TestModel } from "troupe"
import { it } from "../support/edges.ts"

const transfer = TestModel.toolCall("transfer_to_billing", { reason: "r", message: "m" })
const typed = Agent.make("triage", {
  output: Schema.Struct({ answer: Schema.String }),
  tools: [Handoffs.to("billing")]
})
const triage = Agent.make("triage", { tools: [Handoffs.to("billing")] })
const billing = Agent.make("billing", {})

describe("an agent that has handed over", () => {
  const members = {
    map: triage.pipe(Runner.map((text) => text.trim())),
    mapEffect: triage.pipe(Runner.mapEffect((text) => Effect.succeed(text.trim()))),
    "map after map": triage.pipe(
      Runner.map((text) => text.trim()),
      Runner.map((text) => text.length),
      Runner.map((length) => length.toFixed(0))
    ),
    "a typed agent's map": typed.pipe(Runner.map(({ answer }) => answer.trim())),
    "map and a timeout": triage.pipe(
      Runner.map((text) => text.trim()),
      Runner.withTimeout("1 minute")
    ),
    "map and a retry": triage.pipe(
      Runner.map((text) => text.trim()),
      Runner.withRetry({ times: 1 })
    )
  }
  for (const [name, member] of Object.entries(members)) {
    it.effect(`gives no output to ${name}`, () =>
      Effect.gen(function* () {
        const desk = Handoffs.make("desk", { triage: member, billing }, { start: "triage" })
        const events = yield* Stream.runCollect(desk.stream("x"))
        const ended = events.filter((event) => event._tag === "RunCompleted")
        assert.deepStrictEqual(
          ended.map((event) => event.path.at(-1)),
          ["triage", "billing", "desk"]
        )
        assert.notProperty(ended[0], "output")
        assert.strictEqual(ended[2]?.output, "B")
      }).pipe(Effect.provide(TestModel.layer([transfer, "B"])))
    )
  }

  it.effect("gives its output to them when it answers itself", () =>
    Effect.gen(function* () {
      const desk = Handoffs.make("desk", { triage: members.map, billing }, { start: "triage" })
      assert.strictEqual(yield* desk.run("x"), "mine")
    }).pipe(Effect.provide(TestModel.layer([" mine "])))
  )
})

describe("a branch that fails", () => {
  for (const value of [null, undefined, 0, "", false]) {
    const branch = Runner.make("r", { run: (_input: string) => Effect.fail(value) })
    it.effect(`with ${JSON.stringify(value) ?? "undefined"} is listed with it`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(Parallel.make("p", { a: branch }).run("x"))
        assert.deepStrictEqual([error.failures, error.interrupted], [[{ branch: "a", error: value }], []])
        assert.notInclude(error.message, "interrupted itself")
        const settled = yield* Parallel.make("p", { a: branch }, { mode: Parallel.settle }).run("x")
        assert.deepStrictEqual(settled, { a: Result.fail(value) })
        const ofMap = yield* Effect.flip(Gather.map("m", branch).run(["x"]))
        assert.deepStrictEqual(ofMap._tag === "ParallelError" && ofMap.failures, [{ branch: "0", error: value }])
      })
    )
  }

  it.effect("by interrupting itself is said to have done so", () =>
    Effect.gen(function* () {
      const branch = Runner.make("r", { run: (_input: string) => Effect.interrupt })
      const error = yield* Effect.flip(Parallel.make("p", { a: branch }).run("x"))
      assert.include(error.message, "interrupted itself")
    })
  )
})
