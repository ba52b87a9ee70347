/**
 * The floor: a hand-written loop on a transport, without an SDK, a framework, errors or limits. `bare-http` and
 * `bare-undici` are made of it.
 */
import { baseURL, type Peer, pool, sum } from "../peer.ts"

/** Sends a body and gives the chunks of the answer, in order. */
export type Send = (path: string, body: string, onChunk: (chunk: Uint8Array) => void) => Promise<void>

interface Message {
  readonly role: string
  readonly content: string | null
  readonly tool_calls?: ReadonlyArray<{ readonly id: string; readonly function: { readonly arguments: string } }>
  readonly tool_call_id?: string
}

const tools = [
  {
    type: "function",
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

export const path = `${new URL(baseURL).pathname}/chat/completions`

export const makePeer = (send: Send): Peer => {
  const complete = async (body: object): Promise<Message> => {
    const chunks: Array<Uint8Array> = []
    await send(path, JSON.stringify(body), (chunk) => chunks.push(chunk))
    const answer = JSON.parse(Buffer.concat(chunks).toString()) as { choices: [{ message: Message }] }
    return answer.choices[0].message
  }
  const ask = async (model: string, messages: ReadonlyArray<Message>): Promise<string> =>
    (await complete({ model, messages })).content!
  const peer: Peer = {
    single: (prompt) => ask("text", [{ role: "user", content: prompt }]),
    map: (items, concurrency) => pool(items, concurrency, (item) => ask("echo", [{ role: "user", content: item }])),
    agents: (prompts, rounds) => Promise.all(prompts.map((prompt) => peer.tools(prompt, rounds))),
    tools: async (prompt, rounds) => {
      const messages: Array<Message> = [{ role: "user", content: prompt }]
      while (true) {
        const message = await complete({ model: `tools-${rounds}`, messages, tools })
        messages.push(message)
        if (message.tool_calls === undefined || message.tool_calls.length === 0) return message.content!
        for (const call of message.tool_calls) {
          const { a, b } = JSON.parse(call.function.arguments) as { a: number; b: number }
          messages.push({ role: "tool", tool_call_id: call.id, content: String(sum(a, b)) })
        }
      }
    },
    stream: async (prompt, tokens, perWrite) => {
      let count = 0
      let rest = ""
      const decoder = new TextDecoder()
      const body = {
        model: `stream-${tokens}-${perWrite}`,
        messages: [{ role: "user", content: prompt }],
        stream: true,
        stream_options: { include_usage: true }
      }
      await send(path, JSON.stringify(body), (chunk) => {
        const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n")
        rest = lines.pop()!
        for (const line of lines) {
          if (!line.startsWith("data: {")) continue
          const event = JSON.parse(line.slice(6)) as { choices: ReadonlyArray<{ delta: { content?: string } }> }
          if (event.choices[0]?.delta.content) count++
        }
      })
      return count
    }
  }
  return peer
}
