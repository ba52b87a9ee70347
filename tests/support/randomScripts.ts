/** Random scripts of a model, and an agent for them with tools that succeed, fail and wait. */
import { Cause, Effect, Exit, Schema } from "effect"
import { AiError, type Prompt } from "effect/ai"
import { Agent, AgentTool, TestModel } from "troupe"
import { assert } from "vitest"

/** One random turn of a model: an answer, calls good and bad, an empty turn, a pause, a failure. */
const RandomTurn = Schema.Struct({
  kind: Schema.Literals(["text", "calls", "calls", "calls", "empty", "pause", "fails", "refuses", "cut"]),
  text: Schema.String.check(Schema.isMaxLength(12)),
  reasoning: Schema.Boolean,
  chunk: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 5 })),
  after: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 3 })),
  calls: Schema.Array(Schema.Literals(["ok", "slow", "soft", "hard", "wrong", "ghost", "broken"])).check(
    Schema.isMaxLength(4)
  )
})
/** A random script. */
export const Script = Schema.Array(RandomTurn).check(Schema.isMaxLength(6))

const toTurn = (turn: typeof RandomTurn.Type): TestModel.Turn => {
  const common = { chunk: turn.chunk, ...(turn.reasoning ? { reasoning: "because" } : {}) }
  const text = turn.text.trim() === "" ? "text" : turn.text
  switch (turn.kind) {
    case "text":
      return { ...common, text }
    case "calls":
      return {
        ...common,
        text: turn.text,
        toolCalls: turn.calls.map((name) =>
          name === "wrong"
            ? { name: "ok", params: { n: "x" } }
            : name === "broken"
              ? { name: "ok", params: '{"n":' }
              : { name, params: { n: 1 } }
        )
      }
    case "empty":
      return { ...common }
    case "pause":
      return { ...common, text, finishReason: "pause" }
    case "fails":
      return { ...common, text, after: turn.after, fail: new AiError.InternalProviderError({ description: "down" }) }
    case "refuses":
      return { ...common, text, finishReason: "content-filter" }
    case "cut":
      return { ...common, text, finishReason: "length" }
  }
}

const parameters = Schema.Struct({ n: Schema.Int })
const tool = (name: string, execute: () => unknown, failureMode: "return" | "error" = "return") =>
  AgentTool.fromFunction(name, { description: name, parameters, failureMode, execute })
/** The options of the agent. */
export const options = {
  maxSteps: 8,
  retry: "none",
  tools: [
    tool("ok", () => 1),
    tool("slow", () => Effect.as(Effect.yieldNow, 2)),
    tool("soft", () => Effect.fail("soft")),
    tool("hard", () => Effect.fail("hard"), "error")
  ]
} as const
/** The agent. */
export const agent = Agent.make("agent", options)

/** A model that goes through the script, and ends with an answer. */
export const modelOf = (script: typeof Script.Type) => {
  const turns = [...script.map(toTurn), "the end"]
  return TestModel.layer((call) => turns[Math.min(call.index, turns.length - 1)]!, { unused: "ignore" })
}

/** Every call has exactly one result, in order, right after the calls. */
export const assertValid = (prompt: Prompt.Prompt): void => {
  let waiting: Array<string> = []
  for (const message of prompt.content) {
    if (message.role === "tool") {
      const ids = message.content.flatMap((part) => (part.type === "tool-result" ? [part.id] : []))
      assert.deepStrictEqual(ids, waiting)
      waiting = []
    } else if (message.role === "assistant") {
      waiting.push(...message.content.flatMap((part) => (part.type === "tool-call" ? [part.id] : [])))
    } else assert.deepStrictEqual(waiting, [])
  }
  assert.deepStrictEqual(waiting, [])
}

/** The tag of what a run failed with. */
export const tagOf = <E extends { readonly _tag: string }>(exit: Exit.Exit<unknown, E>): string | undefined =>
  Exit.isFailure(exit) ? (Cause.squash(exit.cause) as E)._tag : undefined
