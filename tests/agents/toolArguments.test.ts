import { assert, describe } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Tool, Toolkit } from "effect/ai"
import { Agent, AgentTool, TestModel } from "troupe"
import { it } from "../support/edges.ts"

/** Calls `name` with `params`, then answers with what the call gave. */
const calling = (name: string, params: unknown) =>
  TestModel.layer((call) => {
    const last = call.prompt.content.at(-1)
    const part = last?.role === "tool" ? last.content.find((one) => one.type === "tool-result") : undefined
    return part === undefined ? TestModel.toolCall(name, params) : JSON.stringify(part.result)
  })

describe("a tool without parameters", () => {
  const kit = Toolkit.make(
    Tool.make("now", { description: "Gives the time", success: Schema.String }),
    Tool.make("empty", { description: "Gives the time", parameters: Schema.Struct({}), success: Schema.String })
  )
  const handlers = kit.toLayer({ now: () => Effect.succeed("noon"), empty: () => Effect.succeed("noon") })
  const agents = {
    "a function": Agent.make("agent", {
      tools: [AgentTool.fromFunction("now", { description: "Gives the time", execute: () => "noon" })]
    }),
    "a function with an empty struct": Agent.make("agent", {
      tools: [
        AgentTool.fromFunction("now", {
          description: "Gives the time",
          parameters: Schema.Struct({}),
          execute: (params) => (Object.keys(params).length === 0 ? "noon" : "arguments")
        })
      ]
    })
  }
  for (const params of [{}, { a: 1 }, { reason: "to know" }, null, ""]) {
    for (const [name, agent] of Object.entries(agents)) {
      it.effect(`of ${name} runs when a model gives it ${JSON.stringify(params)}`, () =>
        Effect.gen(function* () {
          assert.strictEqual(yield* agent.run("go"), '"noon"')
        }).pipe(Effect.provide(calling("now", params)))
      )
    }
    for (const name of ["now", "empty"] as const) {
      it.effect(`of a toolkit, "${name}", runs when a model gives it ${JSON.stringify(params)}`, () =>
        Effect.gen(function* () {
          assert.strictEqual(yield* Agent.make("agent", { toolkit: kit }).run("go"), '"noon"')
        }).pipe(Effect.provide([calling(name, params), handlers]))
      )
    }
  }
})
