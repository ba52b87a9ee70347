/** The OpenAI Agents SDK. */
import { Agent, run, setDefaultOpenAIClient, setOpenAIAPI, setTracingDisabled, tool } from "@openai/agents"
import OpenAI from "openai"
import { z } from "zod"
import { baseURL, type Peer, pool, sum } from "../peer.ts"

setDefaultOpenAIClient(new OpenAI({ apiKey: "none", baseURL, maxRetries: 0 }))
setOpenAIAPI("chat_completions")
// Its traces go to OpenAI, where the benchmark has no key; its documentation says to turn them off then.
setTracingDisabled(true)

const add = tool({
  name: "add",
  description: "Add two numbers",
  parameters: z.object({ a: z.number(), b: z.number() }),
  execute: async ({ a, b }) => String(sum(a, b))
})
const talker = new Agent({ name: "talker", model: "text" })
const parrot = new Agent({ name: "parrot", model: "echo" })
const adders = new Map<number, Agent>()
const adder = (rounds: number): Agent => {
  const known = adders.get(rounds) ?? new Agent({ name: "adder", model: `tools-${rounds}`, tools: [add] })
  adders.set(rounds, known)
  return known
}

export const peer: Peer = {
  single: async (prompt) => (await run(talker, prompt)).finalOutput!,
  tools: async (prompt, rounds) => String((await run(adder(rounds), prompt, { maxTurns: rounds + 2 })).finalOutput),
  stream: async (prompt, tokens) => {
    let count = 0
    const result = await run(new Agent({ name: "talker", model: `stream-${tokens}` }), prompt, { stream: true })
    for await (const _ of result.toTextStream()) count++
    return count
  },
  map: (items, concurrency) => pool(items, concurrency, async (item) => (await run(parrot, item)).finalOutput!),
  agents: (prompts, rounds) => Promise.all(prompts.map((prompt) => peer.tools(prompt, rounds))),
  fanOut: (instructions, prompt) => {
    const panel = instructions.map((one, n) => new Agent({ name: `member ${n}`, model: "panel", instructions: one }))
    return Promise.all(panel.map(async (member) => (await run(member, prompt)).finalOutput!))
  }
}
