/**
 * A server whose detached runs are durable, in a process that is killed. It sends its address to its parent. What the model and
 * the tool really did stands in a ledger.
 */
import { appendFileSync } from "node:fs"
import { NodeRuntime } from "@effect/platform-node"
import { Effect, Layer, Stream } from "effect"
import { LanguageModel, type Response } from "effect/ai"
import * as Agent from "troupe/Agent"
import * as AgentServer from "troupe/AgentServer"
import * as AgentTool from "troupe/AgentTool"
import * as Durable from "troupe/Durable"
import * as Runs from "troupe/Runs"

const note = (what: string) => Effect.sync(() => appendFileSync(process.env["LEDGER"]!, `${what}\n`))

const charge = AgentTool.fromFunction("charge", {
  description: "Charges.",
  execute: () => Effect.as(note("charge"), "charged")
})
const desk = Agent.make("desk", { tools: [charge] })

const usage = { inputTokens: { total: 1 }, outputTokens: { total: 1 } } as Response.FinishPartEncoded["usage"]
const finish = (reason: Response.FinishReason) => ({ type: "finish", reason, usage, response: undefined }) as const
const words = Array.from({ length: 30 }, (_, index) => `word${index} `)

const Model = Layer.effect(
  LanguageModel.LanguageModel,
  LanguageModel.make({
    generateText: () => Effect.die("the server streams"),
    streamText: ({ prompt }) => {
      const isFirst = prompt.content.at(-1)?.role === "user"
      const parts: ReadonlyArray<Response.StreamPartEncoded> = isFirst
        ? [{ type: "tool-call", id: "c", name: "charge", params: {}, providerExecuted: false }, finish("tool-calls")]
        : [
            { type: "text-start", id: "t" },
            ...words.map((delta) => ({ type: "text-delta", id: "t", delta }) as const),
            { type: "text-end", id: "t" },
            finish("stop")
          ]
      return Stream.unwrap(
        Effect.as(
          note(isFirst ? "first request" : "second request"),
          Stream.tap(Stream.fromIterable(parts), () => Effect.sleep(40))
        )
      )
    }
  })
)

const announced = Layer.effectDiscard(
  Effect.map(AgentServer.Listening, ({ url }) => {
    process.send!(url)
  })
)
const Kept = Durable.layerRuns([desk]).pipe(Layer.provide(Runs.layerMemory()))
const Engine = Durable.layerSqlite({ filename: process.env["ENGINE"]!, poll: "100 millis" })

Layer.launch(
  announced.pipe(
    Layer.provide(AgentServer.serve({ runners: { desk }, port: 0 })),
    Layer.provide(Kept),
    Layer.provide([Model, Engine])
  )
).pipe(NodeRuntime.runMain)
