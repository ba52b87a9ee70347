import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Schema } from "effect"
import { TestClock } from "effect/testing"
import { Agent, AgentTool, Approvals, Middleware, RunError, type RunEvent, Runner, TestModel } from "troupe"
import { CurrentRoom, type RoomOutcome } from "../../src/internal/toolRoom.ts"
import { collect } from "../support/grammar.ts"

const Text = Schema.Struct({ text: Schema.String })
const shout = AgentTool.fromFunction("shout", {
  description: "Shouts",
  parameters: Text,
  execute: ({ text }) => text.toUpperCase()
})
const broken = AgentTool.fromFunction("broken", { description: "Breaks", execute: () => Effect.fail("broken") })
const fatal = AgentTool.fromFunction("fatal", {
  description: "Breaks the run",
  failureMode: "error",
  execute: () => Effect.fail("over")
})
const never = AgentTool.fromFunction("never", { description: "Hangs", execute: () => Effect.never })

/** A tool that calls others, as a program of the model's would. */
const program = (
  calls: ReadonlyArray<readonly [tool: AgentTool.Any | string, params: unknown]>,
  options: { readonly timeout?: number } = {}
) =>
  AgentTool.fromFunction("program", {
    description: "Runs a program",
    ...options,
    execute: () =>
      Effect.gen(function* () {
        const room = (yield* CurrentRoom)!
        const outcomes: Array<RoomOutcome> = []
        for (const [index, [tool, params]] of calls.entries()) {
          const made = yield* room.call(index + 1, tool, params)
          outcomes.push("waiting" in made ? yield* room.suspend(null, [made]) : made)
        }
        return outcomes.map(({ isFailure, result }) => ({ isFailure, result }))
      })
  })
const script = TestModel.layer([{ toolCalls: [{ id: "p", name: "program", params: {} }] }, "done"])
const toolEvents = (events: ReadonlyArray<RunEvent.RunEvent>) =>
  events.flatMap((event) =>
    "toolCallId" in event && event._tag !== "ToolParamsDelta"
      ? [[event._tag, event.toolCallId, event.parentToolCallId ?? ""].join(" ").trim()]
      : []
  )
const resultOf = (events: ReadonlyArray<RunEvent.RunEvent>, id: string) =>
  events.flatMap((event) =>
    (event._tag === "ToolCompleted" || event._tag === "ToolFailed") && event.toolCallId === id ? [event.result] : []
  )[0]

describe("calls inside of a tool", () => {
  it.effect("go the way of the model's calls, with ids and events of their own", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const audit = Middleware.make("audit", {
        tool: (call, next) => {
          seen.push(`${call.toolCallId} ${call.tool}`)
          return next(call)
        }
      })
      const tool = program([
        [shout, { text: "a" }],
        ["local", {}],
        [broken, {}],
        [shout, {}],
        ["missing", {}]
      ])
      const local = AgentTool.fromFunction("local", {
        description: "Is the agent's own",
        execute: () => Runner.current
      })
      const { events } = yield* collect(Agent.make("coder", { tools: [tool, local], middleware: [audit] }), "go")
      assert.deepStrictEqual(toolEvents(events), [
        "ToolCalled p",
        ...["p/1", "p/2"].flatMap((id) => [`ToolCalled ${id} p`, `ToolCompleted ${id} p`]),
        ...["p/3", "p/4", "p/5"].flatMap((id) => [`ToolCalled ${id} p`, `ToolFailed ${id} p`]),
        "ToolCompleted p"
      ])
      assert.deepStrictEqual(seen, ["p program", "p/1 shout", "p/2 local", "p/3 broken", "p/4 shout"])
      const results = resultOf(events, "p") as ReadonlyArray<{ readonly isFailure: boolean; readonly result: unknown }>
      assert.deepStrictEqual(
        results.map(({ isFailure }) => isFailure),
        [false, false, true, true, true]
      )
      assert.strictEqual(results[0]!.result, "A")
      assert.include(JSON.stringify(results[1]!.result), '"toolCallId":"p/2"')
      assert.include(JSON.stringify(results[4]!.result), 'there is no tool \\"missing\\"')
      const last = events.at(-1)!
      assert.deepStrictEqual(
        last._tag === "RunCompleted" ? last.spent.toolCalls.map(({ status, toolCallId }) => [toolCallId, status]) : [],
        [
          ["p", "completed"],
          ["p/1", "completed"],
          ["p/2", "completed"],
          ["p/3", "failed"],
          ["p/4", "failed"],
          ["p/5", "failed"]
        ]
      )
    }).pipe(Effect.provide(script))
  )

  it.effect("are approved, or suspend the run where no approver answers while they run", () =>
    Effect.gen(function* () {
      const pay = AgentTool.fromFunction("pay", { description: "Pays", needsApproval: true, execute: () => "paid" })
      const agent = Agent.make("coder", { tools: [program([[pay, {}]])] })
      const asked = yield* collect(agent, "go").pipe(
        Effect.provide(Approvals.layer(() => Effect.succeed(Approvals.approve))),
        Effect.provide(script)
      )
      assert.deepStrictEqual(toolEvents(asked.events).slice(1, 4), [
        "ToolCalled p/1 p",
        "ApprovalRequested p/1 p",
        "ApprovalAnswered p/1 p"
      ])
      assert.deepStrictEqual(resultOf(asked.events, "p/1"), "paid")
      const alone = yield* collect(agent, "go").pipe(
        Effect.provide(TestModel.layer([{ toolCalls: [{ id: "p", name: "program", params: {} }] }]))
      )
      const last = alone.events.at(-1)!
      assert.deepStrictEqual(
        last._tag === "RunSuspended" ? last.waitingFor.map((one) => one.kind !== "event" && one.toolCallId) : [],
        ["p/1"]
      )
    })
  )

  it.effect("count in budgets and in maxToolCalls", () =>
    Effect.gen(function* () {
      const tool = program(Array.from({ length: 4 }, () => [shout, { text: "a" }] as const))
      const agent = Agent.make("coder", { tools: [tool], maxToolCalls: 3 })
      const { events } = yield* collect(agent, "go").pipe(Effect.provide(script))
      const results = resultOf(events, "p") as ReadonlyArray<{ readonly isFailure: boolean }>
      assert.deepStrictEqual(
        results.map(({ isFailure }) => isFailure),
        [false, false, true, true]
      )
      const limited = Runner.withBudget(Agent.make("coder", { tools: [tool] }), { toolCalls: 3 })
      const over = yield* collect(limited, "go").pipe(
        Effect.provide(TestModel.layer(() => ({ toolCalls: [{ id: "p", name: "program", params: {} }] })))
      )
      assert.strictEqual(over.events.filter(({ _tag }) => _tag === "ToolCompleted").length, 2)
      const last = over.events.at(-1)!
      assert.include(last._tag === "RunFailed" ? last.message : "", "a budget of 3 tool calls")
    })
  )

  it.effect("fail the run where their tool does, unless the program goes on", () =>
    Effect.gen(function* () {
      const agent = Agent.make("coder", { tools: [program([[fatal, {}]])] })
      const exit = yield* Effect.exit(agent.run("go")).pipe(
        Effect.provide(TestModel.layer([{ toolCalls: [{ id: "p", name: "program", params: {} }] }]))
      )
      const error =
        Exit.isFailure(exit) && exit.cause.reasons[0]!._tag === "Fail" ? exit.cause.reasons[0]!.error : undefined
      assert.instanceOf(error, RunError.ToolError)
      assert.include((error as RunError.ToolError).message, 'the tool "fatal" (p/1) failed')
    })
  )

  it.effect("have an outcome when their tool is late, and the run goes on", () =>
    Effect.gen(function* () {
      const agent = Agent.make("coder", { tools: [program([[never, {}]], { timeout: 100 })] })
      const fiber = yield* Effect.forkChild(collect(agent, "go"))
      yield* TestClock.adjust(100)
      const { events } = yield* Fiber.join(fiber)
      assert.deepStrictEqual(toolEvents(events), [
        "ToolCalled p",
        "ToolCalled p/1 p",
        "ToolFailed p/1 p",
        "ToolFailed p"
      ])
    }).pipe(Effect.provide(script))
  )
})
