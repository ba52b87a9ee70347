/** Work in the background of a durable run. */
import { expect, it } from "@effect/vitest"
import { Deferred, Effect, Layer, Stream } from "effect"
import * as Agent from "troupe/Agent"
import * as AgentTool from "troupe/AgentTool"
import * as Durable from "troupe/Durable"
import * as Runner from "troupe/Runner"
import * as Step from "troupe/Step"
import * as TestModel from "troupe/TestModel"
import { engine, temporaryFile } from "../../support/durable.ts"
import { checkGrammar } from "../../support/grammar.ts"

const inFile = Layer.unwrap(Effect.map(temporaryFile, engine))

it.live("a job that sleeps is cancelled at once, and its run ends in the events", () =>
  Effect.gen(function* () {
    const sleeps = yield* Deferred.make<void>()
    const reminder = Runner.make("reminder", {
      description: "Reminds",
      run: (text: string) =>
        Effect.onInterrupt(Effect.as(Step.sleep("until then", "1 hour"), text), () =>
          Deferred.succeed(sleeps, undefined)
        )
    })
    const asleep = AgentTool.fromFunction("asleep", {
      description: "Waits until it sleeps",
      execute: () => Effect.as(Deferred.await(sleeps), "asleep")
    })
    const writer = Durable.make(Agent.make("writer", { tools: [asleep, ...AgentTool.background(reminder)] }), {
      name: "writers",
      version: "1",
      key: () => "k"
    })
    const job = { job: "reminder-1" }
    const model = TestModel.layer([
      TestModel.toolCalls({ name: "reminder_start", params: { input: "later" } }),
      TestModel.toolCalls({ name: "asleep", params: {} }),
      TestModel.toolCalls({ name: "reminder_cancel", params: job }),
      "done"
    ])
    expect(yield* Effect.provide(writer.run("go"), model)).toBe("done")
    const events = yield* Stream.runCollect(Durable.events(writer, "k"))
    const cancelled = events.find((event) => event._tag === "ToolCompleted" && event.tool === "reminder_cancel")
    expect(cancelled).toMatchObject({ result: { job: "reminder-1", status: "cancelled" } })
    checkGrammar(events)
    expect(events.filter((event) => event._tag === "RunInterrupted").map(({ path }) => path)).toEqual([
      ["writers", "reminder"]
    ])
  }).pipe(Effect.provide(inFile))
)
