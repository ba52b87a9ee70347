/** Troupe at the sync edge: the same agents under `Effect.runSync`. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Agent from "../../dist/agents/Agent.js"
import * as AgentTool from "../../dist/AgentTool.js"
import * as OpenAi from "../../dist/layers/OpenAi.js"
import * as SyncEdge from "../../dist/layers/SyncEdge.js"
import { baseURL, type Peer, sum } from "../peer.ts"

const runtime = (model: string) =>
  ManagedRuntime.make(
    Layer.provideMerge(
      OpenAi.layer({ model, baseUrl: baseURL, apiKey: Redacted.make("none"), retry: "none" }),
      SyncEdge.layer
    )
  )
const runtimes = new Map<string, ReturnType<typeof runtime>>()
const of = (model: string) => {
  let found = runtimes.get(model)
  if (found === undefined) runtimes.set(model, (found = runtime(model)))
  return found
}
const add = AgentTool.fromFunction({
  name: "add",
  description: "Add two numbers",
  parameters: Schema.Struct({ a: Schema.Finite, b: Schema.Finite }),
  execute: ({ a, b }) => sum(a, b)
})
const talker = Agent.make("talker", {})
const adder = Agent.make("adder", { tools: [add] })

export const peer: Peer = {
  single: async (prompt) => of("text").runSync(talker.run(prompt)),
  tools: async (prompt, rounds) => of(`tools-${rounds}`).runSync(adder.run(prompt)),
  stream: async (prompt, tokens) => {
    let count = 0
    of(`stream-${tokens}`).runSync(
      Stream.runForEach(talker.stream(prompt), (event) => {
        if (event._tag === "TextDelta") count++
        return Effect.void
      })
    )
    return count
  },
  together: async (waits) => {
    const agents = waits.map((ms) =>
      talker
        .run("go")
        .pipe(
          Effect.provide(
            OpenAi.layer({ model: `wait-${ms}`, baseUrl: baseURL, apiKey: Redacted.make("none"), retry: "none" })
          )
        )
    )
    return of("text").runSync(Effect.all(agents, { concurrency: "unbounded" }))
  }
}
