/**
 * What the agent loop itself costs, with a model that answers at once and without a network: a turn, a round of a tool, and
 * the bytes that a run leaves for the next full garbage collection. `npm run loop`
 */
import type { HeapProfiler } from "node:inspector"
import { Session } from "node:inspector/promises"
import * as Effect from "effect/Effect"
import * as LanguageModel from "effect/ai/LanguageModel"
import type * as Response from "effect/ai/Response"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Agent from "../dist/agents/Agent.js"
import * as AgentTool from "../dist/AgentTool.js"
import * as ModelInfo from "../dist/services/ModelInfo.js"
import { sum } from "./peer.ts"

const rounds = 10

/** A model that calls the tool so many times and then answers. */
const modelOf = async (calls: number) => {
  const finish = (reason: "stop" | "tool-calls"): Response.PartEncoded => ({
    type: "finish",
    reason,
    usage: {
      inputTokens: { uncached: 10, total: 10, cacheRead: undefined, cacheWrite: undefined },
      outputTokens: { total: 5, text: 5, reasoning: undefined }
    },
    response: undefined
  })
  const generateText = ({ prompt }: LanguageModel.ProviderOptions) =>
    Effect.sync((): Array<Response.PartEncoded> => {
      const made = prompt.content.filter(({ role }) => role === "tool").length
      return made < calls
        ? [{ type: "tool-call", id: `c${made}`, name: "add", params: { a: made, b: 1 } }, finish("tool-calls")]
        : [{ type: "text", text: "done" }, finish("stop")]
    })
  const streamText = () => Stream.empty
  const model = await Effect.runPromise(LanguageModel.make({ generateText, streamText }))
  const info = { provider: "none", model: "at-once", structuredOutput: true }
  return ModelInfo.context(model, info, { generateText, streamText })
}

const add = AgentTool.fromFunction("add", {
  description: "Add two numbers",
  parameters: Schema.Struct({ a: Schema.Finite, b: Schema.Finite }),
  execute: ({ a, b }) => sum(a, b)
})
const agent = Agent.make("adder", { instructions: "You add.", tools: [add], maxSteps: rounds + 1 })

const sizeOf = ({ children, selfSize }: HeapProfiler.SamplingHeapProfileNode): number =>
  children.reduce((total, child) => total + sizeOf(child), selfSize)

const measure = async (calls: number, times: number) => {
  const context = await modelOf(calls)
  const once = Effect.provideContext(agent.run("Add"), context)
  const repeated = Effect.forEach(Array.from({ length: times }), () => once, { discard: true })
  for (let warm = 0; warm < 3; warm++) await Effect.runPromise(repeated)
  const figures: Array<number> = []
  for (let repeat = 0; repeat < 9; repeat++) {
    const cpu = process.cpuUsage()
    await Effect.runPromise(repeated)
    const { system, user } = process.cpuUsage(cpu)
    figures.push((system + user) / times / Math.max(1, calls))
  }
  const session = new Session()
  session.connect()
  await session.post("HeapProfiler.startSampling", {
    samplingInterval: 4096,
    includeObjectsCollectedByMajorGC: true,
    includeObjectsCollectedByMinorGC: false
  })
  await Effect.runPromise(repeated)
  const { profile } = await session.post("HeapProfiler.stopSampling")
  session.disconnect()
  return { cpuUs: figures.toSorted((a, b) => a - b)[4]!, leftBytes: sizeOf(profile.head) / times }
}

const turn = await measure(0, 5000)
const round = await measure(rounds, 500)
console.log(`A turn: ${turn.cpuUs.toFixed(1)} us of CPU, ${turn.leftBytes.toFixed(0)} bytes left behind.`)
console.log(`A round of ten: ${round.cpuUs.toFixed(1)} us of CPU.`)
