/**
 * A question about a hundred cities, answered by one program that calls a tool a hundred times, and by a call of the model's for each.
 * It runs without a key: the model is a script that answers as a model would, and takes 300 ms for each answer; the tool takes 20 ms.
 * Both take longer in life. `node examples/codeMode.ts`
 */
import { Clock, Effect, Schema } from "effect"
import { Prompt } from "effect/ai"
import { Agent, AgentTool, CodeMode, Middleware, type Runner, TestModel } from "troupe"

const slow = Middleware.make("slow", { model: (request, next) => Effect.delay(next(request), "300 millis") })
// Tokens of OpenAI's models where gpt-tokenizer is installed; elsewhere four characters each.
const count: (text: string) => number = await import("gpt-tokenizer").then(
  ({ countTokens }) =>
    (text: string) =>
      countTokens(text),
  () => (text: string) => Math.round(text.length / 4)
)
const tokensOf = (prompt: Prompt.Prompt) => count(JSON.stringify(Schema.encodeSync(Prompt.Prompt)(prompt)))

const cities = Array.from({ length: 100 }, (_, n) => `city ${n}`)
const weather = AgentTool.fromFunction("weather", {
  description: "Tells the weather of a city",
  parameters: Schema.Struct({ city: Schema.String }),
  success: Schema.Struct({ temp: Schema.Finite, wind: Schema.Finite, report: Schema.String }),
  hints: { readOnly: true },
  execute: ({ city }) => {
    const n = Number(city.slice(5))
    const weather = { temp: (n * 37) % 41, wind: n % 12, report: `In ${city} it is calm, with clouds later on.` }
    return Effect.delay(Effect.succeed(weather), "20 millis")
  }
})
const program = `
  const cities = Array.from({ length: 100 }, (_, n) => "city " + n)
  const all = await Promise.all(cities.map(async (city) => ({ city, ...(await tools.weather({ city })) })))
  const { city, temp } = all.reduce((best, one) => (one.temp > best.temp ? one : best))
  return { city, temp }`

/** What a run sends to the model and has it write, in tokens, and how long it takes. */
const measured = <E, R>(name: string, agent: Runner.Runner<string, string, E, R>) =>
  Effect.gen(function* () {
    const begun = yield* Clock.currentTimeMillis
    const { output, transcript } = yield* agent.result("Which of my 100 cities is warmest?")
    const ms = (yield* Clock.currentTimeMillis) - begun
    const { calls } = yield* TestModel.TestModel
    const all = yield* calls
    const sent = all.reduce((sum, { prompt }) => sum + tokensOf(prompt), 0)
    const written = tokensOf(Prompt.fromMessages(transcript.content.filter(({ role }) => role === "assistant")))
    const cost = `${all.length} model calls, ${sent} tokens sent, ${written} written, ${(ms / 1000).toFixed(1)} s`
    console.log(`${name}: ${output} (${cost})`)
    return { sent, calls: all.length, ms }
  })

type Weather = { readonly city: string; readonly temp: number }
const warmest = (all: ReadonlyArray<Weather>) => all.reduce((best, one) => (one.temp > best.temp ? one : best))
const said = ({ city, temp }: Weather) => `${city}, with ${temp} degrees`
/** The results of tools that a model has in its prompt. */
const resultsIn = ({ prompt }: TestModel.Call) =>
  prompt.content.flatMap((message) =>
    message.role === "tool" ? message.content.flatMap((part) => (part.type === "tool-result" ? [part] : [])) : []
  )

const inCode = measured(
  "one program",
  Agent.make("analyst", { use: [CodeMode.feature([weather])], middleware: [slow] })
).pipe(
  Effect.provide([
    TestModel.layer((call) => {
      const [part] = resultsIn(call)
      if (part === undefined) return TestModel.toolCall("run_program", { program })
      return said((part.result as { readonly result: Weather }).result)
    }),
    CodeMode.layerQuickJs
  ])
)
const inSteps = measured(
  "a call for each city",
  Agent.make("analyst", { tools: [weather], maxSteps: 20, middleware: [slow] })
).pipe(
  Effect.provide(
    TestModel.layer((call) => {
      const parts = resultsIn(call)
      // Ten cities in each step, as models do.
      const next = cities.slice(parts.length, parts.length + 10)
      if (next.length > 0) {
        return TestModel.toolCalls(...next.map((city) => ({ name: "weather", params: { city }, id: city })))
      }
      return said(warmest(parts.map(({ id, result }) => ({ city: id, temp: (result as Weather).temp }))))
    })
  )
)

const [code, loop] = await Effect.runPromise(Effect.all([inCode, inSteps]))
console.log(
  `${(loop.sent / code.sent).toFixed(0)} times fewer tokens sent, ${(loop.ms / code.ms).toFixed(1)} times faster`
)
if (code.calls !== 2 || loop.sent < code.sent * 10) process.exitCode = 1
