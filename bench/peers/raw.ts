/** The `openai` SDK with a hand-written loop: what every ratio is to. */
import OpenAI from "openai"
import { baseURL, type Peer, pool, sum } from "../peer.ts"

const client = new OpenAI({ apiKey: "none", baseURL, maxRetries: 0 })
const tools = [
  {
    type: "function" as const,
    function: {
      name: "add",
      description: "Add two numbers",
      parameters: {
        type: "object",
        properties: { a: { type: "number" }, b: { type: "number" } },
        required: ["a", "b"],
        additionalProperties: false
      }
    }
  }
]

const ask = async (model: string, messages: Array<OpenAI.ChatCompletionMessageParam>): Promise<string> => {
  const answer = await client.chat.completions.create({ model, messages })
  return answer.choices[0]!.message.content!
}

export const peer: Peer = {
  single: (prompt) => ask("text", [{ role: "user", content: prompt }]),
  map: (items, concurrency) => pool(items, concurrency, (item) => ask("echo", [{ role: "user", content: item }])),
  agents: (prompts, rounds) => Promise.all(prompts.map((prompt) => peer.tools(prompt, rounds))),
  fanOut: (instructions, prompt) =>
    Promise.all(
      instructions.map((content) =>
        ask("panel", [
          { role: "system", content },
          { role: "user", content: prompt }
        ])
      )
    ),
  tools: async (prompt, rounds) => {
    const messages: Array<OpenAI.ChatCompletionMessageParam> = [{ role: "user", content: prompt }]
    while (true) {
      const answer = await client.chat.completions.create({ model: `tools-${rounds}`, messages, tools })
      const { message } = answer.choices[0]!
      messages.push(message)
      if (message.tool_calls === undefined || message.tool_calls.length === 0) return message.content!
      const results = await Promise.all(
        message.tool_calls.map(async (call) => {
          if (call.type !== "function") throw new Error("not a function")
          const { a, b } = JSON.parse(call.function.arguments) as { a: number; b: number }
          return { role: "tool" as const, tool_call_id: call.id, content: String(sum(a, b)) }
        })
      )
      messages.push(...results)
    }
  },
  stream: async (prompt, tokens, perWrite) => {
    let count = 0
    const stream = await client.chat.completions.create({
      model: `stream-${tokens}-${perWrite}`,
      messages: [{ role: "user", content: prompt }],
      stream: true,
      stream_options: { include_usage: true }
    })
    for await (const chunk of stream) if (chunk.choices[0]?.delta.content) count++
    return count
  }
}
