/**
 * A question about a hundred cities, answered by one program that calls a tool a hundred times, and by a call of the model's for each.
 * It runs without a key: the model is a script that answers as a model would. `node examples/codeMode.ts`
 */
import { Clock, Effect, Schema } from "effect"
import { Agent, AgentTool, CodeMode, TestModel } from "troupe"

const cities = Array.from({ length: 100 }, (_, n) => `city ${n}`)
const weather = AgentTool.fromFunction("weather", {
  description: "Tells the weather of a city",
  parameters: Schema.Struct({ city: Schema.String }),
  success: Schema.Struct({ temp: Schema.Finite, wind: Schema.Finite, report: Schema.String }),
  hints: { readOnly: true },
  execute: ({ city }) => {
    const n = Number(city.slice(5))
    return { temp: (n * 37) % 41, wind: n % 12, report: `In ${city} it is calm, with clouds from the west later on.` }
  }
})
const program = `
  const cities = Array.from({ length: 100 }, (_, n) => "city " + n)
  const all = await Promise.all(cities.map(async (city) => ({ city, ...(await tools.weather({ city })) })))
  const { city, temp } = all.reduce((best, one) => (one.temp > best.temp ? one : best))
  return { city, temp }`

/** What a run sends to the model: how often, and about how many tokens, four characters each. */
const measured = <E, R>(name: string, run: Effect.Effect<string, E, R>) =>
  Effect.gen(function* () {
    const begun = yield* Clock.currentTimeMillis
    const answer = yield* run
    const ms = (yield* Clock.currentTimeMillis) - begun
    const { calls } = yield* TestModel.TestModel
    const all = yield* calls
    const tokens = all.reduce((sum, { prompt }) => sum + Math.round(JSON.stringify(prompt).length / 4), 0)
    console.log(`${name}: ${answer} (${all.length} model calls, about ${tokens} tokens sent, ${ms} ms)`)
    return { tokens, calls: all.length }
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
  Agent.make("analyst", { use: [CodeMode.feature([weather])] }).run("Which of my 100 cities is warmest?")
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
  Agent.make("analyst", { tools: [weather], maxSteps: 20 }).run("Which of my 100 cities is warmest?")
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
console.log(`${(loop.tokens / code.tokens).toFixed(0)} times fewer tokens`)
if (code.calls !== 2 || loop.tokens < code.tokens * 10) process.exitCode = 1
