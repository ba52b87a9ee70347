/** Mastra, with its own configuration of a model by address. */
import { Agent } from "@mastra/core/agent"
import { createTool } from "@mastra/core/tools"
import { createStep, createWorkflow } from "@mastra/core/workflows"
import { z } from "zod"
import { baseURL, type Peer, pool, sum } from "../peer.ts"

const modelOf = (modelId: string) => ({
  providerId: "local",
  modelId,
  url: baseURL,
  apiKey: "none",
  api: "chat" as const
})
const add = createTool({
  id: "add",
  description: "Add two numbers",
  inputSchema: z.object({ a: z.number(), b: z.number() }),
  execute: async ({ a, b }) => sum(a, b)
})
const agentOf = (id: string, model: string, instructions = "", tools = {}) =>
  new Agent({ id, name: id, instructions, model: modelOf(model), tools })

const talker = agentOf("talker", "text")
const parrot = agentOf("parrot", "echo")
const adders = new Map<number, Agent>()
const adder = (rounds: number): Agent => {
  const known = adders.get(rounds) ?? agentOf("adder", `tools-${rounds}`, "", { add })
  adders.set(rounds, known)
  return known
}

export const peer: Peer = {
  single: async (prompt) => (await talker.generate(prompt)).text,
  tools: async (prompt, rounds) => (await adder(rounds).generate(prompt, { maxSteps: rounds + 2 })).text,
  stream: async (prompt, tokens) => {
    let count = 0
    const result = await agentOf("talker", `stream-${tokens}`).stream(prompt)
    for await (const _ of result.textStream) count++
    return count
  },
  map: (items, concurrency) => pool(items, concurrency, async (item) => (await parrot.generate(item)).text),
  agents: (prompts, rounds) => Promise.all(prompts.map((prompt) => peer.tools(prompt, rounds))),
  fanOut: async (instructions, prompt) => {
    const inputSchema = z.object({ prompt: z.string() })
    const outputSchema = z.object({ text: z.string() })
    const members = instructions.map((one, n) => {
      const agent = agentOf(`member-${n}`, "panel", one)
      return createStep({
        id: `member-${n}`,
        inputSchema,
        outputSchema,
        execute: async ({ inputData }) => ({ text: (await agent.generate(inputData.prompt)).text })
      })
    })
    const panel = createWorkflow({ id: "panel", inputSchema, outputSchema: z.record(z.string(), outputSchema) })
      .parallel(members)
      .commit()
    const run = await panel.createRun()
    const ended = await run.start({ inputData: { prompt } })
    // A workflow tells its failure by its status.
    if (ended.status === "failed") throw ended.error
    if (ended.status !== "success") throw new Error(`the workflow ended as ${ended.status}`)
    return instructions.map((_, n) => (ended.result as Record<string, { readonly text: string }>)[`member-${n}`]!.text)
  }
}
