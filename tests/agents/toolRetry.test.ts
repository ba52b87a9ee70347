/** Which failed tool calls are made again, and how often. */
import { assert, describe } from "@effect/vitest"
import { it } from "../support/edges.ts"
import { Effect, Fiber, Schedule, Schema } from "effect"
import { TestClock } from "effect/testing"
import { Agent, AgentTool, Approvals, TestModel } from "troupe"
import { collect } from "../support/grammar.ts"

class Down extends Schema.TaggedError<Down>()("Down", { executed: Schema.Literals(["no", "unknown"]) }) {}

/** A tool that fails `times` before it succeeds, and how often it was called. */
const failing = (
  times: number,
  options: Partial<Parameters<typeof AgentTool.fromFunction>[1]>,
  error: unknown = "down"
) => {
  const made = { count: 0, keys: new Set<string | undefined>() }
  const tool = AgentTool.fromFunction("fetch_page", {
    description: "Fetches",
    parameters: Schema.Struct({ n: Schema.Int }),
    ...(options as {}),
    execute: (_params, { idempotencyKey }) => {
      made.keys.add(idempotencyKey)
      return ++made.count > times ? Effect.succeed("a page") : Effect.fail(error)
    }
  })
  return { made, tool }
}
const model = TestModel.layer([TestModel.toolCall("fetch_page", { n: 1 }), "done"])
const readOnly = { hints: { readOnly: true } }
const retried = (
  tool: AgentTool.AgentTool<string, never>,
  options: Agent.Settings = { toolRetry: Schedule.recurs(3) }
) => Agent.make("agent", { ...options, tools: [tool] })

describe("a tool call that fails", () => {
  it.effect("is made again as the agent says, as one call with one key", () =>
    Effect.gen(function* () {
      const { made, tool } = failing(2, readOnly)
      const { events } = yield* collect(retried(tool), "go")
      assert.strictEqual(made.count, 3)
      assert.strictEqual(made.keys.size, 1)
      assert.deepStrictEqual(
        events.flatMap(({ _tag }) => (_tag.startsWith("Tool") && _tag !== "ToolParamsDelta" ? [_tag] : [])),
        ["ToolCalled", "ToolCompleted"]
      )
    }).pipe(Effect.provide(model))
  )

  it.effect("says in its last event how often it was made, and nothing where that was once", () =>
    Effect.gen(function* () {
      const attemptsOf = (times: number) =>
        collect(retried(failing(times, readOnly).tool), "go").pipe(
          Effect.provide(model),
          Effect.map(({ events }) =>
            events.flatMap((event) => ("durationMs" in event && "tool" in event ? [[event._tag, event.attempts]] : []))
          )
        )
      assert.deepStrictEqual(yield* attemptsOf(0), [["ToolCompleted", undefined]])
      assert.deepStrictEqual(yield* attemptsOf(2), [["ToolCompleted", 3]])
      assert.deepStrictEqual(yield* attemptsOf(9), [["ToolFailed", 4]])
    })
  )

  it.effect("goes to the model with its last failure when the attempts are used up", () =>
    Effect.gen(function* () {
      const { made, tool } = failing(9, readOnly)
      const { transcript } = yield* retried(tool).result("go")
      assert.strictEqual(made.count, 4)
      assert.include(JSON.stringify(transcript.content), "down")
    }).pipe(Effect.provide(model))
  )

  it.effect("is made again as the tool says, which goes before the agent", () =>
    Effect.gen(function* () {
      const often = failing(9, { ...readOnly, retry: Schedule.recurs(1) })
      yield* retried(often.tool).run("go")
      assert.strictEqual(often.made.count, 2)
    }).pipe(Effect.provide(model))
  )

  it.effect("is not made again where the tool says never", () =>
    Effect.gen(function* () {
      const never = failing(9, { ...readOnly, retry: "none" })
      yield* retried(never.tool).run("go")
      assert.strictEqual(never.made.count, 1)
    }).pipe(Effect.provide(model))
  )

  it.effect("and may have done something is not made again", () =>
    Effect.gen(function* () {
      const { made, tool } = failing(9, {}, new Down({ executed: "unknown" }))
      yield* retried(tool).run("go")
      assert.strictEqual(made.count, 1)
    }).pipe(Effect.provide(model))
  )

  it.effect("before it began is made again, also where it is not idempotent", () =>
    Effect.gen(function* () {
      const { made, tool } = failing(2, {}, new Down({ executed: "no" }))
      yield* retried(tool).run("go")
      assert.strictEqual(made.count, 3)
    }).pipe(Effect.provide(model))
  )

  it.effect("is made again by a schedule that looks at the failure, after its delays", () =>
    Effect.gen(function* () {
      const { made, tool } = failing(9, readOnly)
      const seen: Array<unknown> = []
      const toolRetry = Schedule.spaced("1 second").pipe(
        Schedule.setInputType<{ readonly failure: unknown; readonly tool: string }>(),
        Schedule.while(({ attempt, input }) => {
          seen.push([input.tool, input.failure])
          return attempt < 3
        })
      )
      const fiber = yield* Effect.forkChild(retried(tool, { toolRetry }).run("go"))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(made.count, 2)
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(seen[0], ["fetch_page", { error: "down" }])
    }).pipe(Effect.provide(model))
  )

  it.effect("because of its arguments, or because it was denied, is not made again", () =>
    Effect.gen(function* () {
      const { made, tool } = failing(9, { ...readOnly, needsApproval: true })
      yield* retried(tool)
        .run("go")
        .pipe(Effect.provide(Approvals.layer(() => Effect.succeed(Approvals.deny("no")))))
      assert.strictEqual(made.count, 0)
    }).pipe(
      Effect.provide(
        TestModel.layer([
          TestModel.toolCalls({ name: "fetch_page", params: { n: "x" } }, { name: "fetch_page", params: { n: 1 } }),
          "done"
        ])
      )
    )
  )

  it.effect("by its timeout is made again, and each attempt has the time", () =>
    Effect.gen(function* () {
      let count = 0
      const slow = AgentTool.fromFunction("fetch_page", {
        description: "Fetches",
        parameters: Schema.Struct({ n: Schema.Int }),
        timeout: "1 second",
        hints: { idempotent: true },
        execute: () => (++count < 3 ? Effect.never : Effect.succeed("a page"))
      })
      const fiber = yield* Effect.forkChild(retried(slow).result("go"))
      yield* TestClock.adjust("3 seconds")
      const { transcript } = yield* Fiber.join(fiber)
      assert.include(JSON.stringify(transcript.content), "a page")
    }).pipe(Effect.provide(model))
  )
})
