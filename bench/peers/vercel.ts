/** The Vercel AI SDK. */
import { createOpenAI } from "@ai-sdk/openai"
import { generateText, isStepCount, streamText, tool } from "ai"
import { z } from "zod"
import { baseURL, type Peer, pool, sum } from "../peer.ts"

const provider = createOpenAI({ apiKey: "none", baseURL })
const add = tool({
  description: "Add two numbers",
  inputSchema: z.object({ a: z.number(), b: z.number() }),
  execute: async ({ a, b }) => sum(a, b)
})

export const peer: Peer = {
  single: async (prompt) => (await generateText({ model: provider.chat("text"), prompt, maxRetries: 0 })).text,
  map: (items, concurrency) =>
    pool(
      items,
      concurrency,
      async (prompt) => (await generateText({ model: provider.chat("echo"), prompt, maxRetries: 0 })).text
    ),
  agents: (prompts, rounds) => Promise.all(prompts.map((prompt) => peer.tools(prompt, rounds))),
  fanOut: (instructions, prompt) =>
    Promise.all(
      instructions.map(
        async (one) =>
          (await generateText({ model: provider.chat("panel"), instructions: one, prompt, maxRetries: 0 })).text
      )
    ),
  tools: async (prompt, rounds) =>
    (
      await generateText({
        model: provider.chat(`tools-${rounds}`),
        prompt,
        tools: { add },
        stopWhen: isStepCount(rounds + 2),
        maxRetries: 0
      })
    ).text,
  stream: async (prompt, tokens, perWrite) => {
    let count = 0
    const result = streamText({ model: provider.chat(`stream-${tokens}-${perWrite}`), prompt, maxRetries: 0 })
    for await (const _ of result.textStream) count++
    return count
  }
}
