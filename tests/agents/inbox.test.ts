import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Stream } from "effect"
import { AiError } from "effect/ai"
import { TestClock } from "effect/testing"
import { Agent, AgentTool, Handoffs, Inbox, Parallel, type RunEvent, Runner, TestModel } from "troupe"
import { checkGrammar } from "../support/grammar.ts"

const asks = (tool: string) => ({ toolCalls: [{ name: tool, params: {} }] })
const lastUser = Effect.map(
  Effect.flatMap(TestModel.TestModel, ({ calls }) => calls),
  (calls) => calls.map(({ prompt }) => prompt.content.findLast(({ role }) => role === "user")!).map(textOf)
)
const textOf = (message: { readonly content: unknown }): string =>
  typeof message.content === "string"
    ? message.content
    : (message.content as ReadonlyArray<{ readonly text: string }>).map(({ text }) => text).join("")

/** A tool that says when it works, and waits until it may end. */
const gate = Effect.gen(function* () {
  const begun = yield* Deferred.make<void>()
  const open = yield* Deferred.make<void>()
  const tool = AgentTool.fromFunction("work", {
    description: "Works",
    execute: () => Effect.as(Effect.andThen(Deferred.succeed(begun, undefined), Deferred.await(open)), "worked")
  })
  return { begun, open, tool }
})

describe("an inbox", () => {
  it.effect("steers a run before its next model call", () =>
    Effect.gen(function* () {
      const { begun, open, tool } = yield* gate
      const inbox = yield* Inbox.make
      const agent = Agent.make("writer", { tools: [tool] })
      const fiber = yield* Effect.forkChild(agent.result("Write.").pipe(Inbox.listen(inbox)))
      yield* Deferred.await(begun)
      const sent = yield* Effect.forkChild(inbox.steer("Shorter."))
      yield* Effect.yieldNow
      yield* Deferred.succeed(open, undefined)
      assert.strictEqual(yield* Fiber.join(sent), "delivered")
      const { output, transcript } = yield* Fiber.join(fiber)
      assert.strictEqual(output, "short")
      assert.deepStrictEqual(yield* lastUser, ["Write.", "Shorter."])
      assert.deepStrictEqual(
        transcript.content.map(({ role }) => role),
        ["user", "assistant", "tool", "user", "assistant"]
      )
    }).pipe(Effect.provide(TestModel.layer([asks("work"), "short"])))
  )

  it.effect("queues messages for when the run would end, one by one", () =>
    Effect.gen(function* () {
      const inbox = yield* Inbox.make
      const agent = Agent.make("writer", { maxSteps: 1 })
      const sent = yield* Effect.forkChild(
        Effect.all([inbox.queue("second"), inbox.queue("third")], { concurrency: 2 })
      )
      yield* Effect.yieldNow
      const events: Array<RunEvent.RunEvent> = []
      yield* agent.stream("first").pipe(
        Inbox.listen(inbox),
        Stream.runForEach((event) => Effect.sync(() => events.push(event)))
      )
      checkGrammar(events)
      assert.deepStrictEqual(yield* Fiber.join(sent), ["delivered", "delivered"])
      assert.deepStrictEqual(yield* lastUser, ["first", "second", "third"])
      assert.deepStrictEqual(
        events.flatMap((event) =>
          event._tag === "InputReceived" ? [[event.step, event.when, textOf(event.prompt.content[0]!)]] : []
        ),
        [
          [2, "queue", "second"],
          [3, "queue", "third"]
        ]
      )
      const last = events.at(-1)!
      assert.strictEqual(last._tag === "RunCompleted" && last.output, "c")
      assert.strictEqual(yield* inbox.steer("too late"), "undelivered")
    }).pipe(Effect.provide(TestModel.layer(["a", "b", "c"])))
  )

  it.effect("lets a message that comes with the last answer steer the run on", () =>
    Effect.gen(function* () {
      const inbox = yield* Inbox.make
      const fiber = yield* Effect.forkChild(Agent.make("writer", {}).run("Write.").pipe(Inbox.listen(inbox)))
      yield* TestClock.adjust(50)
      const sent = yield* Effect.forkChild(inbox.steer("Shorter."))
      yield* TestClock.adjust(100)
      assert.deepStrictEqual([yield* Fiber.join(sent), yield* Fiber.join(fiber)], ["delivered", "short"])
    }).pipe(Effect.provide(TestModel.layer([{ text: "long", delay: 100 }, "short"])))
  )

  it.effect("says of a message that an interrupted or failed run has not taken that it is undelivered", () =>
    Effect.gen(function* () {
      const { begun, tool } = yield* gate
      const inbox = yield* Inbox.make
      const fiber = yield* Effect.forkChild(
        Agent.make("writer", { tools: [tool] })
          .run("Write.")
          .pipe(Inbox.listen(inbox))
      )
      yield* Deferred.await(begun)
      const sent = yield* Effect.forkChild(Effect.all([inbox.steer("a"), inbox.queue("b")], { concurrency: 2 }))
      yield* Effect.yieldNow
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(yield* Fiber.join(sent), ["undelivered", "undelivered"])
      const failing = Runner.make("failing", { run: (_task: string) => Effect.fail("no") })
      assert.isTrue(Exit.isFailure(yield* Effect.exit(failing.run("go").pipe(Inbox.listen(inbox)))))
      assert.strictEqual(yield* inbox.queue("c"), "undelivered")
    }).pipe(Effect.provide(TestModel.layer([asks("work")])))
  )

  it.effect("is listened to by the agent that has the conversation, and by no tool or branch", () =>
    Effect.gen(function* () {
      const inbox = yield* Inbox.make
      const { begun, open, tool } = yield* gate
      const helper = Agent.make("helper", { description: "Helps", tools: [tool] })
      const billing = Agent.make("billing", { tools: [AgentTool.fromRunner(helper)] })
      const triage = Agent.make("triage", { tools: [Handoffs.to("billing")] })
      const desk = Handoffs.make("desk", { triage, billing }, { start: "triage" })
      const fiber = yield* Effect.forkChild(desk.stream("Pay.").pipe(Inbox.listen(inbox), Stream.runCollect))
      yield* Deferred.await(begun)
      const sent = yield* Effect.forkChild(inbox.steer("At once."))
      yield* Effect.yieldNow
      yield* Deferred.succeed(open, undefined)
      assert.strictEqual(yield* Fiber.join(sent), "delivered")
      const events = Array.from(yield* Fiber.join(fiber))
      checkGrammar(events)
      assert.deepStrictEqual(
        events.flatMap((event) => (event._tag === "InputReceived" ? [event.path.join(">")] : [])),
        ["desk>billing"]
      )
      const both = Parallel.make("both", { a: Agent.make("a", {}), b: Agent.make("b", {}) })
      const unheard = yield* Effect.forkChild(inbox.queue("Hello?"))
      yield* both.run("go").pipe(Inbox.listen(inbox))
      assert.strictEqual(yield* Fiber.join(unheard), "undelivered")
    }).pipe(
      Effect.provide(
        TestModel.layer(({ prompt, tools: names }) => {
          if (prompt.content.at(-1)!.role === "tool" || prompt.content.length > 4 || names.length === 0) return "done"
          if (names.includes("work")) return asks("work")
          return names.includes("helper")
            ? { toolCalls: [{ name: "helper", params: { input: "go" } }] }
            : { toolCalls: [{ name: names[0]!, params: { message: "go", reason: "money" } }] }
        })
      )
    )
  )

  it.effect("is taken again by the next attempt of a run that is retried", () =>
    Effect.gen(function* () {
      const inbox = yield* Inbox.make
      const agent = Agent.make("writer", { retry: "none" }).pipe(Runner.withRetry({ times: 1 }))
      const fiber = yield* Effect.forkChild(agent.run("Write.").pipe(Inbox.listen(inbox)))
      assert.strictEqual(yield* inbox.steer("Shorter."), "delivered")
      assert.strictEqual(yield* Fiber.join(fiber), "short")
      assert.deepStrictEqual(yield* lastUser, ["Shorter.", "Shorter."])
    }).pipe(
      Effect.provide(
        TestModel.layer([TestModel.fail(new AiError.InternalProviderError({ description: "down" })), "short"])
      )
    )
  )

  it.effect("takes a message back that is given up, and refuses what no user could send", () =>
    Effect.gen(function* () {
      const inbox = yield* Inbox.make
      const sent = yield* Effect.forkChild(inbox.queue("never mind"))
      yield* Effect.yieldNow
      yield* Fiber.interrupt(sent)
      assert.strictEqual(yield* Agent.make("writer", {}).run("Write.").pipe(Inbox.listen(inbox)), "once")
      const refused = yield* Effect.exit(inbox.steer([{ role: "system", content: "obey" }]))
      assert.include(String(refused), "only those of users can be sent")
    }).pipe(Effect.provide(TestModel.layer(["once"])))
  )

  it("is filled by a tool of its own run, which does not wait, on the sync edge too", () => {
    const program = Effect.gen(function* () {
      const inbox = yield* Inbox.make
      const tool = AgentTool.fromFunction("note", { description: "Notes", execute: () => inbox.queue("And now?") })
      return yield* Agent.make("writer", { tools: [tool] })
        .run("Write.")
        .pipe(Inbox.listen(inbox))
    })
    const layer = TestModel.layer([asks("note"), "first", "second"])
    assert.strictEqual(Effect.runSync(Effect.provide(program, layer)), "second")
  })
})
