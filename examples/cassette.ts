/**
 * An agent whose model was recorded: cassette.json holds the traffic with a scripted server that speaks OpenAI's
 * language, and the program replays it, without that server, a key or a network. The same program then runs on the other
 * edge.
 */
import { Effect, Layer, Schema, Stream } from "effect"
import { Agent, AgentTool, Cassette, OpenAi, SyncEdge } from "troupe"

const forecast = AgentTool.fromFunction("forecast", {
  description: "The weather of tomorrow in a city",
  parameters: Schema.Struct({ city: Schema.String }),
  execute: ({ city }) => (city === "Bergen" ? "rain, 7 degrees" : "sun, 19 degrees")
})

const advisor = Agent.make("advisor", {
  instructions: "You say what to wear. Look at the forecast first.",
  tools: [forecast]
})

const Model = OpenAi.layer({ model: "qwen3", baseUrl: "http://localhost:8080/v1" }).pipe(
  Layer.provide(
    Cassette.layer({
      path: new URL("cassette.json", import.meta.url),
      // With "record" it asks the server and replaces the file.
      mode: "replay",
      unused: "die"
    })
  )
)

const program = Effect.gen(function* () {
  const answer = yield* advisor.run("I go to Bergen and to Bari tomorrow.")
  // Streams come in the pieces in which they were recorded.
  const pieces = yield* advisor.stream("And today I stay at home.").pipe(
    Stream.filter((event) => event._tag === "TextDelta"),
    Stream.runCollect
  )
  return { answer, pieces: pieces.length }
}).pipe(Effect.provide(Model))

const { answer, pieces } = await Effect.runPromise(program)
console.log(`async: ${answer} (then ${pieces} pieces)`)
console.log(`sync:  ${Effect.runSync(program.pipe(Effect.provide(SyncEdge.layer))).answer}`)

// Another request is not in the recording, and the error says where it differs.
const changed = advisor.run("I go to Oslo.").pipe(Effect.provide(Model), Effect.flip)
console.log((await Effect.runPromise(changed)).message)

if (!answer.includes("Bergen")) throw new Error(`expected advice for Bergen, got: ${answer}`)
