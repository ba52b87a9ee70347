/** Troupe at the async edge: one runtime for the process, as a server has. */
import * as Effect from "effect/Effect"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Agent from "../../dist/agents/Agent.js"
import * as AgentTool from "../../dist/AgentTool.js"
import * as OpenAi from "../../dist/layers/OpenAi.js"
import { baseURL, type Peer, sum } from "../peer.ts"

const runtime = (model: string) =>
  ManagedRuntime.make(OpenAi.layer({ model, baseUrl: baseURL, apiKey: Redacted.make("none"), retry: "none" }))
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
  single: (prompt) => of("text").runPromise(talker.run(prompt)),
  tools: (prompt, rounds) => of(`tools-${rounds}`).runPromise(adder.run(prompt)),
  stream: async (prompt, tokens) => {
    let count = 0
    await of(`stream-${tokens}`).runPromise(
      Stream.runForEach(talker.stream(prompt), (event) => {
        if (event._tag === "TextDelta") count++
        return Effect.void
      })
    )
    return count
  }
}
