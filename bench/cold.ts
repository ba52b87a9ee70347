/** The one-agent scripts whose cold start is measured: `node cold.ts PEER`. Written as a user would. Prints the CPU time of the process. */
import { baseURL } from "./peer.ts"

const scripts: Record<string, () => Promise<string>> = {
  raw: async () => {
    const { default: OpenAI } = await import("openai")
    const client = new OpenAI({ apiKey: "none", baseURL, maxRetries: 0 })
    const answer = await client.chat.completions.create({ model: "text", messages: [{ role: "user", content: "Hi" }] })
    return answer.choices[0]!.message.content!
  },
  vercel: async () => {
    const { createOpenAI } = await import("@ai-sdk/openai")
    const { generateText } = await import("ai")
    return (await generateText({ model: createOpenAI({ apiKey: "none", baseURL }).chat("text"), prompt: "Hi" })).text
  },
  troupe: async () => {
    const [Effect, Redacted, Agent, OpenAi] = await Promise.all([
      import("effect/Effect"),
      import("effect/Redacted"),
      import("../dist/agents/Agent.js"),
      import("../dist/layers/openai/OpenAi.js")
    ])
    const model = OpenAi.layer({ model: "text", baseUrl: baseURL, apiKey: Redacted.make("none") })
    return Effect.runPromise(Effect.provide(Agent.make("agent", {}).run("Hi"), model))
  },
  // As Node finds `import { Agent, OpenAi } from "troupe"`.
  "troupe-barrel": async () => {
    const [Effect, Redacted, { Agent, OpenAi }] = await Promise.all([
      import("effect/Effect"),
      import("effect/Redacted"),
      import("../dist/index.deferred.js" as string) as Promise<typeof import("../dist/index.js")>
    ])
    const model = OpenAi.layer({ model: "text", baseUrl: baseURL, apiKey: Redacted.make("none") })
    return Effect.runPromise(Effect.provide(Agent.make("agent", {}).run("Hi"), model))
  },
  "troupe-sync": async () => {
    const [Effect, Redacted, Agent, OpenAi, SyncEdge] = await Promise.all([
      import("effect/Effect"),
      import("effect/Redacted"),
      import("../dist/agents/Agent.js"),
      import("../dist/layers/openai/OpenAi.js"),
      import("../dist/layers/sync/SyncEdge.js")
    ])
    const model = OpenAi.layer({ model: "text", baseUrl: baseURL, apiKey: Redacted.make("none") })
    return Effect.runSync(Agent.make("agent", {}).run("Hi").pipe(Effect.provide(model), Effect.provide(SyncEdge.layer)))
  }
}

const text = await scripts[process.argv[2]!]!()
if (text !== "Hello there.") throw new Error(`wrong answer: ${text}`)
const { system, user } = process.cpuUsage()
console.log(JSON.stringify({ cpuMs: (user + system) / 1000 }))
process.exit(0)
