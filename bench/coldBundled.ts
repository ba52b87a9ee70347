/** The one-agent script of `cold.ts` as one file: `run.ts` bundles it. Prints the CPU time of the process. */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Agent from "../dist/agents/Agent.js"
import * as OpenAi from "../dist/layers/openai/OpenAi.js"

const model = OpenAi.layer({ model: "text", baseUrl: process.env["BENCH_URL"]!, apiKey: Redacted.make("none") })
const text = await Effect.runPromise(Effect.provide(Agent.make("agent", {}).run("Hi"), model))
if (text !== "Hello there.") throw new Error(`wrong answer: ${text}`)
const { system, user } = process.cpuUsage()
console.log(JSON.stringify({ cpuMs: (user + system) / 1000 }))
process.exit(0)
