/** A program for `tests/release/processExit.test.ts`: does one thing on one edge, and then has to end by itself. */
import { writeSync } from "node:fs"
import { Effect, Exit, Layer, ManagedRuntime, Redacted, Stream } from "effect"
import { HttpClient } from "effect/http"
import * as Agent from "troupe/Agent"
import * as AgentTool from "troupe/AgentTool"
import * as OpenAi from "troupe/OpenAi"
import * as SyncEdge from "troupe/SyncEdge"
import * as TestModel from "troupe/TestModel"

const { BASE = "", OPENAI = "" } = process.env
const real = OpenAi.layer({ model: "m", baseUrl: OPENAI, apiKey: Redacted.make("k"), retry: "none" })
const hanging = OpenAi.layer({ model: "m", baseUrl: `${BASE}/hang`, apiKey: Redacted.make("k"), retry: "none" })
const agent = Agent.make("agent", { retry: "none" })
const slow = AgentTool.fromFunction("slow", { description: "Sleeps", execute: () => Effect.sleep("1 hour") })
const quick = AgentTool.fromFunction("quick", { description: "Ends", execute: () => "done" })

/** Each gives a word that tells that it went as it should. */
export const scenarios: Record<string, Effect.Effect<string, unknown>> = {
  "an answer, over connections that are kept alive": Effect.provide(
    Effect.forEach([1, 2, 3], () => agent.run("go"), { concurrency: 3 }).pipe(Effect.map((all) => all.join(" "))),
    real
  ),
  "a stream that is read to its end": agent.stream("go").pipe(
    Stream.runCollect,
    Effect.map((events) => events.at(-1)!._tag),
    Effect.provide(real)
  ),
  "a stream that is left early": agent.stream("go").pipe(
    Stream.filter((event) => event._tag === "TextDelta"),
    Stream.take(1),
    Stream.runCollect,
    Effect.map((events) => `left after ${events.length}`),
    Effect.provide(real)
  ),
  "a body that is left in the middle": Effect.flatMap(HttpClient.get(`${BASE}/drip`), (response) =>
    Stream.runDrain(Stream.take(response.stream, 1))
  ).pipe(Effect.as("left"), Effect.provide(SyncEdge.layerHttpClient)),
  "a failure": agent.run("go").pipe(
    Effect.flip,
    Effect.map((error) => error._tag),
    Effect.provide(TestModel.layer([{ text: "x", finishReason: "content-filter" }]))
  ),
  "a timeout, with the request under way": agent.run("go").pipe(
    Effect.timeoutOption("50 millis"),
    Effect.map((option) => option._tag),
    Effect.provide(hanging)
  ),
  "a tool that is interrupted, and timers of an hour": Agent.make("agent", {
    tools: [slow, quick],
    toolTimeout: "1 hour"
  })
    .run("go")
    .pipe(
      Effect.timeoutOption("50 millis"),
      Effect.map((option) => option._tag),
      Effect.provide(
        TestModel.layer([TestModel.toolCalls({ name: "quick", params: {} }, { name: "slow", params: {} })])
      )
    ),
  "a success whose tool had an hour": Agent.make("agent", { tools: [quick], toolTimeout: "1 hour" })
    .run("go")
    .pipe(Effect.timeout("1 hour"), Effect.provide(TestModel.layer([TestModel.toolCall("quick", {}), "answered"])))
}

const main = async (edge: string, name: string): Promise<string> => {
  const program = scenarios[name]!
  switch (edge) {
    case "runPromise":
      return Effect.runPromise(program)
    case "runPromise, interrupted by a signal": {
      // A timer of its own: that of `AbortSignal.timeout` keeps no process alive which has nothing else to do.
      const controller = new AbortController()
      setTimeout(() => controller.abort(), 200)
      const exit = await Effect.runPromiseExit(Effect.andThen(program, Effect.never), { signal: controller.signal })
      return Exit.hasInterrupts(exit) ? "interrupted" : "not interrupted"
    }
    case "runSync":
      return Effect.runSync(Effect.provide(program, SyncEdge.layer))
    default: {
      // It is never disposed of.
      const runtime = ManagedRuntime.make(Layer.mergeAll(SyncEdge.layer))
      return runtime.runSync(program) === runtime.runSync(program) ? "twice the same" : "different"
    }
  }
}

if (process.argv[1]?.endsWith("exits.ts") === true) {
  const said = await main(process.argv[2]!, process.argv[3]!)
  const at = performance.now()
  process.on("exit", () => writeSync(1, JSON.stringify({ said, ms: performance.now() - at })))
}
