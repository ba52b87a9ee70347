/** The arguments of tool calls as events while the model writes them, and the ids of approvals. */
import { assert, describe } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Agent, AgentTool, Middleware, Runner, type RunEvent, TestModel } from "troupe"
import { it } from "../../support/edges.ts"
import { collect } from "../../support/grammar.ts"

const pay = AgentTool.fromFunction("pay", {
  description: "Pays",
  parameters: Schema.Struct({ amount: Schema.Finite, to: Schema.String }),
  needsApproval: true,
  execute: () => "paid"
})
const params = { amount: 5, to: "Ada" }
const script: ReadonlyArray<TestModel.Turn> = [{ toolCalls: [{ name: "pay", params }], chunk: 6 }]

const deltas = (events: ReadonlyArray<RunEvent.RunEvent>) =>
  events.flatMap((event) => (event._tag === "ToolParamsDelta" ? [event] : []))

describe("a tool call", () => {
  it.effect("streams its arguments under the id that it is called by", () =>
    Effect.gen(function* () {
      const clerk = Agent.make("clerk", { tools: [pay] })
      const { events } = yield* collect(clerk, "Pay")
      const pieces = deltas(events)
      assert.isAbove(pieces.length, 1)
      assert.deepStrictEqual(JSON.parse(pieces.map(({ delta }) => delta).join("")), params)
      const called = events.find((event) => event._tag === "ToolCalled")
      assert.isTrue(pieces.every(({ tool, toolCallId }) => tool === "pay" && toolCallId === called?.toolCallId))
    }).pipe(Effect.provide(TestModel.layer(script, { unused: "ignore" })))
  )

  it.effect("asks for approval under the id that is answered", () =>
    Effect.gen(function* () {
      const { events } = yield* collect(Agent.make("clerk", { tools: [pay] }), "Pay")
      const asked = events.find((event) => event._tag === "ApprovalRequested")
      const last = events.at(-1)!
      if (last._tag !== "RunSuspended") return assert.fail(last._tag)
      assert.strictEqual(asked?.approvalId, last.waitingFor[0]?.id)
      assert.deepStrictEqual(
        Runner.pending(last.transcript!).map(({ id }) => id),
        [asked?.approvalId]
      )
    }).pipe(Effect.provide(TestModel.layer(script, { unused: "ignore" })))
  )

  it.effect("streams what a middleware makes of the pieces, and is called with what the model wrote", () =>
    Effect.gen(function* () {
      const secret = Middleware.make("secret", {
        part: (part) => (part.type === "tool-params-delta" ? undefined : part)
      })
      const clerk = Agent.make("clerk", { tools: [pay], middleware: [secret] })
      const { events } = yield* collect(clerk, "Pay")
      assert.lengthOf(deltas(events), 0)
      const called = events.find((event) => event._tag === "ToolCalled")
      assert.deepStrictEqual(called?.params, params)
    }).pipe(Effect.provide(TestModel.layer(script, { unused: "ignore" })))
  )
})
