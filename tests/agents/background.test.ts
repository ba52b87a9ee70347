import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Schema } from "effect"
import { TestClock } from "effect/testing"
import { Agent, AgentTool, type RunEvent, Runner, Step, TestModel } from "troupe"
import { collect } from "../support/grammar.ts"
import { attempt, MemoryJournal } from "../support/journal.ts"

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

describe("work in the background that waits for something from elsewhere", () => {
  const paid = Runner.described(Runner.event("paid", { schema: Schema.Finite }), "Waits for a payment")
  const cashier = Agent.make("cashier", {
    description: "Pays",
    tools: [AgentTool.fromFunction("pay", { description: "Pays", needsApproval: true, execute: () => "paid" })]
  })
  for (const [what, runner] of [
    ["an event", paid],
    ["an approval", cashier]
  ] as const) {
    it.effect(`fails with a reason that names the agent, and the agent goes on: ${what}`, () =>
      Effect.gen(function* () {
        const tools = AgentTool.background(runner as Runner.Runner<string, unknown, unknown, never>, { name: "job" })
        const { events } = yield* collect(Agent.make("writer", { tools }), "go")
        assert.strictEqual(outputOf(events), "without it")
        const suspended = events.find(({ _tag }) => _tag === "RunSuspended")
        assert.deepStrictEqual(suspended?.path, ["writer", runner.name])
        const [[, , text]] = received(events) as [readonly [number, string, string]]
        assert.include(text, '\\"writer\\" cannot be resumed in its middle: a job in the background ends with its run')
        assert.include(text, "Approvals.layer")
      }).pipe(
        Effect.provide(
          TestModel.layer(({ prompt, tools }) => {
            const isDone = JSON.stringify(prompt.content).includes("is failed")
            if (isDone || tools.length === 0) return "without it"
            if (tools.includes("pay")) return call("pay")
            return prompt.content.length === 1 ? call("job_start", { input: "go" }) : "waiting"
          })
        )
      )
    )
  }

  it.effect(
    "sleeps in a run that is kept, alongside what else there is to do, and goes on when that is made again",
    () =>
      Effect.gen(function* () {
        let begun = 0
        const waits = Runner.make("job", {
          description: "Waits for a payment",
          run: (_input: string) =>
            Effect.andThen(
              Step.run(
                "begin",
                Schema.Int,
                Effect.sync(() => ++begun)
              ),
              Step.signal("paid", Schema.Finite)
            )
        })
        const other = Runner.make("other", {
          description: "Does something else",
          run: () => Effect.as(Effect.yieldNow, "else")
        })
        const agent = Agent.make("writer", { tools: [...AgentTool.background(waits), ...AgentTool.background(other)] })
        const prompts: Array<string> = []
        const model = TestModel.layer(({ prompt }) => {
          const said = JSON.stringify(prompt.content)
          prompts.push(said)
          if (prompt.content.length === 1) {
            const start = (name: string, id: string) => ({ name: `${name}_start`, id, params: { input: "go" } })
            return { toolCalls: [start("job", "c1"), start("other", "c2")] }
          }
          return said.includes("job-1 in the background") ? "paid 5" : "waiting"
        })
        const program = Effect.provide(agent.run("go"), model)
        const journal = new MemoryJournal()
        const first = yield* attempt(program, journal)
        assert.isTrue(first !== undefined && Exit.isFailure(first) && Cause.hasInterruptsOnly(first.cause))
        assert.isTrue(journal.isSuspending)
        assert.include(prompts.at(-1), "other-1 in the background")
        journal.sent.push({ name: "paid", payload: 5 })
        const second = yield* attempt(program, journal)
        assert.strictEqual(second !== undefined && Exit.isSuccess(second) && second.value, "paid 5")
        assert.strictEqual(begun, 1)
        // Each end is said once, also where it was said before the run was made again.
        assert.lengthOf(prompts.at(-1)!.match(/other-1 in the background/g)!, 1)
        assert.lengthOf(prompts.at(-1)!.match(/job-1 in the background/g)!, 1)
      })
  )
})

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
