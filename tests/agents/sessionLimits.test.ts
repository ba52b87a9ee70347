/** Sessions within the combinators of runners: the limit, the budget and the retry are those of a turn. */
import { assert, describe } from "@effect/vitest"
import { Effect, Fiber, Layer, Stream } from "effect"
import { TestClock } from "effect/testing"
import { Agent, AgentTool, Runner, Session, SessionStore, TestModel } from "troupe"
import { it } from "../support/edges.ts"

const wait = AgentTool.fromFunction("wait", {
  description: "Waits",
  execute: () => Effect.as(Effect.sleep(5000), "waited")
})
const note = AgentTool.fromFunction("note", { description: "Notes it", execute: () => "noted" })
const clerk = Agent.make("clerk", { tools: [note, wait] })
const said = Effect.map(
  Effect.flatMap(TestModel.TestModel, ({ calls }) => calls),
  (calls) => JSON.stringify(calls.at(-1)!.prompt.content)
)
const script = (...turns: ReadonlyArray<TestModel.Turn | string>) =>
  Effect.provide(Layer.merge(TestModel.layer(turns), SessionStore.layerMemory))
const late = <A, E, R>(run: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(Effect.flip(run))
    yield* TestClock.adjust(1000)
    return yield* Fiber.join(fiber)
  })

describe("a session within a time limit", () => {
  for (const onFailure of ["discard", "keep"] as const) {
    it.effect(`fails by it, gives the session free, and leaves what it is to leave: ${onFailure}`, () =>
      Effect.gen(function* () {
        const chat = Runner.withTimeout(Session.of(clerk, "user-1", { onFailure }), "1 second")
        const error = yield* late(chat.run("Do it."))
        assert.strictEqual(error._tag, "RunTimedOut")
        assert.strictEqual(yield* chat.run("And now?"), "done")
        const conversation = yield* said
        assert[onFailure === "keep" ? "include" : "notInclude"](conversation, "Do it.")
        assert[onFailure === "keep" ? "include" : "notInclude"](conversation, "noted")
        assert.include(conversation, "And now?")
      }).pipe(script(TestModel.toolCall("note", {}), TestModel.toolCall("wait", {}), "done"))
    )
  }

  it.effect("is a turn of that session still: by its id in events, and by its transcript", () =>
    Effect.gen(function* () {
      const chat = Runner.withTimeout(Session.of(clerk, "user-1"), "1 minute").pipe(Runner.withBudget({ steps: 9 }))
      yield* chat.run("My name is Ada.")
      const events = Array.from(yield* Stream.runCollect(chat.stream("Who am I?")))
      const last = events.at(-1)!
      if (last._tag !== "RunCompleted") return assert.fail(last._tag)
      assert.include(JSON.stringify(last.transcript), "My name is Ada.")
      assert.include(yield* said, "My name is Ada.")
    }).pipe(script("Hello Ada.", "Ada."))
  )

  it.effect(
    "within another session's turn, and the same session within its own turn, are what they are without one",
    () =>
      Effect.gen(function* () {
        const inner = Runner.withTimeout(Session.of(Agent.make("inner", {}), "user-1"), "1 minute")
        const nested = Runner.make("nested", { run: () => inner.run("inside") })
        const outer = Session.of(nested as Runner.Runner<string, string, never, never> as never, "user-1")
        const error = yield* Effect.flip((outer as typeof inner).run("go"))
        assert.strictEqual(error._tag, "SessionConflict")
      }).pipe(script())
  )
})
