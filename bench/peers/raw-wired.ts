/** The `openai` SDK again, with a fan-out that aborts and awaits its siblings by hand: what they would all have to do. */
import OpenAI from "openai"
import { baseURL, type Peer } from "../peer.ts"
import { peer as raw } from "./raw.ts"

const client = new OpenAI({ apiKey: "none", baseURL, maxRetries: 0 })

export const peer: Peer = {
  ...raw,
  fanOut: async (instructions, prompt) => {
    const controller = new AbortController()
    const members = instructions.map(async (content) => {
      const messages = [
        { role: "system" as const, content },
        { role: "user" as const, content: prompt }
      ]
      const answer = await client.chat.completions.create({ model: "panel", messages }, { signal: controller.signal })
      return answer.choices[0]!.message.content!
    })
    try {
      return await Promise.all(members)
    } catch (error) {
      controller.abort()
      await Promise.allSettled(members)
      throw error
    }
  }
}
