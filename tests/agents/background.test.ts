import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { Agent, AgentTool, type RunEvent, Runner, TestModel } from "troupe"
import { collect } from "../support/grammar.ts"

const call = (name: string, params: Record<string, unknown> = {}) => ({ toolCalls: [{ name, params }] })
let interrupted = 0
/** Takes as many milliseconds as its task says. */
const research = Runner.make("research", {
  description: "Finds facts",
  run: (ms: string) =>
    Effect.onInterrupt(Effect.as(Effect.sleep(Number(ms)), `found in ${ms}`), () => Effect.sync(() => interrupted++))
})
const agent = Agent.make("writer", { tools: AgentTool.background(research) })
const received = (events: ReadonlyArray<RunEvent.RunEvent>) =>
  events.flatMap((event) =>
    event._tag === "InputReceived" ? [[event.step, event.when, JSON.stringify(event.prompt)] as const] : []
  )
const after = <A, E, R>(ms: number, effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(effect)
    for (let at = 0; at < 10; at++) yield* TestClock.adjust(ms / 10)
    return yield* Fiber.join(fiber)
  })
const outputOf = (events: ReadonlyArray<RunEvent.RunEvent>) => {
  const last = events.at(-1)!
  return last._tag === "RunCompleted" ? last.output : undefined
}

describe("work in the background", () => {
  it.effect("begins at once, and its result comes as a message, also when the run would end before", () =>
    Effect.gen(function* () {
      const { events } = yield* after(1000, collect(agent, "go"))
      assert.strictEqual(outputOf(events), "with both")
      const started = events.find(({ _tag }) => _tag === "ToolCompleted")!
      assert.deepInclude(started, { result: { job: "research-1", status: "running" } })
      const [[step, when, text]] = received(events) as [readonly [number, string, string]]
      assert.deepStrictEqual([step, when], [3, "background"])
      assert.include(text, "found in 500")
      assert.deepStrictEqual(
        events.flatMap((event) => (event._tag === "RunStarted" ? [event.path.join(">")] : [])),
        ["writer", "writer>research"]
      )
    }).pipe(Effect.provide(TestModel.layer([call("research_start", { input: "500" }), "without it", "with both"])))
  )

  it.effect("can be looked at, waited for and cancelled", () =>
    Effect.gen(function* () {
      interrupted = 0
      const { events } = yield* after(1000, collect(agent, "go"))
      assert.strictEqual(outputOf(events), "done")
      assert.deepStrictEqual(
        events.flatMap((event) =>
          event._tag === "ToolCompleted" || event._tag === "ToolFailed" ? [event.result] : []
        ),
        [
          { job: "research-1", status: "running" },
          { job: "research-2", status: "running" },
          [
            { job: "research-1", status: "running", seconds: 0 },
            { job: "research-2", status: "running", seconds: 0 }
          ],
          { job: "research-1", status: "completed", result: "found in 100" },
          { job: "research-2", status: "cancelled" },
          { error: "there is no such job; call status without a job to see all" }
        ]
      )
      // What the model has waited for is not sent to it again.
      assert.deepStrictEqual(received(events), [])
      assert.strictEqual(interrupted, 1)
    }).pipe(
      Effect.provide(
        TestModel.layer([
          call("research_start", { input: "100" }),
          call("research_start", { input: "9000" }),
          call("research_status"),
          call("research_wait", { job: "research-1" }),
          call("research_cancel", { job: "research-2" }),
          call("research_wait", { job: "research-7" }),
          "done"
        ])
      )
    )
  )

  it.effect("says what it failed with", () =>
    Effect.gen(function* () {
      const broken = Runner.make("broken", { description: "Breaks", run: (_task: string) => Effect.fail("no luck") })
      const { events } = yield* collect(Agent.make("writer", { tools: AgentTool.background(broken) }), "go")
      assert.include(received(events)[0]![2], "The job broken-1 in the background is failed. Error: no luck")
    }).pipe(
      Effect.provide(
        TestModel.layer(({ prompt }) => (prompt.content.length === 1 ? call("broken_start", { input: "go" }) : "done"))
      )
    )
  )

  it.effect("does not outlive its run", () =>
    Effect.gen(function* () {
      interrupted = 0
      const failing = Agent.make("writer", { tools: AgentTool.background(research), maxSteps: 1 })
      const { events } = yield* collect(failing, "go")
      assert.deepStrictEqual(
        events.slice(-2).map(({ _tag, path }) => [_tag, path.length]),
        [
          ["RunInterrupted", 2],
          ["RunFailed", 1]
        ]
      )
      assert.strictEqual(interrupted, 1)
      const fiber = yield* Effect.forkChild(agent.run("go"))
      yield* TestClock.adjust(10)
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(interrupted, 2)
    }).pipe(
      Effect.provide(
        TestModel.layer([
          call("research_start", { input: "9000" }),
          call("research_start", { input: "9000" }),
          call("research_wait", { job: "research-1" })
        ])
      )
    )
  )

  it("runs on the sync edge too", () => {
    const quick = Runner.make("quick", {
      description: "Is quick",
      run: (task: string) => Effect.succeed(`did ${task}`)
    })
    const writer = Agent.make("writer", { tools: AgentTool.background(quick) })
    const layer = TestModel.layer(({ prompt }) =>
      JSON.stringify(prompt.content).includes("did it")
        ? "with it"
        : prompt.content.length > 1
          ? "waiting"
          : call("quick_start", { input: "it" })
    )
    assert.strictEqual(Effect.runSync(Effect.provide(writer.run("go"), layer)), "with it")
  })
})
