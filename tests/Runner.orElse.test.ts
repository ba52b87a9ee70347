/** `Runner.orElse`: what counts as a failure, and what the second runner gets. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Schema } from "effect"
import { AiError, Prompt } from "effect/ai"
import { Agent, AgentTool, Approvals, Parallel, RunError, Runner, TestModel } from "troupe"
import { checkGrammar, collect } from "./support/grammar.ts"
import type { RunEvent } from "troupe"

const first = Agent.make("first", { description: "Writes", retry: "none" })
const second = Agent.make("second", { retry: "none" })
const down = { fail: new AiError.RateLimitError({}) }
const paths = (events: ReadonlyArray<RunEvent.RunEvent>) =>
  events.flatMap((event) => (event._tag === "RunStarted" ? [event.path.join(" > ")] : []))

describe("a runner with another one for its failures", () => {
  it.effect("gives the output of the first, and does not run the second", () =>
    Effect.gen(function* () {
      const either = first.pipe(Runner.orElse(second))
      assert.deepStrictEqual([either.name, either.description], ["first", "Writes"])
      const { events } = yield* collect(either, "go")
      assert.deepStrictEqual(paths(events), ["first", "first > first"])
    }).pipe(Effect.provide(TestModel.layer(["done"])))
  )

  it.effect("runs the second on the same input when the first fails, and bills both", () =>
    Effect.gen(function* () {
      const either = Runner.orElse(Agent.make("first", { maxSteps: 1, tools: [noop] }), second)
      const { events, exit } = yield* collect(either, "go")
      assert.isTrue(Exit.isSuccess(exit))
      assert.deepStrictEqual(paths(events), ["first", "first > first", "first > second"])
      const last = events.at(-1)!
      assert.strictEqual(last._tag === "RunCompleted" ? last.output : undefined, "from the second")
      assert.strictEqual(last._tag === "RunCompleted" ? last.spent.usage.outputTokens.total : 0, 10)
      const [, again] = yield* (yield* TestModel.TestModel).calls
      assert.deepStrictEqual(JSON.stringify(again!.prompt.content).includes('"go"'), true)
      assert.strictEqual(again!.prompt.content.length, 1)
    }).pipe(Effect.provide(TestModel.layer([TestModel.toolCall("noop", {}), "from the second"])))
  )

  it.effect("gives the conversation of the runner that answered", () =>
    Effect.gen(function* () {
      const { transcript } = yield* Runner.orElse(first, second).result("go")
      assert.deepStrictEqual(
        transcript.content.map((message) => message.role),
        ["user", "assistant"]
      )
    }).pipe(Effect.provide(TestModel.layer([down, "done"])))
  )

  it.effect("hands a conversation that can be read once to both", () =>
    Effect.gen(function* () {
      const conversation = function* () {
        yield { role: "user", content: "one" } as const
      }
      assert.strictEqual(yield* Runner.orElse(first, second).run(conversation()), "done")
    }).pipe(Effect.provide(TestModel.layer([down, "done"])))
  )

  it("does the same under runSync", () => {
    const program = Runner.orElse(first, second)
      .run("go")
      .pipe(Effect.provide(TestModel.layer([down, "done"])))
    assert.strictEqual(Effect.runSync(program), "done")
  })

  it.effect("fails with the error of the second when both fail", () =>
    Effect.gen(function* () {
      const either = Runner.orElse(
        first,
        Runner.make("second", { run: (_input: unknown) => Effect.fail("both" as const) })
      )
      assert.strictEqual(yield* Effect.flip(either.run("go")), "both")
    }).pipe(Effect.provide(TestModel.layer([down])))
  )

  it.effect("numbers the second when both have one name, in picture and path", () =>
    Effect.gen(function* () {
      const either = Runner.orElse(first, first)
      const { events } = yield* collect(either, "go")
      assert.deepStrictEqual(paths(events), ["first", "first > first", "first > first 2"])
      const picture = Runner.toMermaid(either, events)
      assert.include(picture, "first: fallback")
      assert.include(picture, '==>|"on failure"|')
      assert.include(Runner.toMermaid(either), '-.->|"on failure"|')
    }).pipe(Effect.provide(TestModel.layer([down, "done"])))
  )

  it.effect("passes a defect and an interruption on", () =>
    Effect.gen(function* () {
      let ran = 0
      const spare = Runner.make("spare", { run: (_input: unknown) => Effect.sync(() => ++ran) })
      const broken = Runner.make("broken", { run: (_input: unknown) => Effect.die("a bug") })
      assert.isTrue(Exit.hasDies(yield* Effect.exit(Runner.orElse(broken, spare).run("go"))))
      const events: Array<RunEvent.RunEvent> = []
      const slow = Runner.make("slow", { run: (_input: unknown) => Effect.never }).pipe(
        Runner.orElse(spare),
        Runner.onEvent((event) => Effect.sync(() => void events.push(event)))
      )
      const fiber = yield* Effect.forkChild(slow.run("go"))
      yield* Effect.yieldNow
      yield* Fiber.interrupt(fiber)
      checkGrammar(events)
      assert.deepStrictEqual([ran, events.at(-1)?._tag], [0, "RunInterrupted"])
    })
  )

  it.effect("fails with what the first failed with while it was interrupted", () =>
    Effect.gen(function* () {
      const late = Runner.make("late", {
        run: (_input: unknown) => Effect.onInterrupt(Effect.never, () => Effect.fail("late" as const))
      })
      const events: Array<RunEvent.RunEvent> = []
      const either = Runner.onEvent(Runner.orElse(late, second), (event) => Effect.sync(() => void events.push(event)))
      const fiber = yield* Effect.forkChild(either.run("go"))
      yield* Effect.yieldNow
      yield* Fiber.interrupt(fiber)
      const exit = yield* Fiber.await(fiber)
      checkGrammar(events)
      assert.deepStrictEqual(paths(events), ["late", "late > late"])
      assert.isTrue(Exit.isFailure(exit) && exit.cause.reasons.some((one) => one._tag === "Fail"))
    }).pipe(Effect.provide(TestModel.layer([])))
  )
})

const paid: Array<number> = []
const noop = AgentTool.fromFunction("noop", { description: "Does nothing", execute: () => "nothing" })
const pay = AgentTool.fromFunction("pay", {
  description: "Pays",
  parameters: Schema.Struct({ amount: Schema.Finite }),
  needsApproval: true,
  execute: ({ amount }) => `paid ${paid.push(amount)}`
})
const cashier = Agent.make("cashier", { tools: [pay], retry: "none" })
const payment = TestModel.toolCall("pay", { amount: 5 })
const waiting = (runner: Runner.Runner<Prompt.RawInput, string, Agent.Error, TestModelServices>) =>
  Effect.flatMap(Effect.flip(runner.run("pay")), (error) =>
    error instanceof RunError.RunSuspended ? Effect.succeed(error) : Effect.die(error)
  )
type TestModelServices = Runner.Services<typeof cashier>
const approved = ({ transcript, waitingFor }: RunError.RunSuspended) =>
  Runner.answer(transcript, { [waitingFor[0].id]: Approvals.approve })

describe("a runner that waits for approval", () => {
  it.effect("has not failed, and goes on where it waits", () =>
    Effect.gen(function* () {
      const either = Runner.orElse(cashier, second)
      const error = yield* waiting(either)
      assert.deepStrictEqual(error.path, ["cashier", "cashier"])
      assert.strictEqual(yield* either.run(approved(error)), "done")
      assert.deepStrictEqual(paid.splice(0), [5])
    }).pipe(Effect.provide(TestModel.layer([payment, "done"])))
  )

  it.effect("goes on at the second runner when that one waits", () =>
    Effect.gen(function* () {
      const either = Runner.orElse(first, cashier)
      const error = yield* waiting(either)
      assert.deepStrictEqual(error.path, ["first", "cashier"])
      assert.strictEqual(yield* either.run(approved(error)), "done")
      assert.deepStrictEqual(paid.splice(0), [5])
    }).pipe(Effect.provide(TestModel.layer([down, payment, "done"])))
  )

  it.effect("gives the second what the user said when it fails after going on", () =>
    Effect.gen(function* () {
      const either = Runner.orElse(cashier, second)
      const error = yield* waiting(either)
      assert.strictEqual(yield* either.run(approved(error)), "by the second")
      assert.deepStrictEqual(paid.splice(0), [5])
      const last = (yield* (yield* TestModel.TestModel).calls).at(-1)!
      assert.deepStrictEqual(
        last.prompt.content.map(({ role }) => role),
        ["user"]
      )
    }).pipe(Effect.provide(TestModel.layer([payment, down, "by the second"])))
  )

  it.effect("gives the second its own input when the first made another one of that", () =>
    Effect.gen(function* () {
      const either = Runner.orElse(
        Runner.mapInput(cashier, () => "pay at once"),
        second
      )
      const error = yield* waiting(either)
      assert.strictEqual(yield* either.run(approved(error)), "by the second")
      assert.deepStrictEqual(paid.splice(0), [5])
      const [before, , last] = yield* (yield* TestModel.TestModel).calls
      assert.deepStrictEqual([before!.prompt, last!.prompt], [Prompt.make("pay at once"), Prompt.make("pay")])
    }).pipe(Effect.provide(TestModel.layer([payment, down, "by the second"])))
  )

  it.effect("is not replaced by the second in a group that waits", () =>
    Effect.gen(function* () {
      const either = Runner.orElse(Parallel.make("group", { cashier }), second)
      const error = yield* Effect.flip(either.run("pay"))
      assert.strictEqual(error._tag, "RunSuspended")
    }).pipe(Effect.provide(TestModel.layer([payment])))
  )
})
