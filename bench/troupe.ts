/** Troupe's work at either edge: the same agents, run by what the peer gives. */
import * as Effect from "effect/Effect"
import type * as LanguageModel from "effect/ai/LanguageModel"
import type * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Agent from "../dist/agents/Agent.js"
import * as AgentTool from "../dist/AgentTool.js"
import * as OpenAi from "../dist/layers/openai/OpenAi.js"
import * as Gather from "../dist/workflows/Gather.js"
import * as Parallel from "../dist/workflows/Parallel.js"
import { baseURL, type Peer, sum } from "./peer.ts"

type Model = Layer.Layer<LanguageModel.LanguageModel, unknown>

/** The model of the local server whose name says what it does. */
export const modelOf = (model: string, more: Partial<OpenAi.Options> = {}): Model =>
  OpenAi.layer({ model, baseUrl: baseURL, apiKey: Redacted.make("none"), retry: "none", ...more })

const add = AgentTool.fromFunction("add", {
  description: "Add two numbers",
  parameters: Schema.Struct({ a: Schema.Finite, b: Schema.Finite }),
  execute: ({ a, b }) => sum(a, b)
})
export const talker = Agent.make("talker", {})
const adder = Agent.make("adder", { tools: [add] })

type Runtime = ManagedRuntime.ManagedRuntime<LanguageModel.LanguageModel, unknown>

/** One runtime for each model, as a process has; `run` is the edge. */
export const makePeer = (
  layerOf: (model: Model) => Model,
  run: <A>(runtime: Runtime, effect: Effect.Effect<A, unknown, LanguageModel.LanguageModel>) => Promise<A>,
  modelFor: (model: string) => Model = modelOf
): Peer & {
  readonly on: <A>(model: string, effect: Effect.Effect<A, unknown, LanguageModel.LanguageModel>) => Promise<A>
} => {
  const runtimes = new Map<string, Runtime>()
  const on = <A>(model: string, effect: Effect.Effect<A, unknown, LanguageModel.LanguageModel>): Promise<A> => {
    let runtime = runtimes.get(model)
    if (runtime === undefined) {
      runtime = ManagedRuntime.make(layerOf(modelFor(model)))
      runtimes.set(model, runtime)
    }
    return run(runtime, effect)
  }
  return {
    on,
    single: (prompt) => on("text", talker.run(prompt)),
    tools: (prompt, rounds) => on(`tools-${rounds}`, adder.run(prompt)),
    map: (items, concurrency) => on("echo", Gather.map("map", talker, { concurrency }).run(items)),
    agents: (prompts, rounds) =>
      on(`tools-${rounds}`, Gather.map("thousand", adder, { concurrency: "unbounded" }).run(prompts)),
    fanOut: (instructions, prompt) => {
      const panel = instructions.map((one, n) => Agent.make(`member ${n}`, { instructions: one }))
      return on("panel", Parallel.make("panel", panel).run(prompt))
    },
    stream: async (prompt, tokens, perWrite) => {
      let count = 0
      await on(
        `stream-${tokens}-${perWrite}`,
        Stream.runForEach(talker.stream(prompt), (event) => {
          if (event._tag === "TextDelta") count++
          return Effect.void
        })
      )
      return count
    }
  }
}
