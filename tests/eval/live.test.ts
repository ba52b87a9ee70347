/** Conversations with a simulated user, and live runs of which a part is scored. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Random } from "effect"
import { Agent, Eval, Runner, TestModel, TraceStore } from "troupe"

describe("a simulated user", () => {
  const support = Agent.make("support", { instructions: "Help." })

  it.effect("talks with an agent until it is done", () =>
    Effect.gen(function* () {
      const talk = Eval.conversation("talk", { agent: support, user: Eval.user("customer", { persona: "in a hurry" }) })
      const { output } = yield* talk.result({ goal: "Get a refund" })
      assert.deepStrictEqual(output, {
        messages: [
          { role: "user", text: "I want a refund." },
          { role: "agent", text: "Which order?" },
          { role: "user", text: "42" },
          { role: "agent", text: "Done." }
        ],
        turns: 2,
        ended: "done"
      })
    }).pipe(
      Effect.provide(
        TestModel.layer((call) => {
          // The agent sees the whole conversation, and the user its own messages as those of the assistant.
          const roles = call.prompt.content.map(({ role }) => role).join(" ")
          const user = ["I want a refund.", "42", "Thanks"]
          const turn = call.prompt.content.filter(({ role }) => role === "assistant").length
          if (call.output !== undefined) {
            assert.strictEqual(roles, `system user${" assistant user".repeat(turn)}`)
            return JSON.stringify({ message: user[turn], done: turn === 2 })
          }
          assert.strictEqual(roles, `system user${" assistant user".repeat(turn)}`)
          return turn === 0 ? "Which order?" : "Done."
        })
      )
    )
  )

  it.effect("is stopped after so many turns, and is evaluated like any runner", () =>
    Effect.gen(function* () {
      const chatty = Runner.make("chatty", { run: () => Effect.succeed("and?") })
      const evaluation = Eval.make("talks", Eval.conversation("talk", { agent: support, user: chatty, maxTurns: 3 }), {
        data: [{ input: { goal: "Talk", opening: "Hello" } }],
        scorers: [({ output }) => output.ended === "maxTurns" && output.turns === 3, Eval.atMost({ steps: 3 })]
      })
      const report = yield* Eval.run(evaluation)
      assert.deepStrictEqual(
        report.runners[0]!.scorers.map(({ mean }) => mean),
        [1, 1]
      )
    }).pipe(Effect.provide(TestModel.layer(() => "So?", { unused: "ignore" })))
  )
})

describe("live runs", () => {
  const echo = Runner.make("echo", {
    run: (text: string) => (text === "fail" ? Effect.fail("failed") : Effect.succeed(text))
  })

  it.effect("are scored in the background, those that failed too, and traces are kept as well", () =>
    Effect.gen(function* () {
      const samples: Array<Eval.Sample> = []
      const judge = Runner.make("judge", { run: (text: string) => Effect.succeed(text === "" ? 0 : 0.5) })
      const sampling = Eval.sampling({
        fraction: 1,
        scorers: [
          Eval.scorer("long", ({ outputJson }) => String(outputJson).length > 3),
          Eval.noToolFailures,
          Eval.judge("judged", judge)
        ],
        onScored: (sample) => Effect.sync(() => samples.push(sample))
      })
      const runs = Effect.gen(function* () {
        yield* echo.run("hello")
        yield* Effect.flip(echo.run("fail"))
      })
      yield* Effect.provide(runs, Layer.merge(sampling, TraceStore.record))
      assert.deepStrictEqual(
        samples.map(({ runner, scores }) => [runner, ...scores.map(({ score }) => score)]).toSorted(),
        [
          ["echo", 0, 1, 0],
          ["echo", 1, 1, 0.5]
        ]
      )
      assert.strictEqual((yield* TraceStore.runs()).length, 2)
    }).pipe(Effect.provide(TraceStore.layerMemory))
  )

  it.effect("are chosen by chance and by name, and neither a scorer nor its reader fails them", () =>
    Effect.gen(function* () {
      let scored = 0
      const sampling = Eval.sampling({
        fraction: 0.25,
        runners: ["echo"],
        scorers: [
          () => {
            scored++
            throw new Error("broken")
          }
        ],
        onScored: () => Effect.fail("gone")
      })
      const other = Runner.named(echo, "other")
      const outputs = yield* Effect.forEach(Array.from({ length: 200 }), () =>
        Effect.andThen(other.run("y"), echo.run("x"))
      ).pipe(Effect.provide(sampling), Random.withSeed("sampling"))
      assert.strictEqual(outputs.length, 200)
      assert.isTrue(scored > 25 && scored < 80, String(scored))
    })
  )
})
