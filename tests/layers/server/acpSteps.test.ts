/** What agents of other programs may do in any order, as events that follow the grammar. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Runner } from "troupe"
import { type Act, Steps } from "../../../src/layers/server/internal/acp/agentSteps.ts"
import { aFunction } from "../../../src/internal/structure.ts"
import { cases } from "../../support/cases.ts"
import { collect } from "../../support/grammar.ts"

const id = Schema.Literals(["a", "b", "c"])
const Acts = Schema.Array(
  Schema.Union([
    Schema.Struct({ _tag: Schema.Literals(["Text", "Reasoning"]), delta: Schema.Literal("x") }),
    Schema.Struct({ _tag: Schema.Literal("Plan"), plan: Schema.Literal("p") }),
    Schema.Struct({ _tag: Schema.Literal("Call"), id, tool: id, params: Schema.Literal("p") }),
    Schema.Struct({ _tag: Schema.Literal("Progress"), id, result: Schema.Literal("r") }),
    Schema.Struct({ _tag: Schema.Literal("Asked"), id, approvalId: id, params: Schema.Literal("p") }),
    Schema.Struct({ _tag: Schema.Literal("Answered"), id, approved: Schema.Boolean }),
    Schema.Struct({ _tag: Schema.Literal("Outcome"), id, isFailure: Schema.Boolean, result: Schema.Literal("r") })
  ])
).check(Schema.isMaxLength(30))

/** A runner whose run does these acts. */
const doing = (acts: ReadonlyArray<Act>) =>
  Runner.fromDefinition<string, string, never, never>("other", undefined, {
    body: (_input, state) => {
      const steps = new Steps(state)
      return Effect.forEach(acts, (act) => steps.take(act), { discard: true }).pipe(
        Effect.andThen(steps.finish),
        Effect.map(() => steps.text)
      )
    },
    input: () => Schema.String,
    output: () => Schema.String,
    observers: [],
    structure: aFunction
  })

describe("the steps of an agent elsewhere", () => {
  it.effect.prop(
    "follow the grammar, lose no text and no call, and end each call once",
    [Acts],
    ([acts]) =>
      Effect.gen(function* () {
        const { events } = yield* collect(doing(acts), "go")
        const texts = acts.filter(({ _tag }) => _tag === "Text").length
        assert.strictEqual(events.filter(({ _tag }) => _tag === "TextDelta").length, texts)
        const called = new Set(acts.flatMap((act) => (act._tag === "Call" ? [act.id] : [])))
        const begun = events.flatMap((event) => (event._tag === "ToolCalled" ? [event.toolCallId] : []))
        const ended = events.flatMap((event) =>
          event._tag === "ToolCompleted" || event._tag === "ToolFailed" ? [event.toolCallId] : []
        )
        assert.deepStrictEqual(begun.sort(), [...called].sort())
        assert.deepStrictEqual(ended.sort(), begun)
      }),
    { arbitrary: { runs: cases(50) } }
  )
})
