import { Effect, Redacted } from "effect"
import { OpenAi } from "troupe"
import { type Reply, serve } from "../support/openAiServer.ts"
import { type Scenario, script, suite } from "./model.ts"

const call = { name: script.tool.name, args: JSON.stringify(script.tool.params) }
const replies: Record<Scenario, Reply> = {
  text: { text: script.text },
  tool: { calls: [call] },
  tools: { calls: [call] },
  "after a tool": { text: "It is 42." },
  object: { text: JSON.stringify(script.object) }
}

for (const api of ["chat", "responses"] as const) {
  suite(`OpenAi by ${api}`, (scenario) =>
    Effect.acquireRelease(
      Effect.promise(() => serve([replies[scenario]])),
      (server) => Effect.sync(() => server.close())
    ).pipe(
      Effect.map(({ url }) =>
        OpenAi.layer({ model: "m", baseUrl: url, api, apiKey: Redacted.make("k"), retry: "none" })
      )
    )
  )
}
